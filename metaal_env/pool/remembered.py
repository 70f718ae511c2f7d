"""`remembered`: caches results derived from a pool or from one moment of an episode."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, Concatenate, Literal, ParamSpec, TypeVar

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
            key = (function, classes, args, tuple(kwargs.items()))
            if key not in memo:
                memo[key] = function(owner, *args, **kwargs)
            result: Result = memo[key]
            return result

        return lookup

    return decorate
