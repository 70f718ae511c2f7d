"""What a reader is given holds: links lead somewhere, code runs, commands exist, figures come from the script."""

from __future__ import annotations

import json
import re
import runpy
import shlex
from collections.abc import Iterator
from contextlib import redirect_stdout
from functools import lru_cache
from io import StringIO
from pathlib import Path

import pytest
from helpers.fresh_processes import FreshProcesses, fresh_processes
from helpers.paths import ROOT

from benchmarks.results_page import Options
from benchmarks.results_page import main as write_results
from benchmarks.sections import section
from metaal_env.errors import InputError

PAGES = sorted([ROOT / "README.md", ROOT / "CHANGELOG.md", ROOT / "SKILL.md", *(ROOT / "docs").rglob("*.md")])
NAMES = [str(page.relative_to(ROOT)) for page in PAGES]
ELSEWHERE = ["docs/own_pool.md"]
"""Pages whose code `test_acquisition.py` runs, and looks at what it leaves."""


def blocks(page: Path, language: str) -> list[str]:
    """Fenced code of one language."""
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text(), re.S | re.M)


WITH_CODE = [name for name in NAMES if blocks(ROOT / name, "python") and name not in ELSEWHERE]


def links(page: Path) -> Iterator[tuple[str, str]]:
    """File and anchor of every link within the repository; code is no link."""
    text = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.S | re.M)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if not re.match(r"[a-z]+:", target):
            yield tuple(f"{target}#".split("#")[:2])  # type: ignore[misc]


def anchors(page: Path) -> set[str]:
    """Anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(), re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_what_is_to_be_installed_can_be_found() -> None:
    """metaal is on no index, so messages name packages that are, and pages the clone's extras."""
    sources = [path for folder in ("agents", "metaal_env") for path in (ROOT / folder).rglob("*.py")]
    wanting = [
        str(path.relative_to(ROOT))
        for path in [*PAGES, *sources]
        if "log" not in path.parts and re.search(r"pip install ['\"]?metaal", path.read_text("utf-8"))
    ]
    assert not wanting


@pytest.mark.parametrize("name", NAMES)
def test_every_link_leads_somewhere(name: str) -> None:
    page = ROOT / name
    for file, anchor in links(page):
        target = (page.parent / file).resolve() if file else page
        assert target.exists(), f"{name} links to {file}"
        assert not anchor or anchor in anchors(target), f"{name} links to {file}#{anchor}"


@pytest.mark.parametrize("start", ["README.md", "docs/index.md"])
def test_every_page_can_be_reached(start: str) -> None:
    found, todo = set(), [ROOT / start]
    while todo:
        page = todo.pop()
        if page not in found:
            found.add(page)
            todo += [(page.parent / file).resolve() for file, _ in links(page) if file.endswith(".md")]
    assert found >= set(PAGES), f"unreachable: {sorted(str(page) for page in set(PAGES) - found)}"


@pytest.fixture(scope="module")
def fresh() -> Iterator[FreshProcesses]:
    with fresh_processes() as found:
        yield found


@pytest.mark.parametrize("name", WITH_CODE)
def test_code_runs_as_printed(name: str, tmp_path: Path, fresh: FreshProcesses) -> None:
    """In a process of its own, from top to bottom: what a page registers must not reach other tests."""
    assert not fresh.run("\n".join(blocks(ROOT / name, "python")), tmp_path)


def commands() -> list[tuple[str, str]]:
    """Page and line of every command of ours in a block of shell code, or in the benchmarks' README."""
    found = []
    for name in [*NAMES, "benchmarks/README.md"]:
        text = (ROOT / name).read_text()
        lines = [line for block in blocks(ROOT / name, "bash") for line in block.splitlines()]
        lines += re.findall(r"^    ((?:python|metaal) .*)$", text, re.M)
        if name == "benchmarks/README.md":
            lines += [f"python -m benchmarks.{row}" for row in re.findall(r"^\| `([\w.]+[^`]*)`", text, re.M)]
        lines += re.findall(r"`((?:python -m benchmarks\.\w|python train_policy|metaal)[^`]*)`", text)
        found += [
            (name, line) for line in lines if re.search(r"\b(metaal|python train_policy|python -m)\b", line)
        ]
    return found


@lru_cache
def told_by(program: tuple[str, ...]) -> str | None:
    """The help of a command of ours, None for commands of others."""
    if program[0] == "metaal" and len(program) == 2:
        module, arguments = "agents", [program[1]]
    elif program[:2] == ("python", "-m") and program[2].startswith("benchmarks."):
        module, arguments = program[2], list(program[3:])
    else:
        return None
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(StringIO()) as out:
        patch.setattr("sys.argv", [module, *arguments, "--help"])
        with pytest.raises(SystemExit) as left:
            runpy.run_module(module, run_name="__main__", alter_sys=True)
    assert left.value.code in (0, None), program
    return out.getvalue()


