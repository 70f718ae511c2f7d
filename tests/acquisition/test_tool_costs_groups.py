"""Prices and groups in the commands: money is never overspent, and no group both trains and measures."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from helpers.clusters import clusters
from helpers.desks import CLASSES, TRUTH, Page, X, client, desk, texts

from agents.acquisition import query
from agents.acquisition.comparison import Plan, sessions
from agents.acquisition.items.items import Items
from agents.acquisition.named_classifiers import named_classifier
from agents.acquisition.played_sessions import split_pool
from agents.acquisition.tool.agreement import agreement_lines, cohen, krippendorff
from agents.acquisition.tool.answers import RANDOM
from agents.acquisition.tool.choice import Choice
from agents.acquisition.tool.commands import main
from agents.acquisition.tool.label import label_loop
from agents.acquisition.tool.label_errors import doubted_labels, folds
from agents.acquisition.tool.marks import update_mark
from agents.acquisition.tool.session import Session
from metaal_env.errors import InputError

PRICES = [1.0 + i % 4 for i in range(40)]
WARDS = ["" if i == 39 else f"w{i // 4}" for i in range(40)]


def pool(costs: list[float] | None = None, groups: list[str] | None = None) -> Items:
    base = texts()
    return Items(base.source, base.ids, base.labels, base.shown, texts=base.texts, costs=costs, groups=groups)


def opened(folder: Path, items: Items) -> Session:
    return Session.open(folder / "answers.csv", items, classes=CLASSES)


@pytest.fixture()
def table(work: Path) -> np.ndarray:
    x = clusters(np.arange(24) % 2, 2, apart=3, on_axes=True).round(3)
    rows = [[f"r{i}", *x[i], 1 + i % 3, f"p{i // 4}", "ab"[i % 2] if i < 4 else ""] for i in range(24)]
    with open("pool.csv", "w", newline="") as file:
        csv.writer(file).writerows([["id", "u", "v", "price", "patient", "label"], *rows])
    return np.asarray(x)


def suggested() -> list[int]:
    with open("suggestions.csv", newline="", encoding="utf-8-sig") as file:
        return [int(row["item"][1:]) for row in csv.DictReader(file)]


NAMED = ["--cost-column", "price", "--group-column", "patient"]


def test_suggestions_are_worth_their_money_and_of_different_patients(table: np.ndarray) -> None:
    assert main(["suggest", "pool.csv", *NAMED, "--k", "5", "--per-group", "1"]) == 0
    picks = suggested()
    assert len({i // 4 for i in picks}) == len(picks) == 5
    y = np.array(["ab"[i % 2] if i < 4 else None for i in range(24)], dtype=object)
    scaled = (table - table.mean(0)) / table.std(0)
    prices = 1 + np.arange(24) % 3
    wanted = query(
        scaled,
        y,
        missing_label=None,
        batch_size=5,
        costs=prices,
        groups=[f"p{i // 4}" for i in range(24)],
        per_group=1,
    )
    assert picks == wanted.tolist()


def test_a_budget_of_money_bounds_the_suggestions(
    table: np.ndarray, capsys: pytest.CaptureFixture[str]
) -> None:
    paid = sum(1 + i % 3 for i in range(4))
    assert main(["suggest", "pool.csv", *NAMED, "--k", "9", "--budget", str(paid + 4.5)]) == 0
    assert f"{len(suggested())} of 9 items are suggested; the budget" in capsys.readouterr().out
    assert 0 < sum(1 + i % 3 for i in suggested()) <= 4.5
    assert main(["suggest", "pool.csv", *NAMED, "--budget", str(paid + 0.5)]) == 2
    assert f"budget={paid + 0.5:g} is spent: the labels so far cost {paid}" in capsys.readouterr().err


@pytest.mark.parametrize("money", [2.0, 5.0, 9.0])
def test_the_yardstick_of_suggestions_is_paid_from_the_same_budget(table: np.ndarray, money: float) -> None:
    paid = sum(1 + i % 3 for i in range(4))
    options = ["--yardstick", "3", "--k", "9", "--budget", str(paid + money)]
    assert main(["suggest", "pool.csv", "--cost-column", "price", *options]) == 0
    assert 0 < sum(1 + i % 3 for i in suggested()) <= money


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--budget", "2.5"], "budget=2.5 must be a whole number of labels without --cost-column"),
        (["--per-group", "1"], "per_group=1 has no effect without --group-column"),
        ([*NAMED, "--per-group", "0"], "per_group=0 must be at least 1"),
        ([*NAMED, "--budget", "nan"], "budget=nan must be at least 0"),
        (["--cost-column", "label"], "says that item 1 costs 'a'"),
    ],
)
def test_what_is_refused(
    table: np.ndarray, arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["suggest", "pool.csv", *arguments]) == 2
    assert message in capsys.readouterr().err


def test_the_terminal_counts_money(tmp_path: Path) -> None:
    session = opened(tmp_path, pool(PRICES))
    choice = Choice.of_items(session.items, "margin", 6.0, CLASSES)
    seen: list[str] = []
    label_loop(session, X, choice, ask=lambda _: "ham", show=lambda line: seen.append(str(line)))
    assert 5 < choice.spent(session) <= 6 and "the budget of 6 is spent." in seen
    assert any(line.startswith("\n[1 labelled for ") and " of 6: ham 1]" in line for line in seen)


def test_two_pages_do_not_overspend(tmp_path: Path) -> None:
    items = pool(PRICES)
    with (
        desk(tmp_path, items, Choice.of_items(items, None, 15.5, CLASSES, yardstick=2)) as found,
        client(found) as http,
    ):
        pages = [Page(http, "one"), Page(http, "two")]
        for turn in range(40):
            page = pages[turn % 2]
            item = page.start()["item"]
            if item is not None:
                page.answer(item["position"], CLASSES[TRUTH[item["position"]]])
        state = pages[0].start()
        assert state["exhausted"] and state["money"] and 12 < state["spent"] <= 15.5
        assert state["spent"] == sum(PRICES[i] for i in found.session.answers)


# Groups


def test_the_yardstick_takes_whole_groups_and_the_choice_the_others(tmp_path: Path) -> None:
    items = pool(groups=WARDS)
    with desk(tmp_path, items, Choice.of_items(items, None, None, CLASSES, yardstick=6)) as found:
        claim = found.current("one")
        for _ in range(20):
            assert claim is not None
            claim = found.answer("one", claim.position, CLASSES[TRUTH[claim.position]])
    session = opened(tmp_path, pool(groups=WARDS))
    assert session.groups is not None
    key = session.groups.keys
    drawn = [i for i, answer in session.answers.items() if answer.drawn == RANDOM]
    assert len(drawn) == 6 and len({key[i] for i in drawn}) >= 2
    assert not {key[i] for i in drawn} & {key[i] for i in session.answers if i not in drawn}
    assert session.training_labels().tolist() == session.labels().tolist()


def test_the_same_items_are_drawn_after_a_break(tmp_path: Path) -> None:
    session = opened(tmp_path, pool(groups=WARDS))
    order = session.next_of_yardstick(5)
    for i in order[:3]:
        session.set(i, "ham", RANDOM)
    session.save()
    assert opened(tmp_path, pool(groups=WARDS)).next_of_yardstick(5) == order[3:]
    assert len({WARDS[i] for i in order[:2]}) == 2, "groups take turns"


def test_a_group_on_both_sides_trains_no_estimate(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Labels of a session that began without groups may lie on both sides."""
    session = opened(tmp_path, pool(groups=WARDS))
    session.set(0, "ham", RANDOM)
    for i in (1, 2, 8, 39):
        session.set(i, "spam")
    y = session.training_labels()
    assert [i for i, label in enumerate(y) if label is not None] == [0, 8, 39]
    assert session.labels()[1] == "spam"


