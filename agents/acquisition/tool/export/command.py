"""``metaal export``: writes the labels in the form that is asked for, never over a file of somebody else's."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Literal, get_args

import tyro

from agents.acquisition.items.items import Items
from agents.acquisition.tool.export.annotation_tools import label_config, label_studio_tasks, prodigy_examples
from agents.acquisition.tool.export.hugging_face import check_installed, write_dataset
from agents.acquisition.tool.export.pictures import TABLE, coco, write_folders
from agents.acquisition.tool.export.records import Record, as_json, class_names, records
from agents.acquisition.tool.outputs import as_csv
from agents.acquisition.tool.pool_options import PoolOptions
from metaal_env.errors import InputError
from metaal_env.runtime.command_line import say
from metaal_env.runtime.files import write_atomic

Format = Literal["csv", "jsonl", "label-studio", "prodigy", "coco", "imagefolder", "datasets"]
FOLDERS = ("imagefolder", "datasets")
ANSWERS = ".labels.csv"
MARK = "metaal-export.json"
"""File by which a folder of ours is known again."""


@dataclass(frozen=True, kw_only=True)
class Export(PoolOptions):
    """Write the labels for a model, a person or another tool, with time, annotator, policy and score."""

    data: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="POOL|ANSWERS")]
    """The pool whose labels are exported, or its file of answers <pool>.labels.csv."""
    out: Path
    """File to write, a new folder for imagefolder and datasets."""
    format: Format | None = None
    """csv, jsonl; label-studio and prodigy, which import it; for images coco and imagefolder, which also takes
    sounds; datasets, a folder for Hugging Face's library. By default what the suffix says, .csv or .jsonl."""
    unlabelled: bool = False
    """Write items without a label too."""
    anonymous: bool = False
    """Write annotator 1, annotator 2 and so on instead of the annotators' names."""
    link: bool = False
    """Make symbolic links to the files instead of copies (imagefolder)."""

    def run(self) -> None:
        if self.data.name.endswith(ANSWERS) and self.data.name != ANSWERS:
            replace(self, data=_pool_of(self.data), labels=self.labels or self.data).run()
            return
        form = self._format()
        if form in FOLDERS:
            self.check()
            self._check_folder()
        else:
            self.check(out=self.out)
        if form == "datasets":
            check_installed()
        session = self.read()
        _check_kind(form, session.items)
        found = records(session, unlabelled=self.unlabelled, anonymous=self.anonymous)
        if not found:
            raise InputError(
                f"data={str(self.data)!r} has no label yet; label some items, or add --unlabelled."
            )
        if self.dry_run:
            return
        classes = class_names(session)
        if form in FOLDERS:
            self._replace_folder(
                lambda folder: _write_folder(form, found, session.items, classes, folder, self.link)
            )
        else:
            write_atomic(self.out, _contents(form, found, session.items, classes))
        labels = sum(record.label is not None for record in found)
        say(f"{labels} labels of {len(classes)} classes written to {self.out}" + _others(len(found) - labels))
        if session.gone:
            say(f"{len(session.gone)} answers are left out, since their items are not in the data now.")
        if form == "label-studio":
            say(
                "labelling interface of a project that takes the tasks:\n"
                + label_config(session.items, classes)
            )

    def _format(self) -> Format:
        suffixes: dict[str, Format] = {".csv": "csv", ".jsonl": "jsonl"}
        form = self.format or suffixes.get(self.out.suffix.lower())
        if form is None:
            known = ", ".join(get_args(Format))
            raise InputError(f"out={str(self.out)!r} does not say in which format; give --format: {known}.")
        if self.link and form != "imagefolder":
            raise InputError(f"link=True is for --format imagefolder, not {form}; leave it out.")
        return form

    def _check_folder(self) -> None:
        """Refuses a folder with something in it that is no export of ours. Raises: `InputError`."""
        what = f"out={str(self.out)!r}"
        data, out = (os.path.realpath(path) for path in (self.data, self.out))
        if Path(out).is_relative_to(data) or Path(data).is_relative_to(out):
            raise InputError(f"{what} lies among the data; write it to another folder.")
        if os.path.lexists(self.out) and (self.out.is_symlink() or not self.out.is_dir()):
            raise InputError(f"{what} is not a folder; give the name of a new one.")
        if self.out.is_dir() and any(self.out.iterdir()):
            ours = (self.out / MARK).is_file()
            if not (ours and self.overwrite):
                mend = "add --overwrite, or give a new one" if ours else "give a new one"
                raise InputError(f"{what} is a folder with files in it; {mend}.")
            others = sorted(_files(self.out) - _written(self.out))
            if others:
                raise InputError(
                    f"{what} holds {len(others)} files that no export wrote, e.g. {others[0]!r}; move them, or give a "
                    "new folder."
                )

    def _replace_folder(self, write: Callable[[Path], None]) -> None:
        """Writes a folder beside the wanted one, and renames it when it is whole."""
        parent = Path(os.path.abspath(self.out)).parent
        parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{self.out.name}.", dir=parent) as beside:
            whole = Path(beside) / "whole"
            whole.mkdir()
            write(whole)
            if self.out.is_dir():
                self.out.rename(Path(beside) / "before")
            whole.rename(self.out)


