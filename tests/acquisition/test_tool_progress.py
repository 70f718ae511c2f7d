"""What status states: an interval from the yardstick alone, what the last labels changed, advice."""

from __future__ import annotations

import numpy as np
import pytest
from helpers.clusters import clusters
from scipy.stats import beta

from agents.acquisition.tool.progress import UNKNOWN, progress, status_lines


def named_clusters(noise: float, classes: int = 4, n: int = 600) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    truth = rng.integers(0, classes, n)
    x = clusters(truth, classes, apart=3, noise=noise, on_axes=True, seed=rng)
    return x, np.array([f"c{t}" for t in truth])


def labelled(truth: np.ndarray, count: int) -> np.ndarray:
    return np.array([t if i < count else None for i, t in enumerate(truth)], dtype=object)


def test_the_yardstick_gives_an_exact_interval() -> None:
    x, truth = named_clusters(1.2)
    drawn = np.zeros(600, bool)
    drawn[:30] = True
    state = progress(x, labelled(truth, 80), drawn=drawn)
    assert state.yardstick == 30 and state.accuracy is not None and state.interval is not None
    hits = round(30 * state.accuracy)
    assert 15 < hits < 30
    assert state.interval == pytest.approx(
        (beta.ppf(0.025, hits, 31 - hits), beta.ppf(0.975, hits + 1, 30 - hits))
    )
    lines = status_lines(state)
    assert "95 % interval" in lines[0] and "30 labels drawn at random" in lines[0]


def test_labels_of_the_yardstick_train_nothing() -> None:
    x, truth = named_clusters(1.2)
    drawn = np.zeros(600, bool)
    drawn[:30] = True
    wrong = labelled(truth, 80)
    wrong[:30] = "another class"
    state = progress(x, wrong, drawn=drawn)
    assert state.accuracy == 0 and state.changed == progress(x, labelled(truth, 80), drawn=drawn).changed


@pytest.mark.parametrize("noise", [0.1, 3.0])
def test_without_a_yardstick_no_accuracy_is_stated(noise: float) -> None:
    x, truth = named_clusters(noise)
    state = progress(x, labelled(truth, 60))
    assert state.accuracy is None and state.interval is None
    first, *others = status_lines(state)
    assert first == UNKNOWN and not any("accuracy 0" in line or "interval" in line for line in others)


def test_too_few_labels_give_no_figure() -> None:
    x, truth = named_clusters(0.1)
    state = progress(x, labelled(truth, 19))
    assert state.accuracy is None and state.changed == []
    assert state.advice.startswith("go on") and status_lines(state) == [UNKNOWN, state.advice]
    assert progress(np.eye(4), [None] * 4).counts == {}


@pytest.mark.parametrize(("noise", "advice"), [(0.1, "stop"), (3.0, "go on")])
def test_advice_follows_what_labels_changed(noise: float, advice: str) -> None:
    x, truth = named_clusters(noise)
    state = progress(x, labelled(truth, 60))
    assert state.advice.startswith(advice) and len(state.changed) == 3
    assert (max(state.changed) < 0.01) == (advice == "stop")


def test_a_change_is_seen_in_the_order_of_the_answers() -> None:
    """The last ten labels bring a class of their own."""
    x, truth = named_clusters(0.1)
    late = [i for i in range(60) if truth[i] == "c0"][:10]
    early = [i for i in range(600) if truth[i] != "c0"][:40]
    y = np.full(600, None, dtype=object)
    y[[*early, *late]] = truth[[*early, *late]]
    share = float(np.mean(truth == "c0"))
    assert progress(x, y, order=[*early, *late]).changed[-1] == pytest.approx(share, abs=0.02)
    assert progress(x, y, order=[*late, *early]).changed[-1] < 0.02
