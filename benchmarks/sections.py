"""Sections of documentation pages that benchmarks write."""

from __future__ import annotations

from pathlib import Path


def replace_section(path: Path, mark: str, text: str) -> None:
    """Puts `text` between ``<!-- mark -->`` and ``<!-- /mark -->`` of a file; appends them where there are none."""
    path.write_text(section(path.read_text() if path.is_file() else "", mark, text))


def section_of(path: Path, mark: str) -> str:
    """Returns the text between ``<!-- mark -->`` and ``<!-- /mark -->`` of a file; empty where there is none."""
    page = path.read_text() if path.is_file() else ""
    return page.partition(f"<!-- {mark} -->\n")[2].partition(f"\n<!-- /{mark} -->")[0]


def section(page: str, mark: str, text: str) -> str:
    """Returns `page` with `text` between ``<!-- mark -->`` and ``<!-- /mark -->``, appended where there are none."""
    begin, end = f"<!-- {mark} -->", f"<!-- /{mark} -->"
    head, found, rest = page.partition(begin)
    tail = rest.partition(end)[2] if found else ""
    return f"{head if found else page}{begin}\n{text}\n{end}{tail or chr(10)}"
