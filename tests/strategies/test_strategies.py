"""How strategies are named and built, how they compose batches and use chance."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.strategy_pools import pool, view_of
from helpers.task_cores import make_core, sample

from agents.acquisition import query
from agents.loading import load_strategy
from agents.strategies import STRATEGIES, Strategy
from metaal_env.errors import InputError
from metaal_env.pool.view import PoolView


def test_an_unknown_name_suggests_the_nearest() -> None:
    with pytest.raises(InputError, match="did you mean 'margin'"):
        load_strategy("margn")
    with pytest.raises(InputError, match="neither a registered name nor an existing path"):
        load_strategy("runs/nothing_here")


def test_a_users_class_is_loaded_from_its_file(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text(
        "from agents.strategies import Strategy\n"
        "class Last(Strategy):\n"
        "    def score(self, view):\n"
        "        return view.valid.cumsum(1).float()\n"
        "class Half(Strategy):\n    pass\n"
        "class Greedy(Strategy):\n"
        "    def __init__(self, must_have, *, seed=0):\n        super().__init__(seed=seed)\n"
        "    def score(self, view):\n        return view.valid\n"
        "class Other:\n    pass\n"
    )
    x, probs, labels = pool()
    strategy = load_strategy(f"{file}:Last", seed=4)
    assert strategy.seed == 4
    assert int(strategy.select(view_of(x, probs, labels))) == int(np.flatnonzero(labels < 0).max())
    for spec, message in (
        (f"{file}", "name its class"),
        (f"{file}:Missing", "not a Strategy subclass"),
        (f"{file}:Other", "not a Strategy subclass"),
        (f"{file}:Half", "lacks score"),
        (f"{file}:Greedy", "must_have"),
        (f"{tmp_path / 'absent.py'}:Last", "no file"),
    ):
        with pytest.raises(InputError, match=message):
            load_strategy(spec)
    broken = tmp_path / "broken.py"
    broken.write_text("import nothing_of_that_name\n")
    with pytest.raises(InputError, match="nothing_of_that_name"):
        load_strategy(f"{broken}:Last")


@pytest.mark.parametrize(
    ("returned", "message"),
    [
        (None, "Sloppy returned NoneType"),
        (np.zeros((1, 4)), "Sloppy returned ndarray"),
        (torch.zeros(4), r"returned shape \(4,\); return one score per item, \(1, 4\)"),
        (torch.tensor([[0.0, torch.nan, 0.0, 0.0]]), "returned NaN"),
    ],
)
def test_scores_that_cannot_be_ranked_are_refused(returned: object, message: str) -> None:
    class Sloppy(Strategy):
        def score(self, view: PoolView) -> torch.Tensor:
            return returned  # type: ignore[return-value]

    y = np.array([0, -1, -1, -1])
    view = view_of(np.eye(4), np.full((4, 2), 0.5), y)
    for choose in (Sloppy().select, lambda view: Sloppy().select_batch(view, 2)):
        with pytest.raises(InputError, match=message):
            choose(view)
    with pytest.raises(InputError, match=message):
        query(np.eye(4), np.where(y < 0, np.nan, y), policy=Sloppy())


def test_scores_may_be_whole_numbers_and_nan_where_nothing_is_picked() -> None:
    class Whole(Strategy):
        def score(self, view: PoolView) -> torch.Tensor:
            return view.valid.long().cumsum(1)

    class OnlyOpen(Strategy):
        def score(self, view: PoolView) -> torch.Tensor:
            return torch.where(view.selectable, 1.0, torch.nan)

    view = view_of(np.eye(4), np.full((4, 2), 0.5), np.array([0, -1, -1, -1]))
    assert Whole().select_batch(view, 2)[0].tolist()[0] == 3
    assert OnlyOpen().select(view).tolist() == [1]


def test_every_strategy_says_what_it_is() -> None:
    for name, strategy in STRATEGIES.items():
        assert isinstance(load_strategy(name), Strategy)
        assert strategy.__doc__, name


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"embeddings": np.zeros(3)}, "embeddings of shape"),
        ({"embeddings": np.full((4, 2), np.nan)}, "NaN"),
        ({"probs": np.ones((3, 2))}, "probs of shape"),
        ({"probs": -np.ones((4, 2))}, "not negative"),
        ({"labels": np.array([0, 5, -1, -1])}, "below K"),
        ({"labels": np.zeros((2, 4), dtype=int)}, "labels of shape"),
        ({"labels": np.zeros(6, dtype=int)}, "labels of shape"),
        ({"labels": np.array([0.5, 0, -1, -1])}, "labels must be whole numbers"),
        ({"labels": np.array([0, np.nan, np.nan, np.nan])}, "labels must be whole numbers"),
        ({"labels": np.array([0, -5, -1, -1])}, "-1 where unknown"),
        ({"labels": ["a", "b", None, None]}, "labels is not an array of numbers"),
        ({"embeddings": [["a", "b"]] * 4}, "embeddings is not an array of numbers"),
        ({"probs": "uniform"}, "probs is not an array of numbers"),
        ({"probs": np.ones((4, 0))}, "probs of shape"),
        ({"budget": 2.5}, "budget=2.5 must be a whole number"),
        ({"budget": -3}, "budget=-3 must be"),
        ({"learner": "prototype"}, "learner='prototype' must be an InnerLearner"),
        ({"probs": None}, "learner"),
    ],
)
def test_a_malformed_pool_is_refused_in_one_sentence(arguments: dict[str, object], message: str) -> None:
    good: dict[str, object] = {"embeddings": np.eye(4)[:, :2], "probs": np.full((4, 2), 0.5), "labels": None}
    with pytest.raises(InputError, match=message):
        PoolView.from_arrays(**(good | arguments))  # type: ignore[arg-type]


def test_a_batch_is_not_the_top_scores() -> None:
    """Three near-copies of the most uncertain item: a batch takes one of them."""
    x = np.array([[0.0, 0], [0.001, 0], [0, 0.001], [3, 0], [0, 3], [-3, -3]])
    probs = np.array([[0.50, 0.50], [0.501, 0.499], [0.499, 0.501], [0.6, 0.4], [0.62, 0.38], [0.9, 0.1]])
    labels = np.array([-1, -1, -1, -1, -1, 0])
    view = view_of(x, probs, labels)
    for name in ("margin", "entropy", "least_confident", "gradient_length", "information_density"):
        picks = load_strategy(name).select_batch(view, 3)[0].tolist()
        assert len({0, 1, 2} & set(picks)) == 1, name


def test_power_margin_draws_in_proportion() -> None:
    probs = np.array([[0.5, 0.5], [0.6, 0.4], [0.8, 0.2]])
    labels, draws = np.full(3, -1), 3000
    view = view_of(
        np.repeat(np.eye(3)[None], draws, 0),
        np.repeat(probs[None], draws, 0),
        np.repeat(labels[None], draws, 0),
    )
    view.seed = torch.arange(draws)
    picks = load_strategy("power_margin").select(view)
    expected = np.array([1, 0.8, 0.4]) ** 4
    frequency = np.bincount(picks.numpy(), minlength=3) / draws
    np.testing.assert_allclose(frequency, expected / expected.sum(), atol=0.04)


def test_without_labels_uncertainty_starts_at_random() -> None:
    core = make_core(initial_labels=0)
    view = core.view(core.reset(sample(core, 8)))
    for name in ("margin", "entropy", "least_confident", "bald"):
        first = load_strategy(name, seed=0).select(view)
        assert not torch.equal(first, load_strategy(name, seed=1).select(view))


def test_tcm_turns_from_covering_to_margin() -> None:
    x, probs, labels = pool(labelled=2)
    view = view_of(x, probs, labels)
    assert torch.equal(load_strategy("tcm").select(view), load_strategy("typiclust").select(view))
    x, probs, labels = pool(labelled=3)
    view = view_of(x, probs, labels)
    assert torch.equal(load_strategy("tcm").select(view), load_strategy("margin").select(view))
