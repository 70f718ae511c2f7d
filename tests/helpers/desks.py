"""A desk over a small pool, and a client of its page."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from helpers.clusters import clusters

from agents.acquisition.items.items import Items
from agents.acquisition.tool.choice import Choice
from agents.acquisition.tool.session import Session
from agents.acquisition.tool.web.desk import Desk

CLASSES = ("ham", "spam", "eggs")
TRUTH = np.random.default_rng(1).integers(3, size=40)
X = clusters(TRUTH, 4, apart=3.0).astype(np.float32)
TOKEN, HOST = "secret", "127.0.0.1:8000"


def texts(labels: dict[int, str] | None = None) -> Items:
    """40 texts, some labelled in the data."""
    ids = [f"t{i:02d}" for i in range(len(X))]
    shown = [f"text {i} of {CLASSES[k]}" for i, k in enumerate(TRUTH)]
    return Items("pool.csv", ids, [(labels or {}).get(i) for i in range(len(X))], shown, texts=shown)


@contextmanager
def desk(
    folder: Path, items: Items | None = None, choice: Choice | None = None, **options: Any
) -> Iterator[Desk]:
    """Opens a desk whose answers lie in that folder, as a command that is started again does."""
    choice = choice or Choice(classes=CLASSES)
    session = Session.open(folder / "answers.csv", items or texts(), classes=choice.classes)
    with session.locked():
        found = Desk(session, X, choice, **options)
        found.open()
        try:
            yield found
        finally:
            found.close()


class Page:
    """Speaks to the application as a tab of the page does."""

    def __init__(self, client: Any, tab: str = "one", annotator: str = ""):
        self.client, self.who = client, {"tab": tab, "annotator": annotator}

    def start(self) -> dict[str, Any]:
        return self.read("start")

    def read(self, path: str) -> dict[str, Any]:
        response = self.client.get(f"/{TOKEN}/api/{path}", params=self.who)
        assert response.status_code == 200, response.text
        return dict(response.json())

    def post(self, path: str, status: int = 200, **body: Any) -> dict[str, Any]:
        response = self.client.post(f"/{TOKEN}/api/{path}", json=self.who | body)
        assert response.status_code == status, response.text
        return dict(response.json())

    def answer(self, position: int, label: str | None, **more: Any) -> dict[str, Any]:
        return self.post("answer", position=position, label=label, **more)


@contextmanager
def client(found: Desk) -> Iterator[Any]:
    """A client of the application over a desk."""
    from starlette.testclient import TestClient

    from agents.acquisition.tool.web.app import make_app
    from agents.acquisition.tool.web.reports import Reports

    app = make_app(found, Reports(found), TOKEN, [HOST])
    with TestClient(app, base_url=f"http://{HOST}") as http:
        yield http
