"""Runs the page on this machine."""

from __future__ import annotations

import importlib.util
import secrets
import socket
import sys
import webbrowser
from typing import TYPE_CHECKING
from urllib.parse import quote

import numpy as np

from agents.acquisition.tool.choice import Choice
from agents.acquisition.tool.session import Session
from agents.acquisition.tool.web.claims import OVERLAP
from metaal_env.errors import InputError, brief
from metaal_env.runtime.command_line import say

if TYPE_CHECKING:
    from starlette.applications import Starlette

HOST = "127.0.0.1"
TOKEN_BYTES = 24
SWITCH = 0.0005
"""Seconds for which the thread of a query may keep Python from a request."""
NEEDED = ("starlette", "uvicorn")


def check_installed() -> None:
    """Refuses to start without the packages of the extra ``web``. Raises: `InputError`."""
    absent = [name for name in NEEDED if importlib.util.find_spec(name) is None]
    if absent:
        raise InputError(f"--web needs {' and '.join(absent)}: pip install {' '.join(absent)}.")


def listening(port: int) -> socket.socket:
    """Returns a socket on this machine alone; port 0 takes a free one.

    Raises:
        InputError: the port is taken or out of range.
    """
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((HOST, port))
        listener.listen()  # a browser that is faster than the server waits instead of being refused
    except (OSError, OverflowError) as error:
        listener.close()
        raise InputError(f"port={port} cannot be listened on ({brief(error)}); choose another.") from error
    return listener


def nothing_to_ask(session: Session, choice: Choice) -> str:
    """Returns a sentence where the page will ask for nothing when it opens; else an empty text."""
    left = session.open_positions()
    if not len(left):
        skipped = sum(answer.label is None for answer in session.answers.values())
        again = f", and brings the {skipped} skipped ones back" if skipped else ""
        return f"every item is labelled or skipped: the page shows the answers to review and change{again}."
    if choice.exhausted(session):
        return (
            f"the budget of {choice.budget_in_words} is spent: the page shows the answers to review and change; "
            "a larger --budget goes on."
        )
    return ""


def label_page(
    session: Session,
    x: np.ndarray,
    choice: Choice,
    *,
    port: int = 0,
    overlap: float = OVERLAP,
    browser: bool = True,
    annotator: str = "",
) -> None:
    """Serves the page until it is interrupted, and opens it in the browser where there is one.

    Raises:
        InputError: another process writes to the same file, or the port is taken.
    """
    import uvicorn

    with session.locked():
        from agents.acquisition.tool.web.app import make_app
        from agents.acquisition.tool.web.desk import Desk
        from agents.acquisition.tool.web.reports import Reports

        listener = listening(port)
        port = listener.getsockname()[1]
        token = secrets.token_urlsafe(TOKEN_BYTES)
        desk = Desk(session, x, choice, overlap=overlap, idle=lambda: reports.compute())
        reports = Reports(desk)
        app: Starlette = make_app(desk, reports, token, [f"{HOST}:{port}", f"localhost:{port}"])
        desk.open()
        before = sys.getswitchinterval()
        sys.setswitchinterval(SWITCH)
        who = f"?as={quote(annotator.strip())}" if annotator.strip() else ""
        address = f"http://{HOST}:{port}/{token}/{who}"
        say(f"labelling page: {address}")
        say(f"every answer goes to {session.path} at once; Ctrl-C stops, the same command goes on.")
        if nothing := nothing_to_ask(session, choice):
            say(nothing)
        if browser:
            webbrowser.open(address)
        config = uvicorn.Config(
            app, log_level="warning", access_log=False, server_header=False, lifespan="off"
        )
        try:
            uvicorn.Server(config).run(sockets=[listener])
        finally:
            sys.setswitchinterval(before)
            desk.close()
            listener.close()