def test_where_every_group_measures_there_is_still_something_to_choose(tmp_path: Path) -> None:
    session = opened(tmp_path, pool(groups=["only"] * 40))
    session.set(0, "ham", RANDOM)
    assert len(session.choosable_positions(10)) == 39
    assert session.next_of_yardstick(0) == []


def test_what_judges_shares_no_group_with_the_pool() -> None:
    groups = np.array([f"g{i % 7}" for i in range(70)])
    x = np.arange(70.0)[:, None]
    for seed in range(3):
        found = split_pool(x, np.zeros(70, int), size=30, seed=seed, groups=groups)
        pooled, held = (set(groups[part[:, 0].astype(int)]) for part in (found.x, found.held_x))
        assert not pooled & held and len(found.x) == 30 and len(found.held_x) == 30
    with pytest.raises(InputError, match="all 70 items are of one"):
        split_pool(x, np.zeros(70, int), size=30, seed=0, groups=np.array(["g"] * 70))
    plan = Plan(("random",), named_classifier("bayes"), labels=36, size=40)
    with pytest.raises(InputError, match="budget=36 exceeds the 35 items that whole groups leave"):
        next(sessions(x, np.arange(70) % 2, plan, 1, np.repeat(["a", "b"], [35, 35])))


def test_folds_do_not_split_groups() -> None:
    codes = np.arange(60) % 3
    groups = np.array([f"g{i // 5}" for i in range(60)])
    fold = folds(codes, np.random.default_rng(0), groups)
    assert all(len(set(fold[groups == g])) == 1 for g in set(groups)) and len(set(fold)) == 10


