"""Trainings whose iterations are raised, and checkpoints of other versions: continued exactly, or refused by file."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from helpers.faults import at_write, killed
from helpers.hostile import assert_sentence
from helpers.tiny_training import CONFIG, EXAMPLES, JOINED, WARM, saved, train
from stable_baselines3 import PPO

from metaal_env.errors import InputError


@pytest.mark.parametrize("number", [None, 3])
def test_a_training_is_raised_to_the_same_weights_before_its_end_and_after(
    number: int | None, tmp_path: Path
) -> None:
    """Kills included; the rates are those planned for 5 iterations, then those planned for 7."""
    rates: list[float] = []
    whole = tmp_path / "whole"
    train(whole, replace(CONFIG, iterations=5))
    end = train(whole, replace(CONFIG, iterations=7), rates=rates)
    assert (end["iteration"], end["plans"]) == (7, [5, 7])
    assert rates == pytest.approx([CONFIG.learning_rate * (0.1 + 0.9 * (1 - done / 7)) for done in (5, 6)])
    if number is None:
        return
    with pytest.raises(RuntimeError, match="killed"):
        train(tmp_path / "part", replace(CONFIG, iterations=5), actions={number: killed})
    rates.clear()
    with pytest.raises(RuntimeError, match="killed"):
        train(tmp_path / "part", replace(CONFIG, iterations=7), actions={4: killed}, rates=rates)
    other = train(tmp_path / "part", replace(CONFIG, iterations=7))
    assert rates[0] == pytest.approx(CONFIG.learning_rate * (0.1 + 0.9 * (1 - 2 / 5)))
    for name, value in end["policy"].items():
        assert torch.equal(value, other["policy"][name])
    assert other["plans"] == [5, 7] and other["best"] == end["best"]
    with pytest.raises(InputError, match=r"iterations=6 is less than the 7 that checkpoint="):
        train(tmp_path / "part", replace(CONFIG, iterations=6))


def test_checkpoints_from_before_a_setting_was_raised_go_on(tmp_path: Path) -> None:
    """Those of versions that recorded no plans."""
    train(tmp_path)
    file = tmp_path / "checkpoints" / "ppo.pt"
    old = saved(tmp_path)
    del old["plans"]
    torch.save(old, file)
    assert train(tmp_path, replace(CONFIG, iterations=6))["plans"] == [5, 6]


def renamed_keys(file: Path) -> bytes:
    """A checkpoint whose observation has the names of other versions."""
    state = torch.load(file, weights_only=True)
    for name in ("items", "episode"):
        if name in state:
            state[f"old_{name}"] = state.pop(name)
    for part in ("policy", "network"):
        if part in state:
            state[part] = {name.replace("items", "things"): value for name, value in state[part].items()}
    buffer = io.BytesIO()
    torch.save(state, buffer)
    return buffer.getvalue()


def foreign_zip(file: Path) -> bytes:
    """What stable-baselines3 saves: it holds the spaces of the environment that it was trained in."""
    buffer = io.BytesIO()
    PPO("MlpPolicy", "CartPole-v1", n_steps=8, batch_size=8).save(buffer)
    assert "data" in zipfile.ZipFile(buffer).namelist()
    return buffer.getvalue()


@pytest.mark.parametrize("content", [renamed_keys, foreign_zip])
@pytest.mark.parametrize("name", ["ppo.pt", "imitation.pt", JOINED[1]])
def test_checkpoints_of_another_observation_are_refused_by_file(
    name: str, content: Callable[[Path], bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched, pytest.raises(RuntimeError, match="killed"):
        at_write(patched, *(("ppo.pt", 3) if name == "ppo.pt" else (EXAMPLES[2], 1)), killed)
        train(tmp_path, warm=WARM)
    file = tmp_path / "checkpoints" / name
    file.write_bytes(content(file))
    with pytest.raises(InputError) as refused:
        train(tmp_path, warm=WARM)
    assert str(refused.value).startswith(f"checkpoint={str(file)!r}")
    assert "delete it to start afresh" in str(refused.value)
    assert_sentence(f"error: {refused.value}\n", "checkpoint")
