"""``metaal export`` as tasks of Label Studio."""

from __future__ import annotations

import json
from pathlib import Path

from helpers.exports import TOLD, export, labelled_photos

from agents.acquisition.items.items import Items
from agents.acquisition.items.label_studio_answers import answer_of
from agents.acquisition.tool.export.annotation_tools import label_config, label_studio_tasks
from agents.acquisition.tool.export.records import class_names, records
from agents.acquisition.tool.marks import update_mark
from agents.acquisition.tool.session import Session


def texts() -> Session:
    items = Items("pool.txt", ["t0", "t1"], [None, None], ["<b>one</b>", "two"], texts=["<b>one</b>", "two"])
    session = Session(Path("unused"), items)
    session.set(0, "ham & eggs")
    update_mark(
        session, 0, annotator="ada", opinions={"ada": "ham & eggs", "bob": "spam"}, settled=True, **TOLD
    )
    return session


def test_tasks_of_label_studio_hold_every_opinion() -> None:
    session = texts()
    (task,) = label_studio_tasks(records(session), session.items)
    assert task["data"] == {"item": "t0", "text": "<b>one</b>"} and task["meta"]["score"] == -0.25
    given = [a["result"][0]["value"]["choices"] for a in task["annotations"]]
    assert given == [["ham & eggs"], ["spam"], ["ham & eggs"]]
    assert [a["ground_truth"] for a in task["annotations"]] == [False, False, True]
    assert answer_of(task["annotations"]).label == "ham & eggs"
    config = label_config(session.items, class_names(session))
    assert '<Choice value="ham &amp; eggs"/>' in config and 'value="$text"' in config


def test_pictures_are_local_files_of_label_studio(work: Path) -> None:
    labelled_photos(work)
    export("--format", "label-studio", "--out", "ls.json", pool="photos")
    first = json.loads((work / "ls.json").read_text())[0]
    assert first["data"]["image"] == "/data/local-files/?d=a/p%200.png"
