"""Loads a `Strategy` by name: a rule, a shipped, trained or fitted strategy, or an object in a user's file."""

from __future__ import annotations

import importlib.util
import inspect
import os
import re
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeAlias

from agents.pretrained import shipped_policies
from agents.sharing import HUB, from_pretrained
from agents.strategies import STRATEGIES, Strategy
from agents.strategies.fitted.base import is_fitted, load_fitted
from agents.strategies.scikit_activeml import QueryStrategyAdapter, is_query_strategy
from metaal_env.errors import InputError, InputTypeError, unknown_name

StrategySpec: TypeAlias = "str | os.PathLike[str] | Strategy"

_OTHER_STREAM = re.compile(r"(.+)@(\d+)")


def load_strategy(spec: StrategySpec, *, seed: int = 0, argument: str = "strategy") -> Strategy:
    """Returns the strategy behind a name.

    Args:
        spec: a `Strategy`, which is returned as it is; a registered rule (``"margin"``); a shipped policy
            (``"metaal-general"``); the folder or file of a trained policy (``"runs/my_run"``) or of a fitted
            strategy; a policy on Hugging Face's hub (``"hf://owner/name"``); ``"file.py:Name"``, a subclass of
            `Strategy` or a query strategy of scikit-activeml (class or object); or any of these with ``@1``, the same
            strategy under another seed (for A/A tests).
        seed: stream of a stochastic strategy's random numbers.
        argument: name of the argument in error messages.

    Raises:
        InputTypeError: `spec` is neither a name, a path nor a strategy.
        InputError: the name is unknown (the message suggests the nearest), or the files are unusable.
    """
    if isinstance(spec, Strategy):
        return spec
    if not isinstance(spec, (str, os.PathLike)):
        raise InputTypeError(f"{argument}={spec!r} must be a name, a path or a Strategy.")
    if not (name := os.fspath(spec)).strip():
        raise InputError(f"{argument}={name!r} is empty; name a rule, a policy or a path.")
    if match := _OTHER_STREAM.fullmatch(name):
        return load_strategy(match[1], seed=seed + 7919 * int(match[2]), argument=argument)
    if name in STRATEGIES:
        return STRATEGIES[name](seed=seed)
    shipped = shipped_policies()
    if name in shipped:
        return _shipped(shipped[name], (shipped[name] / "policy.json").stat().st_mtime_ns)
    file, separator, attribute = name.rpartition(":")
    if separator and file.endswith(".py"):
        return _from_file(Path(file), attribute, seed, f"{argument}={name!r}")
    if name.endswith(".py"):
        raise InputError(f"{argument}={name!r} names a file; name its class too: '{name}:ClassName'.")
    if is_fitted(name):
        return load_fitted(name, seed=seed)
    if Path(name).exists() or Path(f"{name}.json").exists():
        return _policy(name)
    if name.startswith(HUB):
        return _from_hub(name)
    if "/" in name or "\\" in name:
        raise InputError(
            f"{argument}={name!r} is neither a registered name nor an existing path; check the path."
        )
    raise unknown_name(argument, name, [*shipped, *STRATEGIES])


def runs_code(spec: str) -> bool:
    """Returns whether loading that strategy imports a Python file."""
    while match := _OTHER_STREAM.fullmatch(spec):
        spec = match[1]
    file, separator, _ = spec.rpartition(":")
    return bool(separator) and file.endswith(".py")


def _policy(source: str | Path) -> Strategy:
    from agents.policy.sb3_policy import LearnedStrategy  # imports stable-baselines3, which takes seconds

    return LearnedStrategy.load(source)


@lru_cache(maxsize=4)
def _from_hub(name: str) -> Strategy:
    """Loads a policy from the hub once in a process: a query must not wait for the network."""
    return from_pretrained(name)


@lru_cache(maxsize=4)
def _shipped(folder: Path, changed: int) -> Strategy:
    """Loads a shipped policy and keeps it, as loading takes as long as a query; `changed` is its time of writing."""
    return _policy(folder)


def _from_file(path: Path, name: str, seed: int, subject: str) -> Strategy:
    """Imports a user's file once and builds the strategy `name` in it."""
    if not path.is_file():
        raise InputError(f"{subject}: there is no file {str(path)!r}; check the path.")
    module_spec = importlib.util.spec_from_file_location(f"metaal_user_{path.stem}", path)
    assert module_spec is not None and module_spec.loader is not None  # a .py file always has a loader
    module = importlib.util.module_from_spec(module_spec)
    try:
        module_spec.loader.exec_module(module)
    except Exception as error:
        raise InputError(f"{subject}: importing the file raised {error!r}; correct the file.") from error
    value = getattr(module, name, None)
    if is_query_strategy(value):
        return QueryStrategyAdapter(value() if inspect.isclass(value) else value, seed=seed)
    if not (inspect.isclass(value) and issubclass(value, Strategy)):
        raise InputError(
            f"{subject}: {name!r} is not a Strategy subclass in that file; "
            f"its classes are: {', '.join(_own_classes(module)) or 'none'}."
        )
    if inspect.isabstract(value):
        missing = ", ".join(sorted(value.__abstractmethods__))
        raise InputError(f"{subject}: the class lacks {missing}; define it.")
    try:
        return value(seed=seed)
    except TypeError as error:
        raise InputError(
            f"{subject}: cannot be built with seed={seed} alone ({error}); give its other parameters defaults."
        ) from error


def _own_classes(module: Any) -> list[str]:
    classes = ((name, value) for name, value in vars(module).items() if inspect.isclass(value))
    return [name for name, value in classes if value.__module__ == module.__name__]
