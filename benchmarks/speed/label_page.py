"""Time from a key to the next item on the labelling page: ``python -m benchmarks.speed.label_page browser | core``.

browser  starts ``metaal label --web`` over Gaussian clusters, opens the page in a headless browser and presses keys.
         The time runs in the browser from the key to the frame in which the next item stands on the page; the answer
         is on disk by then. Beside it the time of the request alone.
core     the time for which a core computes an answer and the reply to it, with other labels before it; it holds
         on a busy machine too.

``--write`` keeps the table in docs/measured.
"""

from __future__ import annotations

import itertools
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import tyro

from benchmarks.tables import MEASURED, write_table
from metaal_env.errors import InputError
from metaal_env.runtime.command_line import run_command

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-sync",
    "--no-first-run",
]

CLOCK = """() => {
  window.times = [];
  let pressed = 0;
  addEventListener("keydown", () => { pressed = performance.now(); }, { capture: true });
  new MutationObserver(() => requestAnimationFrame(() => {
    if (pressed) window.times.push(performance.now() - pressed);
    pressed = 0;
  })).observe(document.getElementById("stage"), { attributes: true, attributeFilter: ["data-position"] });
}"""
REQUESTS = """() => performance.getEntriesByType("resource")
  .filter((entry) => entry.name.endsWith("/api/answer")).map((entry) => entry.duration)"""


@dataclass(frozen=True)
class Options:
    """What to measure."""

    what: tyro.conf.Positional[Literal["browser", "core"]]
    """Keys in a browser, or an answer in this process."""
    sizes: tuple[int, ...] = (1_000, 10_000)
    """Items of the pool."""
    dimensions: int = 384
    """Length of the vectors."""
    answers: int = 100
    """Keys pressed per pause."""
    earlier: tuple[int, ...] = (0, 300, 3_000)
    """Labels before the answers of core."""
    pauses: tuple[float, ...] = (1.0, 0.2)
    """Seconds between an item and the next key."""
    policy: str = "uherding"
    """Rule, shipped policy, or run folder."""
    write: bool = False
    """Write docs/measured/label_page.json or label_answer.json."""


def write_pool(folder: Path, size: int, dimensions: int) -> Path:
    """Writes texts and their vectors, twelve Gaussian clusters; the place of the texts."""
    rng = np.random.default_rng(0)
    truth = rng.integers(12, size=size)
    x = 2 * rng.normal(size=(12, dimensions))[truth] + rng.normal(size=(size, dimensions))
    np.save(folder / "vectors.npy", x.astype(np.float32))
    pool = folder / "pool.txt"
    pool.write_text("".join(f"item {i} of cluster {k}\n" for i, k in enumerate(truth)), encoding="utf-8")
    return pool


@contextmanager
def started(pool: Path, *options: str) -> Iterator[str]:
    """Serves the page of a pool until the end of the block; its address."""
    output = pool.parent / "output.txt"
    command = [sys.executable, "-m", "agents", "label", str(pool), "--web", "--no-browser", *options]
    with output.open("wb") as file:
        process = subprocess.Popen(command, stdout=file, stderr=subprocess.STDOUT)
    try:
        yield _address(process, output)
    finally:
        process.kill()
        process.wait()


def _address(process: subprocess.Popen[bytes], output: Path) -> str:
    while process.poll() is None:
        for line in output.read_text(encoding="utf-8").splitlines():
            if line.startswith("labelling page: "):
                return line.partition(": ")[2]
        time.sleep(0.1)
    raise InputError(f"the page did not start: {output.read_text(encoding='utf-8')[-500:]}")


def browser_path() -> str:
    """Returns where the system's browser is. Raises: `InputError` where there is none."""
    found = next(filter(None, map(shutil.which, BROWSERS)), None)
    if found is None:
        raise InputError(f"no browser is installed: none of {', '.join(BROWSERS)}.")
    return found


def press(page: Any, count: int, pause: float) -> tuple[np.ndarray, np.ndarray]:
    """Milliseconds from key to item, and of the requests alone."""
    rng = np.random.default_rng(1)
    page.evaluate("() => { window.times = []; performance.clearResourceTimings(); }")
    page.evaluate("() => performance.setResourceTimingBufferSize(100000)")
    for done in range(1, count + 1):
        page.wait_for_timeout(1000 * pause)
        page.keyboard.press(str(rng.integers(1, 9)))
        page.wait_for_function("count => window.times.length >= count", arg=done)
        page.wait_for_function("() => !document.body.classList.contains('busy')")
    return np.array(page.evaluate("() => window.times")), np.array(page.evaluate(REQUESTS))


def main(options: Options) -> None:
    if options.what == "browser":
        in_browser(options)
    else:
        on_a_core(options)


