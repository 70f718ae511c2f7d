"""torchvision's data sets, from files in their original formats."""

from __future__ import annotations

import pickle
import struct
from pathlib import Path
from urllib.error import URLError

import numpy as np
import pytest
import torch
from helpers.clusters import same
from PIL import Image

from metaal_env.datasets.sources import torchvision_images as vision
from metaal_env.datasets.sources.cifar_superclasses import SUPERCLASSES
from metaal_env.errors import InputError

TORCHVISION = ("omniglot", "mnist", "fashion_mnist", "kmnist", "emnist", "cifar10", "cifar100")


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
