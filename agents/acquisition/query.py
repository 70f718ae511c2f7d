"""`query`: which items of one's own pool to label next, in scikit-activeml's calling convention."""

from __future__ import annotations

import numbers
import warnings
from copy import deepcopy
from typing import Any

import numpy as np

from agents.acquisition.arrays import (
    InputTypeError,
    Labels,
    check_candidates,
    check_features,
    check_labels,
)
from agents.acquisition.batch import Selection, choose
from agents.acquisition.policies import PolicySpec, load_policy
from agents.acquisition.user_pool import build_pool
from metaal_env.errors import InputError


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
    random_state: int | np.random.RandomState | None = None,
    classes: Any = None,
    missing_label: Any = np.nan,
    budget: int | None = None,
) -> np.ndarray | tuple[np.ndarray, np.ndarray]:
    """Chooses the items of a pool to label next. Nothing that is passed in is changed.

    Pools of up to `pool.MAX_SCORED` unlabelled items are scored exactly. Of a larger one that many items,
    drawn uniformly, are scored and picked from; asked for utilities or for given candidates, the others take
    the utility of the scored item nearest to them.

    Args:
        X: (N, D) vectors or (N, H, W[, C]) images of any numeric type, possibly memory-mapped. Distances are
            taken as they are: scale columns of different units first.
        y: (N,) labels, `missing_label` where unknown.
        clf: classifier with ``predict_proba`` whose uncertainty guides the choice; by default metaal's own
            logistic regression, which also serves while fewer than two classes are known.
        fit_clf: fit a copy of `clf` to the labels; else it is used as it is.
        sample_weight: (N,) weights for fitting `clf`.
        candidates: positions in X, or (C, D) features; all unlabelled items by default. Labelled items may be
            named too; they come last.
        batch_size: items to choose together; more than there are is reduced with a warning.
        return_utilities: also return utilities.
        policy: see `policies.load_policy`; the default is ``"uherding"``. Learned ones want a `clf` and all `classes`.
        random_state: seed; None counts as 0, so that equal calls give equal answers.
        classes: all classes, where they are known in advance.
        missing_label: what stands for «unknown» in `y`: nan, None, a number or a string.
        budget: labels that will be bought in all, those known included; some rules plan with it, no learned policy.

    Returns:
        (b,) int64 positions in X, or in `candidates` where these are features. With `return_utilities` also
        (b, N) or (b, C) float64 utilities before each of the picks: higher = label first, NaN at earlier
        picks and items that are no candidate, as labelled ones are. Each pick has the highest utility of its row,
        but in batches of rules that compose them as a whole (badge, clue, batch_bald and their like).

    Raises:
        InputTypeError: an argument of the wrong type; it is a `TypeError` and an `InputError`.
        InputError: unusable values, e.g. NaN in X (naming the place); an ordinary `ValueError`.
    """
    found = select(
        X,
        y,
        clf=clf,
        fit_clf=fit_clf,
        sample_weight=sample_weight,
        candidates=candidates,
        batch_size=batch_size,
        return_utilities=return_utilities,
        policy=policy,
        random_state=random_state,
        classes=classes,
        missing_label=missing_label,
        budget=budget,
    )
    return (found.picks, found.utilities) if found.utilities is not None else found.picks


def select(
    X: Any,
    y: Any,
    *,
    clf: Any = None,
    fit_clf: bool = True,
    sample_weight: Any = None,
    candidates: Any = None,
    batch_size: int = 1,
    return_utilities: bool = False,
    policy: PolicySpec = None,
    random_state: int | np.random.RandomState | None = None,
    classes: Any = None,
    missing_label: Any = np.nan,
    budget: int | None = None,
) -> Selection:
    """As `query`, with what explains the picks."""
    x = check_features(X)
    labels = check_labels(y, len(x), missing_label)
    chosen = check_candidates(candidates, x, labels.known)
    size = _batch_size(batch_size, len(chosen.positions))
    weight = _weights(sample_weight, clf, len(x))
    for name, value in (("fit_clf", fit_clf), ("return_utilities", return_utilities)):
        if not isinstance(value, (bool, np.bool_)):
            raise InputTypeError(f"{name}={value!r} must be True or False.")
    if budget is not None and not isinstance(budget, numbers.Integral):
        raise InputTypeError(f"budget={budget!r} must be a whole number of labels.")
    strategy = load_policy(policy)
    if chosen.appended is not None:
        new = len(chosen.appended)
        x = np.concatenate([x, chosen.appended])
        labels = Labels(np.r_[labels.known, np.zeros(new, dtype=bool)], labels.values, labels.seen)
        weight = None if weight is None else np.r_[weight, np.ones(new)]
    pool = build_pool(
        x,
        labels,
        clf=clf,
        fit_clf=bool(fit_clf),
        sample_weight=weight,
        classes=classes,
        seed=_seed(random_state) + int(labels.known.sum()),
        budget=None if budget is None else int(budget),
        batch_size=size,
        with_learner=strategy.needs_learner,
    )
    everything = candidates is None
    found = choose(
        pool, x, chosen.positions, labels.known, size, strategy, everything, bool(return_utilities)
    )
    if not chosen.direct:
        return found
    place = {int(position): i for i, position in enumerate(chosen.positions)}
    return found._replace(
        picks=np.array([place[int(pick)] for pick in found.picks]),
        utilities=None if found.utilities is None else found.utilities[:, chosen.positions],
    )


def _batch_size(batch_size: Any, available: int) -> int:
    if isinstance(batch_size, (bool, np.bool_)) or not isinstance(batch_size, numbers.Integral):
        raise InputTypeError(f"batch_size={batch_size!r} must be a whole number.")
    if int(batch_size) < 1:
        raise InputError(f"batch_size={batch_size} must be at least 1.")
    if int(batch_size) > available:
        warnings.warn(
            f"batch_size={batch_size} exceeds the {available} candidates; all of them are returned.",
            stacklevel=3,
        )
    return min(int(batch_size), available)


def _weights(sample_weight: Any, clf: Any, n: int) -> np.ndarray | None:
    if sample_weight is None:
        return None
    if clf is None:
        raise InputError("sample_weight is given but clf is None; give the classifier whose fit it weighs.")
    try:
        weight = np.asarray(sample_weight, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise InputTypeError(f"sample_weight is no array of numbers ({error}).") from error
    if weight.shape != (n,):
        raise InputError(f"sample_weight has shape {weight.shape}; give one weight per item: ({n},).")
    return weight


def _seed(random_state: Any) -> int:
    if random_state is None:
        return 0
    if isinstance(random_state, np.random.RandomState):
        return int(deepcopy(random_state).randint(2**31))
    if isinstance(random_state, (bool, np.bool_)) or not isinstance(random_state, numbers.Integral):
        raise InputTypeError(f"random_state={random_state!r} must be None, an integer or a RandomState.")
    if int(random_state) < 0:
        raise InputError(f"random_state={random_state} must not be negative.")
    return int(random_state)
