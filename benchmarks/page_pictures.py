"""Draws the pictures of the labelling page in docs/own_pool.md: ``python -m benchmarks.page_pictures``.

Labels pools that scikit-learn brings along, as a person would, in a headless browser, and writes docs/pictures/*.webp.
"""

from __future__ import annotations

import io
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.speed.label_page import ARGUMENTS, browser_path, started
from metaal_env.runtime.command_line import run_command
from metaal_env.runtime.files import write_atomic

FOLDER = Path("docs/pictures")
WIDE, PHONE = (1280, 800), (390, 844)
QUALITY = 82


@dataclass(frozen=True)
class Options:
    """Where the pictures go."""

    out: Path = FOLDER
    """Folder of the pictures."""


def wine(folder: Path) -> tuple[Path, list[str], list[str]]:
    """Writes wine.csv; its classes, and the class of each row."""
    from sklearn.datasets import load_wine

    data = load_wine(as_frame=True)
    table = data.data.sample(frac=1, random_state=0)
    table.to_csv(folder / "wine.csv", index_label="id")
    names = ["barolo", "grignolino", "barbera"]  # the cultivars, as Forina et al. named them
    return folder / "wine.csv", names, [names[data.target[i]] for i in table.index]


def photographs(folder: Path, n: int = 150, size: int = 300) -> tuple[Path, list[str], list[str]]:
    """Writes parts of two photographs as a folder; classes, and the class of each file in order."""
    from PIL import Image
    from sklearn.datasets import load_sample_images

    (folder / "photographs").mkdir()
    rng, truth = np.random.default_rng(0), []
    for i in range(n):
        kind = int(rng.integers(2))
        photograph = load_sample_images().images[kind]
        top, left = (int(rng.integers(side - size)) for side in photograph.shape[:2])
        part = Image.fromarray(photograph[top : top + size, left : left + size])
        part.save(folder / "photographs" / f"part_{i:03d}.jpg", quality=90)
        truth.append(["temple", "dahlia"][kind])
    return folder / "photographs", ["temple", "dahlia"], truth


def label(page: Any, truth: Sequence[str], classes: Sequence[str], count: int) -> None:
    """Answers as many items rightly by keyboard."""
    for _ in range(count):
        before = page.get_attribute("#stage", "data-position")
        page.wait_for_timeout(250)
        page.keyboard.press(str(classes.index(truth[int(before)]) + 1))
        page.wait_for_function(
            "before => document.getElementById('stage').dataset.position !== before", arg=before
        )
        page.wait_for_function("() => !document.body.classList.contains('busy')")


def keep(page: Any, path: Path) -> None:
    """Writes what the page shows, once its panels have come."""
    from PIL import Image

    page.wait_for_timeout(4000)
    buffer = io.BytesIO()
    Image.open(io.BytesIO(page.screenshot())).convert("RGB").save(buffer, "WEBP", quality=QUALITY, method=6)
    write_atomic(path, buffer.getvalue())
    print(f"{path}: {len(buffer.getvalue()) // 1024} kB", flush=True)


def main(options: Options) -> None:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright, tempfile.TemporaryDirectory() as folder:
        window: Any = playwright.chromium.launch(executable_path=browser_path(), args=ARGUMENTS)

        def opened(address: str, size: tuple[int, int], scheme: str = "light") -> Any:
            view = {"width": size[0], "height": size[1]}
            page = window.new_page(viewport=view, color_scheme=scheme)
            page.set_default_timeout(60_000)
            page.goto(address)
            page.wait_for_selector("body.ready")
            return page

        pool, classes, truth = wine(Path(folder))
        with started(pool, "--classes", ",".join(classes), "--yardstick", "20") as address:
            page = opened(address, WIDE)
            label(page, truth, classes, 3)
            keep(page, options.out / "page_first.webp")
            label(page, truth, classes, 47)
            page.wait_for_selector("#accuracy .curve")
            keep(page, options.out / "page_fifty.webp")
            page.close()
        pool, classes, truth = photographs(Path(folder))
        with started(pool, "--classes", ",".join(classes)) as address:
            page = opened(address, WIDE, "dark")
            label(page, truth, classes, 16)
            keep(page, options.out / "page_dark.webp")
            page.close()
            page = opened(address, PHONE)
            keep(page, options.out / "page_phone.webp")
        window.close()


if __name__ == "__main__":
    sys.exit(run_command(Options, main, __doc__))
