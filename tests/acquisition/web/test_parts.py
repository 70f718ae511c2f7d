"""Keys of classes, maps, curves, views of items, and what the command refuses."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from helpers.clusters import clusters
from helpers.own_pools import sounds_pool, table_pool, texts_pool
from PIL import Image

from agents.acquisition.items.encoders import encode
from agents.acquisition.items.items import Items
from agents.acquisition.items.read_items import read_items
from agents.acquisition.tool.commands import main
from agents.acquisition.tool.web.class_keys import COMMANDS, KEYS, class_keys
from agents.acquisition.tool.web.item_view import item_view
from agents.acquisition.tool.web.pool_map import pool_map
from agents.acquisition.tool.yardstick import learning_curve
from metaal_env.errors import InputError


@pytest.mark.parametrize(
    ("numbers", "keys"),
    [
        ({"cat": 1, "dog": 2}, {"cat": "1", "dog": "2"}),
        ({"cat": 3, "dog": 12}, {"cat": "3", "dog": KEYS[11]}),
        ({"7": 1, "0": 2, "3": 3}, {"7": "7", "0": "0", "3": "3"}),
        ({"7": 1, "cat": 2}, {"7": "7", "cat": KEYS[10]}),
        ({"last": len(KEYS), "beyond": len(KEYS) + 1}, {"last": KEYS[-1]}),
    ],
)
def test_keys_of_classes(numbers: dict[str, int], keys: dict[str, str]) -> None:
    assert class_keys(numbers) == keys


def test_no_class_takes_the_key_of_a_command() -> None:
    assert not set(KEYS) & set(COMMANDS) and len(set(KEYS)) == len(KEYS) == 9 + 26 - len(COMMANDS)
    page = Path(__file__).parents[3] / "agents/acquisition/tool/web/static/app.js"
    commands = page.read_text().partition("const commands = {")[2].partition("};")[0]
    assert {letter for letter in "abcdefghijklmnopqrstuvwxyz" if f"\n  {letter}:" in commands} == set(
        COMMANDS
    )


def test_the_map_keeps_clusters_apart_and_is_the_same_each_time() -> None:
    truth = np.arange(3).repeat(60)
    x = clusters(truth, 20, apart=4.0)
    drawn, places = pool_map(x)
    assert drawn.tolist() == list(range(180)) and places.min() == 0 and places.max() == 1
    centres = np.stack([places[truth == k].mean(0) for k in range(3)])
    own = np.linalg.norm(places[:, None] - centres, axis=2).argmin(1)
    assert (own == truth).mean() > 0.95
    assert np.array_equal(places, pool_map(x)[1])


@pytest.mark.parametrize(
    "x", [np.zeros((1, 3)), np.zeros((5, 3)), np.arange(6.0)[:, None], np.ones((4, 2, 2, 1))]
)
def test_maps_of_strange_pools(x: np.ndarray) -> None:
    _, places = pool_map(x)
    assert places.shape == (len(x), 2) and np.isfinite(places).all()


def test_large_maps_are_thinned_out() -> None:
    drawn, places = pool_map(np.random.default_rng(0).normal(size=(20_500, 3)))
    assert len(drawn) == len(places) == 20_000 and (np.diff(drawn) > 0).all()


def test_the_curve_counts_hits_on_the_yardstick_alone() -> None:
    truth = np.random.default_rng(0).integers(3, size=60)
    x = clusters(truth, 6, apart=6.0)
    y = np.array([str(k) for k in truth], dtype=object)
    drawn = np.arange(60) < 20
    points = learning_curve(x, y, drawn, list(range(20, 60)))
    assert points[0].labels == 4 and points[-1].labels == 40 and points[-1].accuracy == 1
    assert points[-1].high == 1 and points[-1].low == pytest.approx(0.025 ** (1 / 20))  # Clopper and Pearson
    wrong = y.copy()
    wrong[:20] = "9"
    assert learning_curve(x, wrong, drawn, list(range(20, 60)))[-1].accuracy == 0
    assert learning_curve(x, y, np.zeros(60, dtype=bool), []) == []


def test_views_of_texts_and_tables(tmp_path: Path) -> None:
    texts_pool(tmp_path / "texts.csv")
    view = item_view(read_items(tmp_path / "texts.csv"), 3)
    assert view["kind"] == "text" and view["name"] == "m0003"
    assert [name for name, _ in view["cells"]] == ["id", "channel"]
    table_pool(tmp_path / "table.csv")
    view = item_view(read_items(tmp_path / "table.csv"), 4)
    assert view["kind"] == "row" and dict(view["cells"])["sepal width in cm"] == ""
    assert [name for name, _ in view["cells"]][-2:] == ["soil", "sample"]


def test_labels_and_ignored_columns_are_not_shown(tmp_path: Path) -> None:
    from agents.acquisition.items.options import ReadOptions

    (tmp_path / "t.csv").write_text(
        "id,a,b,label,secret\n" + "".join(f"x{i},{i},{i % 3},u,s\n" for i in range(9))
    )
    items = read_items(tmp_path / "t.csv", ReadOptions(label_column="label", ignore=("secret",)))
    assert {name for name, _ in item_view(items, 0)["cells"]} == {"id", "a", "b"}


def test_long_texts_and_control_characters_are_cut_and_replaced() -> None:
    shown = ["a\x1b[2Jb\nc\td", "x" * 200_001]
    items = Items("pool", ["a", "b"], [None] * 2, shown, texts=shown)
    assert item_view(items, 0)["text"] == "a�[2Jb\nc\td" and not item_view(items, 0)["cut"]
    assert len(item_view(items, 1)["text"]) == 200_000 and item_view(items, 1)["cut"]


def test_sounds_become_vectors_that_tell_them_apart(tmp_path: Path) -> None:
    pytest.importorskip("soundfile", reason="needs the extra audio")
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import cross_val_score

    truth = sounds_pool(tmp_path / "sounds")
    items = read_items(tmp_path / "sounds")
    x = encode(items)
    assert items.understood.startswith(f"{tmp_path / 'sounds'}: sounds, 60 items") and x.shape == (60, 128)
    assert cross_val_score(LogisticRegression(max_iter=2000), x, truth, cv=3).mean() > 0.9
    (tmp_path / "sounds" / "000.wav").write_bytes(b"RIFFnothing")
    with pytest.raises(InputError, match=r"000\.wav' is not a readable sound"):
        encode(read_items(tmp_path / "sounds"))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--count", "3"], "count=3 is for the terminal"),
        (["--port", "70000"], "port=70000 must lie in 0…65535"),
        (["--overlap", "2"], "overlap=2.0 must lie in 0…1"),
    ],
)
def test_the_command_refuses(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], options: list[str], message: str
) -> None:
    texts_pool(tmp_path / "texts.csv")
    assert main(["label", str(tmp_path / "texts.csv"), "--web", *options]) == 2
    assert message in capsys.readouterr().err


def test_the_command_names_the_extra_that_it_needs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert main(["label", str(tmp_path / "texts.csv"), "--web"]) == 2
    assert "--web needs starlette and uvicorn: pip install starlette uvicorn" in capsys.readouterr().err


def test_sounds_beside_an_image_are_refused(tmp_path: Path) -> None:
    folder = tmp_path / "sounds"
    sounds_pool(folder, 3)
    Image.new("L", (4, 4)).save(folder / "cover.png")
    with pytest.raises(InputError, match=r"sounds and 1 images; move elsewhere"):
        read_items(folder)