def on_a_core(options: Options) -> None:
    from agents.acquisition.items.items import Items
    from agents.acquisition.tool.choice import Choice
    from agents.acquisition.tool.session import Session
    from agents.acquisition.tool.web.desk import Desk
    from agents.acquisition.tool.web.reports import Reports

    rows = []
    print(f"{'items':>8} {'labels before':>14} {'median, ms':>11} {'95 %, ms':>9}")
    for size, earlier in itertools.product(options.sizes, options.earlier):
        if earlier + options.answers > size:
            continue
        x = np.random.default_rng(0).normal(size=(size, options.dimensions)).astype(np.float32)
        texts = [f"item {i}" for i in range(size)]
        with tempfile.TemporaryDirectory() as folder:
            items = Items("pool", texts, [None] * size, texts, texts=texts)
            session = Session.open(Path(folder) / "answers.csv", items)
            for i in range(earlier):
                session.set(i, "abcdefgh"[i % 8])
            desk = Desk(session, x, Choice(options.policy))
            reports = Reports(desk)
            desk.open()
            claim, times = desk.current("tab"), []
            for i in range(options.answers):
                assert claim is not None
                before = time.thread_time()
                claim = desk.answer("tab", claim.position, "abcdefgh"[i % 8], seconds=1.0)
                json.dumps(reports.state(claim, ""))
                times.append(1000 * (time.thread_time() - before))
            desk.close()
        cells = [f"{np.median(times):.1f}", f"{np.quantile(times, 0.95):.1f}"]
        rows.append([f"{size:,}", f"{earlier:,}", *cells])
        print("{:>8} {:>14} {:>11} {:>9}".format(*rows[-1]), flush=True)
    text = (
        "Milliseconds for which a core computes an answer and the reply with the next item, "
        f"{options.answers} answers per row, vectors of {options.dimensions} numbers, `{options.policy}`. Waiting for "
        "the disk is not counted."
    )
    columns = ["items", "labels before", "median", "95 %"]
    _keep(options, "label_answer", "An answer on the labelling page", text, columns, rows)


def in_browser(options: Options) -> None:
    try:
        from playwright.sync_api import sync_playwright
    except ImportError as error:
        raise InputError("the page is measured in a browser: pip install playwright.") from error
    browser = browser_path()
    rows = []
    head = f"{'items':>8} {'pause, s':>9} {'median, ms':>11} {'95 %, ms':>9} {'largest':>8}"
    print(f"{head}   request alone: median, 95 %")
    with sync_playwright() as playwright:
        for size in options.sizes:
            with tempfile.TemporaryDirectory() as folder:
                pool = write_pool(Path(folder), size, options.dimensions)
                vectors = str(pool.with_name("vectors.npy"))
                told = ("--embeddings", vectors, "--classes", "a,b,c,d,e,f,g,h", "--policy", options.policy)
                with started(pool, *told) as address:
                    window = playwright.chromium.launch(executable_path=browser, args=ARGUMENTS)
                    page = window.new_page()
                    page.set_default_timeout(120_000)
                    page.goto(address)
                    page.wait_for_selector("body.ready")
                    page.evaluate(CLOCK)
                    for pause in options.pauses:
                        rows.append(
                            [f"{size:,}", f"{pause:g}", *_cells(*press(page, options.answers, pause))]
                        )
                        print("{:>8} {:>9} {:>11} {:>9} {:>8}   {}, {}".format(*rows[-1]), flush=True)
                    window.close()
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else float("nan")
    text = (
        "Milliseconds from a class key to the frame with the next item in headless Chromium, the answer on disk: "
        f"{options.answers} keys per row, vectors of {options.dimensions} numbers, `{options.policy}`, server and "
        f"browser on the same {os.cpu_count()} cores, whose load was {load:.0f} at the end. The last two columns are "
        "the request alone."
    )
    columns = ["items", "pause, s", "median", "95 %", "largest", "request, median", "request, 95 %"]
    _keep(options, "label_page", "From a key to the next item", text, columns, rows)


def _cells(times: np.ndarray, requests: np.ndarray) -> list[str]:
    found = [np.median(times), np.quantile(times, 0.95), times.max()]
    return [f"{value:.0f}" for value in [*found, np.median(requests), np.quantile(requests, 0.95)]]


def _keep(
    options: Options, name: str, title: str, text: str, columns: list[str], rows: list[list[str]]
) -> None:
    """Writes a table to docs/measured, if that is wanted."""
    if options.write:
        command = f"python -m benchmarks.speed.label_page {options.what} --write"
        table: dict[str, Any] = {
            "title": title,
            "command": command,
            "text": [text],
            "columns": columns,
            "rows": rows,
        }
        write_table(MEASURED / f"{name}.json", table)


if __name__ == "__main__":
    sys.exit(run_command(Options, main, __doc__))
