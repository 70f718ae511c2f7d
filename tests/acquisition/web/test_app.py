"""The page's requests: who may ask, what is refused, and what the answers hold."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.desks import CLASSES, HOST, TOKEN, TRUTH, Page, client, desk, texts

from agents.acquisition.items.items import Items
from agents.acquisition.items.read_items import read_items
from agents.acquisition.tool.session import Session
from agents.acquisition.tool.web.desk import Desk

pytest.importorskip("starlette", reason="needs the extra web")

JSON = {"content-type": "application/json"}


@pytest.fixture()
def http(tmp_path: Path) -> Any:
    with desk(tmp_path) as found, client(found) as http:
        yield http


@pytest.mark.parametrize(
    ("path", "headers", "status"),
    [
        (f"/{TOKEN}/", {}, 200),
        (f"/{TOKEN}/api/answers", {"origin": f"http://{HOST}", "sec-fetch-site": "same-origin"}, 200),
        (f"/{TOKEN}/static/app.js", {}, 200),
        ("/", {}, 403),
        ("//", {}, 403),
        ("/api/answers", {}, 403),
        ("/static/app.js", {}, 403),
        ("/secre/api/answers", {}, 403),
        ("/secretly/api/answers", {}, 403),
        ("/séçrét/api/answers", {}, 403),
        (f"/{TOKEN}/api/answers", {"host": "evil.example"}, 403),
        (f"/{TOKEN}/api/answers", {"host": "127.0.0.1:9999"}, 403),
        (f"/{TOKEN}/api/answers", {"origin": "http://evil.example"}, 403),
        (f"/{TOKEN}/api/answers", {"origin": "null"}, 403),
        (f"/{TOKEN}/api/answers", {"sec-fetch-site": "cross-site"}, 403),
        (f"/{TOKEN}/api/answers", {"sec-fetch-site": "same-site"}, 403),
    ],
)
def test_only_the_page_itself_is_answered(http: Any, path: str, headers: dict[str, str], status: int) -> None:
    response = http.get(path, headers=headers)
    assert response.status_code == status
    policy = response.headers["content-security-policy"]
    assert "default-src 'none'" in policy and "unsafe" not in policy and "http" not in policy
    assert response.headers["x-content-type-options"] == "nosniff"
    assert response.headers["referrer-policy"] == "no-referrer"


@pytest.mark.parametrize(
    ("headers", "content", "status"),
    [
        (JSON, b'{"tab": "one", "position": 3, "label": "ham"}', 200),
        ({"content-type": "text/plain"}, b'{"tab": "one", "position": 3, "label": "ham"}', 403),
        ({"content-type": "application/x-www-form-urlencoded"}, b"tab=one&position=3&label=ham", 403),
        (JSON | {"origin": "http://evil.example"}, b'{"tab": "one", "position": 3, "label": "ham"}', 403),
        (JSON | {"host": "evil.example"}, b'{"tab": "one", "position": 3, "label": "ham"}', 403),
        (JSON, b"x" * 70_000, 403),
        (JSON, b"no json", 400),
        (JSON, b"[" * 60_000, 400),
        (JSON, b"[1]", 400),
        (JSON, b"{}", 409),
        (JSON, b'{"tab": "../one", "position": 3, "label": "ham"}', 409),
        (JSON, b'{"tab": "one", "position": "3", "label": "ham"}', 409),
        (JSON, b'{"tab": "one", "position": 3, "label": ["ham"]}', 409),
        (JSON, b'{"tab": "one", "position": 400, "label": "ham"}', 409),
        (JSON, b'{"tab": "one", "position": 1e400, "label": "ham"}', 409),
    ],
)
def test_what_changes_something_is_checked(
    tmp_path: Path, headers: dict[str, str], content: bytes, status: int
) -> None:
    with desk(tmp_path) as found, client(found) as http:
        response = http.post(f"/{TOKEN}/api/answer", content=content, headers=headers)
        assert response.status_code == status, response.text
        assert len(found.session.answers) == (status == 200)


@pytest.mark.parametrize(
    "path",
    [
        "picture/../../../../etc/passwd",
        "picture/..%2f..%2f..%2fetc%2fpasswd",
        "picture/%2fetc%2fpasswd",
        "picture/999",
        "picture/-1",
        "sound/0",
        "picture/0",
        "static/../templates/page.html",
        "static/..%2ftemplates%2fpage.html",
        "static/%2e%2e/app.py",
        "api/item/999",
        "api/nothing",
    ],
)
def test_nothing_but_items_of_the_pool_is_served(http: Any, path: str) -> None:
    response = http.get(f"/{TOKEN}/{path}")
    assert response.status_code in (403, 404) and "root:" not in response.text


def folder_desk(folder: Path) -> tuple[Items, Desk]:
    items = read_items(folder)
    session = Session.open(folder.parent / "answers.csv", items)
    return items, Desk(session, np.eye(len(items), 3, dtype=np.float32))


def test_pictures_are_decoded_here_and_a_link_to_elsewhere_is_refused(tmp_path: Path) -> None:
    from PIL import Image

    folder = tmp_path / "pictures"
    folder.mkdir()
    Image.new("I;16", (30, 20)).save(folder / "deep.tif")
    Image.new("RGB", (3000, 1500), "red").save(folder / "large.jpg")
    (folder / "script.png").write_bytes(b"<script>alert(1)</script>")
    Image.new("RGB", (10, 10), "blue").save(folder / "swapped.png")
    (tmp_path / "private.png").write_bytes((folder / "swapped.png").read_bytes())
    items, found = folder_desk(folder)
    with client(found) as http:
        (folder / "swapped.png").unlink()
        (folder / "swapped.png").symlink_to(tmp_path / "private.png")
        seen = {}
        for i, name in enumerate(items.ids):
            response = http.get(f"/{TOKEN}/picture/{i}")
            seen[name] = (response.status_code, response.headers["content-type"].partition(";")[0])
            if response.status_code == 200:
                image = Image.open(io.BytesIO(response.content))
                assert image.size == {"deep.tif": (30, 20), "large.jpg": (1400, 700)}[name]
        assert seen == {
            "deep.tif": (200, "image/png"),
            "large.jpg": (200, "image/jpeg"),
            "script.png": (404, "text/plain"),
            "swapped.png": (404, "text/plain"),
        }
        assert Image.open(io.BytesIO(http.get(f"/{TOKEN}/picture/1?large").content)).size == (3000, 1500)


def test_sounds_are_served_in_parts(tmp_path: Path) -> None:
    pytest.importorskip("soundfile", reason="needs the extra audio")
    from helpers.own_pools import sounds_pool

    sounds_pool(tmp_path / "sounds", 3)
    items, found = folder_desk(tmp_path / "sounds")
    with client(found) as http:
        response = http.get(f"/{TOKEN}/sound/1", headers={"range": "bytes=0-3"})
        assert (response.status_code, response.content) == (206, b"RIFF")
        assert response.headers["content-type"] == "audio/wav"
        assert items.sounds is not None
        (tmp_path / "private").write_text("x")
        items.sounds[2].unlink()
        items.sounds[2].symlink_to(tmp_path / "private")
        assert http.get(f"/{TOKEN}/sound/2").status_code == 404
        assert http.get(f"/{TOKEN}/picture/1").status_code == 404


def test_arrays_of_pictures_are_shown(tmp_path: Path) -> None:
    from PIL import Image

    x = np.linspace(0, 1, 4 * 8 * 8).reshape(4, 8, 8, 1)
    np.save(tmp_path / "x.npy", x)
    items = read_items(tmp_path / "x.npy")
    found = Desk(Session.open(tmp_path / "answers.csv", items), x.reshape(4, -1))
    with client(found) as http:
        image = Image.open(io.BytesIO(http.get(f"/{TOKEN}/picture/2").content))
        assert image.size == (8, 8) and image.getextrema() == (0, 255)
        assert Page(http).read("item/2")["kind"] == "image"


def test_a_session_over_requests(tmp_path: Path) -> None:
    with desk(tmp_path, texts({0: "spam"})) as found, client(found) as http:
        page = Page(http)
        state = page.start()
        assert [(c["name"], c["key"], c["count"]) for c in state["classes"]] == [
            ("ham", "1", 0), ("spam", "2", 1), ("eggs", "3", 0)
        ]  # fmt: skip
        position = state["item"]["position"]
        assert state["item"]["text"] == f"text {position} of {CLASSES[TRUTH[position]]}"
        assert (state["labels"], state["total"], state["open"]) == (1, 40, 39)
        state = page.answer(position, "<b>new</b>", unsure=True, seconds=2.5)
        assert state["classes"][-1] == {"name": "<b>new</b>", "count": 1, "key": "4", "number": 4}
        assert state["history"] == [position] and state["item"]["position"] != position
        earlier = page.read(f"item/{position}")["answer"]
        assert (earlier["label"], earlier["unsure"]) == ("<b>new</b>", True)
        assert [row["position"] for row in page.read("answers")["answers"]] == [position]
        assert [row["position"] for row in page.read("review")["items"]] == [position]
        assert page.post("settle", position=position, label="ham")["labels"] == 2
        assert page.read("review")["items"] == []
        assert page.read("progress")["seconds"] == 2.5
        state = page.post("undo")
        assert state["undone"] == position != state["item"]["position"]  # the answer before it was settled
        assert page.read(f"item/{position}")["answer"]["label"] == "<b>new</b>"
        state = page.post("undo")
        assert state["undone"] == position == state["item"]["position"] and state["labels"] == 1
        state = page.answer(position, None)
        assert state["skipped"] == 1 and page.post("restore")["restored"] == 1
        assert page.post("measure", size=3)["yardstick"] == {"size": 3, "done": 0}
        assert "must lie in" in page.post("measure", 409, size=99)["error"]


def test_reasons_neighbours_map_and_progress(tmp_path: Path) -> None:
    with desk(tmp_path) as found, client(found) as http:
        page = Page(http)
        state = page.post("measure", size=6)
        state = page.start()
        for _ in range(34):
            found.ahead.wait()  # whoever answers faster than the queries gets items at random, without reasons
            position = state["item"]["position"]
            state = page.answer(position, CLASSES[TRUTH[position]], seconds=1)
        position = state["item"]["position"]
        why = page.read(f"why/{position}")
        assert why["reasons"] and len(why["nearest"]) == 3
        labels = found.session.labels()
        assert all(near["label"] == labels[near["position"]] for near in why["nearest"])
        assert sum(near["label"] == CLASSES[TRUTH[position]] for near in why["nearest"]) >= 2
        view = page.read("map")
        assert len(view["positions"]) == 40 and sum(number > 0 for number in view["classes"]) == 34
        from agents.acquisition.tool.web.reports import Reports

        reports = Reports(found)
        reports.compute()
        measured = reports.progress()["measured"]
        assert measured["yardstick"] == 6 and measured["accuracy"] >= 0.8
        curve = measured["curve"]
        assert [curve[0]["labels"], curve[-1]["labels"]] == [4, 28]
        assert curve[-1]["accuracy"] == measured["accuracy"]
        assert [curve[-1]["low"], curve[-1]["high"]] == pytest.approx(measured["interval"])


def test_the_second_annotator_is_not_told_the_first_answer(tmp_path: Path) -> None:
    with desk(tmp_path, overlap=1.0) as found, client(found) as http:
        ada, bob = Page(http, "one", "ada"), Page(http, "two", "bob")
        position = ada.start()["item"]["position"]
        ada.answer(position, "ham")
        item = bob.start()["item"]
        assert (item["position"], item["second"], item["answer"]) == (position, True, None)
        bob.answer(position, "spam")
        review = ada.read("review")
        assert review["items"][0]["opinions"] == {"ada": "ham", "bob": "spam"}
        assert review["agreement"] == {"of": 1, "same": 0}


def test_the_page_itself_escapes_what_it_names(tmp_path: Path) -> None:
    shown = ['<script>alert("1")</script>'] * 40
    hostile = Items('"><script>x.csv', [f"i{i}" for i in range(40)], [None] * 40, shown, texts=shown)
    with desk(tmp_path, hostile) as found, client(found) as http:
        html = http.get(f"/{TOKEN}/").text
        assert "&#34;&gt;&lt;script&gt;x.csv" in html and "<script>x" not in html
        assert "http://" not in html and "https://" not in html
        assert Page(http).start()["item"]["text"] == shown[0]


def test_static_files_ask_no_other_host() -> None:
    folder = Path(__file__).parents[3] / "agents" / "acquisition" / "tool" / "web"
    files = [*folder.glob("static/*"), *folder.glob("templates/*")]
    assert len(files) >= 5
    for file in files:
        text = file.read_text().replace("http://www.w3.org/2000/svg", "")
        assert "//www" not in text and "http:" not in text and "https:" not in text, file
        assert "innerHTML" not in text and "eval(" not in text and "insertAdjacentHTML" not in text, file
