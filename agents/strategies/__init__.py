"""Acquisition strategies: hand-written rules and learned policies behind one verb, ``score(view)``."""

from __future__ import annotations

# Imported for their registrations.
from agents.strategies import (  # noqa: F401
    adaptive,
    cluster_batch,
    committee,
    coverage,
    diversity,
    expected,
    herding,
    hybrid,
    information,
    partition_rules,
    privileged,
    progressive_filtering,
    terms,
    uncertainty,
    walk_coverage,
)
from agents.strategies.base import STRATEGIES, PrivilegedStrategy, Strategy
from agents.strategies.fitted import gain_models, lal_rl, weighted_rules  # noqa: F401

__all__ = ["STRATEGIES", "PrivilegedStrategy", "Strategy"]
