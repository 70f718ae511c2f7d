"""The notebook's widget without a notebook: its state follows its messages, and its file is the page's."""

from __future__ import annotations

import base64
import io
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from helpers.own_pools import POOLS, images_pool, texts_pool

pytest.importorskip("anywidget", reason="needs the extra notebook")

from agents.acquisition.items.read_items import read_items
from agents.acquisition.tool.marks import mark_of
from agents.acquisition.tool.session import Session
from agents.acquisition.widget import LabelWidget
from metaal_env.errors import InputError

CLASSES = POOLS["texts"][2].split(",")


@pytest.fixture()
def pool(tmp_path: Path) -> Path:
    texts_pool(tmp_path / "messages.csv", 30)
    return tmp_path / "messages.csv"


@pytest.fixture()
def widget(pool: Path) -> Iterator[LabelWidget]:
    found = LabelWidget(pool, classes=CLASSES, encoder="tfidf")
    yield found
    found.close()


def answer(widget: LabelWidget, label: str, **more: Any) -> int:
    position = widget.state["item"]["position"]
    widget.handle({"ask": "answer", "position": position, "label": label, "seconds": 2.0} | more)
    return int(position)


def saved(pool: Path) -> Session:
    return Session.open(pool.with_name(f"{pool.name}.labels.csv"), read_items(pool))


def test_answers_skips_and_undo(widget: LabelWidget, pool: Path) -> None:
    assert [(c["name"], c["key"]) for c in widget.state["classes"]] == list(zip(CLASSES, "1234", strict=True))
    a = answer(widget, "refund", unsure=True)
    b = answer(widget, "a new one")
    skipped = widget.state["item"]["position"]
    widget.handle({"ask": "skip", "position": skipped})
    answers = saved(pool).answers
    assert {i: found.label for i, found in answers.items()} == {a: "refund", b: "a new one", skipped: None}
    assert mark_of(saved(pool), answers[a]).unsure and mark_of(saved(pool), answers[a]).seconds == 2.0
    assert widget.state["labels"] == 2 and widget.state["classes"][-1]["name"] == "a new one"
    widget.handle({"ask": "undo"})
    assert widget.state["item"]["position"] == skipped and widget.state["error"] is None
    ids = widget.session.items.ids
    assert widget.labels == {ids[a]: "refund", ids[b]: "a new one"}
    assert widget.state["reasons"] or widget.state["nearest"]
    assert {near["label"] for near in widget.state["nearest"]} <= {"refund", "a new one"}


@pytest.mark.parametrize(
    "message",
    [
        None,
        {},
        {"ask": "answer", "position": 0},
        {"ask": "answer", "position": "0", "label": "x"},
        {"ask": "skip", "position": 0, "label": "x"},
        {"ask": "answer", "position": 99, "label": "x"},
        {"ask": "answer", "position": 0, "label": " "},
        {"ask": "undo"},
        {"ask": "close"},
    ],
)
def test_other_messages_change_nothing_and_say_so(widget: LabelWidget, message: Any) -> None:
    before = widget.state["item"]
    widget.handle(message)
    assert widget.state["error"] and widget.state["item"] == before and not widget.session.answers


def test_the_file_is_locked_until_the_widget_is_closed(widget: LabelWidget, pool: Path) -> None:
    answer(widget, "refund")
    shown = widget.state["item"]["position"]
    with pytest.raises(InputError, match="in use by another session"):
        LabelWidget(pool, classes=CLASSES, encoder="tfidf")
    widget.close()
    widget.close()
    with pytest.raises(InputError, match="encoder='pixels'"):
        LabelWidget(pool, classes=CLASSES, encoder="pixels")  # and frees the file
    again = LabelWidget(pool, classes=CLASSES, encoder="tfidf")
    assert again.state["item"]["position"] == shown and again.state["labels"] == 1
    again.close()


def test_the_budget_ends_it(pool: Path) -> None:
    widget = LabelWidget(pool, classes=CLASSES, encoder="tfidf", budget=1)
    answer(widget, "refund")
    assert widget.state["item"] is None and widget.state["done"].startswith("Done")
    widget.close()


def test_pictures_travel_as_data(tmp_path: Path) -> None:
    from PIL import Image

    images_pool(tmp_path / "pictures", 6)
    widget = LabelWidget(tmp_path / "pictures", classes=["temple", "flower"])
    for label in ("temple", "flower"):
        answer(widget, label)
    head, _, data = widget.state["media"].partition(",")
    assert head == "data:image/png;base64"
    assert Image.open(io.BytesIO(base64.b64decode(data))).size == (320, 320)
    assert all(near["media"].startswith("data:image/") for near in widget.state["nearest"])
    widget.close()


def test_the_script_is_one_module_and_parses(tmp_path: Path) -> None:
    assert (
        "import " not in LabelWidget._esm.replace("imports nothing", "")
        and "export default" in LabelWidget._esm
    )
    node = shutil.which("node")
    if node is None:
        pytest.skip("node is not installed")
    (tmp_path / "widget.mjs").write_text(LabelWidget._esm)
    subprocess.run([node, "--check", tmp_path / "widget.mjs"], check=True)
