"""Acquisition strategies: hand-written rules and learned policies behind one verb, ``score(view)``."""

from __future__ import annotations

import importlib.util
import inspect
from pathlib import Path

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
    uncertainty,
    walk_coverage,
)
from agents.strategies.base import STRATEGIES, PrivilegedStrategy, Strategy
from agents.strategies.fitted import gain_models, lal_rl, weighted_rules  # noqa: F401
from agents.strategies.fitted.base import is_fitted, load_fitted
from metaal_env.errors import InputError, unknown_name

__all__ = ["STRATEGIES", "PrivilegedStrategy", "Strategy", "make_strategy"]


def make_strategy(spec: str, *, seed: int = 0) -> Strategy:
    """A strategy from its name, a trained policy or a user's class.

    Args:
        spec: a registered name (``"margin"``); the folder or file of a trained policy (``"runs/my_run"``) or
            the folder of a fitted strategy; or ``"path/to/file.py:ClassName"``, a subclass of `Strategy`.
        seed: stream of a stochastic strategy's random numbers.

    Raises:
        InputError: nothing of that name; the message suggests the nearest, or says what is wrong.
    """
    if spec in STRATEGIES:
        return STRATEGIES[spec](seed=seed)
    file, separator, class_name = spec.rpartition(":")
    if separator and file.endswith(".py"):
        return _user_strategy(Path(file), class_name, seed)
    if spec.endswith(".py"):
        raise InputError(f"strategy={spec!r} names a file; name its class too: '{spec}:ClassName'.")
    if is_fitted(spec):
        return load_fitted(spec, seed=seed)
    if Path(spec).exists() or Path(f"{spec}.json").exists():
        from agents.policy.sb3_policy import LearnedStrategy  # imported here: a policy is a strategy itself

        return LearnedStrategy.load(spec)
    error = unknown_name("strategy", spec, STRATEGIES)
    if "/" in spec or "\\" in spec:
        error = InputError(
            f"strategy={spec!r} is neither a registered name nor an existing path; check the path."
        )
    raise error


def _user_strategy(path: Path, class_name: str, seed: int) -> Strategy:
    spec = f"{path}:{class_name}"
    if not path.is_file():
        raise InputError(f"strategy={spec!r}: there is no file {str(path)!r}; check the path.")
    module_spec = importlib.util.spec_from_file_location(f"metaal_user_{path.stem}", path)
    assert module_spec is not None and module_spec.loader is not None  # a .py file always has a loader
    module = importlib.util.module_from_spec(module_spec)
    try:
        module_spec.loader.exec_module(module)
    except Exception as error:
        raise InputError(f"strategy={spec!r}: importing the file raised {error!r}; mend the file.") from error
    found = getattr(module, class_name, None)
    if not (inspect.isclass(found) and issubclass(found, Strategy)):
        own = [
            name
            for name, value in vars(module).items()
            if inspect.isclass(value) and value.__module__ == module.__name__
        ]
        raise InputError(
            f"strategy={spec!r}: {class_name!r} is not a Strategy subclass in that file; "
            f"its classes are: {', '.join(own) or 'none'}."
        )
    if inspect.isabstract(found):
        missing = ", ".join(sorted(found.__abstractmethods__))
        raise InputError(f"strategy={spec!r}: the class lacks {missing}; define it.")
    try:
        return found(seed=seed)
    except TypeError as error:
        raise InputError(
            f"strategy={spec!r}: cannot be built with seed={seed} alone ({error}); "
            "give its other parameters defaults."
        ) from error
