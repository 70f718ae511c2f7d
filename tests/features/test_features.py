"""What the policy sees: no coordinates, no indices, no class numbers, no hidden labels."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from helpers.environments import generators
from helpers.views import build, make_view

from agents.loading import load_strategy
from agents.policy.network import AcquisitionNetwork
from agents.policy.sb3_policy import LearnedStrategy
from metaal_env.batched import standardise
from metaal_env.features import ITEM_SCORES, FeatureNames, extract, standardised_scores
from metaal_env.make import make_core
from metaal_env.pool.view import PoolView


@pytest.fixture()
def network() -> AcquisitionNetwork:
    torch.manual_seed(0)
    network = AcquisitionNetwork(width=16)
    torch.nn.init.normal_(network.correction.weight)  # a trained one: nothing is zero any more
    torch.nn.init.normal_(network.rule_weights)
    return network


def play(network: AcquisitionNetwork, view: PoolView) -> torch.Tensor:
    return LearnedStrategy(network).score(view)


def test_permuting_the_pool_permutes_the_scores(network: AcquisitionNetwork) -> None:
    view = make_view()
    p = torch.randperm(20)
    inverse = torch.argsort(p)
    moved = build(view.embeddings[:, p], view.logits[:, p], view.labels[:, p], inverse[view.order])
    torch.testing.assert_close(play(network, moved), play(network, view)[:, p], atol=1e-4, rtol=1e-4)


def test_relabelling_the_classes_changes_nothing(network: AcquisitionNetwork) -> None:
    view = make_view()
    p = torch.randperm(4)
    labels = torch.where(view.labels >= 0, torch.argsort(p)[view.labels.clamp(min=0)], -1)
    renamed = build(view.embeddings, view.logits[..., p], labels, view.order)
    torch.testing.assert_close(play(network, renamed), play(network, view), atol=1e-4, rtol=1e-4)


def test_rotating_shifting_and_scaling_the_embeddings_changes_nothing(network: AcquisitionNetwork) -> None:
    view = make_view()
    rotation = torch.linalg.qr(torch.randn(6, 6)).Q
    turned = build(3 * view.embeddings @ rotation + 5, view.logits, view.labels, view.order)
    torch.testing.assert_close(play(network, turned), play(network, view), atol=2e-3, rtol=1e-3)


def test_the_budget_changes_the_value_alone(network: AcquisitionNetwork) -> None:
    torch.nn.init.normal_(network.gate)
    view = make_view()
    features, rich = (
        extract(view),
        extract(replace(view, budget=view.budget * 4, budget_left=view.budget_left + 30)),
    )
    outputs = [network(f.items, f.episode, view.valid) for f in (features, rich)]
    assert torch.equal(outputs[0].logits, outputs[1].logits)
    assert not torch.allclose(outputs[0].value, outputs[1].value)


def test_padding_changes_nothing(network: AcquisitionNetwork) -> None:
    view = make_view()
    pad = torch.nn.functional.pad
    valid = pad(view.valid, (0, 7))
    padded = build(
        pad(view.embeddings, (0, 0, 0, 7), value=9.0), pad(view.logits, (0, 0, 0, 7)),
        pad(view.labels, (0, 7), value=-1), view.order, valid,
    )  # fmt: skip
    torch.testing.assert_close(play(network, padded)[:, :20], play(network, view), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(
    ("n", "d", "k", "labels"), [(2, 3, 2, 0), (50, 128, 17, 9), (1500, 4, 3, 2), (5, 2, 2, 4)]
)
def test_one_set_of_weights_serves_every_pool(
    network: AcquisitionNetwork, n: int, d: int, k: int, labels: int
) -> None:
    scores = play(network, make_view(n=n, d=d, k=k, labels=labels))
    assert scores.shape == (3, n) and torch.isfinite(scores).all()


@pytest.mark.parametrize(
    "rule", ["uherding", "max_herding", "margin", "k_center", "entropy", "least_confident"]
)
def test_an_untrained_policy_plays_its_prior_exactly(rule: str) -> None:
    core = make_core("digits", split="all", way=5, pool_size=40, budget=8)
    policy, strategy = LearnedStrategy(AcquisitionNetwork(prior=rule)), load_strategy(rule)
    state = core.reset(core.sampler.sample(generators(16)))
    core.step(state, torch.arange(16))
    for _ in range(6):
        view = core.view(state)
        action = policy.select(view)
        # Ties apart: both name an item of the highest score.
        scores = strategy.score(view).masked_fill(~view.selectable, -torch.inf)
        chosen = scores.gather(1, action[:, None])[:, 0]
        torch.testing.assert_close(chosen, scores.amax(1), atol=1e-5, rtol=1e-5)
        core.step(state, action)


def test_hidden_labels_are_unreachable_and_unread(network: AcquisitionNetwork) -> None:
    """Changing every hidden label changes neither the view nor any score."""
    core = make_core("digits", split="all", way=4, pool_size=30, budget=8)
    tasks = core.sampler.sample(generators(4))
    state, other = core.reset(tasks), core.reset(tasks.rows(torch.arange(4)))
    for step in range(3):
        core.step(state, torch.full((4,), step))
        core.step(other, torch.full((4,), step))
    for name in ("pool_labels", "oracle_labels"):
        hidden = getattr(other.task, name)
        hidden[:, 3:] = (hidden[:, 3:] + 1) % 4
    view, changed = core.view(state), core.view(other)
    assert torch.equal(play(network, view), play(network, changed))
    assert torch.equal(view.labels, changed.labels) and (view.labels[:, 3:] == -1).all()
    seen, todo = set(), [view]
    while todo:  # no attribute of the view, however deep, leads to the task or its labels
        item = todo.pop()
        if id(item) in seen or isinstance(item, (str, int, float, type)):
            continue
        seen.add(id(item))
        assert type(item).__name__ not in ("TaskBatch", "LabelOracle", "EpisodeState", "Core")
        todo += list(vars(item).values()) if hasattr(item, "__dict__") else []
        todo += list(item.values()) if isinstance(item, dict) else []


def test_features_are_finite_in_degenerate_pools() -> None:
    same = torch.ones(2, 6, 3)
    view = build(same, torch.zeros(2, 6, 2), torch.full((2, 6), -1), torch.zeros(2, 0, dtype=torch.long))
    features = extract(view)
    assert torch.isfinite(features.items).all() and torch.isfinite(features.episode).all()
    relative = features.items[..., : len(FeatureNames.registered().item_scores)]
    assert (relative.abs() < 1e-3).all(), "identical items are told apart by nothing"


def test_one_far_item_does_not_outweigh_the_others() -> None:
    torch.manual_seed(0)
    x = torch.randn(1, 200, 4)
    x[0, 0] = 100.0
    none = torch.full((1, 200), -1)
    scores = standardised_scores(build(x, torch.zeros(1, 200, 3), none, torch.zeros(1, 0, dtype=torch.long)))
    density = scores[0, :, list(ITEM_SCORES).index("density")]
    assert density.argmin() == 0 and density.abs().max() < 4, "14 deviations before the arsinh"


def test_standardised_scores() -> None:
    scores, mask = torch.randn(4, 30, 2), torch.rand(4, 30) < 0.7
    z = standardise(scores, mask)
    for b in range(4):
        torch.testing.assert_close(z[b][mask[b]].mean(0), torch.zeros(2), atol=1e-5, rtol=0)
        torch.testing.assert_close(z[b][mask[b]].std(0, unbiased=False), torch.ones(2), atol=1e-4, rtol=0)
        assert (z[b][~mask[b]] == 0).all()


@pytest.mark.parametrize(("n_classes", "labels"), [(1, [-1, 0, -1, -1]), (2, [0, 1, 0, 1])])
def test_features_are_finite_with_a_single_class_and_with_nothing_left(
    n_classes: int, labels: list[int]
) -> None:
    probs = np.full((4, n_classes), 1 / n_classes)
    features = extract(PoolView.from_arrays(np.eye(4), probs, np.array(labels)))
    assert features.items.isfinite().all() and features.episode.isfinite().all()
