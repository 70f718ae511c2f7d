"""A user's arrays to a `PoolView` of bounded size: the items to score, their geometry and their probabilities."""

from __future__ import annotations

import threading
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from agents.acquisition.classifier import known_classes, predictions
from agents.acquisition.labels import Labels, class_list, warn_of_targets
from agents.acquisition.opinion import Opinion, opinion
from agents.acquisition.options import QueryOptions
from agents.acquisition.own_head import dense, own_doubt, own_view, scaled, view_of_few_classes
from agents.acquisition.pool_items import PoolItems
from agents.acquisition.scored_items import scored_items
from agents.strategies.base import Strategy
from metaal_env.pool.class_count import ITEMS, cautious_class_count
from metaal_env.pool.distances import Geometry
from metaal_env.pool.remembered import remembered
from metaal_env.pool.view import PoolView

HORIZON = 20
"""Labels still to buy where the caller does not say."""


@dataclass(frozen=True)
class Pool:
    """The scored part of a user's pool.

    Attributes:
        rows: (M,) ascending positions in the caller's X of the items in the view.
        classes: the caller's names of the first of the K classes; the others have not been seen yet.
        closed: whether there are no others, so that columns without a name stand for nothing.
        one_hot: whether beside the labels nothing is known but a classifier that is quite sure of every item; then
            `agents.acquisition.policies.covering` lets no learned policy choose.
    """

    view: PoolView
    rows: np.ndarray
    classes: list[Any]
    closed: bool
    one_hot: bool = False


def build_pool(
    items: PoolItems,
    labels: Labels,
    options: QueryOptions,
    strategy: Strategy,
    *,
    batch_size: int = 1,
    seed: int = 0,
    quiet: bool = False,
) -> Pool:
    """Builds the pool as strategies see it.

    Args:
        items: N checked items.
        strategy: asked whether it re-adapts a learner, so that the view must hold metaal's own head.
        quiet: give no warnings of labels and classifier.

    Raises:
        InputError, InputTypeError: see `agents.acquisition.query`.
    """
    n = len(items)
    start = options.start(n)
    known = [options.classes, *known_classes(options.clf, options.fit_clf), start and start.classes]
    names, closed = class_list(labels.seen, *known, missing_label=options.missing_label)
    if not (closed or quiet):
        warn_of_targets(labels)
    heavy = strategy.grows_with_classes or strategy.needs_learner
    limits = options.limits
    scored = limits.scored
    if heavy:
        scored = min(scored, max(limits.least_scored, limits.cells // max(1, len(names))))
    n_labels = int(labels.known.sum())
    asked: list[Opinion] = []  # of a large pool, which is asked as a whole what is doubtful

    def ask(rows: np.ndarray) -> Opinion:
        given = predictions(items, labels, rows, options, names, closed, quiet=quiet)
        return opinion(given, items, labels, rows, options, strategy, quiet)

    def doubt(rows: np.ndarray) -> np.ndarray | None:
        asked.append(ask(rows))
        said = asked[0].predictions
        found = own_doubt(items.vectors, rows, labels) if said is None else said.doubt(n)
        if start is None:
            return found
        share = 1.0 if found is None else start.weight(n_labels)
        return share * start.doubt() + (0.0 if found is None else (1 - share) * found)

    rows = scored_items(
        items.vectors,
        labels.known,
        most=scored,
        limits=limits,
        seed=options.seed,
        draw=seed,
        doubt=doubt,
    )
    predicted, one_hot = asked[0] if asked else ask(rows)
    if asked and predicted is not None:
        predicted = predicted._replace(probs=predicted.ask(rows))
    if predicted is not None and not set(predicted.classes) <= set(names):  # a part of it was fitted before
        names, closed = class_list(labels.seen, names, predicted.classes)
    z = scaled(dense(items.vectors[rows]))
    geometry = Geometry(z.unsqueeze(0), torch.ones(1, len(z), dtype=torch.bool), limits.landmarks)
    if not strategy.needs_learner:  # which sees the vectors as a learner embeds them
        geometry = _remembered(geometry)
    k = max(2, len(names) + (not closed))
    if not closed and strategy.counts_classes:
        k = max(k, _class_count(geometry))
    code = {name: i for i, name in enumerate(names)}
    y = np.full(n, -1)
    y[labels.known] = [code[value] for value in labels.values.tolist()]
    probs = None if predicted is None else _in_order(predicted.probs, predicted.classes, code, k)
    view = _view(geometry, y[rows], k, seed, probs, strategy.needs_learner)
    if start is not None:
        trust = start.trust(np.flatnonzero(labels.known), labels.values.tolist())
        columns = [code[name] for name in start.classes]
        logits = start.combined(view.logits, rows, columns, start.weight(n_labels), trust)
        view = replace(view, logits=logits)
    budget = None if options.budget is None else min(int(options.budget), n)  # no more labels can be bought
    left = max(batch_size, HORIZON if budget is None else budget - n_labels)
    total = view.seed.new_tensor([left + n_labels if budget is None else max(budget, left)])
    view = replace(view, budget=total, budget_left=view.seed.new_tensor([left]))
    return Pool(view, rows, names, closed, one_hot)


def _in_order(raw: np.ndarray, columns: list[Any], code: dict[Any, int], k: int) -> np.ndarray:
    """(M, C) probabilities of named columns → (M, K), 0 for classes that are not among them."""
    probs = np.zeros((len(raw), k))
    probs[:, [code[name] for name in columns]] = raw
    return probs


_last = threading.local()  # a geometry holds scratch memory, so threads must not share one


def _remembered(geometry: Geometry) -> Geometry:
    """The geometry of this thread's last query if that was about the same vectors, else this one, remembered.

    Between two queries of a loop only labels change: distances, kernels and clusters are most of a query's time.
    Exact pools only, so that what is held stays below 60 MB.
    """
    if not geometry.exact or torch.is_inference_mode_enabled():  # what is made in that mode stays in it
        return geometry
    last: Geometry | None = getattr(_last, "geometry", None)
    if last is None or not torch.equal(last.embeddings, geometry.embeddings):
        _last.geometry = last = geometry
    return last


@remembered("pool")
def _class_count(geometry: Geometry) -> int:
    """The number of classes to reckon with."""
    some = geometry.evenly_spaced(min(geometry.valid.shape[1], ITEMS))
    return cautious_class_count(geometry.embeddings[0, some[0]])


def _view(
    geometry: Geometry, y: np.ndarray, k: int, seed: int, probs: np.ndarray | None, with_learner: bool
) -> PoolView:
    """Views vectors as they are, or embedded by the head for strategies that re-adapt it."""
    z = geometry.embeddings[0]
    if with_learner:
        own = own_view(z, y, k, seed)
        measured = Geometry(own.embeddings, own.valid, geometry.max_landmarks)
        own = replace(own, geometry=_remembered(measured))
        if probs is None:
            return own
        return replace(own, logits=torch.from_numpy(np.log(np.maximum(probs, 1e-30))).float().unsqueeze(0))
    if probs is not None:
        return replace(PoolView.from_arrays(z, probs, y, seed=seed), geometry=geometry)
    # Only the head's probabilities; distances are those of the vectors as they are.
    own = view_of_few_classes(z, y, k, seed)
    return replace(
        own, embeddings=geometry.embeddings, geometry=geometry, learner=None, prepared=None, adapt=None
    )