def _write_folder(
    form: Format, found: list[Record], items: Items, classes: list[str], folder: Path, link: bool
) -> None:
    if form == "datasets":
        write_dataset(found, items, classes, folder)
    else:
        places = write_folders(found, items, folder, link=link)
        rows = [{"file": places[r.item], **_without_file(r)} for r in found if r.item in places]
        write_atomic(
            folder / TABLE, as_csv([list(rows[0]) if rows else ["file"], *(row.values() for row in rows)])
        )
    told = {"format": form, "classes": classes, "files": sorted(_files(folder))}
    write_atomic(folder / MARK, as_json(told).encode("utf-8", "backslashreplace"))


def _files(folder: Path) -> set[str]:
    """Returns the files in a folder at any depth but hidden ones, which file managers leave behind, and our mark."""
    found = (path.relative_to(folder) for path in folder.rglob("*") if path.is_symlink() or not path.is_dir())
    return {path.as_posix() for path in found if path.name != MARK and not path.name.startswith(".")}


def _written(folder: Path) -> set[str]:
    """Returns the files that the export wrote, as its mark tells; none where a person changed the mark."""
    try:
        return set(json.loads((folder / MARK).read_bytes())["files"])
    except (ValueError, KeyError, TypeError):
        return set()


def _contents(form: Format, found: list[Record], items: Items, classes: list[str]) -> bytes:
    if form == "csv":
        rows = [record.cells() for record in found]
        return as_csv([list(rows[0]), *(row.values() for row in rows)])
    if form == "label-studio":
        text = json.dumps(label_studio_tasks(found, items), ensure_ascii=False, indent=1, allow_nan=False)
    elif form == "coco":
        text = json.dumps(coco(found, items, classes), ensure_ascii=False, allow_nan=False)
    else:
        lines = [r.flat() for r in found] if form == "jsonl" else prodigy_examples(found, items, classes)
        text = "\n".join(map(as_json, lines)) + "\n"
    return text.encode("utf-8", "backslashreplace")


def _without_file(record: Record) -> dict[str, str]:
    cells = record.cells()
    del cells["file"]
    return cells


def _check_kind(form: Format, items: Items) -> None:
    kinds = {"coco": ("images",), "imagefolder": ("images", "sounds")}.get(form)
    if kinds is not None and items.kind not in kinds:
        raise InputError(
            f"format={form!r} is for folders of {' or '.join(kinds)}, these are {items.kind}; choose csv or jsonl."
        )


def _pool_of(answers: Path) -> Path:
    """The pool beside which a file of answers lies. Raises: `InputError` where it is not there."""
    pool = answers.with_name(answers.name[: -len(ANSWERS)])
    if not pool.exists():
        raise InputError(
            f"data={str(answers)!r} is a file of answers, but {str(pool)!r} is not there; "
            "give the pool, and the answers with --labels."
        )
    return pool


def _others(count: int) -> str:
    return f", and {count} items without a label" if count else ""
