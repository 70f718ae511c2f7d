"""Policies, learners and checkpoints from a stranger: damaged or hostile ones end in one sentence."""

from __future__ import annotations

import json
import os
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers.hostile import Config, policy, refused, resign
from torch import Tensor

from agents.policy.sb3_policy import LearnedStrategy
from metaal_env.errors import InputError
from metaal_env.learners import build_learner, load_learner, save_learner
from metaal_env.runtime import artifacts
from metaal_env.runtime.checkpoints import read_checkpoint


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
        ({"schema": 3}, "has schema 3 but this version reads 1…2; update metaal"),
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


def test_absurd_sizes_are_not_read(tmp_path: Path) -> None:
    policy(tmp_path)
    os.truncate(tmp_path / "policy.safetensors", artifacts.MAX_BYTES + 1)
    with pytest.raises(InputError, match="exceeds 268,435,456 bytes") as caught:
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
