"""The labelling page's item view in a notebook: ``LabelWidget("reviews.csv", classes=["praise", "complaint"])``."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from uuid import uuid4

import anywidget
import traitlets

from agents.acquisition.items.encoders import EncoderName, encode
from agents.acquisition.items.folder_items import MEDIA
from agents.acquisition.items.items import Items
from agents.acquisition.items.options import ReadOptions
from agents.acquisition.items.read_items import read_items
from agents.acquisition.policies import PolicySpec, load_policy
from agents.acquisition.tool.choice import Choice
from agents.acquisition.tool.session import Session, labels_path
from agents.acquisition.tool.web.desk import Desk
from agents.acquisition.tool.web.pictures import Pictures
from agents.acquisition.tool.web.reports import Reports
from metaal_env.errors import InputError

STATIC = Path(__file__).parent / "tool" / "web" / "static"
SIZE, THUMBNAIL = 1000, 240
"""Longest side in pixels of a picture, and of those beside it."""
MAX_SOUND = 20 * 2**20
"""Bytes of a sound that is sent to the notebook."""


class LabelWidget(anywidget.AnyWidget):
    """Asks for labels in a notebook, the most useful item first.

    Keys and the file of answers are those of ``metaal label``: either goes on where another stopped. The file is
    locked until `close` is called or the kernel ends.

    Args:
        data: What `read_items` takes: a path or a data frame; or items.
        classes: Classes that are known in advance.
        labels: File of answers; by default beside the data, as ``<data>.labels.csv``.
        policy: See `agents.acquisition.load_policy`.
        budget: Labels in all, money where items have prices; the session ends there.
        yardstick: Items to draw at random first, which measure the accuracy.
        encoder: See `agents.acquisition.items.encoders.encode`.
        options: What is to be known of the file.

    Raises:
        InputError: data, answers or options that cannot be used, or answers that another session has open.
    """

    _esm = (STATIC / "item.js").read_text(encoding="utf-8") + (STATIC / "widget.js").read_text(
        encoding="utf-8"
    )
    _css = (STATIC / "item.css").read_text(encoding="utf-8")
    state = traitlets.Dict().tag(sync=True)
    _is_open = False

    def __init__(
        self,
        data: Any,
        *,
        classes: Sequence[str] = (),
        labels: str | Path | None = None,
        policy: PolicySpec = None,
        budget: float | None = None,
        yardstick: int = 0,
        encoder: EncoderName = "auto",
        options: ReadOptions | None = None,
    ):
        load_policy(policy)
        items = data if isinstance(data, Items) else read_items(data, options)
        path = Path(labels) if labels is not None else labels_path(Path(items.source))
        self.session = Session.open(path, items, classes=tuple(classes))
        choice = Choice.of_items(items, policy, budget, tuple(classes), yardstick)
        self._lock_held = self.session.locked()
        self._lock_held.__enter__()
        self._tab = uuid4().hex
        try:
            self._desk = Desk(self.session, encode(items, encoder), choice)
            self._reports, self._pictures = Reports(self._desk), Pictures(items)
            self._desk.open()
            self._is_open = True
            super().__init__(state=self._view())
        except BaseException:
            self._is_open = False
            self._lock_held.__exit__(None, None, None)
            raise
        self.on_msg(lambda widget, content, buffers: self.handle(content))

    @property
    def labels(self) -> dict[str, str]:
        """Name of each labelled item → its class."""
        y = self.session.labels()
        return {
            name: str(label)
            for name, label in zip(self.session.items.ids, y, strict=True)
            if label is not None
        }

    def handle(self, message: Any) -> None:
        """Does what a message of the notebook asks, and shows what came of it."""
        error = None
        try:
            self._do(message if isinstance(message, dict) else {})
        except InputError as problem:
            error = str(problem)
        self.state = self._view(error)

    def close(self) -> None:
        """Ends the session and frees the file of answers, which is complete at any moment."""
        if self._is_open:
            self._is_open = False
            self._desk.close()
            self._lock_held.__exit__(None, None, None)
        super().close()

    def _do(self, message: dict[str, Any]) -> None:
        ask, position, label = (message.get(name) for name in ("ask", "position", "label"))
        if not self._is_open:
            raise InputError("this session is closed; make a new LabelWidget.")
        if ask == "undo":
            if self._desk.undo(self._tab) is None:
                raise InputError("there is no answer to take back.")
            return
        if not (isinstance(label, str) if ask == "answer" else ask == "skip" and label is None):
            raise InputError(f"message={str(message)!r:.80} is not one of the widget's.")
        unsure, seconds = message.get("unsure") is True, message.get("seconds")
        self._desk.answer(self._tab, position, label, unsure=unsure, seconds=seconds)

    def _view(self, error: str | None = None) -> dict[str, Any]:
        """Returns what the notebook shows: item, classes, reasons, and pictures as data, since it reaches no server."""
        claim = self._desk.current(self._tab) if self._is_open else None
        view = self._reports.state(claim, "")
        found = {key: view[key] for key in ("item", "classes", "labels", "total")} | {"error": error}
        if claim is None:
            found["done"] = "Done: every item is labelled or skipped, or the budget is spent."
            return found
        why = self._reports.why(claim.position)
        numbers = self.session.menu.numbers
        found["media"] = self._media(claim.position, SIZE)
        found["reasons"] = why["reasons"]
        found["nearest"] = [
            {
                "short": near["short"],
                "label": near["label"],
                "number": numbers.get(near["label"], 0),
                "media": self._media(near["position"], THUMBNAIL) if near["kind"] == "image" else None,
            }
            for near in why["nearest"]
        ]
        return found

    def _media(self, position: int, most: int) -> str | None:
        """A picture or sound as an address that holds its data; None where there is none that can be read."""
        sounds = self.session.items.sounds
        try:
            if sounds is not None:
                path = sounds[position]
                if path.stat().st_size > MAX_SOUND:
                    return None
                data, media = path.read_bytes(), MEDIA[path.suffix.lower()]
            else:
                data, media = self._pictures.rendered(position, most)
        except (InputError, OSError):
            return None
        return f"data:{media};base64,{base64.b64encode(data).decode()}"
