"""Tables, matrix, figures and report from made-up rows; the report in a real browser where there is one."""

from __future__ import annotations

import base64
import io
import json
import re
import shutil
import subprocess
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
from helpers.evaluation_stubs import made_up
from PIL import Image
from rich.console import Console

from agents.evaluation.episodes import Episodes
from agents.evaluation.measures import aulc
from agents.evaluation.paired import pair
from agents.evaluation.protocol.protocol import Contestant, Protocol
from agents.evaluation.protocol.scenario import Scenario, short_names
from agents.evaluation.report.diagrams import _cliques
from agents.evaluation.report.example_pools import ExamplePool, example_pools, read_examples
from agents.evaluation.report.formats import difference_entry, number, show_target
from agents.evaluation.report.glossary import term_of
from agents.evaluation.report.grid import Entry, Grid
from agents.evaluation.report.headline import headlines
from agents.evaluation.report.matrix import make_matrix
from agents.evaluation.report.outcome import Outcome, outcome, write_figures
from agents.evaluation.report.page import Provenance, write_report
from agents.evaluation.report.plots import Looks, learning_curves
from agents.evaluation.report.tensorboard import write_tensorboard
from agents.evaluation.statistics.comparisons import Compared, compare, regret, targets
from agents.evaluation.statistics.intervals import Difference, Interval
from metaal_env.errors import InputError
from metaal_env.tasks import TaskConfig

SCENARIOS = tuple(Scenario("digits", "test", TaskConfig(way=way), "prototype") for way in (3, 5))
NAMES = ("policy", "random", "margin", "greedy_lookahead")
PROTOCOL = Protocol(SCENARIOS, tuple(Contestant(n, n) for n in NAMES), n_tasks=40)
STRATA = np.repeat(np.array([s.key for s in SCENARIOS], dtype=object), 40)


def _png_of(pixels: int) -> bytes:
    out = io.BytesIO()
    Image.new("L", (pixels, pixels)).save(out, format="PNG")
    return out.getvalue()


def make_results() -> dict[str, Episodes]:
    """A policy that wins in the first scenario and loses to margin in the second."""
    rng = np.random.default_rng(0)
    base = rng.uniform(0.4, 0.6, 80)
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


@pytest.fixture
def results() -> dict[str, Episodes]:
    return make_results()


def test_matrix_shows_wins_losses_and_missing_cells(results: dict[str, Episodes]) -> None:
    names = short_names(SCENARIOS)
    matrix = make_matrix(results, names, "policy")
    assert matrix.rivals == ["random", "margin", "greedy_lookahead*", "best rule"]
    assert matrix.best == ["margin", "margin"]
    assert matrix.estimate[0, 1] == pytest.approx(0.03, abs=0.01)
    assert matrix.estimate[1, 1] == pytest.approx(-0.04, abs=0.01)
    assert matrix.supported[:, 1].tolist() == [1, -1] and matrix.supported[1, 0] == 0
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
    assert _cliques(np.array([1.0, 1.5, 2.2, 4.0]), 0.8) == [(0, 1), (1, 2)]


def printed(grid: Grid, width: int) -> list[str]:
    """The lines of a table on a terminal."""
    console = Console(width=width)
    with console.capture() as captured:
        console.print(grid)
    return captured.get().splitlines()


def test_narrow_terminals_keep_the_essential_columns() -> None:
    row: list[Entry | str] = ["x", Entry("[1]", "good"), Entry("<2>", interval="[1, 3]")]
    grid = Grid("t", ["name", "a" * 30, "b"], [row], essential=("name", "b"), headline="b")
    for width, wide, interval in ((80, True, True), (30, False, True), (12, False, False)):
        text = "\n".join(printed(grid, width))
        assert ("a" * 30 + " " in text) is wide and ("[1, 3]" in text) is interval and "<2>" in text
        assert ("in the report" in " ".join(text.split())) is not wide


