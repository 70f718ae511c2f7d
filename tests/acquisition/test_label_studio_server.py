"""The protocol over HTTP, and the files behind a task's data."""

from __future__ import annotations

import io
import json
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.label_studio_requests import CHOICES, annotation, event, predict, setup, task
from PIL import Image

from agents.acquisition.integrations.label_studio import AcquisitionBackend
from agents.acquisition.integrations.label_studio.connection import Connection
from agents.acquisition.integrations.label_studio.server import make_server
from agents.acquisition.integrations.label_studio.task_files import TaskFiles
from metaal_env.errors import InputError

pytestmark = pytest.mark.usefixtures("own_cache")


@contextmanager
def running(server: ThreadingHTTPServer) -> Iterator[str]:
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


def call(address: str, body: object = None) -> tuple[int, Any]:
    data = None if body is None else json.dumps(body).encode()
    try:
        with urllib.request.urlopen(urllib.request.Request(address, data), timeout=20) as reply:
            return reply.status, json.load(reply)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


def test_the_protocol(capsys: pytest.CaptureFixture[str]) -> None:
    backend = AcquisitionBackend(policy="uherding", encoder="tfidf")
    with running(make_server(backend, port=0)) as url:
        assert call(f"{url}/health")[1]["status"] == "UP" and call(url)[0] == 200
        before = call(f"{url}/setup", setup())[1]["model_version"]
        tasks = [task(i, f"{'fox' if i % 2 else 'bird'} {i}") for i in range(1, 10)]
        status, reply = call(f"{url}/predict", predict(tasks))
        assert status == 200 and len(reply["results"]) == 9
        assert all(0 <= p["score"] < 1 and p["result"] == [] for p in reply["results"])
        version = reply["model_version"]
        assert version != before and {p["model_version"] for p in reply["results"]} == {version}
        assert call(f"{url}/setup", setup())[1] == {"model_version": version}
        assert call(f"{url}/versions") == (200, {"versions": [version]})  # without a body, as it is sent
        assert call(f"{url}/versions", {"project": "2.1795883112"}) == (200, {"versions": [version]})
        sent = event("ANNOTATION_CREATED", annotation=annotation(7, 4, "bird"), task=tasks[3])
        status, reply = call(f"{url}/webhook", sent)
        assert status == 201 and reply["model_version"] != version
        assert call(f"{url}/webhook", {"action": "PROJECT_CREATED"})[0] == 201
        assert call(f"{url}/validate", {"config": CHOICES}) == (200, {"status": "ok"})
        assert call(f"{url}/validate", {"config": "<View>"})[0] == 400
        assert call(f"{url}/metrics") == (200, {})
        old = {"annotations": [task(5, "fox 5", annotation(8, 5, "fox"))], "project": "2.1795883112"}
        assert call(f"{url}/train", old)[0] == 201 and backend.pools.snapshot(2).answers[5].label == "fox"
        capsys.readouterr()
        assert call(f"{url}/predict", {"tasks": [{"id": 99}]})[0] == 400
        assert "POST /predict refused: every task needs an id" in capsys.readouterr().err
        assert call(f"{url}/predict", [1])[0] == 400 and call(f"{url}/predict", {"tasks": "x"})[0] == 400
        assert call(f"{url}/nowhere", {})[0] == 404 and call(f"{url}/nowhere")[0] == 404


@pytest.mark.parametrize("route", ["setup", "predict", "webhook", "train", "validate", "versions"])
def test_whatever_is_sent_is_answered(route: str) -> None:
    odd: list[Any] = [
        None,
        0,
        -1,
        10**30,
        1.5,
        "x",
        "\ud800",
        [],
        {},
        [None],
        {"id": 10**30, "data": {"text": "a"}},
    ]
    keys = (
        "project",
        "tasks",
        "task",
        "annotation",
        "annotations",
        "label_config",
        "schema",
        "config",
        "action",
    )
    with running(make_server(AcquisitionBackend(policy="random", encoder="tfidf"), port=0)) as url:
        for value in odd:
            for key in keys:
                body = event("ANNOTATION_CREATED", tasks=[], annotation={"id": 1, "task": 3}) | {key: value}
                assert call(f"{url}/{route}", body)[0] in (200, 201, 400)
        assert call(f"{url}/health")[0] == 200


def png(shade: int) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.full((9, 9, 3), shade, np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


class LabelStudio(ThreadingHTTPServer):
    """Hands out files and one project, to those who have the token, and redirects to a storage."""

    def __init__(self, tasks: list[dict[str, Any]], token: str = "Token secret") -> None:
        self.seen: list[tuple[str, str | None]] = []
        storage = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                given = self.headers.get("Authorization")
                storage.seen.append((self.path, given))
                if self.path.startswith("/storage/"):
                    self._send(200, png(50))
                elif given != token:
                    self._send(401, b"")
                elif self.path.startswith("/tasks/"):
                    self.send_response(302)
                    self.send_header("Location", "/storage/x.png")
                    self.end_headers()
                elif self.path.startswith("/api/projects/2/export"):
                    self._send(200, json.dumps(tasks).encode())
                else:
                    self._send(200, png(sum(self.path.encode()) % 200))

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                storage.seen.append((self.path, body.get("refresh")))
                self._send(200, json.dumps({"access": "short"}).encode())

            def _send(self, status: int, content: bytes) -> None:
                self.send_response(status)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, format: str, *args: Any) -> None:
                pass

        super().__init__(("127.0.0.1", 0), Handler)


IMAGES = CHOICES.replace("<Text", "<Image").replace("$text", "$image")


