"""The page in a real browser: keys, crashes, tabs, hostile items, and how it looks at two widths."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from helpers.browser import browser, opened, pressed, served, shown
from helpers.own_pools import POOLS, texts_pool

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    with browser() as found:
        yield found


def answers(pool: Path) -> list[dict[str, str]]:
    path = pool.with_name(f"{pool.name}.labels.csv")
    if not path.exists():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("kind", POOLS)
def test_twenty_items_by_keyboard_and_a_crash_between(tmp_path: Path, chromium: Any, kind: str) -> None:
    name, make, classes = POOLS[kind]
    pool = tmp_path / name
    make(pool, 40)
    keys = [str(i + 1) for i in range(classes.count(",") + 1)]
    options = ["--classes", classes, "--encoder", "tfidf" if kind == "texts" else "auto"]
    with served(pool, *options) as server:
        page = opened(chromium.new_page(), server.address)
        for i in range(9):
            assert shown(page) != "" and page.locator("#stage .shown").count() == 1
            pressed(page, keys[i % len(keys)])
            assert len(answers(pool)) == i + 1  # on disk before the next item appears
        pressed(page, "s")
        assert answers(pool)[-1]["label"] == ""
        skipped = pressed(page, "u")
        assert len(answers(pool)) == 9 and shown(page) == skipped
        present = pressed(page, "1")
        saved = answers(pool)
        assert page.problems == []
        server.kill()
        page.keyboard.press("2")
        page.wait_for_selector("#banner:not([hidden])")
        assert "does not answer" in page.inner_text("#banner") and shown(page) == present
        page.close()
    assert answers(pool) == saved and len(saved) == 10
    with served(pool, *options) as server:
        page = opened(chromium.new_page(), server.address)
        assert shown(page) == present
        for i in range(10):
            pressed(page, keys[i % len(keys)])
        assert page.inner_text("#n-labels") == "20" and page.problems == []
        page.close()
    assert answers(pool)[:10] == saved and len(answers(pool)) == 20
    assert all(row["label"] in classes.split(",") and float(row["seconds"]) >= 0 for row in answers(pool))


def test_everything_by_keyboard_alone(tmp_path: Path, chromium: Any) -> None:
    pool = tmp_path / "messages.csv"
    texts_pool(pool, 40)
    with served(pool, "--encoder", "tfidf") as server:
        page = opened(chromium.new_page(), server.address)
        first = shown(page)
        assert page.evaluate("document.activeElement.id") == "find"  # no class is known yet
        page.keyboard.type("late parcel")
        second = pressed(page, "Enter")
        page.keyboard.press("n")
        page.keyboard.type("refund")
        third = pressed(page, "Enter")
        assert [row["label"] for row in answers(pool)] == ["late parcel", "refund"]
        page.keyboard.press("/")
        page.keyboard.type("lat")
        fourth = pressed(page, "Enter")  # the first match
        assert answers(pool)[-1]["label"] == "late parcel"
        page.keyboard.press("?")
        assert page.get_attribute("#unsure", "aria-pressed") == "true"
        pressed(page, "2")
        assert (
            answers(pool)[-1]["unsure"] == "yes" and page.get_attribute("#unsure", "aria-pressed") == "false"
        )
        present = shown(page)
        assert pressed(page, "ArrowLeft") == fourth and pressed(page, "ArrowLeft") == third
        assert pressed(page, "ArrowLeft") == second and pressed(page, "ArrowLeft") == first
        assert "late parcel" in page.inner_text("#visit")
        assert pressed(page, "2") == present  # changed, and back to the item that waits
        assert answers(pool)[0]["label"] == "refund" and len(answers(pool)) == 4
        assert pressed(page, "ArrowLeft") == fourth and pressed(page, "Escape") == present
        page.keyboard.press("r")
        page.wait_for_selector("#review[open] .said")
        page.keyboard.press("1")
        page.wait_for_selector("#review-body >> text=Nothing to review")
        page.keyboard.press("Escape")
        assert answers(pool)[3]["label"] == "late parcel" and answers(pool)[3]["settled"] == "yes"
        page.keyboard.press("m")
        assert page.evaluate("document.activeElement.id") == "map"
        page.wait_for_timeout(500)
        page.keyboard.press("ArrowRight")
        page.keyboard.press("ArrowDown")
        visited = pressed(page, "Enter")
        assert visited != present and page.is_visible("#visit")
        pressed(page, "Escape")
        page.keyboard.press("h")
        assert page.is_visible("#help")
        page.keyboard.press("Escape")
        assert shown(page) == present and page.problems == []
        page.close()


def test_two_annotators_in_two_tabs(tmp_path: Path, chromium: Any) -> None:
    pool = tmp_path / "messages.csv"
    texts_pool(pool, 40)
    options = ["--encoder", "tfidf", "--classes", "yes,no", "--overlap", "0.5"]
    with served(pool, *options) as server:
        ada = opened(chromium.new_page(), f"{server.address}?as=ada")
        bob = opened(chromium.new_page(), f"{server.address}?as=bob")
        for _ in range(6):
            assert shown(ada) != shown(bob)
            pressed(ada, "1")
            assert shown(ada) != shown(bob)
            pressed(bob, "2")
        rows = answers(pool)
        assert {row["annotator"] for row in rows} == {"ada", "bob"}
        twice = [row for row in rows if row["opinions"]]
        assert twice and len(rows) + len(twice) == 12
        ada.keyboard.press("r")
        ada.wait_for_selector("#review[open] .said")
        assert sorted(p.split()[0] for p in ada.locator(".said p").all_inner_texts()) == ["ada", "bob"]
        for _ in twice:
            ada.keyboard.press("2")
            ada.wait_for_function("() => !document.body.classList.contains('busy')")
        ada.wait_for_selector("#review-body >> text=Nothing to review")
        assert all(
            row["label"] == "no" and row["settled"] == "yes" for row in answers(pool) if row["opinions"]
        )
        assert ada.problems == [] and bob.problems == []
        ada.close()
        bob.close()


HOSTILE = [
    "<script>window.hit = 1</script><img src=x onerror='window.hit = 2'>",
    "{{ 7 * 7 }} ${window.hit = 3} <svg onload='window.hit = 4'>",
    "</article><iframe src='javascript:parent.hit = 5'></iframe>",
    "javascript:alert(1)",
    "\u202eright to left \u0000 and \x1b[2J control",
    "a very long word " + "x" * 3000,
]


def test_hostile_texts_and_classes_do_no_harm(tmp_path: Path, chromium: Any) -> None:
    pool = tmp_path / "<img src=x onerror=alert(1)>'\".csv".replace("/", "")
    with pool.open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow(["id", "text", "<b>column</b>"])
        rows.writerows([[f"'\"<i>{i}", f"{text} {i}", "<u>cell</u>"] for i, text in enumerate(HOSTILE * 3)])
    options = ["--encoder", "tfidf", "--classes", "<img src=x onerror='window.hit=6'>,\"quoted'"]
    with served(pool, *options) as server:
        page = opened(chromium.new_page(viewport={"width": 390, "height": 844}), server.address)
        for i in range(12):
            assert page.locator("#stage script, #stage iframe, #stage img, #stage svg").count() == 0
            pressed(page, "12"[i % 2])
        page.keyboard.press("n")
        page.keyboard.type("<script>window.hit = 7</script>")
        pressed(page, "Enter")
        page.click("#answers-open")
        page.wait_for_selector("#answers-list li")
        page.keyboard.press("Escape")
        page.wait_for_timeout(600)
        assert page.evaluate("window.hit") is None and page.problems == []
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
        page.close()


def test_hostile_files_do_no_harm(tmp_path: Path, chromium: Any) -> None:
    import numpy as np
    from PIL import Image

    pool = tmp_path / "pictures"
    pool.mkdir()
    rng = np.random.default_rng(0)
    names = [
        'it\'s "quoted".png',
        "<img src=x onerror=alert(1)>.png",
        "per%2e%2ecent%00.png",
        "#?&.png",
        "ü ñ 漢.png",
    ]
    for name in names:
        Image.fromarray(rng.integers(0, 255, (40, 60, 3), dtype=np.uint8)).save(pool / name)
    Image.fromarray(rng.integers(0, 255, (2700, 2600, 3), dtype=np.uint8)).save(pool / "large.png")
    assert (pool / "large.png").stat().st_size > 20 * 2**20
    with served(pool, "--classes", "a,b") as server:
        page = opened(chromium.new_page(), server.address)
        for _ in range(len(names) + 1):
            page.wait_for_selector("#stage .frame.ready")
            sides = page.evaluate(
                "(i => [i.naturalWidth, i.naturalHeight])(document.querySelector('#stage img'))"
            )
            assert sides in ([60, 40], [1348, 1400])
            page.keyboard.press("z")
            assert page.locator("#stage .frame.zoomed").count() == 1
            pressed(page, "1")
        assert "Every item is labelled" in page.inner_text("#stage") and page.problems == []
        assert {row["item"] for row in answers(pool)} == {*names, "large.png"}
        page.close()


def test_without_the_token_nothing_is_served(tmp_path: Path, chromium: Any) -> None:
    pool = tmp_path / "messages.csv"
    texts_pool(pool, 20)
    with served(pool, "--encoder", "tfidf") as server:
        page = chromium.new_page()
        root = "/".join(server.address.split("/")[:3])
        for path in ("/", "/api/start?tab=one", "/wrong/", "/static/app.js"):
            response = page.goto(root + path)
            assert response.status == 403 and "token" in response.text()
        page.close()


@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_overflows_and_contrast_suffices(
    tmp_path: Path, chromium: Any, width: int, scheme: str
) -> None:
    pool = tmp_path / "messages.csv"
    texts_pool(pool, 40)
    names = ",".join(["a class with quite a long name indeed", *(f"class {i}" for i in range(2, 15))])
    with served(pool, "--encoder", "tfidf", "--classes", names) as server:
        page = opened(
            chromium.new_page(viewport={"width": width, "height": 800}, color_scheme=scheme), server.address
        )
        for key in "123":
            pressed(page, key)
        page.wait_for_selector("#near .card")
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        for selector in (
            ".text",
            ".hint",
            ".class-button .name",
            ".class-button .n",
            ".reasons li",
            ".figures dt",
        ):
            assert page.evaluate(CONTRAST, selector) >= 4.5, selector
        box = page.locator(".class-button").first.bounding_box()
        assert box["height"] >= 40 and box["y"] + box["height"] <= 800
        page.close()


CONTRAST = """selector => {
  const node = document.querySelector(selector);
  const parse = (text) => (text.match(/[\\d.]+/g) ?? []).map(Number);
  let ground = node;
  while (ground && (parse(getComputedStyle(ground).backgroundColor)[3] ?? 1) === 0) ground = ground.parentElement;
  const luminance = (text) => parse(text).slice(0, 3)
    .map((c) => c / 255).map((c) => (c <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4))
    .reduce((sum, c, i) => sum + c * [0.2126, 0.7152, 0.0722][i], 0);
  const [a, b] = [luminance(getComputedStyle(node).color), luminance(getComputedStyle(ground).backgroundColor)];
  return (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
}"""
