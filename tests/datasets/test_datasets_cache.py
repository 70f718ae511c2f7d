"""The cache of data sets: one builder, damaged files are built again."""

from __future__ import annotations

import os
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.clusters import same

from metaal_env.datasets import ClassDataset, cache


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


def test_cache_folder_without_a_home(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("METAAL_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(os.path, "expanduser", lambda path: path)
    assert cache.cache_dir() == Path(tempfile.gettempdir()) / "metaal"
