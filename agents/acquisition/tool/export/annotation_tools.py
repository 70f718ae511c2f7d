"""Exports that Label Studio and Prodigy take in, labels and all."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from urllib.parse import quote
from xml.sax.saxutils import quoteattr

from agents.acquisition.items.items import Items
from agents.acquisition.tool.export.records import Record, free_name

LOCAL = "/data/local-files/?d="
"""Where Label Studio has the files of its folder LOCAL_FILES_DOCUMENT_ROOT."""
SHOWN_COLUMNS = 40
_KEYS = {"images": "image", "sounds": "audio"}
_TAGS = {"images": "Image", "sounds": "Audio"}


def label_studio_tasks(found: Sequence[Record], items: Items) -> list[dict[str, Any]]:
    """Returns tasks as Label Studio imports them: an annotation of each annotator, and one more of who settled it."""
    return [_task(record, items) for record in found]


def label_config(items: Items, classes: Sequence[str]) -> str:
    """Returns the labelling interface of a project of Label Studio that takes the tasks."""
    if items.kind in _TAGS:
        shown = [f'  <{_TAGS[items.kind]} name="item" value="${_KEYS[items.kind]}"/>']
    else:
        names = [free_name(name) for name in items.used][:SHOWN_COLUMNS] or ["item"]
        names = names if items.texts is None else ["text"]
        shown = []
        for number, name in enumerate(names):
            if items.kind == "table":
                shown.append(f"  <Header value={quoteattr(name)}/>")
            at = "item" if number == 0 else f"item{number}"
            shown.append(f'  <Text name="{at}" value={quoteattr("$" + name)}/>')
    choices = [f"    <Choice value={quoteattr(name)}/>" for name in classes]
    inside = [*shown, '  <Choices name="label" toName="item" choice="single">', *choices, "  </Choices>"]
    return "\n".join(["<View>", *inside, "</View>"])


def prodigy_examples(found: Sequence[Record], items: Items, classes: Sequence[str]) -> list[dict[str, Any]]:
    """Returns examples as ``textcat.manual`` and its like write them; those without a label are to be ignored."""
    options = [{"id": name, "text": name} for name in classes]
    return [
        {
            **_prodigy_data(record, items),
            "options": options,
            "accept": [] if record.label is None else [record.label],
            "answer": "ignore" if record.label is None else "accept",
            "meta": {"item": record.item, **record.meta} | _told(record),
            "_annotator_id": record.mark.annotator or None,
            "_timestamp": _seconds(record.mark.time),
        }
        for record in found
    ]


def _task(record: Record, items: Items) -> dict[str, Any]:
    opinions = [_annotation(record, name, label) for name, label in record.opinions().items()]
    if record.mark.settled and record.label is not None:
        opinions.append(_annotation(record, record.mark.annotator, record.label) | {"ground_truth": True})
    return {
        "data": {"item": record.item, **_label_studio_data(record, items), **record.meta},
        "meta": _told(record) | ({"opinions": record.mark.opinions} if record.mark.opinions else {}),
        "annotations": opinions,
    }


def _annotation(record: Record, annotator: str, label: str) -> dict[str, Any]:
    result = {"from_name": "label", "to_name": "item", "type": "choices", "value": {"choices": [label]}}
    found: dict[str, Any] = {"result": [result], "was_cancelled": False, "ground_truth": False}
    if record.mark.seconds is not None and annotator == record.mark.annotator:
        found["lead_time"] = record.mark.seconds
    return found


def _told(record: Record) -> dict[str, Any]:
    """Says how the label came about, where that is known."""
    mark = record.mark
    told = {
        "drawn": record.drawn,
        "annotator": mark.annotator,
        "time": mark.time,
        "policy": mark.policy,
        "score": mark.score,
    }
    return {name: value for name, value in told.items() if value not in ("", None)}


def _label_studio_data(record: Record, items: Items) -> dict[str, Any]:
    if items.kind in _KEYS:
        return {_KEYS[items.kind]: LOCAL + quote(str(record.data["file"]))}
    if items.kind == "table":
        return {name: record.raw[name] for name in record.data}
    return dict(record.data)


def _prodigy_data(record: Record, items: Items) -> dict[str, Any]:
    if items.kind in _KEYS:
        return {_KEYS[items.kind]: record.data["file"]}
    if items.texts is not None:
        return dict(record.data)
    return {"text": items.shown[record.position], **record.data}


def _seconds(time: str) -> int | None:
    try:
        return int(datetime.fromisoformat(time).timestamp())
    except ValueError:
        return None