@pytest.mark.parametrize("width", [80, 60, 40])
@pytest.mark.parametrize("longest", ["policy a-run-with-a-very-long-name-of-its-own", "policy"])
def test_tables_fit_the_terminal_with_whole_numbers(
    results: dict[str, Episodes], width: int, longest: str
) -> None:
    renamed = {longest if n == "policy" else n: replace(e, strategy=n) for n, e in results.items()}
    renamed[longest] = replace(renamed[longest], strategy=longest)
    number_of_cells = 0
    for grid in outcome(PROTOCOL, renamed).grids:
        lines = printed(grid, width)
        assert max(map(len, lines)) <= width, grid.title
        text = "\n".join(lines)
        assert "…" not in text
        for row in grid.cells() if grid.brief else []:
            number_of_cells += 1
            assert row[1].text in text
    assert number_of_cells > 10


def test_colour_only_where_the_corrected_test_supports_it() -> None:
    def compared(low: float, high: float, p: float) -> Compared:
        interval = Interval((low + high) / 2, low, high, 50, 0)
        return Compared(Difference(interval, 0.1, 0.5, 1, 1, 1, p), p)

    for found, supported in (
        (compared(0.01, 0.03, 0.01), 1),
        (compared(-0.03, -0.01, 0.049), -1),
        (compared(0.01, 0.03, 0.06), 0),  # the interval alone, uncorrected, is not enough
        (compared(-0.01, 0.03, 0.001), 0),
        (compared(0.01, 0.03, np.nan), 0),
    ):
        assert found.supported == supported
        tone = {1: "good", -1: "bad", 0: ""}[supported]
        assert difference_entry(found.difference.interval, found.supported).tone == tone


def test_many_comparisons_are_corrected_together() -> None:
    """Of forty equal rules some differ at 5 % by luck; none of them may be coloured or named as beaten."""
    rng = np.random.default_rng(3)
    strata = np.full(30, SCENARIOS[0].key, dtype=object)
    same = {f"rule{i}": made_up(f"rule{i}", rng.normal(0.5, 0.05, 30), strata=strata) for i in range(40)}
    same = {"policy": made_up("policy", rng.normal(0.5, 0.05, 30), strata=strata), **same}
    compared = compare(pair(same), "policy", [n for n in same if n != "policy"])
    assert any(c.difference.p_value < 0.05 for c in compared.values())
    assert not any(c.supported for c in compared.values())
    [headline] = headlines(same, "aulc")
    assert headline.verdict == "policy is level with all 40 rules on 30 paired tasks."


@pytest.mark.parametrize(
    ("names", "says"),
    [
        (("policy", "random", "margin"), "policy beats random and is level with margin"),
        (("policy", "random", "margin", "greedy_lookahead"), "It closes "),
        (("policy", "random"), "policy beats random on 80 paired tasks."),
        (("policy",), "policy: mean AULC"),
        (("random", "margin", "greedy_lookahead"), "margin has the highest mean AULC"),
        (("random",), "random: mean AULC"),
        (("greedy_lookahead",), "Only strategies that see hidden labels"),
    ],
)
def test_the_verdict_is_one_sentence(results: dict[str, Episodes], names: tuple[str, ...], says: str) -> None:
    shown = outcome(PROTOCOL, {name: results[name] for name in names})
    [headline] = shown.headlines
    assert says in f"{headline.verdict} {headline.details}"
    assert headline.verdict.endswith(".") and headline.verdict.count(". ") == 0
    if len(names) > 2 and "policy" in names:
        assert "above the best rule in 1 of 2, level in 0 and below in 1" in headline.details


def test_losses_come_first_in_the_verdict(results: dict[str, Episodes]) -> None:
    better = aulc(results["margin"]) + 0.2
    results["margin"] = made_up("margin", better, strata=STRATA)
    [headline] = headlines(results, "aulc")
    assert headline.verdict == "policy loses to margin and beats random on 80 paired tasks."


def test_every_heading_is_explained_where_it_is_no_name(results: dict[str, Episodes]) -> None:
    more = results | {"policy b": made_up("policy b", aulc(results["policy"]), strata=STRATA)}
    for grid in outcome(PROTOCOL, more).grids:
        for heading in grid.headings[1:]:
            named = heading.removesuffix("*") in more or heading in ("worst policy", "best policy")
            assert named or term_of(heading) is not None, heading


