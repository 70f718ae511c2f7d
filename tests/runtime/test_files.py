"""Files are written whole or not at all, read within bounds, and each failure is one sentence with a path."""

from __future__ import annotations

import errno
import json
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import torch
from helpers.hostile import assert_sentence

from agents.training.config import TrainConfig
from agents.training.run import check
from metaal_env.errors import FileError, InputError
from metaal_env.runtime import files
from metaal_env.runtime.artifacts import artifact_stem, load_artifact, save_artifact
from metaal_env.runtime.checkpoints import read_checkpoint, write_checkpoint
from metaal_env.runtime.command_line import run_cli
from metaal_env.runtime.files import read_bytes, read_json, refuse_outward_links, write_atomic, write_together

NOBODY = 65534


@dataclass
class Config:
    seed: int = 0


def full_disk(*_: object) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize("broken", ["fsync", "replace", "chmod"])
def test_a_full_disk_leaves_the_old_file_and_no_litter(
    broken: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "kept.bin"
    write_atomic(path, b"old")
    monkeypatch.setattr(files.os, broken, full_disk)
    assert run_cli(lambda: write_atomic(path, b"new")) == 2
    message = capsys.readouterr().err
    assert str(path) in message and "No space left" in message and message.count("\n") == 1
    assert path.read_bytes() == b"old" and os.listdir(tmp_path) == ["kept.bin"]


def test_a_disk_that_fills_up_between_two_files_changes_neither(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_artifact(tmp_path / "a", "learner", torch.nn.Linear(2, 2), {}, {})
    before = {p.name: p.read_bytes() for p in tmp_path.iterdir()}
    synced = []

    def second_fails(handle: int) -> None:
        synced.append(handle)
        if len(synced) == 2:
            full_disk()

    monkeypatch.setattr(files.os, "fsync", second_fails)
    with pytest.raises(FileError, match=r"a\.json"):
        save_artifact(tmp_path / "a", "learner", torch.nn.Linear(2, 2), {}, {})
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == before
    monkeypatch.undo()
    load_artifact(tmp_path / "a", "learner")


def test_an_artifact_is_named_by_its_folder_or_its_files(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    inside, beside = tmp_path / "run" / "policy", tmp_path / "run.json"
    beside.write_bytes(b"")
    for source in (tmp_path / "run", inside, f"{inside}.json", inside.with_suffix(".safetensors")):
        assert artifact_stem(source, "policy") == inside
    assert artifact_stem(beside, "policy") == tmp_path / "run", (
        "the file that is named, not one in the folder"
    )


@pytest.mark.parametrize("path", ["blocked/file", "blocked", "nul\0byte/file"])
def test_what_cannot_be_written_is_named(path: str, tmp_path: Path) -> None:
    """A file or folder in the way; permissions would not stop root, who runs many test machines."""
    (tmp_path / "blocked").mkdir() if path == "blocked" else (tmp_path / "blocked").write_bytes(b"")
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(FileError) as caught:
        write_atomic(tmp_path / path, b"data")
    assert_sentence(caught.value, "file")
    assert isinstance(caught.value, OSError) and "file" in str(caught.value)
    assert sorted(tmp_path.rglob("*")) == before


@pytest.fixture()
def nobody() -> Iterator[Path]:
    """A read-only folder with a file; where the tests run as root, as somebody whom permissions stop."""
    folder = Path(tempfile.mkdtemp())
    (folder / "kept").write_bytes(b"old")
    if root := os.geteuid() == 0:
        os.chown(folder, NOBODY, NOBODY)
        os.seteuid(NOBODY)
    folder.chmod(0o500)
    yield folder
    folder.chmod(0o700)
    if root:
        os.seteuid(0)
    shutil.rmtree(folder)


def test_a_read_only_folder_is_named_and_stays_as_it_is(nobody: Path) -> None:
    with pytest.raises(FileError, match="Permission denied") as caught:
        write_atomic(nobody / "kept", b"new")
    assert_sentence(caught.value, "file")
    assert str(nobody / "kept") in str(caught.value)
    assert (nobody / "kept").read_bytes() == b"old" and os.listdir(nobody) == ["kept"]


def test_new_checkpoint_takes_the_old_ones_place_only_once_it_reads_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "c.pt"
    write_checkpoint(path, Config(), {"step": 1, "weights": torch.ones(3)})

    def torn(state: object, buffer: object) -> None:
        buffer.write(b"PK\x03\x04 only half of it")  # type: ignore[attr-defined]

    monkeypatch.setattr(torch, "save", torn)
    with pytest.raises(InputError, match="damaged"):
        write_checkpoint(path, Config(), {"step": 2})
    saved = read_checkpoint(path, Config())
    assert saved is not None and saved["step"] == 1 and torch.equal(saved["weights"], torch.ones(3))
    assert os.listdir(tmp_path) == ["c.pt"]


def test_a_write_replaces_a_link_and_leaves_what_it_leads_to(tmp_path: Path) -> None:
    victim, link = tmp_path / "victim", tmp_path / "folder" / "link"
    victim.write_bytes(b"mine")
    link.parent.mkdir()
    link.symlink_to(victim)
    write_together({link: b"new", link.with_name("other"): b"too"})
    assert victim.read_bytes() == b"mine" and link.read_bytes() == b"new" and not link.is_symlink()


def test_folders_that_cannot_be_synced_are_written_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.open
    monkeypatch.setattr(
        files.os, "open", lambda path, *a, **k: full_disk() if Path(path).is_dir() else real(path, *a, **k)
    )
    write_atomic(tmp_path / "a", b"1")
    monkeypatch.undo()
    sync = os.fsync
    monkeypatch.setattr(files.os, "fsync", lambda handle: full_disk() if _is_folder(handle) else sync(handle))
    write_atomic(tmp_path / "b", b"2")
    assert (tmp_path / "a").read_bytes() + (tmp_path / "b").read_bytes() == b"12"


def _is_folder(handle: int) -> bool:
    return stat.S_ISDIR(os.fstat(handle).st_mode)


def test_links_that_lead_out_of_a_folder_are_refused(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    (folder / "figures").mkdir(parents=True)
    (folder / "inside").symlink_to(folder / "figures")
    refuse_outward_links(folder, "run='run'")
    refuse_outward_links(tmp_path / "nowhere", "run='nowhere'")
    (folder / "figures" / "out").symlink_to(tmp_path)
    with pytest.raises(InputError, match="leads out of the folder; delete it") as caught:
        refuse_outward_links(folder, "run='run'")
    assert_sentence(caught.value, "run")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "damaged"),
        (b"\xff\xfe", "damaged"),
        (b"[1]", "no JSON object"),
        (b'{"a": ' + b"[" * 70 + b"]" * 70 + b"}", "nested deeper than 64"),
        (b'{"a": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", "damaged"),
        (b'{"a": ' + b"9" * 5000 + b"}", "damaged"),
        (b'{"a": "' + b"x" * 1000 + b'"}', "exceeds 900 bytes"),
    ],
)
def test_bad_json(content: bytes, message: str, tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    path.write_bytes(content)
    most = 900 if "exceeds" in message else 2**20
    with pytest.raises(InputError, match=message) as caught:
        read_json(path, "config='x.json'", most)
    assert_sentence(caught.value, "config")
    path.write_text(json.dumps({"a": [{"b": None}]}))
    assert read_json(path, "config") == {"a": [{"b": None}]}


def test_only_regular_files_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A pipe without a writer would block for ever."""
    os.mkfifo(tmp_path / "pipe")
    for name in ("pipe", "missing", "."):
        with pytest.raises(InputError, match="regular file"):
            read_bytes(tmp_path / name, "policy='x'", 10)
    (tmp_path / "locked").write_bytes(b"")
    monkeypatch.setattr(Path, "open", lambda *_: full_disk())
    with pytest.raises(InputError, match="cannot be read"):
        read_bytes(tmp_path / "locked", "policy='x'", 10)


def test_exhausted_memory_is_one_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    def greedy() -> None:
        raise MemoryError("Unable to allocate 8 EiB")

    assert run_cli(greedy) == 2
    assert (
        capsys.readouterr().err
        == "error: memory is exhausted (Unable to allocate 8 EiB); ask for less at once.\n"
    )


def test_a_folder_that_cannot_be_made_is_named_before_data_are_loaded(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    config = TrainConfig(dataset="no such data", out=tmp_path / "file" / "runs")
    with pytest.raises(FileError, match=r"out='.*runs' cannot be made"):
        check(config)
    with pytest.raises(InputError, match="no such data"):
        check(replace(config, out=tmp_path / "new" / "runs"))
    assert sorted(tmp_path.iterdir()) == [tmp_path / "file"], "a refused run leaves no folder"
