"""`Watcher`: is told of everything that happens in a run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from metaal_env.runtime.executor.parts import Part

if TYPE_CHECKING:
    from metaal_env.runtime.executor.backend import Backend


class Watcher:
    """Is told of everything that happens in a run, and ignores it."""

    def begin(self, parts: Sequence[Part], backend: Backend) -> None:
        """The run begins."""

    def started(self, part: Part) -> None:
        """A part was given to a worker."""

    def finished(self, part: Part, seconds: float) -> None:
        """A part is finished; it took a worker `seconds`."""

    def lost(self, part: Part, why: str) -> None:
        """The worker of a part was lost; the part will be begun again."""

    def broken(self, part: Part, why: str) -> None:
        """A part is broken."""

    def tick(self) -> None:
        """A second has passed, or something happened."""

    def end(self) -> None:
        """The run is over."""
