"""`metaal serve` behind a real Label Studio, which needs an environment of its own.

Runs where the command ``label-studio`` is on the path or named by METAAL_LABEL_STUDIO; takes about two minutes.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from agents.acquisition.items.label_studio_answers import answer_of
from agents.acquisition.items.options import ReadOptions
from agents.acquisition.items.read_items import read_items
from agents.acquisition.tool.commands import main
from agents.acquisition.tool.export.annotation_tools import label_config
from agents.acquisition.tool.marks import update_mark
from agents.acquisition.tool.session import Session

COMMAND = os.environ.get("METAAL_LABEL_STUDIO") or shutil.which("label-studio")
pytestmark = [
    pytest.mark.skipif(COMMAND is None, reason="label-studio is not installed"),
    pytest.mark.timeout(600),
]
TOKEN = "abcdef0123456789abcdef0123456789abcdef01"
CONFIG = """<View><Text name="t" value="$body"/>
<Choices name="c" toName="t"><Choice value="a"/><Choice value="b"/></Choices></View>"""


def free_port() -> int:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return int(listening.getsockname()[1])


@contextmanager
def started(command: list[str], url: str, **environment: str) -> Iterator[None]:
    process = subprocess.Popen(command, env=os.environ | environment, stdout=subprocess.DEVNULL)
    try:
        for _ in range(240):
            try:
                urllib.request.urlopen(f"{url}/health", timeout=2).close()
                break
            except OSError:
                time.sleep(1)
        yield
    finally:
        process.terminate()
        process.wait(30)


class Client:
    """Calls Label Studio's API for one project."""

    def __init__(self, url: str) -> None:
        self.url, self.project = url, 0

    def __call__(self, method: str, path: str, body: Any = None) -> Any:
        head = {"Authorization": f"Token {TOKEN}", "Content-Type": "application/json"}
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data, head, method=method)
        with urllib.request.urlopen(request, timeout=100) as reply:
            text = reply.read()
        return json.loads(text) if text else None

    def act(self, action: str, tasks: list[int]) -> None:
        chosen = {"selectedItems": {"all": False, "included": tasks}}
        self("POST", f"/api/dm/actions?id={action}&project={self.project}", chosen)
        time.sleep(1)

    def latest(self) -> dict[int, tuple[float, str]]:
        found = sorted(self("GET", f"/api/predictions?project={self.project}"), key=lambda p: p["id"])
        return {p["task"]: (p["score"], p["model_version"]) for p in found}


@contextmanager
def studio(folder: Path) -> Iterator[Client]:
    """Starts Label Studio with data of its own."""
    assert COMMAND is not None
    port = free_port()
    client = Client(f"http://127.0.0.1:{port}")
    arguments = ["start", "-b", "--port", str(port), "--host", client.url, "--data-dir", str(folder / "ls")]
    settings = {
        "LABEL_STUDIO_BASE_DATA_DIR": str(folder / "ls"),
        "LABEL_STUDIO_USERNAME": "a@b.co",
        "LABEL_STUDIO_PASSWORD": "no secret at all",
        "LABEL_STUDIO_USER_TOKEN": TOKEN,
        "LABEL_STUDIO_ENABLE_LEGACY_API_TOKEN": "true",
        "ML_BLOCK_LOCAL_IP": "false",
        "SSRF_PROTECTION_ENABLED": "false",
        "COLLECT_ANALYTICS": "false",
        "PYTHONPATH": "",
    }
    with started([COMMAND, *arguments], client.url, **settings):
        yield client