def test_of_many_strategies_the_middle_is_grey() -> None:
    many = {f"s{i}": made_up(f"s{i}", np.full(5, i / 20)) for i in range(15)}
    many["policy"], many["random"] = made_up("policy", np.full(5, 0.1)), made_up("random", np.full(5, 0.0))
    looks = Looks(many)
    assert looks.coloured == ["policy", "random", "s14", "s13", "s12", "s11", "s10", "s9"]
    colours = [looks.line(name)["color"] for name in looks.coloured]
    assert len(set(colours)) == len(colours) and looks.line("s3")["color"] not in colours
    assert learning_curves(many).legends[0].get_texts()[-1].get_text() == "9 others"


EXAMPLE = ExamplePool(
    x=[float(i) for i in range(30)],
    y=[float(i % 7) for i in range(30)],
    label=[i % 3 - 1 for i in range(30)],
    seed=0,
    classes=["cat <b>", "dog"],
    pictures=[],
    texts=[],
)
PIXEL = base64.b64encode(_png_of(4)).decode()


@pytest.mark.parametrize(
    ("items", "shown", "panels"),
    [
        ({"texts": [f"text {i} <i>" for i in range(30)]}, "text 2 &lt;i&gt;", 4),
        ({"pictures": [PIXEL] * 30}, f"data:image/png;base64,{PIXEL}", 5),
        ({}, "item 2<br>", 4),
    ],
)
def test_the_example_pool_shows_the_items_themselves(
    results: dict[str, Episodes], tmp_path: Path, items: dict[str, list[str]], shown: str, panels: int
) -> None:
    example = replace(EXAMPLE, **items)
    drawn = outcome(PROTOCOL, results, examples={SCENARIOS[0].key: example})
    page = _page(drawn, tmp_path)
    assert page.count('<ol class="strip">') == 4 and shown in page and "cat &lt;b&gt;" in page
    assert [pick.is_new for pick in drawn.strips["policy"]] == [False, True, True, False]
    assert sum(bool(axes.get_title()) for axes in drawn.pictures["example_pool"].figure.axes) == panels


@pytest.mark.parametrize(
    "change",
    [
        {"x": [0.0]},
        {"x": [float("nan")] * 30},
        {"label": [2] * 30},
        {"label": ["a"] * 30},
        {"seed": "0"},
        {"texts": ["one"]},
        {"texts": [1] * 30},
        {"pictures": ["<script>"] * 30},
        {"pictures": [base64.b64encode(_png_of(2000)).decode()] * 30},
        {"pictures": [base64.b64encode(b"\x89PNG\r\n\x1a\n").decode()] * 30},
        {"unknown": 1},
    ],
)
def test_examples_that_are_damaged_or_hostile_are_left_out(change: dict[str, object], tmp_path: Path) -> None:
    path = tmp_path / "examples.json"
    path.write_text(json.dumps({"key": asdict(EXAMPLE)}))
    assert read_examples(path) == {"key": EXAMPLE}
    path.write_text(json.dumps({"key": asdict(EXAMPLE) | change}))
    assert read_examples(path) == {}


@pytest.mark.parametrize(("dataset", "kind"), [("glyphs", "pictures"), ("languages", "texts"), ("iris", "")])
def test_example_pools_of_every_kind_of_data(dataset: str, kind: str, tmp_path: Path) -> None:
    task = TaskConfig(way=3, pool_size=12, budget=2, test_per_class=2, reward_per_class=2, distractors=0.0)
    scenario = Scenario(dataset, "all", task, "prototype")
    protocol = Protocol((scenario,), (Contestant("random", "random"),), n_tasks=1)
    path = tmp_path / "examples.json"
    path.write_text(json.dumps(example_pools(protocol)))
    [example] = read_examples(path).values()
    assert len(example.x) == 12 and len(example.classes) == 3 and set(example.label) <= {0, 1, 2}
    assert {name for name in ("pictures", "texts") if getattr(example, name)} == ({kind} if kind else set())


