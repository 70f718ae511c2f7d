"""The parts that several strategies share: hypotheses, committees, clusters, each against plain loops."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.clusters import clusters
from helpers.task_cores import label, make_core, sample
from scipy.spatial.distance import cdist

from agents.evaluation.protocol.loading import strategy_digest
from agents.strategies.cluster_batch import Clue
from agents.strategies.committee import BALD, committee_probs, guesses
from agents.strategies.fitted.gain_models import LAL
from agents.strategies.lookahead import hypotheses, predict_under, tile
from metaal_env.learners import LEARNERS
from metaal_env.pool.clusters import k_means
from metaal_env.pool.typicality import typicality
from metaal_env.pool.view import PoolView


def few_labels(classes: int, items: int = 40, seed: int = 0) -> PoolView:
    """A pool of 5 clusters with one label in each of the first `classes` of them."""
    rng = np.random.default_rng(seed)
    truth = np.arange(items) % 5
    x = clusters(truth, 6, apart=3, seed=rng)
    labels = np.where(np.arange(items) < classes, truth, -1)
    probs = rng.dirichlet(np.ones(5), items)
    return PoolView.from_arrays(x, probs, labels, learner=LEARNERS["prototype"]((6,)))


@pytest.mark.parametrize("name", ["prototype", "maml", "finn_maml", "meta_sgd", "ridge", "matching"])
def test_predicting_under_all_hypotheses_at_once_equals_one_by_one(name: str) -> None:
    core = make_core(name)
    state = core.reset(sample(core, 3))
    label(core, state, 2)
    view = core.view(state)
    assert view.learner is not None and view.prepared is not None
    items = view.prepared[:, :7]
    k = view.class_mask.shape[1]
    for part, adapted, _ in hypotheses(view, None, items.shape[1]):
        copies = (part.stop - part.start) * k
        together = predict_under(view, view.learner, adapted, items)  # (B, E, K, c·K)
        alone = view.learner.predict(adapted, tile(items, copies)).unflatten(0, (len(view), copies))
        torch.testing.assert_close(together, alone.permute(0, 2, 3, 1), atol=1e-4, rtol=1e-4)
    assert view.learner.shares_items == (name in ("prototype", "maml"))


def test_members_guess_an_unlabelled_item_for_every_absent_class() -> None:
    view = few_labels(classes=2)
    guess, absent = guesses(view, 12, 0)
    assert absent.tolist() == [[False, False, True, True, True]]
    assert bool(view.selectable[0, guess].all()) and guess.unique().numel() > 12
    everything = PoolView.from_arrays(
        np.eye(3), np.eye(3), np.array([0, 1, -1]), learner=LEARNERS["prototype"]((3,))
    )
    only, _ = guesses(everything, 4, 0)
    assert bool((only == 2).all())
    full = PoolView.from_arrays(np.eye(3), np.eye(3), np.array([0, 1, 1]))
    assert not bool(guesses(full, 4, 0)[1].any())  # nothing left to guess


def test_a_committee_is_its_members_adapted_one_by_one() -> None:
    """Without feature shares and with one label a class, a member is the labels and its own guesses."""
    view = few_labels(classes=2)
    strategy = BALD(members=4, feature_share=1.0)
    found = committee_probs(view, strategy)
    guess, _ = guesses(view, 4, strategy.seed + 2)
    assert view.learner is not None and view.prepared is not None
    for member in range(4):
        support = view.prepared[:, [0, 1, *guess[0, member, 2:].tolist()]]
        adapted = view.learner.adapt(
            support, torch.arange(5).unsqueeze(0), torch.ones(1, 5, dtype=torch.bool), view.class_mask
        )
        probs = torch.softmax(view.learner.predict(adapted, view.prepared), -1)
        torch.testing.assert_close(found[:, member], probs)


def test_members_disagree_about_classes_without_labels_only_with_guesses() -> None:
    view = few_labels(classes=2)
    foreign = torch.arange(40) % 5 >= 2
    blind, guessing = (BALD(guess=guess, feature_share=1.0).score(view)[0] for guess in (False, True))
    assert float(blind.max()) < 1e-6  # one label a class: every bootstrap sample is the same
    assert float(guessing[foreign].mean()) > 1.5 * float(guessing[~foreign].mean())


@pytest.mark.parametrize("items", [60, 1100])
def test_typicality_by_brute_force(items: int) -> None:
    """Two pools at once, with clusters from one item to many; the larger ones against landmarks only."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(2, items, 3))
    view = PoolView.from_arrays(x, np.full((2, items, 2), 0.5), dtype=torch.float64)
    found_clusters = k_means(view.embeddings, view.valid.double(), torch.tensor([9, 4])).assignment
    found_clusters[0, 0] = 9  # alone
    found = typicality(view, found_clusters)
    for b in range(2):
        distance = cdist(x[b], x[b])
        np.fill_diagonal(distance, np.inf)
        same = (found_clusters[b][:, None] == found_clusters[b][None]) & view.geometry.is_landmark[b]
        near = np.sort(np.where(same.numpy(), distance, np.inf), 1)[:, :20]
        count = np.isfinite(near).sum(1)
        expected = count / (np.where(np.isfinite(near), near, 0).sum(1) + 1e-7)
        np.testing.assert_allclose(found[b], expected, rtol=1e-6)
    assert float(found[0, 0]) == 0


def test_clusters_with_labels_wait_for_those_without() -> None:
    """Three tight groups, uncertain all over: CLUE visits each before it comes back to the largest."""
    group = np.array([0] * 12 + [1] * 6 + [2] * 3)
    x = clusters(group, 3, apart=20, noise=0.1, on_axes=True)
    labels = np.full(21, -1)
    visited = []
    for _ in range(3):
        view = PoolView.from_arrays(x, np.full((21, 3), 1 / 3), labels, budget=3)
        pick = int(Clue().select(view))
        visited.append(group[pick])
        labels[pick] = group[pick]
    assert sorted(visited) == [0, 1, 2]


def test_a_fitted_strategy_has_a_fingerprint_of_its_weights(tmp_path: Path) -> None:
    strategy = LAL()
    strategy.save(tmp_path / "lal")
    before = strategy_digest(str(tmp_path / "lal"))
    assert before and before == strategy_digest(str(tmp_path / "lal"))
    with torch.no_grad():
        next(strategy.network.parameters()).add_(1.0)
    strategy.save(tmp_path / "lal")
    assert strategy_digest(str(tmp_path / "lal")) not in ("", before)
    assert strategy_digest("uherding") == ""
