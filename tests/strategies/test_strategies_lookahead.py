"""Look-ahead strategies against refitting the learner by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from helpers.strategy_pools import learner, pool, view_of
from helpers.task_cores import label, make_core, sample

from agents.strategies.committee import VoteEntropy, committee_probs
from agents.strategies.expected import (
    ExpectedEntropyReduction,
    ExpectedErrorReduction,
    ExpectedLogLossReduction,
    ExpectedModelChange,
)
from metaal_env.pool.view import PoolView


def brute_force_risk(view: PoolView, loss: str) -> np.ndarray:
    """Expected pool loss by adapting to one hypothetical support at a time."""
    assert view.learner is not None and view.prepared is not None
    x, labels = view.prepared[0], view.labels[0]
    known = torch.nonzero(labels >= 0).squeeze(1).tolist()
    rest = torch.nonzero(labels < 0).squeeze(1).tolist()
    risks = np.zeros(len(x))
    for i in rest:
        for y in range(3):
            support = x[[*known, i]].unsqueeze(0)
            target = torch.cat([labels[known], torch.tensor([y])]).unsqueeze(0)
            mask = torch.ones_like(target, dtype=torch.bool)
            adapted = view.learner.adapt(support, target, mask, view.class_mask)
            p = torch.softmax(view.learner.predict(adapted, x[rest].unsqueeze(0)), -1)[0].numpy()
            each = 1 - p.max(1) if loss == "error" else -(p * np.log(np.maximum(p, 1e-300))).sum(1)
            risks[i] += float(view.probs[0, i, y]) * each.mean()
    return risks


@pytest.mark.parametrize("labelled", [0, 1, 2, 6])
@pytest.mark.parametrize(
    ("strategy", "loss"), [(ExpectedErrorReduction, "error"), (ExpectedLogLossReduction, "entropy")]
)
def test_expected_error_both_routes_and_brute_force(
    labelled: int, strategy: type[ExpectedErrorReduction], loss: str
) -> None:
    x, probs, labels = pool(labelled)
    view = PoolView.from_arrays(x, probs, labels, learner=learner())
    exact, adapted = strategy().score(view), strategy(exact=False).score(view)
    with torch.no_grad():
        expected = -brute_force_risk(view, loss)
    open_ = view.selectable[0]
    np.testing.assert_allclose(exact[0, open_], expected[open_.numpy()], atol=2e-6)
    np.testing.assert_allclose(adapted[0, open_], expected[open_.numpy()], atol=2e-6)


@pytest.mark.parametrize("strategy", [ExpectedEntropyReduction, ExpectedModelChange])
def test_the_closed_form_equals_re_adapting(strategy: type[ExpectedModelChange]) -> None:
    core = make_core()
    state = core.reset(sample(core, 4))
    for _ in range(4):
        view = core.view(state)
        exact, adapted = strategy().score(view), strategy(exact=False).score(view)
        torch.testing.assert_close(
            exact[view.selectable], adapted[view.selectable], atol=2e-4, rtol=1e-3, check_dtype=False
        )
        label(core, state, 1)


@pytest.mark.parametrize("learner", ["prototype", "maml", "ridge", "logistic"])
@pytest.mark.parametrize("pool_size", [(14, 18), 64])  # the products of all pairs, or of the labels alone
def test_the_oracles_look_ahead_equals_re_adapting(learner: str, pool_size: int | tuple[int, int]) -> None:
    core = make_core(learner, reward_per_class=5, pool_size=pool_size, label_noise=0.2)
    state = core.reset(sample(core, 6))
    for _ in range(4):
        view, oracle = core.view(state), core.oracle(state)
        exact, adapted = oracle.look_ahead(), oracle.look_ahead(exact=False)
        for a, b in zip(exact, adapted, strict=True):
            torch.testing.assert_close(a[view.selectable], b[view.selectable], atol=1e-4, rtol=1e-3)
        label(core, state, 1)


def test_a_committee_of_all_features_varies_only_where_a_class_has_two_labels() -> None:
    x, _, _ = pool()
    labels = np.full(25, -1)
    labels[:3] = 0, 1, 2
    single = view_of(x, None, labels, learner=learner())

    committee = VoteEntropy(feature_share=1.0, members=6)
    probs = committee_probs(single, committee)
    torch.testing.assert_close(probs, single.probs.unsqueeze(1).expand_as(probs))
    labels[3] = 0
    double = view_of(x, None, labels, learner=learner())
    assert float(committee_probs(double, committee).std(1).max()) > 1e-3
