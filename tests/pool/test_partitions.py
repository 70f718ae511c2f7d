"""Partitions of a pool: the sampler against its formula, agreement with labels, and look-ahead against brute force."""

import numpy as np
import pytest
import torch
from helpers.clusters import clusters
from helpers.views import build, make_view
from sklearn.metrics import roc_auc_score

from agents.loading import load_strategy
from metaal_env.make import make_core
from metaal_env.pool import expected_gain as expectation
from metaal_env.pool import partitions, sampled_clusterings
from metaal_env.pool.expected_gain import expected_accuracy, expected_likelihood
from metaal_env.pool.gibbs_sampler import ALPHA, Chains, Items
from metaal_env.pool.view import PoolView


def blobs(
    n: int = 60, d: int = 5, k: int = 4, apart: float = 4.0, labels: int = 0, seed: int = 0
) -> tuple[PoolView, torch.Tensor]:
    """Two pools of `k` clusters, and their true classes."""
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, k, (2, n))
    x = np.stack([clusters(classes, d, apart=apart, seed=rng) for classes in truth])
    order = torch.from_numpy(rng.permuted(np.tile(np.arange(n), (2, 1)), axis=1)[:, :labels])
    revealed = torch.full((2, n), -1)
    revealed.scatter_(1, order, torch.take_along_dim(torch.from_numpy(truth), order, 1))
    view = build(torch.from_numpy(x).float(), torch.zeros(2, n, k), revealed, order)
    return view, torch.from_numpy(truth)


def together(found: partitions.Partitions) -> torch.Tensor:
    """(B, N, N) share of the partitions in which two items are of one class."""
    return torch.einsum("bmki,bmkj->bij", found.everyone, found.everyone) / found.everyone.shape[1]


def test_log_probabilities_are_those_of_the_formula() -> None:
    rng = np.random.default_rng(0)
    x = torch.from_numpy(rng.normal(size=(1, 9, 3)))
    assignment = rng.integers(0, 3, 9)
    member = torch.nn.functional.one_hot(torch.from_numpy(assignment), 3).double().T.reshape(1, 1, 3, 9)
    within, delta = torch.tensor([[0.4]], dtype=torch.double), torch.tensor([7.0], dtype=torch.double)
    given = Items.of(x)
    chains = Chains(given, given.blocks(), member, within, delta, torch.ones(1, 3, dtype=torch.bool))
    found = chains.log_probability(given)[0, 0].T.numpy()
    items, kappa = x[0].numpy(), 0.4 / 0.6
    for k in range(3):
        own = items[assignment == k]
        v = 1 + 1 / (len(own) + kappa)
        distance = ((items - own.sum(0) / (len(own) + kappa)) ** 2).sum(1)
        wanted = np.log(len(own) + ALPHA) - 3.5 * (np.log(v) + distance / (0.4 * v))
        np.testing.assert_allclose(found[:, k], wanted, atol=1e-9)


def test_sweeps_keep_sums_and_leave_fixed_items_alone() -> None:
    view, _ = blobs()
    given = sampled_clusterings.clusterings(view)
    same = given.within, given.sharpness, view.class_mask
    chains = Chains(given.items, given.blocks, given.member.clone(), *same)
    free = torch.rand(2, 60) < 0.5
    for _ in range(3):
        chains.sweep(free)
    for row in range(2):
        assert torch.equal(chains.member[row][..., ~free[row]], given.member[row][..., ~free[row]])
    fresh = Chains(given.items, given.blocks, chains.member, *same)
    torch.testing.assert_close(chains.sums, fresh.sums, atol=1e-3, rtol=1e-3)
    torch.testing.assert_close(chains.counts, fresh.counts)


def test_the_sampler_finds_clusters_without_a_label() -> None:
    view, truth = blobs(apart=3.0)
    found = together(partitions.partitions(view))
    for row in range(2):
        first, second = torch.triu_indices(60, 60, 1)
        same = truth[row, first] == truth[row, second]
        assert roc_auc_score(same, found[row, first, second]) > 0.95


def test_partitions_agree_with_labels_and_name_every_item() -> None:
    view, truth = blobs(labels=6)
    found = partitions.partitions(view)
    assert torch.equal(found.everyone.sum(2), torch.ones(2, sampled_clusterings.N_CLUSTERINGS, 60))
    named = found.everyone.argmax(2).transpose(1, 2)  # (B, N, M)
    assert (named == truth.unsqueeze(-1))[view.labelled].all()
    # The clusters are far apart: nearly all items of classes with labels follow them.
    known = torch.take_along_dim(view.seen, truth, 1)
    assert (named == truth.unsqueeze(-1))[known & ~view.labelled].float().mean() > 0.9


