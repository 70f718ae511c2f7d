"""Policies, learners, fitted strategies and checkpoints with generated damage: they load soundly or are refused."""

from __future__ import annotations

import copy
import hashlib
import io
import itertools
import json
import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers.hostile import EXAMPLES, fuzz, refused
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from agents.policy.network import AcquisitionNetwork
from agents.policy.sb3_policy import LearnedStrategy
from agents.strategies.fitted.base import load_fitted
from agents.strategies.fitted.gain_models import LAL
from metaal_env.errors import InputError
from metaal_env.learners import build_learner, load_learner, save_learner
from metaal_env.runtime import artifacts
from metaal_env.runtime.checkpoints import as_input_error, read_checkpoint, write_checkpoint


@dataclass
class Config:
    seed: int = 0
    shape: tuple[int, int] = (1, 2)


def save_policy(folder: Path) -> None:
    LearnedStrategy(AcquisitionNetwork(width=4)).save(folder / "policy", {})


def save_maml(folder: Path) -> None:
    options = {"width": 4, "steps": 2}
    save_learner(build_learner("maml", (3,), **options), folder / "learner", "maml", (3,), options, {})


KINDS: dict[str, tuple[Callable[[Path], None], Callable[[Path], nn.Module]]] = {
    "policy": (save_policy, lambda folder: LearnedStrategy.load(folder).network),
    "learner": (save_maml, lambda folder: load_learner(folder, (3,))),
    "strategy": (lambda folder: LAL().save(folder), lambda folder: load_fitted(folder).network),
}

ODD = st.sampled_from(
    [None, True, False, 0, -1, 1, 2, 3, 7, 10**6, 10**12, 10**40, 0.5, -1e308, float("nan"), float("inf"), "", "x",
     "maml", "lal", "../../x", "\0", [], [1], [[1]], [10**9], {}, {"a": 1}, {"__class__": "os"}]
)  # fmt: skip


def paths_of(value: Any, here: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    below = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [here, *(path for key, part in below for path in paths_of(part, (*here, key)))]


def changed(draw: st.DrawFn, value: Any) -> Any:
    """A JSON value with one part replaced, removed or added."""
    value = copy.deepcopy(value)
    path = draw(st.sampled_from(paths_of(value)))
    if not path:
        return draw(ODD)
    target = value
    for key in path[:-1]:
        target = target[key]
    what = draw(st.sampled_from(["replace", "replace", "replace", "remove", "add"]))
    if what == "replace":
        target[path[-1]] = draw(ODD)
    elif what == "remove":
        del target[path[-1]]
    elif isinstance(target, dict):
        target[draw(st.sampled_from(["extra", "", "width", "steps", "body", "seed"]))] = draw(ODD)
    else:
        target.append(draw(ODD))
    return value


def bytes_changed(draw: st.DrawFn, content: bytes) -> bytes:
    data = bytearray(content)
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, max(0, len(data) - 1)))
        how = draw(st.sampled_from(["set", "float", "cut", "end", "insert"]))
        if how == "set":
            data[at : at + 1] = bytes([draw(st.integers(0, 255))])
        elif how == "float":  # weights may become NaN, infinite or huge
            data[-8:-4] = struct.pack("<I", draw(st.sampled_from([0x7FC00000, 0x7F800000, 0x7F7FFFFF, 1])))
        elif how == "cut":
            del data[at : at + draw(st.integers(1, 99))]
        elif how == "end":
            del data[at:]
        else:
            data[at:at] = draw(st.binary(min_size=1, max_size=9))
    return bytes(data)