def _page(shown: Outcome, folder: Path, images: dict[str, bytes] | None = None) -> str:
    """The report's HTML; with blank figures unless they are given, for drawing them takes seconds."""
    provenance = Provenance(["policy, the newest run"], ["a <note>"], ["python evaluate.py --x"])
    blank = images or dict.fromkeys(shown.pictures, _png_of(1))
    write_report(shown, blank, PROTOCOL, provenance, folder / "report.html")
    return (folder / "report.html").read_text()


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with figures and report, drawn once."""
    folder = tmp_path_factory.mktemp("report")
    example = replace(EXAMPLE, pictures=[PIXEL] * 30)
    shown = outcome(PROTOCOL, make_results(), examples={SCENARIOS[0].key: example})
    assert {
        "learning_curves",
        "coverage",
        "critical_differences",
        "performance_profile",
        "matrix",
        "example_pool",
    } <= {*shown.pictures}
    _page(shown, folder, write_figures(shown, folder / "figures"))
    return folder


def test_report_is_self_contained(report: Path) -> None:
    page = (report / "report.html").read_text()
    links = re.findall(r"(?:src|href)=['\"]([^'\"]*)", page)
    assert not [link for link in links if not link.startswith(("data:", "#"))]
    anchors = set(re.findall(r'id="([^"]*)"', page))
    assert {link[1:] for link in links if link.startswith("#")} <= anchors
    assert "<script" not in page and "url(" not in page
    for text in (
        "python evaluate.py --x",
        "a &lt;note&gt;",
        "torch ",
        PROTOCOL.digest,
        "policy, the newest run",
    ):
        assert text in page
    figures = len(list((report / "figures").glob("*.png")))
    for kind, magic in (("png", b"\x89PNG"), ("svg", b"<?xml")):
        files = list((report / "figures").glob(f"*.{kind}"))
        assert len(files) == figures and all(f.read_bytes().startswith(magic) for f in files)
    assert page.count('class="wide"><img') == figures


def test_the_report_begins_with_the_verdict_then_curves_then_tables(report: Path) -> None:
    page = (report / "report.html").read_text()
    order = [
        "<h1>",
        'class="verdict"',
        "Learning curves</h2>",
        "<table>",
        "Performance profile</h2>",
        "<details>",
    ]
    places = [page.index(text) for text in order]
    assert places == sorted(places)
    assert page.index("<details>") < page.index("All pairs") < page.index('id="glossary"')
    assert page.count("<figcaption></figcaption>") == 0


def test_report_opens_in_a_browser(report: Path, tmp_path: Path) -> None:
    names = ("chromium", "chromium-browser", "google-chrome", "chrome", "headless_shell")
    browser = next(filter(None, map(shutil.which, names)), None)
    if browser is None:
        pytest.skip("no browser is installed")
    page = (report / "report.html").read_text()
    # The copy under test reports on itself: which images did not load, and any error.
    probe = (
        "<script>window.onerror=e=>{document.title='error '+e};window.onload=()=>{"
        "document.title='broken '+[...document.images].filter(i=>!i.naturalWidth).length"
        "+' of '+document.images.length+' over '+(document.documentElement.scrollWidth-innerWidth)}</script>"
    )
    copy = tmp_path / "probe.html"
    copy.write_text(page.replace("<head>", f"<head>{probe}", 1))
    command = [
        browser,
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        f"--user-data-dir={tmp_path / 'profile'}",
    ]
    command += ["--window-size=390,900", "--enable-logging=stderr", "--dump-dom", copy.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    images = page.count("<img")
    # Nothing is wider than a phone but what scrolls by itself. (The headless browser's least width is 500.)
    assert re.search(rf"<title>broken 0 of {images} over (0|-\d+)</title>", done.stdout)
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
    card = events.Tensors("about/text_summary")[0].tensor_proto.string_val[0].decode()
    assert "**policy** (`policy`) on 80 tasks" in card and SCENARIOS[1].key in card
    assert events.Scalars("score/aulc")[0].value == pytest.approx(aulc(results["policy"]).mean(), abs=1e-6)


def test_unknown_measure(results: dict[str, Episodes]) -> None:
    with pytest.raises(InputError, match="did you mean 'aulc'"):
        outcome(PROTOCOL, results, measure="aucl")


def test_learning_curves_need_no_names(results: dict[str, Episodes]) -> None:
    assert len(learning_curves(results).axes) == 4  # two scenarios, each with its differences to random
    assert len(learning_curves({"policy": results["policy"]}).axes) == 2
