"""Rules against brute-force computations of their definitions."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from helpers.clusters import clusters
from helpers.strategy_pools import pool, view_of
from scipy.spatial.distance import cdist
from sklearn.cluster import KMeans

from agents.loading import load_strategy
from agents.strategies import herding
from agents.strategies.coverage import DCoM
from agents.strategies.information import BAIT
from agents.strategies.progressive_filtering import Refine
from metaal_env.features import rules
from metaal_env.learners import LEARNERS
from metaal_env.pool.ball_cover import ball_gain, pure_radius
from metaal_env.pool.clusters import k_means
from metaal_env.pool.gaussian_mixture import gaussian_mixture
from metaal_env.pool.view import PoolView


def test_herding_rules() -> None:
    x, probs, labels = pool()
    view = view_of(x, probs, labels)
    squared = cdist(x, x, "sqeuclidean")
    known = labels >= 0
    mean = squared.mean()
    np.testing.assert_allclose(view.geometry.mean_sq_dist, mean)

    def gain(radius: float, weight: np.ndarray) -> np.ndarray:
        kernel = np.exp(-squared / radius)
        return (weight * np.maximum(kernel - kernel[known].max(0), 0)).mean(1)

    np.testing.assert_allclose(rules.herding_gain(view, 0.2)[0], gain(0.2 * mean, np.ones(25)), atol=1e-12)
    top = np.sort(probs, 1)
    between = squared[known][:, known]
    radius = min(0.5 * mean, between[between > 0].min())
    expected = gain(radius, 1 - (top[:, -1] - top[:, -2]))
    np.testing.assert_allclose(rules.uherding_gain(view, 0.5)[0], expected, atol=1e-12)
    cold = view_of(x, np.full((25, 3), 1 / 3), np.full(25, -1))
    np.testing.assert_allclose(rules.uherding_gain(cold, 0.2), rules.herding_gain(cold, 0.2), atol=1e-12)


def test_the_temperature_has_the_least_calibration_error_on_labels_left_out() -> None:
    rng = np.random.default_rng(0)
    truth = np.arange(40) % 3
    x = clusters(truth, 4, noise=1.5, seed=rng)
    labels = np.where(np.arange(40) < 17, truth, -1)
    view = PoolView.from_arrays(x, labels=labels, learner=LEARNERS["prototype"]((4,)))
    strategy = load_strategy("uherding_calibrated")
    folds = np.arange(17) % herding.FOLDS

    def error(tau: float) -> float:
        confidence, hit = np.zeros(17), np.zeros(17)
        for fold in range(herding.FOLDS):
            kept = np.where((np.arange(40) < 17) & (np.r_[folds, [-1] * 23] != fold), labels, -1)
            alone = PoolView.from_arrays(x, labels=kept, learner=LEARNERS["prototype"]((4,)))
            logits = torch.cat(
                [alone.logits[0, :17], torch.full((17, 3 - alone.logits.shape[2]), -np.inf)], 1
            )
            probs = torch.softmax(logits / tau, -1).numpy()
            out = folds == fold
            confidence[out], hit[out] = probs.max(1)[out], (probs.argmax(1) == labels[:17])[out]
        bins = np.minimum((confidence * herding.BINS).astype(int), herding.BINS - 1)
        return float(sum(abs((confidence - hit)[bins == i].sum()) for i in np.unique(bins)) / 17)

    found = float(herding.temperature(view, strategy))
    errors = {tau: error(tau) for tau in herding.TEMPERATURES}
    assert found != 1 and error(found) == pytest.approx(min(errors.values()), abs=1e-5)
    scaled = replace(view, logits=view.logits / found)
    torch.testing.assert_close(strategy.score(view), rules.uherding_gain(scaled))
    one = PoolView.from_arrays(
        x, labels=np.where(np.arange(40) < 1, 0, -1), learner=LEARNERS["prototype"]((4,))
    )
    torch.testing.assert_close(strategy.score(one), load_strategy("uherding").score(one))


def test_density_and_gradient_length() -> None:
    x, probs, labels = pool()
    view = view_of(x, probs, labels)
    squared = cdist(x, x, "sqeuclidean")
    density = np.exp(-squared / (rules.HERDING_WIDTH * squared.mean())).mean(1)
    entropy = -(probs * np.log(probs)).sum(1) / np.log(3)
    np.testing.assert_allclose(load_strategy("information_density").score(view)[0], entropy * density)
    h = np.concatenate([(x - x.mean(0)) / squared.mean() ** 0.5, np.ones((25, 1))], 1)
    length = [
        sum(p[y] * np.linalg.norm(np.outer(p - np.eye(3)[y], row)) for y in range(3))
        for p, row in zip(probs, h, strict=True)
    ]
    np.testing.assert_allclose(load_strategy("gradient_length").score(view)[0], length)


def test_bait_is_the_drop_of_the_block_diagonal_trace() -> None:
    x, probs, labels = pool()
    view = view_of(x, probs, labels)
    h = (x - x.mean(0)) / cdist(x, x, "sqeuclidean").mean() ** 0.5
    h = np.concatenate([h, np.ones((25, 1))], 1)
    w = probs * (1 - probs)

    def trace(chosen: list[int]) -> float:
        total = 0.0
        for c in range(3):
            pool_fisher = sum(w[i, c] * np.outer(h[i], h[i]) for i in range(25)) / 25
            known = sum((w[i, c] * np.outer(h[i], h[i]) for i in chosen), np.eye(5))
            total += np.trace(np.linalg.inv(known) @ pool_fisher)
        return total

    known = np.flatnonzero(labels >= 0).tolist()
    drop = [trace(known) - trace([*known, i]) for i in range(25)]
    np.testing.assert_allclose(BAIT().score(view)[0], drop, atol=1e-10)


def test_ball_coverage() -> None:
    x, probs, labels = pool()
    view = view_of(x, probs, labels)
    radius = float(pure_radius(view))
    squared = cdist(x, x, "sqeuclidean")
    assert np.isclose(np.abs(squared / radius - 1).min(), 0, atol=2e-5)  # one of the pool's own distances
    inside = squared <= radius + 1e-12
    covered = inside[labels >= 0].any(0)
    gain, share = ball_gain(view, torch.tensor([radius + 1e-12], dtype=torch.float64))
    np.testing.assert_array_equal(gain[0], (inside & ~covered).sum(1))
    np.testing.assert_allclose(share, covered.mean())
    # DCoM: little covered, coverage decides; all covered, margin decides.
    assert (
        DCoM(midpoint=2.0, steepness=200).score(view).argmax()
        == gain[0].masked_fill(view.labelled[0], -1).argmax()
    ) or gain.max() == gain[0].sort().values[-2]
    unsure = rules.margin(view).masked_fill(view.labelled, -1)
    certain = DCoM(midpoint=-2.0, steepness=200).score(view).masked_fill(view.labelled, -1)
    assert int(certain.argmax()) == int(unsure.argmax())


def test_k_means_is_as_good_as_the_best_of_ten_random_starts() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(60, 5))
    ours = k_means(torch.from_numpy(x)[None], torch.ones(1, 60, dtype=torch.float64), torch.tensor([7]))
    theirs = KMeans(7, n_init=10, random_state=0).fit(x).inertia_
    assert float(ours.sq_dist.sum()) < 1.1 * theirs
    nearest = cdist(x, ours.centres[0].numpy(), "sqeuclidean")
    np.testing.assert_array_equal(ours.assignment[0], nearest.argmin(1))


def test_the_mixture_finds_separated_components() -> None:
    truth = np.repeat([0, 1, 2], 20)
    x = clusters(truth, 4, apart=5, noise=0.3)
    found, density = gaussian_mixture(
        torch.from_numpy(x)[None], torch.ones(1, 60, dtype=torch.float64), torch.tensor([3])
    )
    assert len({(int(a), int(b)) for a, b in zip(truth, found.assignment[0], strict=True)}) == 3
    assert bool(torch.isfinite(density).all())


def test_refine_covers_what_the_ensemble_proposes() -> None:
    x, probs, labels = pool()
    view = view_of(x, probs, labels)
    unlabelled = torch.from_numpy(labels < 0)
    sure = Refine(ensemble=("margin",), share=1.0)
    # One rule that is shown all proposes its own favourite, whatever is picked from the rest.
    assert (
        sure.candidates(view, 1)[0].nonzero().flatten().tolist()
        == load_strategy("margin").select(view).tolist()
    )
    assert sure.select(view).tolist() == load_strategy("margin").select(view).tolist()
    for size in (1, 3):
        kept = Refine(ensemble=("random", "margin", "max_herding")).candidates(view, size)[0]
        assert size <= int(kept.sum()) < int(unlabelled.sum()) and not (kept & ~unlabelled).any()
        picks = Refine(ensemble=("random", "margin", "max_herding")).select_batch(view, size)[0]
        assert kept[picks].all() and len(set(picks.tolist())) == size
    once = Refine(ensemble=("margin", "k_center"), rounds=1)
    gain = rules.uherding_gain(view)[0].masked_fill(~once.candidates(view, 1)[0], -torch.inf)
    assert once.select(view).tolist() == [int(gain.argmax())]
    everything = Refine(ensemble=("random",)).select_batch(view, 25)[0]
    assert sorted(everything[everything >= 0].tolist()) == unlabelled.nonzero().flatten().tolist()
