"""What a verdict says of made-up curves, and on which data the general policy is trained and judged."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from helpers.evaluation_stubs import made_up

from agents.evaluation.episodes import Episodes
from agents.evaluation.hindsight.cell import OWN_RULE, RANDOM, RULES, Cell, judge
from agents.evaluation.hindsight.table import labels_needed, line, summary, to_json
from agents.training.general.sources import SAME_AS_TRAINED, SAME_AS_UCI, tables
from benchmarks.policy.general_verdict import Options, columns
from metaal_env.errors import InputError


def rising(name: str, start: float, slope: float, n: int = 64) -> Episodes:
    """Accuracy `start` + `slope` per label, with noise that all strategies share and some that they do not."""
    rng = np.random.default_rng(len(name))
    episodes = made_up(name, np.zeros(n))
    common = np.random.default_rng(0).normal(0, 0.1, (n, 1))
    curve = start + slope * np.arange(5) + common + rng.normal(0, 0.01, (n, 5))
    curve[:, 0] = 0.1
    episodes.curves["accuracy"] = curve
    return episodes


def judged(budget: int, played: int = 64) -> Cell:
    rules = {name: rising(name, 0.1, 0.1) for name in (*RULES, OWN_RULE)}
    rules[RANDOM] = rising(RANDOM, 0.0, 0.1)
    rules["typiclust"] = rising("typiclust", 0.15, 0.1)
    policies = {f"policy {seed}": rising(f"policy {seed}", 0.2 + 0.01 * seed, 0.1) for seed in range(2)}
    policies = {name: episodes.rows(np.arange(played)) for name, episodes in policies.items()}
    oracle = rising("greedy_lookahead", 0.3, 0.1).rows(np.arange(16))
    return judge(f"data 3-way balanced {budget} labels", budget, rules, policies, oracle, 0.5)


def test_a_cell_compares_with_the_best_rule_in_hindsight() -> None:
    cell = judged(4)
    assert cell.rival == "typiclust"
    assert cell.gain.estimate == pytest.approx(0.055, abs=0.005) and cell.gain.low > 0
    assert cell.over_margin.estimate == pytest.approx(0.105, abs=0.005)
    assert cell.over_own.estimate == pytest.approx(0.105, abs=0.005)
    assert cell.gap.estimate == pytest.approx(0.055 / 0.15, abs=0.04)
    np.testing.assert_allclose(cell.from_random, [0.205, 0.15, 0.3], atol=0.006)
    # 90 % of .5 = .45 is reached at label 3.5 by margin, 3 by TypiClust, 2.45 by the policies, 1.5 by look-ahead.
    assert cell.labels["margin"] == pytest.approx(3.5, abs=0.4)
    assert cell.labels["policy"] == pytest.approx(2.45, abs=0.4)
    assert cell.floor == pytest.approx(0.5, abs=0.15)


def test_rules_may_have_played_more_tasks_than_policies() -> None:
    assert judged(4, played=32).gain.estimate == pytest.approx(judged(4).gain.estimate, abs=0.01)
    assert judged(4, played=32).gap == judged(4).gap


def test_cells_of_one_setting_share_their_labels_to_ninety_percent() -> None:
    found = [judged(budget) for budget in (2, 4)]
    text = summary(found)
    assert (
        text.startswith("2 cells")
        and "in hindsight: above with the interval excluding 0 in 2, below in 0" in text
    )
    assert "over the 1 of 1 settings" in text
    policy, rule, ahead = np.sum([cell.from_random for cell in found], 0)
    assert (
        f"from random to greedy look-ahead it closes {policy / ahead:.0%}, the best rule {rule / ahead:.0%}"
        in text
    )
    assert labels_needed(found) == labels_needed(found[1:])


def test_a_cell_without_a_gap_is_shown_and_stored() -> None:
    cell = judged(4)._replace(labels={"policy": 2.5, "typiclust": float("inf"), "margin": 3.5})
    assert "| typiclust |" in line(cell) and "2.5 / inf / 3.5 |" in line(cell)
    row = json.loads(json.dumps(to_json(cell), allow_nan=False))
    assert row["labels"] == {"policy": 2.5, "typiclust": None, "margin": 3.5}
    assert row["gain"] == [round(value, 5) for value in cell.gain[:3]]


def test_no_table_is_both_trained_on_and_judged(tmp_path: Path) -> None:
    (tmp_path / "pmlb").mkdir()
    names = ["aaa", "bupa", "glass2", "mux6", "car", "dna", "iris", "yeast", *SAME_AS_TRAINED, *SAME_AS_UCI]
    for name in names:
        (tmp_path / "pmlb" / f"{name}.npz").touch()
    trained, held = (tables(tmp_path, held_back=side) for side in (False, True))
    assert trained and held and not {*trained} & {*held}
    assert not {file.stem for file in (*trained, *held)} & {*SAME_AS_TRAINED, *SAME_AS_UCI}


def test_unknown_data_sets_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="datasets='mnist'"):
        columns(Options(policies=("p",), data=tmp_path, datasets=("mnist",)))


def test_each_way_has_its_tasks(tmp_path: Path) -> None:
    options = Options(policies=("p",), data=tmp_path, ways=(5, 20), n_tasks=(400, 100))
    assert [options.tasks_of(way) for way in (5, 20, 10)] == [400, 100, 400]
    assert Options(policies=("p",), data=tmp_path).tasks_of(20) == 200


def test_fewer_tasks_than_the_oracle_or_no_margin_are_refused(tmp_path: Path) -> None:
    assert Options(policies=("p",), data=tmp_path, policy_tasks=64).played(200) == 64
    wrong_tasks = ({"policy_tasks": 32}, {"policy_tasks": 201}, {"n_tasks": (200, 100)})
    for wrong in (*wrong_tasks, {"rivals": ("margin", "max_herding")}):
        with pytest.raises(InputError, match="must"):
            Options(policies=("p",), data=tmp_path, **wrong)
