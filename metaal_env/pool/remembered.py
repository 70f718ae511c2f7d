"""`remembered`: caches results derived from a pool or from one moment of an episode."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import wraps
from typing import Any, Concatenate, Literal, ParamSpec, TypeVar

from torch import Tensor

Owner = TypeVar("Owner")
Options = ParamSpec("Options")
Result = TypeVar("Result")


def remembered(
    on: Literal["pool", "moment"],
) -> Callable[[Callable[Concatenate[Owner, Options], Result]], Callable[Concatenate[Owner, Options], Result]]:
    """Decorates a function of a `PoolView`, or a method of `PoolView` or `Geometry`, so that it computes once.

    Results are keyed by the function, its other (hashable) arguments and the width of the class mask.

    Args:
        on: ``"pool"`` keeps the result on the view's geometry for as long as the embeddings stay the same; use it
            for results that depend only on the embeddings and the number of classes. ``"moment"`` keeps it on
            the view until the next label.
    """

    def decorate(
        function: Callable[Concatenate[Owner, Options], Result],
    ) -> Callable[Concatenate[Owner, Options], Result]:
        @wraps(function)
        def lookup(owner: Owner, *args: Options.args, **kwargs: Options.kwargs) -> Result:
            holder: Any = getattr(owner, "geometry", owner) if on == "pool" else owner
            memo: dict[Any, Any] = holder.memo
            classes = owner.class_mask.shape[1] if hasattr(owner, "class_mask") else None
            # By the decorated function, which has a name to be pickled by: `function` lost its own to it.
            key = (lookup, classes, args, tuple(kwargs.items()))
            if key not in memo:
                known = _renewed(function, owner, holder, key, args, kwargs) if on == "pool" else None
                memo[key] = function(owner, *args, **kwargs) if known is None else known
            result: Result = memo[key]
            return result

        return lookup

    return decorate


def _renewed(
    function: Callable[..., Any], owner: Any, geometry: Any, key: Any, args: Any, kwargs: dict[str, Any]
) -> Any:
    """Returns a result of the pools before some were replaced, computed anew for these alone; None if it has none."""
    if geometry.before is None or key not in geometry.before.memo:
        return None
    if any(isinstance(argument, tuple) for argument in args):  # one entry per pool, not per replaced pool
        return None
    fresh = geometry.fresh  # shared by all functions, so that they share what they have in common
    if owner is not geometry:
        fresh = replace(owner.rows(geometry.replaced), geometry=fresh)
    return _put(geometry.before.memo[key], geometry.replaced, function(fresh, *args, **kwargs))


def _put(old: Any, rows: Tensor, new: Any) -> Any:
    """Returns `old` with `rows` of its tensors as in `new`; None where their shapes differ, as they may."""
    if isinstance(old, Tensor):
        if old.shape[1:] != new.shape[1:] or len(new) != len(rows) or len(old) <= int(rows.max()):
            return None
        return old.index_copy(0, rows, new)
    if not isinstance(old, (tuple, list)):
        return None
    parts = [_put(one, rows, other) for one, other in zip(old, new, strict=True)]
    if any(part is None for part in parts):
        return None
    return type(old)(*parts) if hasattr(old, "_fields") else type(old)(parts)
