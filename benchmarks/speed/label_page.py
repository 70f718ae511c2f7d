"""Time from a key press to the next item on the labelling page: ``python -m benchmarks.speed.label_page``.

Starts ``metaal label --web`` over Gaussian clusters, opens the page in a headless browser and presses class keys. The
time runs in the browser from the key to the frame in which the next item stands on the page; the answer is on disk by
then. Beside it the time of the request alone. Writes docs/measured/label_page.json with ``--write``.
"""

from __future__ import annotations

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
from typing import Any

import numpy as np

from metaal_env.errors import InputError
from metaal_env.runtime.command_line import run_command
from metaal_env.runtime.files import write_atomic

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-sync",
    "--no-first-run",
]
PLACE = Path("docs/measured/label_page.json")
COMMAND = "python -m benchmarks.speed.label_page --write"

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

    sizes: tuple[int, ...] = (1_000, 10_000)
    """Items of the pool."""
    dimensions: int = 384
    """Length of the vectors."""
    answers: int = 100
    """Keys pressed per pause."""
    pauses: tuple[float, ...] = (1.0, 0.2)
    """Seconds between an item and the next key."""
    policy: str = "uherding"
    """Rule, shipped policy, or run folder."""
    write: bool = False
    """Write docs/measured/label_page.json."""


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
    if options.write:
        write_atomic(PLACE, json.dumps(_table(options, rows), indent=1, ensure_ascii=False).encode() + b"\n")


def _cells(times: np.ndarray, requests: np.ndarray) -> list[str]:
    found = [np.median(times), np.quantile(times, 0.95), times.max()]
    return [f"{value:.0f}" for value in [*found, np.median(requests), np.quantile(requests, 0.95)]]


def _table(options: Options, rows: list[list[str]]) -> dict[str, Any]:
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else float("nan")
    text = (
        "Milliseconds from a class key to the frame with the next item in headless Chromium, the answer on disk: "
        f"{options.answers} keys per row, vectors of {options.dimensions} numbers, `{options.policy}`, server and "
        f"browser on the same {os.cpu_count()} cores, whose load was {load:.0f} at the end. The last two columns are "
        "the request alone."
    )
    columns = ["items", "pause, s", "median", "95 %", "largest", "request, median", "request, 95 %"]
    title = "From a key to the next item"
    return {"title": title, "command": COMMAND, "text": [text], "columns": columns, "rows": rows}


if __name__ == "__main__":
    sys.exit(run_command(Options, main, __doc__))
