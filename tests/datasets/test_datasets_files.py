"""Own csv files and image folders; bad ones end in one sentence."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest
import torch
from PIL import Image

from metaal_env.datasets import load_dataset
from metaal_env.errors import InputError


def test_csv(tmp_path: Path) -> None:
    rows = ["size;colour;Class;weight"]
    rows += [f"{i};{'red' if i % 2 else 'blue'};{'abc'[i % 3]};{i * i}" for i in range(12)]
    (tmp_path / "t.csv").write_text("\ufeff" + "\r\n".join(rows) + "\r\n\r\n", encoding="utf-8")
    data = load_dataset(str(tmp_path / "t.csv"))
    assert data.class_names == ("a", "b", "c") and data.labels.tolist() == [0, 1, 2] * 4
    assert data.inputs.shape == (12, 4)  # size, two colours, weight
    assert data.inputs[:, 1:3].tolist() == [[1, 0], [0, 1]] * 6
    assert torch.allclose(data.inputs[:, [0, 3]].std(0, correction=0), torch.ones(2), atol=1e-5)


def test_csv_without_header_takes_the_last_column_as_label(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("5.1,3.5,setosa\n4.9,3.0,setosa\n6.1,2.0,other\n6.2,2.1,other\n")
    data = load_dataset(str(tmp_path / "t.csv"))
    assert len(data) == 4 and data.class_names == ("other", "setosa")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty"),
        ("a,label\n", "header but no items"),
        ("label\nx\nx\ny\ny\n", "one column only"),
        ("a,label\n1,x\n2\n", "row 3 has 1 cells but the first has 2"),
        ("a,label\n1,x\n,x\n3,y\n4,y\n", "item 2 has no value .* column 'a'; impute or drop"),
        ("a,label\n1,x\nnan,x\n3,y\n4,y\n", "item 2 has no value"),
        ("a,label\n1,x\n2,x\ninf,y\n4,y\n", "item 3 has 'inf' in column 'a'"),
        ("a,label\n1,x\n2,x\n", "1 different value"),
        ("a,price\n1,1.5\n2,2.5\n3,3.5\n", "at least 2 classes of 2 items"),
        ("a,label\n" + "".join(f"t{i},{i % 2}\n" for i in range(60)), "60 different texts"),
        ('a,label\n"1,x\n2,y\n', "not a readable CSV"),
        ("a,label\n1,\udc81\n", "is not UTF-8"),
    ],
)
def test_bad_csv(text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "bad.csv").write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(InputError, match=message):
        load_dataset(str(tmp_path / "bad.csv"))


def picture(path: Path, mode: str = "L", size: tuple[int, int] = (40, 30), shade: int = 200) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, size, shade if mode == "L" else (shade, 0, 9)).save(path)


def test_image_folder(tmp_path: Path) -> None:
    for alphabet in ("Greek", "Latin"):
        for c in range(4):
            for i in range(3):
                picture(tmp_path / alphabet / f"character{c}" / f"{i}.png", shade=10 * c + i)
    picture(tmp_path / ".hidden" / "0.png")
    (tmp_path / "Greek" / "readme.txt").write_text("no image")
    grey = load_dataset(str(tmp_path))
    assert grey.input_shape == (1, 28, 28) and grey.n_classes == 8 and len(grey) == 24
    assert grey.class_names[1] == "Greek/character1" and grey.groups == ("Greek",) * 4 + ("Latin",) * 4
    assert grey.inputs[3:6, 0, 0, 0].tolist() == [10, 11, 12]
    picture(tmp_path / "zebra" / "0.jpg", mode="RGB")
    colour = load_dataset(f"{tmp_path}/")
    assert colour.input_shape == (3, 32, 32) and colour.groups[-1] == "zebra"


def test_bad_image_folders(tmp_path: Path) -> None:
    folder = tmp_path / "images"
    folder.mkdir()
    with pytest.raises(InputError, match=r"0 folder\(s\) with images"):
        load_dataset(str(folder))
    picture(folder / "train" / "a" / "0.png")
    picture(folder / "test" / "a" / "0.png")
    with pytest.raises(InputError, match=r"folders test, train; give one of them"):
        load_dataset(str(folder))
    good = (folder / "train" / "a" / "0.png").read_bytes()
    noisy = tmp_path / "noisy"
    picture(noisy / "a" / "0.png")
    picture(noisy / "b" / "1.png")
    huge = good[:16] + struct.pack(">II", 60_000, 60_000) + good[24:]
    for content in (b"", b"no image", good[: len(good) // 2], huge):
        (noisy / "b" / "1.png").write_bytes(content)
        with pytest.raises(InputError, match=r"1\.png' is not a readable image"):
            load_dataset(str(noisy))
