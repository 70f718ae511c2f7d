"""The few-shot benchmark: its rows train, resume and are measured, and its page is written."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.learners import few_shot
from benchmarks.learners.few_shot_table import effect_of_supports
from metaal_env.errors import InputError


@pytest.fixture(scope="module")
def characters(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Two alphabets to learn from and one to test on: patterns of blocks with noise."""
    rng = np.random.default_rng(0)
    classes, items = 48, 20
    shapes = rng.integers(0, 2, (classes, 1, 7, 7)).repeat(2, -1).repeat(2, -2) * 150
    images = (shapes + rng.integers(0, 80, (classes, items, 14, 14))).reshape(-1, 14, 14)
    file = tmp_path_factory.mktemp("data") / "characters.npz"
    np.savez(
        file,
        X=images.astype(np.uint8),
        y=np.arange(classes).repeat(items),
        class_alphabet=np.arange(classes) // 12,
        class_split=(np.arange(classes) >= 24).astype(int),
    )
    return str(file)


def test_rows_are_trained_measured_and_written_once(characters: Any, tmp_path: Path) -> None:
    rows = ("protonet", "maml_last_block", "matching", "logistic_pixels")
    config = few_shot.Config(
        characters, rows, out=tmp_path / "out", docs=tmp_path / "page.md", iterations=2, width=4, tasks=10,
        ways=(5,),
    )  # fmt: skip
    few_shot.main(config)
    page, log = (tmp_path / "page.md").read_text(), (tmp_path / "few_shot_log.csv").read_text().splitlines()
    assert all(f"| {name} |" in page for name in rows) and "2 updates, 0 min, body from protonet" in page
    assert log[0].startswith("learner,update") and [line.split(",")[0] for line in log[1:]] == list(rows[:3])
    record = json.loads((tmp_path / "out" / "maml_last_block.json").read_text())
    accuracies = [f["accuracy"] for f in record["figures"].values()]
    assert min(accuracies) > 0.15 and max(accuracies) > 0.4, "worse than guessing among five"
    before = (tmp_path / "out" / "maml_last_block.json").stat().st_mtime_ns
    few_shot.main(config)
    assert (tmp_path / "out" / "maml_last_block.json").stat().st_mtime_ns == before
    assert (tmp_path / "page.md").read_text() == page


def test_tables_keep_rows_of_other_runs(characters: Any, tmp_path: Path) -> None:
    def run(name: str, out: str) -> str:
        page = tmp_path / "page.md"
        few_shot.main(
            few_shot.Config(
                characters, (name,), out=tmp_path / out, docs=page, iterations=2, width=4, tasks=10, ways=(5,)
            )
        )
        return page.read_text()

    first = run("maml_head_scratch", "one")
    second = run("maml_head_balanced", "one")
    assert "minus on balanced ones" in second and "minus on balanced ones" not in first
    third = run("protonet", "two")
    assert all(line in third for line in second.splitlines() if "maml_head" in line or "minus" in line)
    assert third.index("| protonet |") < third.index("| maml_head_scratch |"), (
        "in the order of the experiments"
    )
    last = run("anil_scratch", "two")
    assert third.strip() in last, "a table of its own"
    log = (tmp_path / "few_shot_log.csv").read_text().splitlines()
    names = [line.split(",")[0] for line in log[1:]]
    assert names == ["protonet", "maml_head_scratch", "maml_head_balanced", "anil_scratch"]


def test_a_row_starts_from_the_body_it_names(characters: Any, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="protonet"):
        few_shot.main(few_shot.Config(characters, ("r2d2",), out=tmp_path, docs=None, iterations=1, width=4))
    from metaal_env.learners import build_learner

    start, shape = build_learner("protonet", (1, 14, 14), width=4), (1, 14, 14)
    same, other = build_learner("maml", shape, width=4), build_learner("matching", shape, width=4)
    scale = other.log_scale.item()
    few_shot.take_over(same, start, heads=True)
    few_shot.take_over(other, start, heads=False)
    for learner in (same, other):
        assert all(
            (a == b).all() for a, b in zip(learner.body.parameters(), start.body.parameters(), strict=True)
        )
    assert same.log_scale.item() == start.log_scale.item() and other.log_scale.item() == scale


def test_the_effect_of_supports_is_a_paired_difference() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.random(50), rng.random(50)

    def record(values: np.ndarray) -> dict[str, Any]:
        return {"figures": {key: {"per_task": values.tolist()} for key in ("random 10", "unbalanced 10")}}

    half = 100 * 1.96 * (a - b).std(ddof=1) / 50**0.5
    text = effect_of_supports(record(a), record(b))
    assert f"{100 * (a.mean() - b.mean()):+.1f} ± {half:.1f} points at random 10" in text