@pytest.mark.filterwarnings("ignore:.*found in sys.modules:RuntimeWarning")
@pytest.mark.parametrize(("name", "line"), sorted(set(commands())))
def test_commands_and_their_options_exist(name: str, line: str) -> None:
    for command in re.split(r"&&|\|", line.partition("  #")[0]):
        words = shlex.split(command.replace("…", ""))
        length = 3 if words[:2] == ["python", "-m"] else 2
        told = told_by(tuple(words[:length])) if len(words) >= length else None
        for option in (word for word in words if word.startswith("--") and told is not None):
            assert re.search(rf"(?<![\w.-]){re.escape(option)}(?![\w.-])", told), f"{name}: {line}: {option}"


def test_files_that_pages_and_code_name_exist() -> None:
    rooms = r"(?:metaal_env|agents|benchmarks|docs|tests)/[\w/.\-]*\w"
    for name in NAMES:
        if "log/" in name or name == "CHANGELOG.md":  # they tell of files of their day
            continue
        for file in re.findall(rf"`({rooms})/?`", (ROOT / name).read_text()):
            assert (ROOT / file).exists(), f"{name} names {file}"
    for module in [*(ROOT / "agents").rglob("*.py"), *(ROOT / "metaal_env").rglob("*.py")]:
        for file in re.findall(r"docs/[\w/\-]+\.md", module.read_text()):
            assert (ROOT / file).exists(), f"{module} names {file}"


def test_every_environment_variable_is_explained() -> None:
    page = (ROOT / "docs" / "environment_variables.md").read_text()
    code = "".join(
        file.read_text()
        for room in ("agents", "metaal_env", "benchmarks")
        for file in (ROOT / room).rglob("*.py")
    )
    read = set(re.findall(r"\"((?:METAAL|LABEL_STUDIO|LOCAL_FILES|OMP)_[A-Z_]+)\"", code))
    assert len(read) >= 6
    for variable in read:
        assert f"`{variable}`" in page, variable
    for variable in re.findall(r"^\| `(\w+)`", page, re.M):
        assert variable in code, f"{variable} is read nowhere"


def test_figures_come_from_the_script(tmp_path: Path) -> None:
    write_results(Options(check=True, root=ROOT))
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "measured").symlink_to(ROOT / "docs" / "measured")
    results, readme = (ROOT / name for name in ("docs/results.md", "README.md"))
    (tmp_path / "README.md").write_text(section(readme.read_text(), "results", "by hand"))
    (tmp_path / "docs" / "results.md").write_text(results.read_text())
    with pytest.raises(InputError, match=r"README\.md is not what this script writes"):
        write_results(Options(check=True, root=tmp_path))
    write_results(Options(root=tmp_path))
    assert (tmp_path / "README.md").read_text() == readme.read_text()
    assert "62 of 72 settings" in readme.read_text()


def test_every_measured_table_is_shown_and_whole() -> None:
    shown = (ROOT / "docs" / "results.md").read_text()
    for file in (ROOT / "docs" / "measured").glob("*.json"):
        if file.stem.startswith("speed_"):  # of docs/speed.md
            continue
        table = json.loads(file.read_text())
        assert f"### {table['title']}\n" in shown, file
        assert all(len(row) == len(table["columns"]) for row in table["rows"]), file
        if table["command"]:
            assert table["command"].startswith(("python -m benchmarks.", "metaal train ")), file


@pytest.mark.parametrize("name", [name for name in NAMES if name != "docs/results.md" and "log/" not in name])
def test_measured_figures_stand_only_where_scripts_write_them(name: str) -> None:
    text = re.sub(r"<!-- ([\w-]+) -->.*?<!-- /\1 -->", "", (ROOT / name).read_text(), flags=re.S)
    text = re.sub(r"^```.*?^```", "", text, flags=re.S | re.M)
    found = re.findall(r"(?<![\w.])[+−-]?\.\d{2,4}\b|± ?\.?\d|\b\d+(?:\.\d+)? (?:ms|GB/s|points)\b", text)
    assert not found, f"{name} states {found[:5]}; put them into docs/measured"


def test_the_front_door_is_small() -> None:
    readme = (ROOT / "README.md").read_text()
    assert len(readme.splitlines()) <= 100
    run, test = (line for line in blocks(ROOT / "README.md", "bash")[0].splitlines())
    assert "train_policy.py" in run and "pytest" in test


def test_every_example_is_linked() -> None:
    table = (ROOT / "docs" / "agents.md").read_text()
    for example in (ROOT / "docs" / "examples").glob("*.py"):
        assert f"`{example.name}`" in table
