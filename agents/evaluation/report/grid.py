"""`Grid`: a small table that is printed on the terminal and written into the report from the same cells."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

from rich import box
from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderResult
from rich.markup import escape
from rich.measure import Measurement
from rich.table import Table

Tone = Literal["", "good", "bad", "strong"]
_STYLES = {"good": "green", "bad": "red", "strong": "bold"}


@dataclass(frozen=True)
class Entry:
    """One cell.

    Attributes:
        text: the value.
        tone: ``"good"`` or ``"bad"`` only where a test supports it; ``"strong"`` marks the strategy that is judged.
        interval: shown after the value where there is room.
    """

    text: str
    tone: Tone = ""
    interval: str = ""

    @property
    def whole(self) -> str:
        """Returns the value with its interval."""
        return f"{self.text} {self.interval}" if self.interval else self.text


@dataclass(frozen=True)
class _Layout:
    """Columns by index, and those of them that keep their intervals."""

    columns: tuple[int, ...]
    intervals: frozenset[int]


@dataclass
class Grid:
    """Headings and rows; the first column holds names. ``console.print(grid)`` shows it.

    A terminal, and a phone in the report, show the essential columns where all do not fit.

    Attributes:
        title: above the table.
        headings: of the columns.
        rows: cells, as many per row as headings.
        caption: below the table.
        essential: headings that a narrow terminal keeps; none means all of them, from the left.
        headline: heading whose interval is kept longest.
        phone: headings that a phone keeps; none means those of `essential`.
        compact: whether a wide screen, too, shows the essential columns until all are asked for.
        brief: whether a terminal shows the table; the report always does.
        folded: whether the report shows it only when it is opened.
    """

    title: str
    headings: list[str]
    rows: list[list[Entry | str]] = field(default_factory=list)
    caption: str = ""
    essential: tuple[str, ...] = ()
    headline: str = ""
    phone: tuple[str, ...] = ()
    compact: bool = False
    brief: bool = True
    folded: bool = False

    def cells(self) -> list[list[Entry]]:
        """Returns the rows, every cell an `Entry`."""
        return [[cell if isinstance(cell, Entry) else Entry(cell) for cell in row] for row in self.rows]

    def is_essential(self, heading: str) -> bool:
        """Returns whether a narrow terminal keeps that column."""
        return not self.essential or heading in self.essential

    def is_on_phones(self, heading: str) -> bool:
        """Returns whether a phone keeps that column."""
        return heading in (self.phone or self.essential or self.headings)

    def _layouts(self) -> Iterator[_Layout]:
        """Yields layouts from the widest to the narrowest."""
        every = tuple(range(len(self.headings)))
        kept = tuple(i for i in every if i == 0 or self.is_essential(self.headings[i]))
        headline = frozenset(i for i in kept if self.headings[i] == self.headline)
        yield _Layout(every, frozenset(every))
        yield _Layout(kept, frozenset(kept))
        yield _Layout(kept, headline)
        for length in range(len(kept), 1, -1):
            yield _Layout(kept[:length], frozenset())

    def _table(self, layout: _Layout) -> Table:
        table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1), show_edge=False)
        rows = [
            [(row[i].whole if i in layout.intervals else row[i].text, row[i].tone) for i in layout.columns]
            for row in self.cells()
        ]
        for position, i in enumerate(layout.columns):
            # Numbers never wrap: half a number is worse than a column less. Names and headings may.
            widest = max((cell_len(row[position][0]) for row in rows), default=0) if position else 0
            justify: Literal["left", "right"] = "right" if position else "left"
            table.add_column(
                escape(self.headings[i]), justify=justify, overflow="fold", min_width=widest or None
            )
        for row in rows:
            table.add_row(
                *(f"[{_STYLES[tone]}]{escape(text)}[/]" if tone else escape(text) for text, tone in row)
            )
        return table

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        if not self.brief:
            yield f"{escape(self.title)}: {len(self.rows)} rows, see the report.\n"
            return
        unbounded = options.update(max_width=10_000)
        for layout in self._layouts():
            table = self._table(layout)
            if Measurement.get(console, unbounded, table).maximum <= options.max_width:
                break
        yield f"[bold]{escape(self.title)}[/]"
        yield table
        left_out = [heading for i, heading in enumerate(self.headings) if i not in layout.columns]
        also = f"in the report also: {', '.join(left_out)}" if left_out else ""
        if below := " · ".join(filter(None, (self.caption, also))):
            yield f"[dim]{escape(below)}[/]"
        yield ""
