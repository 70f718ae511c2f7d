"""A small pool with labels, and the answer of `query` with its utilities."""

from __future__ import annotations

import sys
from importlib.machinery import ModuleSpec
from typing import Any

import numpy as np
import pytest
from helpers.clusters import clusters

from agents.acquisition import query
from agents.acquisition.items.text_encoders import MINILM_MODULE

N = 40


def data(n: int = N, labelled: int = 8, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    truth = np.arange(n) % 3
    y = np.where(np.arange(n) < labelled, truth.astype(float), np.nan)
    return clusters(truth, 5, noise=0.7, seed=seed), y, truth


def both(*args: Any, **options: Any) -> tuple[np.ndarray, np.ndarray]:
    """Picks and utilities."""
    found = query(*args, **(options | {"return_utilities": True}))
    assert isinstance(found, tuple)
    return found


def minilm_of(monkeypatch: pytest.MonkeyPatch, load: object) -> None:
    """Puts a stand-in for the package with MiniLM's weights in place; `load` makes its model."""
    module = type(sys)(MINILM_MODULE)
    module.__spec__ = ModuleSpec(MINILM_MODULE, None)
    module.load_model = load  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, MINILM_MODULE, module)