def test_labelling_with_a_real_label_studio(tmp_path: Path) -> None:
    own_port = free_port()
    own = f"http://127.0.0.1:{own_port}"
    serve = [
        sys.executable,
        "-m",
        "agents.acquisition",
        "serve",
        "--port",
        str(own_port),
        "--encoder",
        "tfidf",
    ]
    serve += ["--state", str(tmp_path / "state.sqlite")]
    cache = {"METAAL_CACHE": str(tmp_path / "cache"), "OMP_NUM_THREADS": "1"}
    with studio(tmp_path) as client:
        with started(serve, own, **cache):
            project = {"title": "real", "label_config": CONFIG, "sampling": "Uncertainty sampling"}
            client.project = client("POST", "/api/projects", project)["id"]
            texts = [{"body": f"{'red fox' if i % 2 else 'blue bird'} at {i}"} for i in range(20)]
            place = f"/api/projects/{client.project}/import?return_task_ids=true"
            ids = client("POST", place, texts)["task_ids"]
            backend = client("POST", "/api/ml", {"url": own, "project": client.project, "title": "metaal"})
            for one in (ids[:1], ids[1:2], ids):
                client.act("retrieve_tasks_predictions", one)
            first = client.latest()
            assert sorted(score for score, _ in first.values()) == [i / 21 for i in range(20)]
            assert len({version for _, version in first.values()}) == 1
            chosen = [{"from_name": "c", "to_name": "t", "type": "choices", "value": {"choices": ["a"]}}]
            made = client("POST", f"/api/tasks/{ids[0]}/annotations", {"result": chosen})
            client("POST", f"/api/tasks/{ids[1]}/annotations", {"result": [], "was_cancelled": True})
            time.sleep(1)
            client.act("retrieve_tasks_predictions", ids)
            second = client.latest()
            assert second[ids[0]][0] == second[ids[1]][0] == 1 and second[ids[2]][1] != first[ids[2]][1]
        with started(serve, own, **cache):
            versions = client("GET", f"/api/ml/{backend['id']}/versions")["versions"]
            assert versions == [second[ids[2]][1]]
            client("DELETE", f"/api/annotations/{made['id']}")
            client.act("delete_tasks", ids[15:])
            client.act("retrieve_tasks_predictions", ids[:15])
            third = client.latest()
            assert sorted(third[i][0] for i in ids[:15]) == [*(i / 15 for i in range(14)), 1.0]
            client("PATCH", f"/api/projects/{client.project}", {"model_version": third[ids[2]][1]})
            served = client("GET", f"/api/projects/{client.project}/next")["id"]
            assert third[served][0] == 0


def test_a_real_label_studio_imports_what_is_exported(tmp_path: Path) -> None:
    texts = [f"{'red fox' if i % 2 else 'blue bird'} at {i}, seen twice" for i in range(8)]
    rows = [f't{i},s{i % 2},"{text}"' for i, text in enumerate(texts)]
    (tmp_path / "pool.csv").write_text("\n".join(["id,site,text", *rows]) + "\n")
    items = read_items(tmp_path / "pool.csv", ReadOptions(meta=("site",)))
    session = Session.open(tmp_path / "pool.csv.labels.csv", items)
    for i in range(6):
        session.set(i, "bird & fox"[:4] if i % 2 == 0 else "bird & fox")
        update_mark(session, i, policy="margin", score=0.5, seconds=2.5, annotator="ada")
    update_mark(session, 2, opinions={"ada": "bird", "bob": "bird & fox"}, settled=True)
    session.save()
    command = ["export", str(tmp_path / "pool.csv"), "--meta", "site", "--unlabelled"]
    assert main([*command, "--format", "label-studio", "--out", str(tmp_path / "tasks.json")]) == 0
    with studio(tmp_path) as client:
        project = {"title": "taken in", "label_config": label_config(items, ["bird", "bird & fox"])}
        client.project = client("POST", "/api/projects", project)["id"]
        place = f"/api/projects/{client.project}/import?return_task_ids=true"
        taken = client("POST", place, json.loads((tmp_path / "tasks.json").read_text()))
        assert (taken["task_count"], taken["annotation_count"]) == (8, 8)
        tasks = client(
            "GET", f"/api/projects/{client.project}/export?exportType=JSON&download_all_tasks=true"
        )
    found = {task["data"]["item"]: task for task in tasks}
    classes = {name: answer_of(task["annotations"]).label for name, task in found.items()}
    assert classes == {f"t{i}": None if i > 5 else "bird & fox" if i % 2 else "bird" for i in range(8)}
    assert found["t1"]["data"]["text"] == texts[1] and found["t1"]["data"]["site"] == "s1"
    assert found["t1"]["meta"]["policy"] == "margin" and found["t1"]["annotations"][0]["lead_time"] == 2.5
    (tmp_path / "back.json").write_text(json.dumps(tasks))
    back = read_items(tmp_path / "back.json")
    order = list(back.texts or [])
    assert sorted(order) == sorted(texts)
    assert dict(zip(order, back.labels, strict=True)) == {
        texts[int(name[1:])]: label for name, label in classes.items()
    }
