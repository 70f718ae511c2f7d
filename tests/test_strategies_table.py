"""The benchmark table of all strategies: what it leaves out, what it marks, where it writes."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest


@pytest.fixture(scope="module")
def table() -> ModuleType:
    path = Path(__file__).parents[1] / "benchmarks" / "strategy_table.py"
    spec = importlib.util.spec_from_file_location("strategy_table", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["strategy_table"] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


def test_missing_data_and_learners_are_notes(table: ModuleType, tmp_path: Path) -> None:
    for name, message in (
        ("Omniglot", "not in"),
        ("UCI + PMLB", "not in"),
        ("glyphs", "images need --learner"),
    ):
        protocol, notes = table.plan(table.GROUPS[name], tmp_path, "", ["random"], 8)
        assert protocol is None and any(message in note for note in notes)
    protocol, notes = table.plan(table.GROUPS["CLINC150"], None, "", ["random"], 8)
    assert protocol is None and "no --data folder" in notes[0]


def test_a_column_is_resumable_and_marks_the_best_rule(table: ModuleType, tmp_path: Path) -> None:
    group = table.Group(("digits",), split="all", task=table.TaskConfig(way=3, pool_size=30, budget=4))
    names = ["random", "uherding", "greedy_lookahead"]
    protocol, notes = table.plan(group, None, "", names, 12)
    assert not notes
    results = table.play(protocol, tmp_path, "digits", 1)
    files = {file: file.stat().st_mtime_ns for file in tmp_path.glob("rows/*")}
    assert len(files) == 3
    table.play(protocol, tmp_path, "digits", 1)
    assert files == {file: file.stat().st_mtime_ns for file in tmp_path.glob("rows/*")}
    cells = table.column(results)
    assert cells["uherding"].startswith("**.") and not cells["greedy_lookahead"].startswith("**")
    text = table.markdown({"digits": results}, ["x: missing"], "command")
    lines = text.splitlines()
    assert lines[-1] == "- left out: x: missing"
    assert [line.split("|")[1].strip() for line in lines[4:7]] == ["uherding", "random", "greedy_lookahead*"]


def test_a_section_is_replaced_and_the_rest_kept(table: ModuleType, tmp_path: Path) -> None:
    file = tmp_path / "page.md"
    file.write_text("before\n<!-- t -->\nold\n<!-- /t -->\nafter\n")
    for text in ("one", "two"):
        table.replace_section(file, "t", text)
    assert file.read_text() == "before\n<!-- t -->\ntwo\n<!-- /t -->\nafter\n"
