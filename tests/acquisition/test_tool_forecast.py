"""``metaal forecast``: plausible classes, paired plays, intervals from known errors, and what the command says."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from helpers.clusters import clusters
from sklearn.linear_model import LogisticRegression

from agents.acquisition.forecast.forecast import Forecast, Range, checkpoints, forecast, played_curves
from agents.acquisition.forecast.look_alikes import LookAlikes, from_log_odds, log_odds, look_alikes
from agents.acquisition.forecast.plausible import plausible_counts, plausible_truths
from agents.acquisition.tool.commands import main
from agents.acquisition.tool.forecast_command import lines, verdict


def test_partitions_agree_with_the_labels_and_find_what_lies_apart() -> None:
    truth = np.arange(90) % 3
    x = clusters(truth, 4, apart=8, noise=0.3, on_axes=True)
    y = np.full(90, -1)
    y[:6] = truth[:6]
    found = plausible_truths(x, y, [3, 3, 4])
    assert found.shape == (3, 90) and (found[:, :6] == truth[:6]).all()
    assert (found[:2] == truth).mean() > 0.9 and found[2].max() <= 3
    y[:6] = (truth[:6] + 1) % 3
    assert (plausible_truths(x, y, [3]) == (truth + 1) % 3).mean() > 0.9


def test_unknown_numbers_of_classes_are_spread_and_not_below_the_known() -> None:
    x = clusters(np.arange(200) % 5, 6, apart=3)
    counts = plausible_counts(x, 4, 3)
    assert counts == sorted(counts) and counts[0] >= 3 and counts[-1] > counts[0]


@pytest.mark.parametrize(("first", "last", "batch"), [(0, 40, 1), (0, 10, 4), (7, 20, 5)])
def test_sessions_are_judged_where_they_come_by(first: int, last: int, batch: int) -> None:
    found = checkpoints(first, last, batch)
    assert found <= {*range(first, last, batch), last} and last in found and len(found) >= 3


def test_played_curves_begin_with_the_known_labels() -> None:
    truth = np.arange(80) % 2
    x = clusters(truth, 3, apart=6, noise=0.3, on_axes=True)
    known = np.arange(80) < 6
    curves = list(
        played_curves(x, np.stack([truth, truth]), known, "margin", LogisticRegression, labels=10, batch=2)
    )
    assert len(curves) == 2 and all(curve.shape == (10,) and curve[-1] == 1 for curve in curves)


def test_errors_of_earlier_forecasts_shift() -> None:
    rows = np.array([[-1.0, 0.0], [-2.0, -1.0]])
    errors = LookAlikes(
        np.array([2, 10]), {"uherding": rows}, {"uherding": np.array([0.1, -0.1])}, 0.9, ("a", "b")
    )
    found = errors.of("unknown", np.array([2, 6, 20]))
    assert found == pytest.approx(np.array([[-1.0, -0.5, 0.0], [-2.0, -1.5, -1.0]]))
    told = forecast({"random": np.full((3, 2), 0.5), "margin": np.full((3, 2), 0.7)}, errors)
    assert told.curves["random"][:, 0] == pytest.approx(1 / (1 + np.exp([1.0, 2.0])))
    assert told.gaps["margin"] == pytest.approx([0.3, 0.1]) and told.level == 0.9
    assert from_log_odds(log_odds(np.array([0.3]))) == pytest.approx(0.3)


def small(better: float) -> Forecast:
    """Ten draws of straight curves from .5 on, and a policy that lies above random."""
    random = 0.5 + 0.01 * np.arange(10)[:, None] + 0.02 * np.arange(20)
    curves = {"random": random, "margin": random + better}
    return Forecast(np.arange(1, 21), curves, {"margin": np.full(10, better)}, 0.8)


def test_labels_and_savings_are_those_of_the_curves() -> None:
    found = small(0.1)
    assert found.labels_to("random", 0.7).middle == pytest.approx(9, abs=1)
    assert found.labels_to("random", 0.95) == Range(np.inf, 19.0, np.inf)
    assert found.saved("margin") == pytest.approx((0.1, 0.1, 0.1))
    fewer = found.labels_saved("margin", 0.75)
    assert fewer is not None and fewer.middle == pytest.approx(5, abs=1)
    assert found.labels_saved("margin", 0.99) is None
    assert "over 20" in lines(found, 0.95, 20)[1]


@pytest.mark.parametrize(("better", "said"), [(0.1, "margin saves labels"), (0.0, "label at random")])
def test_the_verdict_says_when_it_saves_nothing(better: float, said: str) -> None:
    assert said in verdict(small(better))


def test_errors_that_ship_are_of_paired_sessions() -> None:
    errors = look_alikes()
    shapes = {rows.shape for rows in errors.errors.values()}
    assert (
        len(shapes) == 1
        and shapes.pop()[1] == len(errors.labels)
        and {"random", "uherding"} <= set(errors.errors)
    )
    assert 0.8 <= errors.level <= 1 and len(set(errors.data)) >= 10


def test_the_command_before_and_after_labels(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = tmp_path / "items.csv"
    truth = np.arange(70) % 2
    x = clusters(truth, 2, apart=5, on_axes=True).round(3)
    data.write_text("id,u,v\n" + "".join(f"r{i},{a},{b}\n" for i, (a, b) in enumerate(x)))
    command = ["forecast", str(data), "--budget", "8", "--plays", "2", "--policies", "margin"]
    assert main([*command, "--way", "2"]) == 0
    printed = capsys.readouterr().out
    assert (
        "accuracy after 8" in printed and "random played" in printed and "nothing was labelled" not in printed
    )
    (tmp_path / "items.csv.labels.csv").write_text("item,label\nr0,a\nr1,b\n")
    assert main(command) == 0
    printed = capsys.readouterr().out
    assert "number of classes unknown, tried" in printed and "nothing was labelled" in printed
    for more, message in [
        (["--way", "1"], "way=1 must be at least 2"),
        (["--target", "90"], "target=90.0 must lie between 0 and 1"),
        (["--budget", "60"], "needs 90; lower --budget"),
        (["--policies", "margn"], "did you mean 'margin'"),
        (["--classes", "c,d", "--way", "3"], "way=3 is below the 4 classes"),
    ]:
        assert main([*command, *more]) == 2 and message in capsys.readouterr().err


def test_nothing_is_forecast_where_all_is_labelled(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pool = tmp_path / "pool.csv"
    pool.write_text("a,b,label\n" + "".join(f"{i},{i * i % 11},{'xy'[i % 2]}\n" for i in range(60)))
    assert main(["forecast", str(pool), "--budget", "6"]) == 2
    assert "all 60 items have a label; nothing is left" in capsys.readouterr().err


@pytest.mark.parametrize(("rows", "said"), [(1, "1 item"), (30, "30 items")])
def test_pools_of_few_items_are_labelled_rather_than_forecast(
    rows: int, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pool = tmp_path / "pool.csv"
    pool.write_text("a,b\n" + "".join(f"{i},{i * i % 11}\n" for i in range(rows)))
    assert main(["forecast", str(pool), "--budget", "4"]) == 2
    assert f"has {said}; a forecast needs at least 34: label so few all" in capsys.readouterr().err
