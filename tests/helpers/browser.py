"""A real browser, and the labelling command as a process that can be killed."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from helpers.paths import ROOT

ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
PATIENCE = 15  # seconds for anything in the page
WAIT = 60  # seconds until the page is served: the process imports torch first


def executable() -> str | None:
    """Returns where the system has a browser that Playwright can drive."""
    return next(filter(None, map(shutil.which, NAMES)), None)


@contextmanager
def browser() -> Iterator[Any]:
    """Starts the system's browser; the test is skipped where there is none."""
    api = pytest.importorskip("playwright.sync_api", reason="needs playwright")
    path = executable()
    if path is None:
        pytest.skip(f"no browser is installed: none of {', '.join(NAMES)}")
    with api.sync_playwright() as playwright:
        found = playwright.chromium.launch(executable_path=path, args=ARGUMENTS)
        yield found
        found.close()


class Server:
    """Runs ``metaal label --web`` over a pool.

    Attributes:
        address: Where the page is.
    """

    def __init__(self, pool: Path, *options: str):
        self.output = pool.parent / "output.txt"
        command = [sys.executable, "-m", "agents", "label", str(pool), "--web", "--no-browser", *options]
        environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
        with self.output.open("w") as file:
            self.process = subprocess.Popen(
                command, env=environment, stdout=file, stderr=subprocess.STDOUT, cwd=pool.parent
            )
        self.address = self._address()

    def _address(self) -> str:
        until = time.monotonic() + WAIT
        while time.monotonic() < until and self.process.poll() is None:
            for line in self.output.read_text().splitlines():
                if line.startswith("labelling page: "):
                    return line.partition(": ")[2]
            time.sleep(0.1)
        self.kill()
        raise AssertionError(self.output.read_text())

    def kill(self) -> None:
        """Kills the process as a power cut would."""
        with suppress(ProcessLookupError):
            os.kill(self.process.pid, signal.SIGKILL)
        self.process.wait()


@contextmanager
def served(pool: Path, *options: str) -> Iterator[Server]:
    """Serves a pool until the end of the block."""
    server = Server(pool, *options)
    try:
        yield server
    finally:
        server.kill()


def opened(page: Any, address: str) -> Any:
    """Opens the page, and collects what goes wrong in it as ``page.problems``."""
    page.set_default_timeout(1000 * PATIENCE)
    page.problems = []
    page.on("pageerror", lambda error: page.problems.append(str(error)))
    page.on("console", lambda line: page.problems.append(line.text) if line.type == "error" else None)
    page.on(
        "request",
        lambda request: page.problems.append(request.url) if _is_foreign(request.url, address) else None,
    )
    page.on("dialog", lambda dialog: (page.problems.append(dialog.message), dialog.dismiss()))
    page.goto(address)
    page.wait_for_selector("body.ready")
    return page


def _is_foreign(url: str, address: str) -> bool:
    return not url.startswith((address.partition("?")[0], "data:", "blob:"))


def shown(page: Any) -> str:
    """Returns the position of the item on the page; empty where there is none."""
    return str(page.get_attribute("#stage", "data-position"))


def pressed(page: Any, key: str) -> str:
    """Presses a key and waits until another item is shown; its position."""
    before = shown(page)
    page.keyboard.press(key)
    page.wait_for_function(
        "before => document.getElementById('stage').dataset.position !== before"
        " && !document.body.classList.contains('busy')",
        arg=before,
    )
    return shown(page)