@st.composite
def attacks(draw: st.DrawFn, card: dict[str, Any], weights: bytes) -> tuple[bytes, bytes]:
    """The files with generated damage; half of the time the checksum is made to fit again."""
    where = draw(st.sampled_from(["card", "card", "header", "weights", "config", "text"]))
    text = json.dumps(card)
    if where == "config":
        card = card | {"config": changed(draw, card["config"])}
    elif where == "card":
        card = changed(draw, card)
    elif where == "weights":
        weights = bytes_changed(draw, weights)
    elif where == "header":
        size = 8 + int.from_bytes(weights[:8], "little")
        header = json.dumps(changed(draw, json.loads(weights[8:size]))).encode()
        weights = struct.pack("<Q", len(header)) + header + weights[size:]
    else:
        return bytes_changed(draw, text.encode()), weights
    if isinstance(card, dict) and draw(st.booleans()):
        card = card | {"sha256": hashlib.sha256(weights).hexdigest()}
        if draw(st.booleans()):
            card["schema"] = 1
    return json.dumps(card).encode(), weights


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("examples", EXAMPLES)
def test_artifacts(kind: str, examples: int, tmp_path: Path) -> None:
    save, load = KINDS[kind]
    save(tmp_path)
    card_file, weights_file = tmp_path / f"{kind}.json", tmp_path / f"{kind}.safetensors"
    card, weights = json.loads(card_file.read_text()), weights_file.read_bytes()
    outcomes = {"read": 0, "refused": 0}

    @fuzz(examples // 5)
    @given(attacks(card, weights))
    def check(files: tuple[bytes, bytes]) -> None:
        card_file.write_bytes(files[0])
        weights_file.write_bytes(files[1])
        try:
            module = load(tmp_path)
            outcomes["read"] += 1
        except InputError as error:
            outcomes["refused"] += 1
            refused(error, kind)
            return
        assert all(bool(value.isfinite().all()) for value in module.state_dict().values())
        assert sum(value.numel() for value in module.state_dict().values()) < 10**6

    check()
    assert min(outcomes.values()) > examples // 200, outcomes
    assert sorted(path.name for path in tmp_path.iterdir()) == [card_file.name, weights_file.name]


def training() -> tuple[nn.Module, torch.optim.Optimizer]:
    torch.manual_seed(0)
    module = nn.Linear(2, 2)
    optimizer = torch.optim.Adam(module.parameters())
    module(torch.ones(1, 2)).sum().backward()
    optimizer.step()
    return module, optimizer


TENSORS = st.sampled_from(
    [
        torch.zeros(2),
        torch.zeros(2, 2),
        torch.full((2, 2), torch.nan),
        torch.zeros(2, 2).long(),
        torch.zeros(0),
    ]
)


@pytest.mark.parametrize("examples", EXAMPLES)
def test_checkpoints(examples: int, tmp_path: Path) -> None:
    path = tmp_path / "c.pt"
    module, optimizer = training()
    state = {"module": module.state_dict(), "optimizer": optimizer.state_dict(), "step": 3, "losses": [0.5]}
    write_checkpoint(path, Config(), state)
    content = path.read_bytes()
    outcomes = {"read": 0, "refused": 0}

    @st.composite
    def files(draw: st.DrawFn) -> bytes:
        if draw(st.booleans()):
            return bytes_changed(draw, content)
        tampered = changed_state(draw, state | {"config": json.dumps({"seed": 0, "shape": [1, 2]})})
        buffer = io.BytesIO()
        torch.save(tampered, buffer)
        return buffer.getvalue()

    @fuzz(examples * 2 // 5)
    @given(files())
    def check(data: bytes) -> None:
        path.write_bytes(data)
        module, optimizer = training()
        try:
            found = read_checkpoint(path, Config())
            assert found is not None
            with as_input_error(path):
                module.load_state_dict(found["module"])
                optimizer.load_state_dict(found["optimizer"])
                assert found["step"] >= 0 and sum(found["losses"]) >= 0
            outcomes["read"] += 1
        except InputError as error:
            outcomes["refused"] += 1
            refused(error, "checkpoint")
            return
        assert all(bool(value.isfinite().all()) for value in module.parameters())

    check()
    assert min(outcomes.values()) > examples // 50, outcomes


def changed_state(draw: st.DrawFn, state: dict[str, Any]) -> Any:
    state = copy.deepcopy(state)
    target: Any = state
    while True:
        key = draw(st.sampled_from(sorted(target, key=str)))
        if not isinstance(target[key], dict) or not target[key] or draw(st.booleans()):
            break
        target = target[key]
    if draw(st.booleans()):
        del target[key]
    else:
        target[key] = draw(st.one_of(ODD, TENSORS))
    return state


def test_affordable_counts_every_factory() -> None:
    with (
        pytest.raises(InputError, match="far more weights") as caught,
        artifacts.limit_allocation({}, "learner='x'"),
    ):
        nn.Sequential(*(nn.Linear(5000, 5000) for _ in range(100)))
    refused(caught.value, "learner")
    with (
        pytest.raises(InputError, match="far more weights") as caught,
        artifacts.limit_allocation({}, "policy='x'"),
    ):
        nn.ModuleList(nn.Linear(1, 1) for _ in itertools.count())
    refused(caught.value, "policy")
    with artifacts.limit_allocation({}, "learner='x'"):
        assert nn.Linear(3, 4).weight.shape == (4, 3)
