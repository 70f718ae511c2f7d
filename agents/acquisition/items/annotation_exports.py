"""Exports of annotation tools, with their answers: Label Studio's JSON, JSON-MIN and CSV, and Prodigy's JSONL."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from agents.acquisition.items.cells import as_cell
from agents.acquisition.items.label_studio_answers import answer_of, choices_of
from agents.acquisition.items.options import ReadOptions
from metaal_env.errors import InputError

FLAT_KEYS = {"annotation_id", "annotator", "lead_time"}
"""Columns that tell Label Studio's JSON-MIN and CSV from other tables."""
_BOOKKEEPING = {*FLAT_KEYS, "created_at", "updated_at", "agreement"}
_DECISIONS = {"accept", "reject", "ignore"}
_ADDRESSES = ("/data/local-files/?d=",)


class Export(NamedTuple):
    """Holds the columns of an export, and what they are for.

    Attributes:
        columns: Name → value of each task.
        label: Column of answers.
        ident: Column that names tasks; None where there is none.
        note: What was recognised.
    """

    columns: dict[str, Sequence[Any]]
    label: str
    ident: str | None
    note: str

    def said(self, options: ReadOptions) -> ReadOptions:
        """Returns options that name these columns, unless the user named others."""
        label = None if options.no_label else options.label_column or self.label
        return replace(options, label_column=label, id_column=options.id_column or self.ident)


def is_label_studio(records: Sequence[Mapping[str, Any]]) -> bool:
    """Returns whether records are tasks of Label Studio with their annotations."""
    return all(
        isinstance(record.get("data"), Mapping) and _annotations(record) is not None for record in records
    )


def _annotations(record: Mapping[str, Any]) -> list[Mapping[str, Any]] | None:
    """A task's annotations, which were once called completions; None where there is no list of them."""
    found = record.get("annotations", record.get("completions"))
    well = isinstance(found, list) and all(isinstance(annotation, Mapping) for annotation in found)
    return found if well else None


def label_studio_tasks(records: Sequence[Mapping[str, Any]]) -> Export:
    """Returns the data of Label Studio's tasks, with the class that most annotators chose; see `answer_of`."""
    data = [dict(record["data"]) for record in records]
    answers = [answer_of(_annotations(record) or []) for record in records]
    columns = by_column(data)
    label = _free("label", columns)
    columns = {name: _local(values) for name, values in columns.items() if name != "id"}
    columns[label] = [answer.label for answer in answers]
    ident = "id" if all(record.get("id") is not None for record in records) else None
    if ident:
        columns = {ident: [record["id"] for record in records], **columns}
    return Export(columns, label, ident, "tasks of Label Studio")


def is_flat_label_studio(names: Sequence[str]) -> bool:
    """Returns whether a table is Label Studio's JSON-MIN or CSV, which have a row for each annotation."""
    return set(names) >= FLAT_KEYS and "id" in names


def flat_label_studio(columns: Mapping[str, Sequence[Any]], label: str | None, what: str) -> Export:
    """Returns one row for each task of Label Studio's JSON-MIN or CSV, with the class that most annotators chose.

    Args:
        label: Column of answers, if the user names it.

    Raises:
        InputError: several columns may hold the answers.
    """
    names = [name for name in columns if name not in _BOOKKEEPING and name != "id"]
    if label is None:
        label = _answer_column({name: columns[name] for name in names}, columns, what)
    classes = [_flat_class(value) for value in columns[label]]
    first: dict[str, int] = {}
    votes: dict[str, Counter[str]] = {}
    for row, task in enumerate(map(as_cell, columns["id"])):
        first.setdefault(task, row)
        given, name = votes.setdefault(task, Counter()), classes[row]
        if name is not None:
            given[name] += 1
    rows = list(first.values())
    found: dict[str, Sequence[Any]] = {"id": list(first)}
    found |= {name: _local([columns[name][row] for row in rows]) for name in names if name != label}
    found[label] = [count.most_common(1)[0][0] if count else None for count in votes.values()]
    return Export(found, label, "id", f"annotations of Label Studio, answers in {label!r}")


def _answer_column(others: dict[str, Sequence[Any]], columns: Mapping[str, Sequence[Any]], what: str) -> str:
    """The column of answers: empty where nobody annotated, and in JSON-MIN between task and annotator."""
    without = [row for row, value in enumerate(columns["annotation_id"]) if as_cell(value) == ""]
    names = list(columns)
    between = (
        names[names.index("id") + 1 : names.index("annotator")] if names != sorted(names) else list(others)
    )
    fitting = [
        name
        for name in others
        if name in between
        and all(as_cell(columns[name][row]) == "" for row in without)
        and _repeats(columns[name])
    ]
    if len(fitting) != 1:
        some = " and ".join(map(repr, fitting)) or "none of its columns"
        raise InputError(
            f"{what} is an export of Label Studio; {some} may hold the answers: name it by --label-column."
        )
    return fitting[0]


