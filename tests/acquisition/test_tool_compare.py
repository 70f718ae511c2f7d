"""``metaal compare``: paired sessions on labelled data, one table, one figure, and what is kept after Ctrl-C."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import matplotlib.image
import numpy as np
import pytest
from helpers.clusters import clusters
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier

from agents.acquisition import comparison
from agents.acquisition.comparison import Plan, as_episodes, sessions, table
from agents.acquisition.named_classifiers import named_classifier
from agents.acquisition.played_sessions import judged, play, split_pool
from agents.acquisition.tool.commands import main
from metaal_env.errors import InputError


@pytest.fixture()
def work(work: Path) -> Path:
    """The working folder, with 90 labelled items of three classes, and ten that have no label."""
    truth = np.arange(100) % 3
    x = clusters(truth, 3, apart=4, on_axes=True)
    rows = [
        f"r{i},{','.join(map(str, row.round(3)))},{'abc'[t]}"
        for i, (row, t) in enumerate(zip(x, truth, strict=True))
    ]
    rows[90:] = [row[:-1] for row in rows[90:]]
    Path("items.csv").write_text("\n".join(["id,u,v,w,label", *rows]) + "\n")
    Path("mine.py").write_text(
        "from sklearn.neighbors import KNeighborsClassifier\n"
        "from sklearn.svm import LinearSVC\n"
        "five = KNeighborsClassifier(5)\n"
        "def three(): return KNeighborsClassifier(3)\n"
    )
    return work


SMALL = ["compare", "items.csv", "--budget", "8", "--seeds", "2", "--policies", "margin"]


def rows() -> list[dict[str, str]]:
    with open("compare.csv", newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("classifier", ["logistic", "mine:five", "mine:three"])
def test_one_table_and_one_figure(work: Path, classifier: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*SMALL, "--classifier", classifier, "--start", "2"]) == 0
    printed = capsys.readouterr().out
    assert "90 of 100 items have a label, 3 classes; pools of 60" in printed and "too few" in printed
    found = {row["policy"]: row for row in rows()}
    assert set(found) == {"random", "margin"} and found["random"]["difference"] == ""
    apart = float(found["margin"]["aulc"]) - float(found["random"]["aulc"])
    assert float(found["margin"]["difference"]) == pytest.approx(apart, abs=1e-5)
    assert sum(int(found["margin"][key]) for key in ("wins", "ties", "losses")) == 2
    assert matplotlib.image.imread("compare.png").std() > 0.05
    assert main([*SMALL, "--seeds", "1"]) == 0, "its own outputs may be replaced"


def test_ctrl_c_keeps_what_is_finished(
    work: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    played: list[int] = []

    def interrupted(*arguments: Any, **options: Any) -> Any:
        played.append(options["seed"])
        if len(played) == 4:  # within the second pool
            raise KeyboardInterrupt
        return play(*arguments, **options)

    monkeypatch.setattr(comparison, "play", interrupted)
    with pytest.raises(SystemExit) as left:
        main([*SMALL, "--seeds", "9"])
    assert left.value.code == 130 and played == [0, 0, 1, 1]
    assert "interrupted after 1 of 9 pools" in capsys.readouterr().out
    assert {row["pools"] for row in rows()} == {"1"}


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--budget", "61"], "exceeds the 60 items"),
        (["--start", "8"], "start=8 must lie in 0…7"),
        (["--seeds", "0"], "seeds=0 must be at least 1"),
        (["--classifier", "forests"], "did you mean 'forest'"),
        (["--classifier", "mine:LinearSVC"], "has no predict_proba"),
        (["--classifier", "mine:six"], "cannot be built"),
        (["--policies", "margn"], "did you mean 'margin'"),
        (["--classes", "a,b"], "lacks 'c'"),
        (["--out", "items.csv"], "is a file that this command reads"),
        (["--out", "mine.py"], "exists and was not written"),
    ],
)
def test_bad_input_ends_in_one_sentence(
    work: Path, more: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*SMALL, *more]) == 2
    assert message in capsys.readouterr().err and not Path("compare.png").exists()


def _logistic() -> LogisticRegression:
    return LogisticRegression()


def test_all_policies_begin_with_the_same_labels() -> None:
    truth = np.arange(60) % 3
    plan = Plan(("random", "margin", "uherding"), _logistic, labels=6, start=5, size=40)
    for curves in sessions(clusters(truth, 3, apart=3), truth, plan, 2):
        assert len({curve[5] for curve in curves.values()}) == 1
        assert all(np.isnan(curve[:5]).all() and not np.isnan(curve[5:]).any() for curve in curves.values())


def test_the_table_is_the_mean_of_the_pools() -> None:
    plan = Plan(("random", "margin"), _logistic, labels=2)
    curves = [
        {"random": np.array([np.nan, 0.2, 0.4]), "margin": np.array([np.nan, 0.4, 0.8])},
        {"random": np.array([np.nan, 0.4, 0.6]), "margin": np.array([np.nan, 0.4, 0.6])},
    ]
    first, second = table(as_episodes(curves, plan, 3))
    assert (first.policy, second.policy) == ("margin", "random") and second.against is None
    assert first.aulc == pytest.approx(0.55) and second.aulc == pytest.approx(0.4)
    assert first.final == pytest.approx(0.7) and first.against is not None
    assert (first.against.wins, first.against.ties, first.against.losses) == (1, 1, 0)


@pytest.mark.parametrize("strict", [False, True])
def test_a_classifier_that_cannot_be_fitted_is_an_error_at_the_end_only(strict: bool) -> None:
    pool = split_pool(np.eye(30), np.arange(30) % 2, size=20, seed=0)
    y = np.full(20, np.nan)
    y[:3] = [1, 1, 0]

    def make() -> KNeighborsClassifier:
        return KNeighborsClassifier(5)

    if strict:
        with pytest.raises(ValueError, match="n_neighbors"):
            judged(pool, y, make)
    else:
        assert judged(pool, y, make, strict=False)["accuracy"] == np.mean(pool.held_truth == 1)


def test_named_classifiers_are_built_anew() -> None:
    make = named_classifier("sklearn.naive_bayes:GaussianNB")
    assert make() is not make()
    with pytest.raises(InputError, match="cannot be built"):
        named_classifier("nowhere:at_all")