def test_labels_make_partitions_better() -> None:
    def wrong(labels: int) -> float:
        """Of the judgements about pairs without labels, over eight draws of two pools."""
        errors = []
        for seed in range(8):
            most, truth = blobs(n=80, k=6, apart=2.0, labels=60, seed=seed)
            view, _ = blobs(n=80, k=6, apart=2.0, labels=labels, seed=seed)
            open_ = most.selectable.unsqueeze(1) & most.selectable.unsqueeze(2)
            right = (truth.unsqueeze(1) == truth.unsqueeze(2)).float()
            errors.append((together(partitions.partitions(view)) - right).abs()[open_].mean())
        return float(torch.stack(errors).mean())

    assert wrong(60) < 0.9 * wrong(0)


def test_a_large_pool_is_partitioned_through_a_part_of_it() -> None:
    view, truth = blobs(n=600, labels=4)
    found = partitions.partitions(view)
    assert found.member.shape[-1] == sampled_clusterings.MAX_ITEMS and found.everyone.shape[-1] == 600
    same = truth[:, :, None] == truth[:, None]
    assert ((together(found) > 0.5) == same).float().mean() > 0.9


def brute_force(view: PoolView, likelihood: bool) -> torch.Tensor:
    """(B, N) by fitting the stand-in once for every item and partition, and judging it item by item."""
    found = partitions.partitions(view)
    everyone = found.everyone[:, :: expectation.EVERY].permute(0, 3, 1, 2)
    b, n, m, k = everyone.shape
    x = sampled_clusterings.coordinates(view.geometry).double().numpy()
    named, within = everyone.argmax(-1).numpy(), found.clusterings.within.mean(1).double().numpy()
    slope = found.clusterings.sharpness.double().numpy() / (2 * expectation.SOFTNESS * within)
    out = np.zeros((b, n))
    for row, i, part in np.ndindex(b, n, m):
        z = named[row, :, part]
        labels = view.labels[row].numpy().copy()
        labels[i] = z[i]
        scores = np.full((n, k), -np.inf)
        for c in range(k):
            own = x[row][labels == c]
            if len(own):
                scores[:, c] = -((x[row] - own.mean(0)) ** 2).sum(1) / (1 + 1 / len(own))
            elif likelihood:
                scores[:, c] = -within[row] * ((x[row] ** 2).sum(1) - np.log(2 * within[row]))
        if likelihood:
            p = np.exp(slope[row] * scores)
            value = (p / p.sum(1, keepdims=True))[np.arange(n), z]
        else:
            value = scores.argmax(1) == z
        out[row, i] += sum(value[z == c].mean() for c in np.unique(z)) / k / m
    return torch.from_numpy(out)


@pytest.mark.parametrize("labels", [0, 1, 5, 12])
@pytest.mark.parametrize("likelihood", [False, True])
def test_look_ahead_equals_brute_force(labels: int, likelihood: bool) -> None:
    view, _ = blobs(n=18, d=3, k=4, apart=1.5, labels=labels)
    found = (expected_likelihood if likelihood else expected_accuracy)(view)
    wanted = brute_force(view, likelihood)
    open_ = view.selectable
    torch.testing.assert_close(found[open_].double(), wanted[open_], atol=2e-5, rtol=2e-5)


@pytest.mark.parametrize("rule", ["partition_lookahead", "partition_cover"])
def test_first_picks_meet_every_class_of_clear_clusters(rule: str) -> None:
    core = make_core("digits", split="all", way=5, pool_size=80, budget=10, class_concentration=float("inf"))
    state = core.reset(core.sampler.sample([np.random.default_rng(i) for i in range(32)]))
    random, strategy = load_strategy("random"), load_strategy(rule)
    other = core.reset(core.sampler.sample([np.random.default_rng(i) for i in range(32)]))
    for _ in range(5):
        core.step(state, strategy.select(core.view(state)))
        core.step(other, random.select(core.view(other)))
    met, by_chance = (core.view(s).seen.float().mean() for s in (state, other))
    assert met > 0.9 > by_chance + 0.1


def test_partitions_of_few_classes_in_a_wide_batch_are_those_they_have_alone() -> None:
    view = make_view(n=30, k=4)
    wide = build(
        view.embeddings, torch.nn.functional.pad(view.logits, (0, 3)), view.labels, view.order, view.valid
    )
    wide.class_mask[:, 4:] = False
    torch.testing.assert_close(expected_accuracy(wide), expected_accuracy(view))
    torch.testing.assert_close(expected_likelihood(wide), expected_likelihood(view))