def _repeats(values: Sequence[Any]) -> bool:
    """Whether values stand there as classes do: fewer different ones than rows, unless rows are few."""
    classes = [found for found in map(_flat_class, values) if found is not None]
    return len(set(classes)) < max(3, len(classes)) and all(len(found) < 200 for found in classes)


def _flat_class(value: Any) -> str | None:
    """The class in a cell, where several choices are an object of JSON, in a CSV as text."""
    if isinstance(value, str) and value[:1] in "{[" and value:
        try:
            value = json.loads(value)
        except ValueError:
            return value
    if isinstance(value, Mapping):
        return " + ".join(sorted(choices_of(value))) or None
    if isinstance(value, list):
        paths = [part for part in value if isinstance(part, list)]
        return " + ".join(sorted(choices_of({"taxonomy": paths}))) or None if paths else None
    return as_cell(value).strip() or None


def _local(values: Sequence[Any]) -> list[Any]:
    """Addresses of local files as the paths that they stand for."""

    def path(value: Any) -> Any:
        start = next((a for a in _ADDRESSES if isinstance(value, str) and value.startswith(a)), "")
        return value[len(start) :] if start else value

    return [path(value) for value in values]


def is_prodigy(records: Sequence[Mapping[str, Any]]) -> bool:
    """Returns whether records are what Prodigy's ``db-out`` writes."""
    if any("_task_hash" in record for record in records):
        return True
    decided = [record["answer"] for record in records if "answer" in record]
    return len(decided) == len(records) and all(isinstance(d, str) and d in _DECISIONS for d in decided)


def prodigy_tasks(records: Sequence[Mapping[str, Any]]) -> Export:
    """Returns one row for each input of Prodigy's annotations, with its class.

    What several annotators chose is put to the vote. Accepted labels of one annotator are one class, e.g. ``"a + b"``.
    A rejected label says nothing where the export has several, else the class is ``"not"`` with the label.
    """
    binary = {str(record["label"]) for record in records if record.get("label") and "accept" not in record}
    tasks: dict[Any, int] = {}
    chosen: dict[Any, dict[Any, set[str]]] = {}
    for row, record in enumerate(records):
        task = as_cell(record.get("_input_hash", f"row {row}"))
        tasks.setdefault(task, row)
        who = as_cell(record.get("_annotator_id") or record.get("_session_id"))
        chosen.setdefault(task, {}).setdefault(who, set()).update(_decided(record, len(binary) == 1))
    labels = []
    for people in chosen.values():
        votes = Counter(" + ".join(sorted(found)) for found in people.values() if found)
        labels.append(votes.most_common(1)[0][0] if votes else None)
    columns = by_column([_contents(records[row]) for row in tasks.values()])
    label = _free("label", columns)
    counts = Counter(str(record.get("answer", "no answer")) for record in records)
    note = ", ".join(f"{count} {decision}" for decision, count in sorted(counts.items()))
    return Export({**columns, label: labels}, label, None, f"annotations of Prodigy: {note}")


def _decided(record: Mapping[str, Any], one_label: bool) -> set[str]:
    decision = record.get("answer")
    if decision == "accept" and isinstance(record.get("accept"), list):
        return set(map(str, record["accept"]))
    if decision == "accept" and record.get("label"):
        return {str(record["label"])}
    return {f"not {record['label']}"} if decision == "reject" and one_label and record.get("label") else set()


def _contents(record: Mapping[str, Any]) -> dict[str, Any]:
    """Returns what the item is, without what Prodigy keeps of the answer and of its page."""
    kept = {"answer", "accept", "label", "options", "spans", "tokens", "relations", "config", "style"}
    return {name: value for name, value in record.items() if name not in kept and not name.startswith("_")}


def by_column(records: Sequence[Mapping[str, Any]]) -> dict[str, Sequence[Any]]:
    """Returns records as columns, with None where a record lacks a key."""
    names = dict.fromkeys(name for record in records for name in record)
    return {name: [record.get(name) for record in records] for name in names}


def _free(name: str, columns: Mapping[str, Any]) -> str:
    """A name that no column has."""
    return name if name not in columns else _free(f"{name} given", columns)
