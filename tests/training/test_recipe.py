"""Recipes: a run that is killed, driver and worker, goes on to the same weights; bad recipes are one sentence."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest
from helpers.paths import ROOT

from agents.training.commands import main
from agents.training.general.recipe import RECIPES, Recipe, read_recipe
from agents.training.status import status_lines
from metaal_env.errors import InputError
from metaal_env.runtime.executor.progress import PROGRESS

TINY = """
dataset = "digits"
extra_sources = ["iris@ridge"]
seeds = 2
validation_tasks = 4

[task]
way = 2
pool_size = 20
budget = 4
reward_per_class = 3
test_per_class = 3

[imitation]
iterations = 2
rounds = 2
n_envs = 16
shapes_per_rollout = 4
epochs = 1

[ppo]
width = 8
"""


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    file = tmp_path / "tiny.toml"
    file.write_text(TINY)
    return file


def words(recipe: Path, out: str, workers: int) -> list[str]:
    return ["--recipe", str(recipe), "--out", str(recipe.parent / out), "--workers", str(workers)]


def result(folder: Path) -> dict[str, bytes]:
    return {str(f.relative_to(folder)): f.read_bytes() for f in sorted(folder.rglob("*.safetensors"))}


def start(arguments: list[str]) -> subprocess.Popen[bytes]:
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    return subprocess.Popen(
        [sys.executable, str(ROOT / "train_policy.py"), *arguments],
        env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip


def wait_for_parts(folder: Path, count: int, process: subprocess.Popen[bytes]) -> None:
    """Waits until at least `count` parts of roll-outs have left files."""
    until = time.monotonic() + 200
    while len(list(folder.rglob("examples-*.pt"))) < count:
        assert process.poll() is None and time.monotonic() < until, "the run ended too early, or never began"
        time.sleep(0.02)


@pytest.mark.slow
@pytest.mark.timeout(290)
def test_a_recipe_goes_on_after_kills_of_worker_and_driver(recipe: Path) -> None:
    assert main(words(recipe, "whole", 1)) == 0
    whole = recipe.parent / "whole" / "tiny"
    killed = recipe.parent / "killed" / "tiny"
    process = start(words(recipe, "killed", 2))
    wait_for_parts(killed, 2, process)
    workers = [
        child
        for child in psutil.Process(process.pid).children(recursive=True)
        if "resource_tracker" not in " ".join(child.cmdline())
    ]
    workers[-1].kill()
    wait_for_parts(killed, 3, process)
    process.send_signal(signal.SIGKILL)
    process.wait()
    left = len(list(killed.rglob("examples-*.pt")))
    assert left and not (killed / "policy.json").is_file()
    for worker in workers:  # none goes on without its driver
        worker.wait(60)
    assert main(words(recipe, "killed", 2)) == 0
    assert result(killed) == result(whole) and len(result(whole)) == 3
    assert any(whole.glob("seed-1/tensorboard/events*")) and (whole / "validation.json").is_file()
    assert status_lines(whole, time.time())[0].startswith("tiny: 21 of 21 parts are finished")
    before = (whole / "policy.safetensors").stat().st_mtime_ns
    assert main(words(recipe, "whole", 1)) == 0, "nothing is left to do"
    assert (whole / "policy.safetensors").stat().st_mtime_ns == before


def test_a_broken_seed_is_named_and_the_others_go_on(
    recipe: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = recipe.parent / "runs" / "tiny"
    bad = folder / "seed-1" / "checkpoints" / "examples-000-01.pt"
    bad.parent.mkdir(parents=True)
    bad.write_bytes(b"damaged")
    assert main(words(recipe, "runs", 1)) == 2
    said = capsys.readouterr().err
    assert "1 of 2 seeds cannot go on, the others did: checkpoint=" in said and "examples-000-01.pt" in said
    assert len(list((folder / "seed-0" / "checkpoints").glob("imitation.pt"))) == 1
    bad.unlink()
    assert main(words(recipe, "runs", 1)) == 0 and (folder / "policy.json").is_file()


def test_other_settings_are_refused(recipe: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*words(recipe, "runs", 1), "--seeds", "1"]) == 0
    recipe.write_text(TINY.replace("epochs = 1", "epochs = 2"))
    assert main([*words(recipe, "runs", 1), "--seeds", "1"]) == 2
    assert "imitation.epochs is 2, was 1" in capsys.readouterr().err


@pytest.mark.parametrize("name", sorted(path.stem for path in RECIPES.glob("*.toml")))
def test_shipped_recipes_are_sound(name: str) -> None:
    recipe = read_recipe(name)
    assert recipe.name == name and recipe.seeds == 5 and recipe.imitation.iterations == 24
    if name != "synthetic":
        with pytest.raises(InputError, match="give --data FOLDER"):
            recipe.sources(None, Path())


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("seeds = ", "is not valid TOML"),
        ("seeds = 2", "give either kinds or dataset"),
        ("kinds = 'al'", "did you mean 'all'"),
        ("dataset = 'digits'\nseed = 2", "did you mean 'seeds'"),
        ("dataset = 'digits'\nseeds = 0", "seeds=0 must be at least 1"),
        ("dataset = 'digits'\nseeds = 'two'", "seeds='two' must be at least 1"),
        ("dataset = 'digits'\nimitation = 3", "must be a table"),
        ("dataset = 'digits'\n[imitation]\nrounds = 0", "rounds=0 must be at least 1"),
        ("dataset = 'digits'\n[imitation]\nrounds = 'a'", "correct the file"),
    ],
)
def test_bad_recipes_are_one_sentence(text: str, message: str, tmp_path: Path) -> None:
    file = tmp_path / "bad.toml"
    file.write_text(text)
    with pytest.raises(InputError, match=message) as error:
        read_recipe(str(file))
    assert str(error.value).startswith("recipe=")


def test_an_unknown_recipe_names_the_nearest() -> None:
    with pytest.raises(InputError, match="did you mean 'general'"):
        read_recipe("genral")
    assert Recipe("x", dataset="{data}/a.npz").sources(Path("d"), Path())[0] == "d/a.npz"


def test_status_tells_what_is_in_work_and_when_it_is_silent(tmp_path: Path) -> None:
    record: dict[str, Any] = {
        "title": "general",
        "state": "running",
        "place": "4 local processes",
        "total": 9,
        "finished": 3,
        "in_work": {"roll-out 1.2": 40},
        "seconds_left": 7500,
        "lost": ["roll-out 0.1: its process was killed"],
        "failed": {},
        "time": 1000,
    }
    (tmp_path / PROGRESS).write_text(json.dumps(record))
    assert status_lines(tmp_path, 1001.0) == [
        "general: 3 of 9 parts are finished; 4 local processes",
        "about 2 h 05 min left",
        "in work for 40 s: roll-out 1.2",
        "lost: roll-out 0.1: its process was killed",
    ]
    assert "no sign of life for 17 min" in status_lines(tmp_path, 2001.0)[2]
    (tmp_path / PROGRESS).write_text("{}")
    assert main(["--status", str(tmp_path)]) == 2
    with pytest.raises(InputError, match=r"holds no progress\.json"):
        status_lines(tmp_path / "nothing", 0.0)
