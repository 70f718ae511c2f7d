"""The benchmark table of all strategies: what it leaves out, what it marks, where it writes."""

from __future__ import annotations

from pathlib import Path

from agents.evaluation.play_protocol import play_protocol
from benchmarks.sections import replace_section
from benchmarks.strategies.strategy_table import GROUPS, Group, column, markdown, plan
from metaal_env.tasks import TaskConfig


def test_missing_data_and_learners_are_notes(tmp_path: Path) -> None:
    for name, message in (
        ("Omniglot", "not in"),
        ("UCI + PMLB", "not in"),
        ("glyphs", "images need --learner"),
    ):
        protocol, notes = plan(GROUPS[name], tmp_path, "", ["random"], 8)
        assert protocol is None and any(message in note for note in notes)
    protocol, notes = plan(GROUPS["CLINC150"], None, "", ["random"], 8)
    assert protocol is None and "no --data folder" in notes[0]


def test_a_column_is_resumable_and_marks_the_best_rule(tmp_path: Path) -> None:
    group = Group(("digits",), split="all", task=TaskConfig(way=3, pool_size=30, budget=4))
    names = ["random", "uherding", "greedy_lookahead"]
    protocol, notes = plan(group, None, "", names, 12)
    assert not notes and protocol is not None
    results = play_protocol(protocol, tmp_path)
    files = {file: file.stat().st_mtime_ns for file in tmp_path.glob("rows/*")}
    assert len(files) == 3
    play_protocol(protocol, tmp_path)
    assert files == {file: file.stat().st_mtime_ns for file in tmp_path.glob("rows/*")}
    cells = column(results)
    assert cells["uherding"].startswith("**.") and not cells["greedy_lookahead"].startswith("**")
    text = markdown({"digits": results}, ["x: missing"], "command")
    lines = text.splitlines()
    assert lines[-1] == "- left out: x: missing"
    assert [line.split("|")[1].strip() for line in lines[4:7]] == ["uherding", "random", "greedy_lookahead*"]


def test_a_section_is_replaced_and_the_rest_kept(tmp_path: Path) -> None:
    file = tmp_path / "page.md"
    file.write_text("before\n<!-- t -->\nold\n<!-- /t -->\nafter\n")
    for text in ("one", "two"):
        replace_section(file, "t", text)
    assert file.read_text() == "before\n<!-- t -->\ntwo\n<!-- /t -->\nafter\n"
