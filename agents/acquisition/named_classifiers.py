"""Classifiers by name, for commands that fit one: a few common ones, and any that can be imported."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Callable
from typing import Any

from metaal_env.errors import InputError, brief, unknown_name


def _logistic() -> Any:
    from sklearn.linear_model import LogisticRegression

    return LogisticRegression(max_iter=500)


def _neighbours() -> Any:
    from sklearn.neighbors import KNeighborsClassifier

    return KNeighborsClassifier(1)


def _bayes() -> Any:
    from sklearn.naive_bayes import GaussianNB

    return GaussianNB(var_smoothing=1e-2)


def _forest() -> Any:
    from sklearn.ensemble import RandomForestClassifier

    return RandomForestClassifier(100, random_state=0)


def _label_spreading() -> Any:
    from agents.acquisition.semi_supervised import SemiSupervised

    return SemiSupervised()


CLASSIFIERS: dict[str, Callable[[], Any]] = {
    "logistic": _logistic,
    "neighbours": _neighbours,
    "bayes": _bayes,
    "forest": _forest,
    "label_spreading": _label_spreading,
}
"""Name → builds the classifier. `label_spreading` is semi-supervised."""


def named_classifier(name: str) -> Callable[[], Any]:
    """Returns what builds the classifier of that name.

    Args:
        name: one of `CLASSIFIERS`; or ``module:attribute`` of a scikit-learn classifier, which is cloned, or of a class
            or function without arguments that builds one. Modules in the working folder are found.

    Raises:
        InputError: an unknown name, nothing of that name in the module, or something without ``fit``, ``predict``
            and ``predict_proba``.
    """
    module, colon, attribute = name.partition(":")
    if not colon:
        if name not in CLASSIFIERS:
            raise unknown_name("classifier", name, [*CLASSIFIERS, "module:attribute"])
        return CLASSIFIERS[name]
    what = f"classifier={name!r}"
    sys.path.insert(0, os.getcwd())
    try:
        found = getattr(importlib.import_module(module), attribute)
        made = found() if isinstance(found, type) or not hasattr(found, "fit") else found
    except Exception as error:  # a user's module may raise anything
        raise InputError(
            f"{what} cannot be built ({brief(error)}); give module:attribute of a classifier, or of what builds one."
        ) from error
    finally:
        sys.path.remove(os.getcwd())
    lacking = [part for part in ("fit", "predict", "predict_proba") if not hasattr(made, part)]
    if lacking:
        raise InputError(f"{what} has no {' and no '.join(lacking)}; give a classifier with probabilities.")
    if made is not found:
        builder: Callable[[], Any] = found
        return builder
    from sklearn.base import clone

    return lambda: clone(made)
