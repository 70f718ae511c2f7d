"""Tables, matrix, figures and report from made-up rows; the report in a real browser where there is one."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from evaluation_stubs import made_up
from rich.console import Console

from agents.evaluation.episodes import Episodes
from agents.evaluation.measures import aulc
from agents.evaluation.paired import pair
from agents.evaluation.protocol.protocol import Contestant, Protocol, Scenario, short_names
from agents.evaluation.report.diagrams import _groups
from agents.evaluation.report.formats import number, show_target
from agents.evaluation.report.grid import Entry, Grid
from agents.evaluation.report.matrix import make_matrix
from agents.evaluation.report.plots import learning_curves
from agents.evaluation.report.report import outcome, write_figures, write_report
from agents.evaluation.report.tensorboard import write_tensorboard
from agents.evaluation.statistics.comparisons import regret, targets
from metaal_env.errors import InputError
from metaal_env.tasks import TaskConfig

SCENARIOS = tuple(Scenario("digits", "test", TaskConfig(way=way), "prototype") for way in (3, 5))
NAMES = ("policy", "random", "margin", "greedy_lookahead")
PROTOCOL = Protocol(SCENARIOS, tuple(Contestant(n, n) for n in NAMES), n_tasks=40)
STRATA = np.repeat(np.array([s.key for s in SCENARIOS], dtype=object), 40)


@pytest.fixture
def results() -> dict[str, Episodes]:
    rng = np.random.default_rng(0)
    base = rng.uniform(0.4, 0.6, 80)
    # The policy wins in the first scenario and loses to margin in the second.
    shifts = {
        "policy": (0.05, 0.0),
        "random": (0.0, 0.0),
        "margin": (0.02, 0.04),
        "greedy_lookahead": (0.1, 0.1),
    }
    return {
        name: made_up(
            name,
            base + np.repeat(shift, 40) + rng.normal(0, 0.01, 80),
            privileged=name == "greedy_lookahead",
            strata=STRATA,
        )
        for name, shift in shifts.items()
    }


def test_matrix_shows_wins_losses_and_missing_cells(results: dict[str, Episodes]) -> None:
    names = short_names(SCENARIOS)
    matrix = make_matrix(results, names, "policy")
    assert matrix.rivals == ["random", "margin", "greedy_lookahead*", "best rule"]
    assert matrix.best == ["margin", "margin"]
    assert matrix.estimate[0, 1] == pytest.approx(0.03, abs=0.01)
    assert matrix.estimate[1, 1] == pytest.approx(-0.04, abs=0.01)
    assert matrix.significant[:, 1].all() and not matrix.significant[1, 0]
    results["margin"] = results["margin"].rows(results["margin"].strata == SCENARIOS[0].key)
    holes = make_matrix(results, names, "policy")
    assert holes.cells[1][1] is None and np.isnan(holes.estimate[1, 1])
    assert holes.best[1] == "random"


def test_regret_and_targets(results: dict[str, Episodes]) -> None:
    lost = regret(results, pair(results))
    assert lost["margin"] == pytest.approx(0, abs=1e-9)
    assert lost["random"] == pytest.approx(0.03, abs=0.006)
    assert lost["policy"] == pytest.approx((-0.03 + 0.04) / 2, abs=0.006)
    goals = targets(results)
    for s in SCENARIOS:
        assert goals[s.key] == pytest.approx(aulc(results["random"])[s.key == STRATA].mean())
    assert set(targets(results, 0.9).values()) == {0.9}
    assert np.isnan(targets({"policy": results["policy"]})[SCENARIOS[0].key])


def test_figures_of_numbers() -> None:
    assert [number(v, 3, s) for v, s in ((0.5, ""), (-0.25, "+"), (1.0, ""), (12.5, ""), (np.nan, ""))] == [
        ".500", "-.250", "1.000", "12.500", "–",
    ]  # fmt: skip
    assert show_target(np.array([3, np.inf, 5, np.nan])) == "5 (67 %)"
    assert show_target(np.array([np.inf, np.inf, 2])) == "never (33 %)"
    assert _groups(np.array([1.0, 1.5, 2.2, 4.0]), 0.8) == [(0, 1), (1, 2)]


def test_narrow_terminals_keep_the_essential_columns() -> None:
    grid = Grid("t", ["name", "a" * 30, "b"], [["x", Entry("[1]", "good"), "<2>"]], essential=("name", "b"))
    for width, expected in ((80, True), (30, False)):
        console = Console(width=width)
        with console.capture() as captured:
            console.print(grid)
        assert ("a" * 30 in captured.get()) is expected
        assert "<2>" in captured.get()
    assert "&lt;2&gt;" in grid.html() and 'class="good"' in grid.html()


def _write(results: dict[str, Episodes], folder: Path) -> Path:
    example = {
        "x": list(range(30)),
        "y": list(range(30)),
        "label": [i % 3 - 1 for i in range(30)],
        "seed": [0],
    }
    shown = outcome(PROTOCOL, results, examples={SCENARIOS[0].key: example})
    assert {
        "learning_curves",
        "coverage",
        "critical_differences",
        "performance_profile",
        "matrix",
        "example_pool",
    } <= {*shown.figures}
    images = write_figures(shown, folder / "figures")
    report = folder / "report.html"
    write_report(shown.grids, images, PROTOCOL, ["a <note>"], "python evaluate.py --x", report)
    return folder


def test_report_is_self_contained(results: dict[str, Episodes], tmp_path: Path) -> None:
    page = (_write(results, tmp_path) / "report.html").read_text()
    outside = [
        link for link in re.findall(r"(?:src|href)=['\"]([^'\"]*)", page) if not link.startswith("data:")
    ]
    assert not outside and "<script" not in page and "url(" not in page
    for text in ("python evaluate.py --x", "a &lt;note&gt;", "torch ", PROTOCOL.digest, "greedy_lookahead*"):
        assert text in page
    for kind, magic in (("png", b"\x89PNG"), ("svg", b"<?xml")):
        files = list((tmp_path / "figures").glob(f"*.{kind}"))
        assert len(files) == page.count("<img") and all(f.read_bytes().startswith(magic) for f in files)


def test_report_opens_in_a_browser(results: dict[str, Episodes], tmp_path: Path) -> None:
    names = ("chromium", "chromium-browser", "google-chrome", "chrome", "headless_shell")
    browser = next(filter(None, map(shutil.which, names)), None)
    if browser is None:
        pytest.skip("no browser is installed")
    report = _write(results, tmp_path) / "report.html"
    # The copy under test reports on itself: which images did not load, and any error.
    probe = (
        "<script>window.onerror=e=>{document.title='error '+e};window.onload=()=>{"
        "document.title='broken '+[...document.images].filter(i=>!i.naturalWidth).length"
        "+' of '+document.images.length}</script>"
    )
    copy = tmp_path / "probe.html"
    copy.write_text(report.read_text().replace("<head>", f"<head>{probe}", 1))
    command = [
        browser,
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        f"--user-data-dir={tmp_path / 'profile'}",
    ]
    command += ["--enable-logging=stderr", "--dump-dom", copy.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    images = report.read_text().count("<img")
    assert f"<title>broken 0 of {images}</title>" in done.stdout
    assert "CONSOLE" not in done.stderr


def test_tensorboard_gets_the_same_scalars(results: dict[str, Episodes], tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    for _ in range(2):  # drawing twice must not show every point twice
        write_tensorboard(PROTOCOL, results, tmp_path)
    events = EventAccumulator(str(tmp_path / "policy"))
    events.Reload()
    points = events.Scalars("accuracy_by_labels")
    assert [p.step for p in points] == [0, 1, 2, 3, 4]
    assert points[-1].value == pytest.approx(aulc(results["policy"]).mean(), abs=1e-6)
    assert events.Scalars("score/aulc")[0].value == pytest.approx(aulc(results["policy"]).mean(), abs=1e-6)


def test_unknown_measure(results: dict[str, Episodes]) -> None:
    with pytest.raises(InputError, match="did you mean 'aulc'"):
        outcome(PROTOCOL, results, measure="aucl")


def test_learning_curves_need_no_names(results: dict[str, Episodes]) -> None:
    assert len(learning_curves(results).axes) == 4  # two scenarios, each with its differences to random
    assert len(learning_curves({"policy": results["policy"]}).axes) == 2
