"""`remembered`: the one way to keep what is derived from a pool or from a moment of an episode."""

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

    Results are told apart by the function, its further arguments (hashable) and the width of the class mask.

    Args:
        on: ``"pool"`` keeps the result on the view's geometry, as long as the embeddings stay the same, and is
            for what depends on embeddings and number of classes alone. ``"moment"`` keeps it on the view,
            until the next label.
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
            found: Result = memo[key]
            return found

        return lookup

    return decorate