def test_wrong_labels_are_found_across_groups_and_a_class_of_one_group_is_left_alone() -> None:
    truth = np.arange(60) % 3
    x = clusters(truth, 3, apart=4, noise=0.5, on_axes=True)
    y = np.array([f"c{t}" for t in truth], dtype=object)
    groups = [f"g{i // 6}" for i in range(60)]
    y[7] = "c2"
    y[[30, 31, 32]] = "alone"
    assert [doubt.position for doubt in doubted_labels(x, y, groups=groups)] == [7]
    assert doubted_labels(x, y, groups=["one"] * 60) == []


# Agreement


def test_krippendorffs_own_example() -> None:
    """Computing Krippendorff's Alpha-Reliability (2011), section B: four observers, 12 units, α = .743."""
    rows = ["123321412...", "1233224125.3", ".3332342251.", "12332441251."]
    units = [[row[k] for row in rows if row[k] != "."] for k in range(12)]
    assert krippendorff([unit for unit in units if len(unit) > 1]) == pytest.approx(0.743, abs=5e-4)


@pytest.mark.parametrize(
    ("pairs", "kappa"),
    [
        ([("a", "a"), ("b", "b")], 1.0),
        ([("a", "b"), ("b", "a")], -1.0),
        ([("a", "a")] * 20 + [("a", "b")] * 5 + [("b", "a")] * 10 + [("b", "b")] * 15, 0.4),
        ([("a", "a")] * 3, None),
    ],
)
def test_cohens_kappa(pairs: list[tuple[str, str]], kappa: float | None) -> None:
    assert cohen(pairs) == (None if kappa is None else pytest.approx(kappa))


def test_status_tells_who_agrees_with_whom(tmp_path: Path) -> None:
    session = opened(tmp_path, pool())
    for i, opinions in enumerate([("ham", "ham"), ("ham", "spam"), ("spam", "spam"), ("eggs", "eggs")]):
        session.set(i, opinions[0])
        update_mark(session, i, annotator="ada", opinions=dict(zip(("ada", "bob"), opinions, strict=True)))
    session.set(9, "ham")
    lines = agreement_lines(session)
    assert lines[0] == "4 items were answered by several annotators, 3 of them alike; 1 to settle"
    assert lines[1] == "  ada and bob agree on 3 of 4, Cohen's kappa 0.64" and len(lines) == 2
    update_mark(session, 9, annotator="ada", opinions={"ada": "ham", "eve": "ham"}, settled=True)
    lines = agreement_lines(session)
    assert "  ada and eve agree on 1 of 1, Cohen's kappa undefined, since there is one class" in lines
    assert lines[-1].startswith("  all of them: Krippendorff's alpha 0.")
    assert agreement_lines(opened(tmp_path / "new", pool())) == []


def test_status_says_what_labels_cost_and_which_groups_measure(
    table: np.ndarray, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [f"r{i},{'ab'[i % 2]},{'random' if i in (4, 8) else 'chosen'}" for i in range(4, 16)]
    Path("pool.csv.labels.csv").write_text("\n".join(["item,label,drawn", *rows]) + "\n")
    assert main(["status", "pool.csv", *NAMED]) == 0
    printed = capsys.readouterr().out
    total = sum(1 + i % 3 for i in range(16))
    assert f"they cost {total}, {total / 16:.3g} a label" in printed
    assert "are of 2 groups, whose 6 other labels play no part in the estimates" in printed
