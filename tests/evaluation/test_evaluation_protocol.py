"""Protocol and row files: what is written is read back; what does not belong together is refused."""

from __future__ import annotations

import gzip
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from helpers.evaluation_stubs import PROTOCOL, RandomStub, core

from agents.evaluation.episodes import concatenate
from agents.evaluation.measures import aulc
from agents.evaluation.play import play
from agents.evaluation.protocol.protocol import Protocol
from agents.evaluation.protocol.rows import check_header, read_results, read_rows, write_rows
from agents.evaluation.protocol.scenario import short_names, task_config
from metaal_env.errors import InputError


def test_protocol_survives_saving(tmp_path: Path) -> None:
    PROTOCOL.save(tmp_path / "p.json")
    assert Protocol.load(tmp_path / "p.json") == PROTOCOL
    assert Protocol.load(tmp_path / "p.json").digest == PROTOCOL.digest


def test_digest_is_about_tasks_not_strategies() -> None:
    assert replace(PROTOCOL, contestants=PROTOCOL.contestants[:1]).digest == PROTOCOL.digest
    for change in ({"n_tasks": 131}, {"seeds": (0,)}, {"scenarios": PROTOCOL.scenarios[:1]}):
        assert replace(PROTOCOL, **change).digest != PROTOCOL.digest


def test_blocks_cover_every_task_once() -> None:
    seeds = [seed for _, _, block in PROTOCOL.blocks() for seed in block]
    assert len(seeds) == len(set(seeds)) == 260
    assert [len(block) for _, _, block in PROTOCOL.blocks()] == [64, 64, 2] * 2


def test_names_hold_what_differs() -> None:
    assert list(short_names(PROTOCOL.scenarios).values()) == [
        "wine way 3–5 concentration inf learner prototype",
        "digits way 5 concentration 1 learner a",
    ]
    for name in ("class_concentration", "imbalance"):  # the latter before version 3
        task = task_config({"way": [2, 3], name: "inf", "other": 1})
        assert task.way == (2, 3) and task.class_concentration == float("inf")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (None, "does not exist"),
        ("{", "damaged"),
        ("[]", "damaged"),
        ('{"schema": 99}', "version 99"),
        ('{"schema": 1, "scenarios": [{}], "contestants": []}', "damaged"),
    ],
)
def test_bad_protocols_are_refused(tmp_path: Path, text: str | None, says: str) -> None:
    path = tmp_path / "protocol.json"
    if text is not None:
        path.write_text(text)
    with pytest.raises(InputError, match=says):
        Protocol.load(path)


def test_protocols_check_themselves() -> None:
    for change, says in (
        ({"n_tasks": 0}, "n_tasks"),
        ({"seeds": (1, 1)}, "seeds"),
        ({"contestants": PROTOCOL.contestants[:1] * 2}, "twice"),
        ({"contestants": ()}, "empty"),
    ):
        with pytest.raises(InputError, match=says):
            replace(PROTOCOL, **change)


def test_rows_survive_writing(tmp_path: Path) -> None:
    c = core(budget=(2, 5), initial_labels=1)
    episodes = play(c, RandomStub(), range(7), name="random", stratum="s")
    for name in ("a", "b"):
        write_rows(tmp_path / f"{name}.csv.gz", {"protocol": "x"}, episodes)
    assert (tmp_path / "a.csv.gz").read_bytes() == (tmp_path / "b.csv.gz").read_bytes()
    header, back = read_rows(tmp_path / "a.csv.gz")
    assert header == {"protocol": "x"} and back.strategy == "random" and not back.privileged
    for name in ("strata", "seeds", "way", "pool", "budget", "picks"):
        assert np.array_equal(getattr(back, name), getattr(episodes, name))
    for name, curve in episodes.curves.items():
        np.testing.assert_allclose(back.curves[name], curve, rtol=1e-5, equal_nan=True)


def test_concatenation_pads_shorter_budgets() -> None:
    parts = [play(core(budget=b), RandomStub(), range(3), stratum=str(b)) for b in (2, 5)]
    both = concatenate(parts)
    assert both.picks.shape == (6, 5) and both.curves["ece"].shape == (6, 6)
    np.testing.assert_allclose(aulc(both), np.concatenate([aulc(p) for p in parts]))
    assert (both.picks[:3, 2:] == -1).all()


def _folder(tmp_path: Path, **changes: str) -> Path:
    header = {"protocol": PROTOCOL.digest, "strategy": "random", "strategy_digest": ""} | changes
    episodes = play(core(), RandomStub(), range(2), name="random")
    write_rows(tmp_path / "rows" / "cell.csv.gz", header, episodes)
    return tmp_path


def test_results_are_read_in_the_protocols_order(tmp_path: Path) -> None:
    assert list(read_results(_folder(tmp_path), PROTOCOL)) == ["random"]
    check_header(tmp_path, {"protocol": PROTOCOL.digest, "strategy": "gone"}, PROTOCOL)


def test_mixed_rows_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="belong to protocol"):
        read_results(_folder(tmp_path, protocol="other"), PROTOCOL)
    with pytest.raises(InputError, match="another version of strategy"):
        read_results(_folder(tmp_path, strategy_digest="other"), PROTOCOL)


def test_empty_and_damaged_cells_are_refused(tmp_path: Path) -> None:
    path = _folder(tmp_path) / "rows" / "cell.csv.gz"
    whole = path.read_bytes()
    lines = gzip.decompress(whole).decode().splitlines(keepends=True)
    for content, says in (
        (gzip.compress("".join(lines[:2]).encode(), mtime=0), "empty cell"),
        (whole[: len(whole) // 2], "damaged"),
        (b"", "damaged"),
        (gzip.compress(b"# {}\na,b\n1,2\n", mtime=0), "damaged"),
        (gzip.compress(json.dumps({}).encode(), mtime=0), "damaged"),
    ):
        path.write_bytes(content)
        with pytest.raises(InputError, match=says):
            read_results(tmp_path, PROTOCOL)
    path.unlink()
    with pytest.raises(InputError, match="no rows"):
        read_results(tmp_path, PROTOCOL)
