"""`Grid`: a small table that is printed on the terminal and written into the report from the same cells."""

from __future__ import annotations

import html
from dataclasses import dataclass, field
from typing import Literal

from rich import box
from rich.console import Console, ConsoleOptions, RenderResult
from rich.markup import escape
from rich.measure import Measurement
from rich.table import Table

Tone = Literal["", "good", "bad", "strong"]
_STYLES = {"good": "green", "bad": "red", "strong": "bold"}


@dataclass(frozen=True)
class Entry:
    """A cell's text and how it is meant: an interval above 0 is good, one below 0 is bad."""

    text: str
    tone: Tone = ""


@dataclass
class Grid:
    """Headings and rows; the first column holds names. ``console.print(grid)`` shows it.

    Attributes:
        essential: headings that a narrow terminal keeps; the report always has all.
        brief: whether a terminal shows the table at all.
    """

    title: str
    headings: list[str]
    rows: list[list[Entry | str]] = field(default_factory=list)
    caption: str = ""
    essential: tuple[str, ...] = ()
    brief: bool = True

    def cells(self) -> list[list[Entry]]:
        """The rows, every cell an `Entry`."""
        return [[cell if isinstance(cell, Entry) else Entry(cell) for cell in row] for row in self.rows]

    def table(self, headings: list[str]) -> Table:
        """The columns of those headings as a rich table."""
        table = Table(
            title=escape(self.title),
            title_justify="left",
            box=box.SIMPLE_HEAD,
            pad_edge=False,
            padding=(0, 1),
        )
        kept = [i for i, heading in enumerate(self.headings) if heading in headings]
        for i in kept:
            table.add_column(escape(self.headings[i]), justify="left" if i == 0 else "right", no_wrap=i == 0)
        for row in self.cells():
            shown = [(row[i].text, _STYLES.get(row[i].tone)) for i in kept]
            table.add_row(
                *(f"[{style}]{escape(text)}[/]" if style else escape(text) for text, style in shown)
            )
        return table

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        if not self.brief:
            yield f"{escape(self.title)}: {len(self.rows)} rows, see the report.\n"
            return
        whole = self.table(self.headings)
        unbounded = options.update(max_width=10_000)
        fits = Measurement.get(console, unbounded, whole).maximum <= options.max_width
        yield whole if fits or not self.essential else self.table(list(self.essential))
        if self.caption:
            yield f"[dim]{escape(self.caption)}[/]\n"

    def html(self) -> str:
        """For the report."""
        head = "".join(f"<th>{html.escape(h)}</th>" for h in self.headings)
        body = "".join(
            "<tr>" + "".join(f'<td class="{c.tone}">{html.escape(c.text)}</td>' for c in row) + "</tr>"
            for row in self.cells()
        )
        return (
            f"<figure><div class='wide'><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
            f"</div><figcaption>{html.escape(self.caption)}</figcaption></figure>"
        )
