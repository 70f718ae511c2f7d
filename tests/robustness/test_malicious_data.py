"""Data from a stranger: archives, tables and images end in one sentence and write nothing."""

from __future__ import annotations

import io
import os
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest
from helpers.hostile import refused, snapshot
from PIL import Image

from metaal_env.datasets import load_dataset
from metaal_env.datasets.readers.cells import read_grid
from metaal_env.datasets.readers.columns import as_vectors, columns_of
from metaal_env.datasets.readers.npz import read_arrays
from metaal_env.datasets.readers.table import load_csv
from metaal_env.errors import InputError

VECTORS = np.random.default_rng(0).normal(size=(24, 4)).astype(np.float32)
LABELS = np.repeat(np.arange(8), 3)


def test_names_in_archives_lead_nowhere(tmp_path: Path) -> None:
    """Members are read into memory under their own names; none is unpacked."""
    folder = tmp_path / "in"
    folder.mkdir()
    buffer = io.BytesIO()
    np.save(buffer, VECTORS)
    with zipfile.ZipFile(folder / "bad.npz", "w") as archive:
        for name in ("../../X.npy", "/tmp/class_names.npy", "class_../../../evil.npy"):
            archive.writestr(name, buffer.getvalue())
    before = snapshot(tmp_path)
    with pytest.raises(InputError, match="no array 'X'") as caught:
        load_dataset(str(folder / "bad.npz"))
    refused(caught.value, "dataset")
    assert snapshot(tmp_path) == before


def test_bombs_are_recognised_before_they_go_off(tmp_path: Path) -> None:
    np.savez_compressed(tmp_path / "bomb.npz", X=np.zeros((2**12, 2**9), np.float32), y=np.arange(2**12) % 9)
    np.savez(tmp_path / "many.npz", X=VECTORS[:12], y=LABELS)
    for file, limit, says in (
        ("bomb.npz", {"bomb_bytes": 2**20}, "would swell"),
        ("many.npz", {"max_bytes": 300}, "declares over 300 bytes"),
        ("many.npz", {"max_members": 1}, "at most 1"),
    ):
        with pytest.raises(InputError, match=says) as caught:
            read_arrays(tmp_path / file, f"dataset={file!r}", lambda _: True, **limit)
        refused(caught.value, "dataset")


def test_a_header_that_claims_gigabytes_is_cut(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "bad.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("X.npy", b"\x93NUMPY\x02\x00" + struct.pack("<I", 2**31) + b" " * 2**20)
    with pytest.raises(InputError, match="not a readable npz") as caught:
        load_dataset(str(tmp_path / "bad.npz"))
    refused(caught.value, "dataset")


def test_tables_have_limits(tmp_path: Path) -> None:
    wide, words = "," * 200 + "\n" * 100, "word\n" + "".join(f"w{i % 40}\n" for i in range(80))
    subject = "dataset='wide.csv'"
    with pytest.raises(InputError, match="more than 250 cells; convert it") as caught:
        read_grid(wide, subject, max_cells=250)
    refused(caught.value, "dataset")
    (tmp_path / "wide.csv").write_text(wide)
    with pytest.raises(InputError, match="exceeds 99 bytes") as caught:
        load_csv(tmp_path / "wide.csv", "wide.csv", max_bytes=99)
    refused(caught.value, "dataset")
    with pytest.raises(InputError, match="become 3,200 numbers") as caught:
        as_vectors(columns_of(read_grid(words, subject)), subject, max_numbers=1000)
    refused(caught.value, "dataset")


def test_images_are_decoded_by_pillow_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """PostScript under the name of a PNG would be handed to Ghostscript."""
    from PIL import EpsImagePlugin

    ran = []
    monkeypatch.setattr(EpsImagePlugin, "Ghostscript", lambda *_, **__: ran.append(1))
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "x.png").write_bytes(
            b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\n(/tmp/x) (w) file\n%%EOF\n"
        )
    assert Image.open(tmp_path / "a" / "x.png").format == "EPS", "Pillow on its own would take it"
    with pytest.raises(InputError, match=r"x\.png' is not a readable image") as caught:
        load_dataset(str(tmp_path))
    refused(caught.value, "dataset")
    assert not ran


def test_pipes_and_devices_are_no_images(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        os.mkfifo(tmp_path / name / "x.png")
        (tmp_path / name / "y.png").symlink_to("/dev/zero")
    with pytest.raises(InputError, match=r"0 folder\(s\) with images") as caught:
        load_dataset(str(tmp_path))
    refused(caught.value, "dataset")
