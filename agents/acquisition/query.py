"""`query`: which items of one's own pool to label next, in scikit-activeml's calling convention."""

from __future__ import annotations

import warnings
from dataclasses import replace
from typing import Any

import numpy as np

from agents.acquisition.arrays import check_same_order, count, positive_whole
from agents.acquisition.batch import Selection
from agents.acquisition.belief import choose_batch
from agents.acquisition.candidates import Candidates, all_unlabelled, are_features, by_features, by_position
from agents.acquisition.classifier import check_classifier
from agents.acquisition.labels import Labels, check_labels, hint
from agents.acquisition.options import QueryOptions, Seed
from agents.acquisition.policies import PolicySpec, load_policy, searching
from agents.acquisition.pool_items import PoolItems, read_pool
from agents.acquisition.purchase import Purchase
from agents.acquisition.soft_labels import are_soft, read_soft_labels
from metaal_env.errors import InputError, InputTypeError


def query(
    X: Any,
    y: Any,
    clf: Any = None,
    fit_clf: bool = True,
    sample_weight: Any = None,
    candidates: Any = None,
    batch_size: int = 1,
    return_utilities: bool = False,
    policy: PolicySpec = None,
    random_state: Seed = None,
    classes: Any = None,
    missing_label: Any = np.nan,
    budget: float | None = None,
    prior: Any = None,
    costs: Any = None,
    groups: Any = None,
    per_group: int | None = None,
) -> np.ndarray | tuple[np.ndarray, np.ndarray]:
    """Chooses the items of a pool to label next. Nothing that is passed in is changed.

    Pools of up to `options.Limits.scored` unlabelled items are scored exactly. That many items stand for a larger one
    (see `scored_items`) and are picked from. Asked for utilities or for given candidates, the others take the utility
    of the scored item nearest to them. Strategies whose cost grows with items times classes score at most
    `options.Limits.cells` of these.

    Args:
        X: (N, D) vectors or (N, H, W[, C]) images of any numeric type, possibly memory-mapped; also a data frame, a
            SciPy sparse matrix or a torch tensor. Distances are taken as they are: scale columns of different units
            first. Where `clf` is a `Pipeline`, X may be anything that its steps read, e.g. texts or a data frame with
            columns of text: distances are then those of its steps' output before the last.
        y: (N,) labels, `missing_label` where unknown; or (N, C) soft labels, shares of the C `classes` in their order
            which sum to 1, NaN where unknown. `clf` is fitted to them by sample weights; rules see the largest.
        clf: classifier with ``predict_proba`` whose uncertainty guides the choice; it is given the rows of X as X
            holds them. By default scikit-learn's logistic regression for learned policies and metaal's own for rules.
            The latter also serves, with a warning, while there are too few labels to fit `clf`.
        fit_clf: fit a copy of `clf` to the labels; else it is used as it is, also before any label is known.
        sample_weight: (N,) weights for fitting `clf`, or the logistic regression that stands in under a learned policy.
        candidates: positions in X, an (N,) mask, or (C, D) features; all unlabelled items by default. Labelled items
            may be named too; they come last.
        batch_size: items to choose together; more than there are is reduced with a warning.
        return_utilities: also return utilities.
        policy: see `agents.acquisition.load_policy`; the default is ``"metaal-pools"``.
        random_state: seed, or a NumPy generator, which is not advanced; None counts as 0, so that equal calls give
            equal answers.
        classes: all classes, where they are known in advance.
        missing_label: the mark of «unknown» in `y`: nan, None, a number or a string. Values that are None, NaN,
            `pandas.NA` or masked are unknown in any case.
        budget: labels that will be bought in all, those known included; some rules plan with it, no learned policy.
        prior: (N, C) class probabilities from before the labels: of a zero-shot model, a language model or an old
            classifier. Columns follow `classes`, or are a data frame's, named like the classes. It is where the
            classifier starts; labels take over as they come, the sooner the less the prior foresaw them.
        costs: (N,) price above 0 of each item's label. A utility is then one for its money, as of the rule `per_cost`,
            and `budget` counts money. The batch is cut, with a warning, where the money ends.
        groups: (N,) what each item belongs to, e.g. patients; None, NaN or an empty text where it stands alone.
        per_group: most items of a group in the batch, which is cut, with a warning, where no more are left.

    Returns:
        (b,) int64 positions in X, or in `candidates` where these are features. With `return_utilities` also
        (b, N) or (b, C) float64 utilities before each of the picks: higher = label first, NaN at earlier
        picks, items that cost more than is left, items of a group that has enough, and items that are no candidate, as
        labelled ones are. Each pick has the highest utility of its row,
        but in batches of rules that compose them as a whole (badge, clue, batch_bald and their like).

    Raises:
        InputTypeError: an argument of the wrong type; it is a `TypeError` and an `InputError`.
        InputError: unusable values, e.g. NaN in X (naming the place), or a `clf` that cannot be fitted whatever the
            labels; an ordinary `ValueError`.
    """
    options = QueryOptions(
        clf, fit_clf, sample_weight, prior, classes, budget, missing_label, random_state, policy, costs, groups,
        per_group,
    )  # fmt: skip
    selection = select(
        X, y, options, candidates=candidates, batch_size=batch_size, return_utilities=return_utilities
    )
    if (costs is not None or per_group is not None) and len(selection.picks) < batch_size:
        warnings.warn(
            f"{len(selection.picks)} of {batch_size} items are chosen; the budget and per_group allow no more.",
            stacklevel=2,
        )
    return (selection.picks, selection.utilities) if selection.utilities is not None else selection.picks


