"""`play`: paired starts, padding of unequal budgets, and the measures against plain loops."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from helpers.evaluation_stubs import RandomStub, core

from agents.evaluation import pair, play
from agents.evaluation.measures import area, aulc, labels_to_target, quality
from agents.strategies.base import PrivilegedStrategy
from metaal_env.errors import InputError
from metaal_env.oracle import LabelOracle
from metaal_env.pool.view import PoolView


class First(RandomStub):
    def score(self, view: PoolView) -> torch.Tensor:
        return -torch.arange(view.valid.shape[1]).expand_as(view.valid).float()


class NewClass(PrivilegedStrategy):
    """Takes an item of a class without a label."""

    def score_with(self, view: PoolView, oracle: LabelOracle) -> torch.Tensor:
        return 1 - torch.take_along_dim(view.seen.float(), oracle.true_labels.clamp(min=0), 1)


def test_same_seeds_give_same_tasks_and_results_in_any_batch() -> None:
    c = core(budget=(3, 8), way=(2, 4), pool_size=(20, 30))
    together = play(c, RandomStub(), range(10))
    apart = play(c, RandomStub(), range(10), batch_size=3)
    other = play(c, First(), range(10))
    assert np.array_equal(together.picks, apart.picks)
    for name, curve in together.curves.items():
        np.testing.assert_allclose(curve, apart.curves[name], atol=1e-5, equal_nan=True)
        np.testing.assert_allclose(curve[:, 0], other.curves[name][:, 0], atol=1e-6)
    assert np.array_equal(together.budget, other.budget) and np.array_equal(together.way, other.way)


def test_curves_end_with_each_episodes_own_budget() -> None:
    episodes = play(core(budget=(3, 8)), RandomStub(), range(12))
    assert len(set(episodes.budget)) > 1
    for row, budget in enumerate(episodes.budget):
        assert not np.isnan(episodes.curves["accuracy"][row, : budget + 1]).any()
        assert np.isnan(episodes.curves["accuracy"][row, budget + 1 :]).all()
        assert (
            len(np.unique(episodes.picks[row, :budget])) == budget
            and (episodes.picks[row, budget:] < 0).all()
        )
    expected = [np.nanmean(row[1:]) for row in episodes.curves["accuracy"]]
    np.testing.assert_allclose(aulc(episodes), expected)


def test_privileged_strategy_gets_the_oracle_and_is_marked() -> None:
    episodes = play(core(way=4, budget=4, class_concentration=np.inf), NewClass(), range(5), name="new")
    assert episodes.label == "new*"
    np.testing.assert_allclose(episodes.curves["coverage"][:, 4], 1.0)
    np.testing.assert_allclose(episodes.curves["coverage"][:, 0], 0.0)


def test_reward_set_can_be_measured_instead_of_the_test_set() -> None:
    c = core()
    test, reward = (play(c, First(), range(6), measure_on=on) for on in ("test", "reward"))
    assert np.array_equal(test.picks, reward.picks)
    assert not np.allclose(test.curves["log_loss"], reward.curves["log_loss"])


def test_first_step_is_what_the_core_says() -> None:
    c = core()
    episodes = play(c, First(), [5])
    task = c.sampler.sample([np.random.default_rng(5)])
    state = c.reset(task)
    for labels in range(3):
        hit = c.test_logits(state).argmax(-1) == task.test_labels
        assert episodes.curves["accuracy"][0, labels] == pytest.approx(hit.float().mean().item())
        c.step(state, torch.tensor([labels]))


def test_quality_against_loops() -> None:
    torch.manual_seed(0)
    logits, labels = torch.randn(3, 40, 5), torch.randint(-1, 5, (3, 40))
    got = quality(logits, labels)
    for b in range(3):
        keep = labels[b] >= 0
        p, y = torch.softmax(logits[b, keep], -1).numpy(), labels[b, keep].numpy()
        hit = p.argmax(1) == y
        assert got["accuracy"][b].item() == pytest.approx(hit.mean(), abs=1e-6)
        recall = np.mean([hit[y == c].mean() for c in np.unique(y)])
        assert got["balanced_accuracy"][b].item() == pytest.approx(recall, abs=1e-6)
        assert got["log_loss"][b].item() == pytest.approx(-np.log(p[range(len(y)), y]).mean(), abs=1e-5)
        bins = np.floor(p.max(1) * 10).clip(max=9)
        ece = sum(abs((p.max(1) - hit)[bins == i].sum()) for i in range(10)) / len(y)
        assert got["ece"][b].item() == pytest.approx(ece, abs=1e-5)


def test_labels_to_target_is_censored_not_missing() -> None:
    curve = np.array([[0.1, 0.5, 0.9], [0.1, 0.2, 0.3], [np.nan] * 3])
    np.testing.assert_array_equal(labels_to_target(curve, 0.5), [1, np.inf, np.nan])
    np.testing.assert_array_equal(area(curve), [0.7, 0.25, np.nan])


def test_pairing_leaves_missing_tasks_missing() -> None:
    c = core()
    paired = pair({"a": play(c, First(), range(4)), "b": play(c, RandomStub(), range(2, 6))})
    assert paired.values.shape == (6, 2)
    assert np.isnan(paired.values).sum(0).tolist() == [2, 2]


def test_bad_arguments() -> None:
    with pytest.raises(InputError, match="measure_on"):
        play(core(), First(), [0], measure_on="train")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="seeds"):
        play(core(), First(), [])
