"""`Registry`: maps names to objects of one kind, and is filled by a decorator."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from metaal_env.errors import unknown_name

T = TypeVar("T")


class Registry(dict[str, T]):
    """Maps names to objects of one kind; looking up an unknown name raises `InputError` with the nearest."""

    def __init__(self, kind: str):
        super().__init__()
        self.kind = kind

    def register(self, name: str) -> Callable[[T], T]:
        """Registers the decorated object, as in ``@LEARNERS.register("maml")``.

        Raises:
            ValueError: the name is taken.
        """

        def add(value: T) -> T:
            if name in self:
                raise ValueError(f"{self.kind} {name!r} is registered already")
            self[name] = value
            return value

        return add

    def __missing__(self, name: str) -> T:
        raise unknown_name(self.kind, name, self)