def select(
    X: Any,
    y: Any,
    options: QueryOptions | None = None,
    *,
    candidates: Any = None,
    batch_size: int = 1,
    return_utilities: bool = False,
    **changes: Any,
) -> Selection:
    """Chooses as `query` does, and also returns what explains the picks.

    Args:
        options: the default ones if left out.
        changes: single options by name, which take the place of those in `options`.
    """
    options = replace(options or QueryOptions(), **changes)
    if not isinstance(return_utilities, (bool, np.bool_)):
        raise InputTypeError(f"return_utilities={return_utilities!r} must be True or False.")
    n = count(X)
    check_same_order(X, y, "y")
    soft = are_soft(y, options.classes)
    labels = read_soft_labels(y, options.classes, n) if soft else check_labels(y, n, options.missing_label)
    if soft and options.classes is None:
        options = replace(options, classes=list(y.columns))
    check_classifier(options.clf, options.fit_clf)
    items = read_pool(X, labels, options.clf, options.fit_clf)
    for name in ("sample_weight", "costs", "groups", "prior"):
        check_same_order(X, getattr(options, name), name)
    check_same_order(X, candidates, "candidates")
    chosen = _candidates(candidates, items, labels)
    size = _batch_size(batch_size, len(chosen.positions))
    weight, start = options.weights(n), options.start(n)
    seed = options.seed + int(labels.known.sum())
    strategy = load_policy(options.policy)
    if weight is not None and options.clf is None and not strategy.wants_classifier:
        raise InputError(
            f"sample_weight is given but clf is None, and policy={options.policy!r} fits no classifier of its own; "
            "give the classifier whose fit it weighs."
        )
    strategy = searching(strategy, labels)
    purchase, positions = Purchase.read(options, labels.known), chosen.positions
    if purchase is not None and chosen.new is not None:
        raise InputError("candidates that are not in X have no costs and groups; give positions in X.")
    if purchase is not None and purchase.costs is not None and options.budget is not None:
        more = purchase.labels_left(positions, options.budget)
        positions = positions[purchase.affordable(positions)]
        options = replace(options, budget=int(labels.known.sum()) + more)
    if chosen.new is not None:
        new = len(chosen.new)
        items = items.extended(candidates, chosen.new)
        labels = labels.extended(new)
        weight = None if weight is None else np.r_[weight, np.ones(new)]
        start = None if start is None else start.extended(new)
    options = replace(options, sample_weight=weight, prior=start)
    selection = choose_batch(
        items,
        labels,
        options,
        positions,
        size,
        strategy,
        everything=candidates is None and len(positions) == len(chosen.positions),
        with_utilities=bool(return_utilities),
        purchase=purchase,
        seed=seed,
    )
    if not chosen.direct:
        return selection
    position_of = {int(position): i for i, position in enumerate(chosen.positions)}
    return selection._replace(
        picks=np.array([position_of[int(pick)] for pick in selection.picks]),
        utilities=None if selection.utilities is None else selection.utilities[:, chosen.positions],
    )


def _candidates(candidates: Any, items: PoolItems, labels: Labels) -> Candidates:
    if candidates is None:
        return all_unlabelled(labels)
    if isinstance(candidates, (set, frozenset)):
        candidates = sorted(candidates)
    if are_features(candidates):
        rows = items.encode(items.in_my_order(candidates), "candidates")
        return by_features(rows, items.vectors, labels.known)
    chosen = by_position(candidates, len(items))
    if labels.known.all() and hint(labels.seen):
        raise InputError(f"candidates={chosen.positions[:5].tolist()}… all have a label{hint(labels.seen)}.")
    return chosen


def _batch_size(batch_size: Any, available: int) -> int:
    wanted = positive_whole(batch_size, "batch_size")
    if wanted > available:
        warnings.warn(
            f"batch_size={wanted} exceeds the {available} candidates; all of them are returned.",
            stacklevel=3,
        )
    return min(wanted, available)
