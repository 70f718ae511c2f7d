"""Decides what becomes of an item by an answer, where another annotator may have answered it before."""

from __future__ import annotations

from dataclasses import replace

from agents.acquisition.tool.marks import Mark


def after_answer(
    before: str | None, earlier: Mark, label: str | None, mark: Mark
) -> tuple[str | None, Mark] | None:
    """Returns the label and the mark that an item gets, or None where nothing changes.

    The class of an item that another annotator answered becomes a second opinion: the item keeps its label until
    somebody settles it. A second annotator who skips has no opinion.

    Args:
        before: The item's label; None where it was skipped or has no answer.
        earlier: Its mark.
        label: The class of the answer; None to skip.
        mark: The mark of the answer alone.
    """
    if before is not None and earlier.annotator and mark.annotator != earlier.annotator:
        if label is None:
            return None
        opinions = {earlier.annotator: before} | earlier.opinions | {mark.annotator: label}
        return before, replace(
            earlier, opinions=opinions, unsure=earlier.unsure or mark.unsure, settled=False
        )
    opinions = earlier.opinions
    if label is not None and opinions:
        opinions = opinions | {mark.annotator: label}
    return label, replace(mark, opinions=opinions)
