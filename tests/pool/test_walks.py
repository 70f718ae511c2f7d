"""Walks over the pool: against the powers of the chain's matrix, and what they may not depend on."""

import numpy as np
import pytest
import torch
from helpers.views import build, make_view

from metaal_env.pool.distances import Geometry
from metaal_env.pool.random_walks import certainty, walk_ends, walk_gain, walk_visits
from metaal_env.pool.view import PoolView

TEMPERATURE, STEPS = 0.3, 5


def chain(view: PoolView, row: int) -> np.ndarray:
    """Step probabilities of pool `row`, written out."""
    x = view.embeddings[row].double().numpy()
    distance = ((x[:, None] - x[None]) ** 2).sum(-1)
    logits = -distance / (TEMPERATURE * distance.std())
    np.fill_diagonal(logits, -np.inf)
    weights = np.exp(logits - logits.max(1, keepdims=True))
    return weights / weights.sum(1, keepdims=True)


def test_attention_is_a_softmax_of_distances_to_the_others() -> None:
    view = make_view()
    for row in range(3):
        np.testing.assert_allclose(view.geometry.attention(TEMPERATURE)[row].T, chain(view, row), atol=1e-5)


@pytest.mark.parametrize(("n", "d"), [(40, 3), (12, 30), (1, 4)])
def test_contrast_is_the_deviation_of_the_distances_over_their_mean(n: int, d: int) -> None:
    x = torch.randn(2, n, d, generator=torch.Generator().manual_seed(0), dtype=torch.float64) + 5
    valid = torch.ones(2, n, dtype=torch.bool)
    valid[1, n // 2 :] = n == 1  # the second pool is half as large
    geometry = Geometry(x, valid)
    for pool, real, found in zip(x, valid, geometry.contrast, strict=True):
        distance = torch.cdist(pool[real], pool[real]).square()
        wanted = distance.std(unbiased=False) / distance.mean() if n > 1 else 1e-3  # kept above 0
        torch.testing.assert_close(found, torch.as_tensor(wanted, dtype=torch.float64))


def test_ends_are_those_of_an_absorbing_chain() -> None:
    view = make_view()
    ends = walk_ends(view, TEMPERATURE, STEPS)
    for row in range(3):
        matrix, labelled = chain(view, row), view.labelled[row].numpy()
        absorbing = matrix.copy()
        absorbing[labelled] = np.eye(len(matrix))[labelled]
        # The first step leaves even a labelled item: its own label says nothing of its surroundings.
        reach = matrix @ np.linalg.matrix_power(absorbing, STEPS - 1)
        for k in range(4):
            at = labelled & (view.labels[row].numpy() == k)
            np.testing.assert_allclose(ends.classes[row, :, k], reach[:, at].sum(1), atol=1e-5)
        np.testing.assert_allclose(ends.reached[row], reach[:, labelled].sum(1), atol=1e-5)
    assert (certainty(ends) <= ends.reached + 1e-6).all() and (certainty(ends) >= 0).all()


def test_visits_sum_the_powers_of_the_chain() -> None:
    view = make_view()
    weight = torch.rand(3, 20)
    visits = walk_visits(view, weight.unsqueeze(1), TEMPERATURE, STEPS)[:, 0]
    for row in range(3):
        free = ~view.labelled[row].numpy()
        matrix = chain(view, row) * free  # a step to a label ends the walk
        at = (weight[row].numpy() * free).astype(float)
        total = at.copy()
        for _ in range(STEPS):
            at = at @ matrix
            total += at
        np.testing.assert_allclose(visits[row], total, atol=1e-4)


def test_gain_at_the_start_is_the_number_of_visits() -> None:
    view = make_view(labels=0)
    uniform = walk_visits(view, torch.ones(3, 1, 20), TEMPERATURE, STEPS)[:, 0]
    torch.testing.assert_close(walk_gain(view, TEMPERATURE, STEPS), uniform)
    assert (walk_ends(view, TEMPERATURE, STEPS).reached == 0).all()


def test_a_label_takes_the_gain_from_its_surroundings() -> None:
    """Two clusters, one with a label: the best item lies in the other."""
    rng = np.random.default_rng(0)
    x = torch.from_numpy(np.r_[rng.normal(0, 0.1, (12, 3)), rng.normal(3, 0.1, (8, 3))]).float().unsqueeze(0)
    labels = torch.full((1, 20), -1)
    labels[0, 2] = 0
    view = build(x, torch.zeros(1, 20, 3), labels, torch.tensor([[2]]))
    gain = walk_gain(view, 0.1, 4)[0]
    assert gain[12:].min() > gain[:12].max()


def test_a_distractor_ends_walks_without_a_class() -> None:
    view = make_view(labels=3)
    view.labels[:, :] = -1
    ends = walk_ends(view, TEMPERATURE, STEPS)
    assert (ends.classes == 0).all() and (ends.reached > 0).any()


@pytest.mark.parametrize("labels", [0, 6])
def test_landmarks_stand_for_the_pool(labels: int) -> None:
    """Against a third of the items the ranks stay much the same."""
    view = make_view(batch=1, n=300, d=2, labels=labels)
    exact = walk_gain(view, TEMPERATURE, STEPS)[0]
    coarse = make_view(batch=1, n=300, d=2, labels=labels)
    coarse.geometry = Geometry(coarse.embeddings, coarse.valid, max_landmarks=100)
    found = walk_gain(coarse, TEMPERATURE, STEPS)[0]
    ranks = [np.argsort(np.argsort(scores.numpy())) for scores in (exact, found)]
    assert np.corrcoef(*ranks)[0, 1] > 0.7
