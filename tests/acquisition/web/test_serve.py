"""The command that serves the page: where it listens, what it prints, and that it holds the file of answers."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

import pytest
from helpers.own_pools import texts_pool

pytest.importorskip("uvicorn", reason="needs the extra web")

from starlette.testclient import TestClient

from agents.acquisition.items.read_items import read_items
from agents.acquisition.tool.commands import main
from agents.acquisition.tool.session import Session
from agents.acquisition.tool.web.serve import listening
from metaal_env.errors import InputError


def test_the_page_is_served_under_the_printed_address(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """All but uvicorn's loop, which is asked here instead of by a socket."""
    pool = tmp_path / "messages.csv"
    texts_pool(pool, 20)
    seen: dict[str, Any] = {}

    def run(self: Any, sockets: list[socket.socket]) -> None:
        seen["host"], seen["port"] = sockets[0].getsockname()
        address = capsys.readouterr().out.partition("labelling page: ")[2].split()[0]
        second = Session.open(pool.with_name("messages.csv.labels.csv"), read_items(pool))
        with pytest.raises(InputError, match="in use by another session"), second.locked():
            pass
        http = TestClient(self.config.app, base_url=address)
        assert http.get(address).status_code == 200
        base = address.partition("?")[0]
        state = http.get(f"{base}api/start?tab=one").json()
        body = {"tab": "one", "position": state["item"]["position"], "label": "refund"}
        assert http.post(f"{base}api/answer", json=body).json()["labels"] == 1
        seen["address"] = address

    monkeypatch.setattr("uvicorn.Server.run", run)
    monkeypatch.setattr("webbrowser.open", lambda address: seen.setdefault("opened", address))
    arguments = ["--encoder", "tfidf", "--classes", "refund,delivery", "--annotator", "Ada & Bo"]
    assert main(["label", str(pool), "--web", *arguments]) == 0
    assert seen["address"].endswith("/?as=Ada%20%26%20Bo")
    assert seen["host"] == "127.0.0.1" and seen["address"].startswith(f"http://127.0.0.1:{seen['port']}/")
    assert len(seen["address"].split("/")[3]) >= 32 and seen["opened"] == seen["address"]
    assert list(Session.open(pool.with_name("messages.csv.labels.csv"), read_items(pool)).counts()) == [
        "refund"
    ]


def test_a_port_in_use_is_named() -> None:
    first = listening(0)
    with socket.create_connection(first.getsockname(), timeout=5):
        pass  # a browser that comes before the server waits
    with pytest.raises(InputError, match="cannot be listened on"):
        listening(first.getsockname()[1])
    first.close()


@pytest.mark.parametrize(
    ("rows", "options", "message"),
    [
        (["m00,refund", "m01,"], [], ""),
        ([f"m{i:02d},refund" for i in range(5)] + ["m05,"], [], "and brings the 1 skipped ones back"),
        (
            ["m00,refund"],
            ["--budget", "1"],
            "the budget of 1 labels is spent: the page shows the answers to review",
        ),
    ],
)
def test_a_page_that_will_ask_for_nothing_says_so(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    rows: list[str],
    options: list[str],
    message: str,
) -> None:
    pool = tmp_path / "messages.csv"
    pool.write_text("id,text\n" + "".join(f"m{i:02d},message number {i} of six\n" for i in range(6)))
    (tmp_path / "messages.csv.labels.csv").write_text("item,label\n" + "\n".join(rows) + "\n")
    monkeypatch.setattr("uvicorn.Server.run", lambda self, sockets: None)
    assert main(["label", str(pool), "--web", "--no-browser", "--encoder", "tfidf", *options]) == 0
    printed = capsys.readouterr().out
    assert message in printed and ("the page shows" in printed) == bool(message)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--annotator", "a\x07"], "annotator='a\\x07' must be at most 200 characters"),
        (["--port", "8000"], "port=8000 is for the page in the browser; add --web."),
        (["--port", "0"], "port=0 is for the page"),
        (["--overlap", "0.2"], "overlap=0.2 is for the page"),
        (["--no-browser"], "browser=False is for the page"),
        (["--web", "--port", "70000"], "port=70000 must lie in 0…65535"),
        (["--web", "--overlap", "2"], "overlap=2.0 must lie in 0…1"),
    ],
)
def test_options_of_the_page_are_not_passed_over_in_the_terminal(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], options: list[str], message: str
) -> None:
    texts_pool(tmp_path / "messages.csv", 8)
    assert main(["label", str(tmp_path / "messages.csv"), *options]) == 2
    assert message in capsys.readouterr().err
