"""Sections of documentation pages that benchmarks write."""

from __future__ import annotations

from pathlib import Path


def replace_section(path: Path, mark: str, text: str) -> None:
    """Puts `text` between ``<!-- mark -->`` and ``<!-- /mark -->`` of a file; appends them where there are none."""
    begin, end = f"<!-- {mark} -->", f"<!-- /{mark} -->"
    old = path.read_text() if path.is_file() else ""
    head, found, rest = old.partition(begin)
    tail = rest.partition(end)[2] if found else ""
    path.write_text(f"{head if found else old}{begin}\n{text}\n{end}{tail or chr(10)}")
