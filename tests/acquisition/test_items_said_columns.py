"""Columns that are no inputs: shown beside the item, hidden, prices and groups."""

from __future__ import annotations

from pathlib import Path

import pytest

from agents.acquisition.items.items import Items
from agents.acquisition.items.options import ReadOptions
from agents.acquisition.items.read_items import read_items
from agents.acquisition.tool.web.item_view import item_view
from metaal_env.errors import InputError

HEADER = "case,name,site,price,patient,u,v,label\n"
ROWS = [
    f"r{i},Ann {i},{'AB'[i % 2]},{1 + i % 3},{['p', ''][i == 7]}{i % 4},{i % 7}.5,{i * i % 11},"
    for i in range(20)
]


def pool(folder: Path, text: str = HEADER + "\n".join(ROWS) + "\n", **options: object) -> Items:
    path = folder / "pool.csv"
    path.write_text(text)
    return read_items(path, ReadOptions(**options))  # type: ignore[arg-type]


def test_metadata_are_shown_and_no_inputs(tmp_path: Path) -> None:
    items = pool(tmp_path, meta=("Site",), hide=("name",), cost_column="price", group_column="patient")
    assert items.used == ("u", "v") and items.meta == ("site", "price", "patient")
    assert items.left_out == {"site": "metadata", "price": "cost", "patient": "group", "name": "hidden"} | {
        "case": "20 different values"
    }
    assert "name" not in items.columns and items.columns["site"][:2] == ("A", "B")
    assert items.costs is not None and list(items.costs[:4]) == [1, 2, 3, 1]
    assert items.groups is not None and list(items.groups[6:9]) == ["p2", "3", "p0"]
    assert "Ann" not in str([items.shown, items.columns, items.understood])
    names = [name for name, _ in item_view(items, 0)["cells"]]
    assert names == ["u", "v", "site", "price", "patient", "case"], "inputs, then metadata, then the rest"
    assert items.beside(0) == "site=A, price=1, patient=p0"
    assert "labels cost 1 to 3; 5 groups" in items.understood


def test_names_of_items_do_not_tell_what_is_hidden(tmp_path: Path) -> None:
    first = pool(tmp_path, hide=("name",), ignore=("case",))
    other = pool(
        tmp_path, (HEADER + "\n".join(ROWS) + "\n").replace("Ann", "Bob"), hide=("name",), ignore=("case",)
    )
    assert first.ids == other.ids != pool(tmp_path, ignore=("case",)).ids


def test_metadata_may_name_the_items(tmp_path: Path) -> None:
    text = "id,site,text\n" + "".join(f"a{i},north,message number {i} of many\n" for i in range(6))
    items = pool(tmp_path, text, meta=("id", "site"))
    assert items.ids[0] == "a0" and items.kind == "texts" and items.meta == ("id", "site")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"meta": ("site",), "hide": ("site",)}, "named by --meta and by --hide"),
        ({"meta": ("town",)}, "no column 'town'"),
        ({"group_column": "ward"}, "no column 'ward'"),
        ({"cost_column": "site"}, "'site' says that item 1 costs 'A'; give a number above 0"),
        ({"cost_column": "v"}, "'v' says that item 1 costs '0'"),
        ({"id_column": "name", "hide": ("name",)}, "would name the items in every file"),
    ],
)
def test_contradictions_are_refused(tmp_path: Path, options: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        pool(tmp_path, **options)


@pytest.mark.parametrize("name", ["meta", "hide", "cost_column", "group_column"])
def test_files_without_columns_refuse_them(tmp_path: Path, name: str) -> None:
    (tmp_path / "a.txt").write_text("one\ntwo\n")
    value = "x" if name.endswith("column") else ("x",)
    with pytest.raises(InputError, match=f"has no columns; --{name.replace('_', '-')} is for tables"):
        read_items(tmp_path / "a.txt", ReadOptions(**{name: value}))  # type: ignore[arg-type]
