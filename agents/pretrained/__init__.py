"""Names of policies: what ships with the package, what is the default, and what `policy=` may be."""

from __future__ import annotations

import os
from functools import lru_cache
from pathlib import Path
from typing import TypeAlias

from agents.acquisition.arrays import InputTypeError
from agents.evaluation.protocol.loading import SHIPPED
from agents.strategies import STRATEGIES, Strategy, make_strategy
from agents.strategies.base import PrivilegedStrategy
from metaal_env.errors import InputError, unknown_name

DEFAULT = "uherding"
"""What picks where nothing is asked for: a rule that holds its own in every space, with and without a classifier.
`metaal-general` is .014 ahead of the herding rules on new classes in spaces like those of its training (embeddings of
images, MiniLM's of texts), but .006 behind them on unequal tables that it has not seen, and without the user's
classifier not ahead of `uherding` on own pools (`docs/experiments.md`, `docs/own_pool.md`)."""

PolicySpec: TypeAlias = "str | os.PathLike[str] | Strategy | None"


def shipped_policies() -> dict[str, Path]:
    """Name → folder of every policy that ships with the package."""
    found = (file.parent for file in sorted(SHIPPED.glob("*/policy.json")))
    return {folder.name: folder for folder in found if (folder / "policy.safetensors").is_file()}


def load_policy(policy: PolicySpec = None) -> Strategy:
    """The strategy behind `policy`.

    Args:
        policy: None for `DEFAULT`; the name of a shipped policy or of a rule; a run folder or the path
            of a saved policy; ``"file.py:ClassName"``; or a `Strategy`.

    Raises:
        InputTypeError: something else.
        InputError: unknown name, damaged files, or a rule that looks at hidden labels.
    """
    if isinstance(policy, Strategy):
        strategy = policy
    elif policy is None or isinstance(policy, (str, os.PathLike)):
        spec = DEFAULT if policy is None else os.fspath(policy)
        shipped = shipped_policies()
        if spec in shipped and spec not in STRATEGIES:
            strategy = _learned(shipped[spec], (shipped[spec] / "policy.json").stat().st_mtime_ns)
        elif _is_plain_name(spec) and spec not in STRATEGIES:
            raise unknown_name("policy", spec, [*shipped, *STRATEGIES])
        else:
            strategy = make_strategy(spec)
    else:
        raise InputTypeError(f"policy={policy!r} must be a name, a path or a Strategy.")
    if isinstance(strategy, PrivilegedStrategy):
        raise InputError(
            f"policy={policy!r} looks at hidden labels, which your own pool lacks; choose another."
        )
    return strategy


def _is_plain_name(spec: str) -> bool:
    """Whether it is no path, neither by its looks nor by what is there."""
    by_looks = any(sign in spec for sign in "/\\:.")
    return not by_looks and not Path(spec).exists() and not Path(f"{spec}.json").exists()


@lru_cache(maxsize=4)
def _learned(folder: Path, changed: int) -> Strategy:
    """Read once: loading takes as long as a query."""
    from agents.policy.sb3_policy import LearnedStrategy  # imports stable-baselines3

    return LearnedStrategy.load(folder)