def image_task(ident: int, address: str) -> dict[str, Any]:
    return {"id": ident, "data": {"image": address}, "annotations": [], "project": 2}


@pytest.mark.parametrize(
    "address",
    [
        "/data/upload/2/{}.png",
        "s3://bucket/{}.png",
        "/data/local-files/?d=a/{}.png",
        "{url}/data/upload/2/{}.png",
    ],
)
def test_files_of_label_studio_are_read(address: str) -> None:
    with running(server := LabelStudio([])) as url:
        backend = AcquisitionBackend(
            policy="k_center", encoder="pixels", connection=Connection(url, "secret")
        )
        tasks = [image_task(i, address.format(i, url=url)) for i in range(1, 5)]
        found = backend.predict(tasks, "2.1", IMAGES)
        assert sorted(p["score"] for p in found) == [i / 5 for i in range(4)]
        fetched = len(server.seen)
        backend.predict([*tasks, image_task(9, address.format(9, url=url))], "2.1", IMAGES)
        assert len(server.seen) < 2 * fetched  # downloads are kept
        assert all(given is None for path, given in server.seen if path.startswith("/storage/"))


@pytest.mark.parametrize("tag", ["Text", "HyperText", "Paragraphs"])
def test_texts_may_lie_behind_their_address(tag: str, tmp_path: Path) -> None:
    """With valueType="url" the data hold the address alone, which says nothing of the text."""
    texts = [f"{'red fox' if i % 2 else 'blue bird'} {i}" for i in range(6)]
    for i, text in enumerate(texts):
        said = json.dumps([{"author": "", "text": text}]) if tag == "Paragraphs" else text
        (tmp_path / f"{i}.txt").write_text(said)
    shown = CHOICES.replace("<Text", f'<{tag} valueType="url"')
    backend = AcquisitionBackend(policy="uherding", encoder="tfidf", local_files=tmp_path)
    tasks = [task(i, f"/data/local-files/?d={i}.txt") for i in range(6)]
    found = backend.predict([*tasks, task(9, "no address")], "2.1", shown)
    plain = AcquisitionBackend(policy="uherding", encoder="tfidf")
    expected = plain.predict([task(i, text) for i, text in enumerate(texts)], "2.1", CHOICES)
    assert [p["score"] for p in found] == [*(p["score"] for p in expected), 1.0]


def test_the_token_goes_nowhere_else() -> None:
    with running(server := LabelStudio([], "none")) as elsewhere:
        files = TaskFiles(connection=Connection("http://127.0.0.1:9", "secret"))
        with pytest.raises(InputError, match=r"task 1: .* cannot be fetched"):
            files.path(f"{elsewhere}/a.png", 1)
        assert server.seen == [("/a.png", None)]


def test_personal_tokens_are_exchanged() -> None:
    token = "eyJhbGciOiJIUzI1NiJ9.eyJ0b2tlbl90eXBlIjoicmVmcmVzaCJ9.c2ln"
    with running(server := LabelStudio([], "Bearer short")) as url:
        assert TaskFiles(connection=Connection(url, token)).path("/data/upload/1/a.png", 1).is_file()
        assert server.seen[0] == ("/api/token/refresh", token)
        with pytest.raises(InputError, match="set LABEL_STUDIO_API_KEY to a token of yours"):
            TaskFiles(connection=Connection(url, "wrong")).path("/data/upload/1/b.png", 1)


def test_local_files_lie_below_their_root(tmp_path: Path) -> None:
    (tmp_path / "root" / "a").mkdir(parents=True)
    (tmp_path / "root" / "a" / "ä b.png").write_bytes(png(9))
    (tmp_path / "secret.png").write_bytes(png(9))
    files = TaskFiles(tmp_path / "root")
    assert files.path("/data/local-files/?d=a/%C3%A4%20b.png", 1).name == "ä b.png"
    for outside in ("../secret.png", "%2E%2E/secret.png", str(tmp_path / "secret.png"), "none.png"):
        with pytest.raises(InputError, match="there is no file"):
            files.path(f"/data/local-files/?d={outside}", 1)


def test_a_project_that_can_be_read_is_ranked_as_a_whole_from_the_first_request() -> None:
    tasks = [task(i, f"{'fox' if i % 2 else 'bird'} {i}") for i in range(1, 10)]
    whole = AcquisitionBackend(policy="uherding", encoder="tfidf").predict(tasks, "2.1", CHOICES)
    with running(LabelStudio(tasks)) as url:
        backend = AcquisitionBackend(policy="uherding", encoder="tfidf")
        backend.setup(setup(hostname=url, access_token="secret"))
        assert [backend.predict([t], "2.1", CHOICES)[0] for t in tasks] == whole
        tasks[0]["annotations"] = [
            annotation(1, 1, "fox")
        ]  # without an event, until somebody presses the button
        assert backend.fit("START_TRAINING", event("START_TRAINING")) != whole[0]["model_version"]


def test_a_project_that_cannot_be_read_is_said_once_and_costs_nothing() -> None:
    said: list[str] = []
    tasks = [task(i, f"{'fox' if i % 2 else 'bird'} {i}") for i in range(1, 5)]
    with running(LabelStudio(tasks)) as url:
        backend = AcquisitionBackend(policy="uherding", encoder="tfidf", report=said.append)
        backend.setup(setup(hostname=url, access_token="wrong"))
        assert len(backend.predict(tasks, "2.1", CHOICES)) == len(backend.predict(tasks, "2.1", CHOICES)) == 4
    assert len(said) == 1 and "The pool grows with requests" in said[0]
