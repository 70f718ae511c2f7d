"""Own npz files: every layout is read; bad ones end in one sentence."""

from __future__ import annotations

import random
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from metaal_env.datasets import load_dataset
from metaal_env.datasets.prepare import carve_validation, standardise
from metaal_env.errors import InputError


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
    "several labels": ({"X": VECTORS, "y": np.eye(8)[LABELS] + np.eye(8)[0]}, r"y has shape \(24, 8\)"),
    "several classes": (
        {"X": VECTORS, "y": np.maximum(np.eye(8)[LABELS], np.eye(8)[0])},
        "rows with several ones",
    ),
    "some unlabelled": ({"X": VECTORS, "y": LABELS - 1}, "3 of 24 items have y = -1"),
    "objects": ({"X": VECTORS, "y": LABELS.astype(str).astype(object)}, "where a label is unknown"),
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
    "structure": ({"X": np.zeros(24, dtype=[("a", "f4")]), "y": LABELS}, "save numbers or texts"),
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
        (lambda p: p.write_bytes(b"not a zip"), "not a readable npz"),
        (lambda p: p.write_bytes(b""), "not a readable npz"),
        (lambda p: np.save(p.open("wb"), VECTORS), "not a readable npz"),
        (lambda p: p.write_bytes(p.read_bytes()[:-400]), "not a readable npz"),
        (
            lambda p: p.write_bytes(p.read_bytes()[:150] + b"\0" * 50 + p.read_bytes()[200:]),
            "not a readable npz",
        ),
        (lambda p: declare(p, (2**20, 2**20)), "save fewer items"),
        (lambda p: declare(p, (10**30,)), "save fewer items"),
        (lambda p: declare(p, (9,), "<U500000000"), "save fewer items"),
        (lambda p: declare(p, (2**28,)), "more data than the file holds"),
        (lambda p: declare(p, (-1, 5)), "not a readable npz|no array|more data|declares"),
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
