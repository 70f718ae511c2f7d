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


def test_bombs_are_recognised_before_they_go_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("metaal_env.datasets.readers.npz.BOMB_BYTES", 2**20)
    np.savez_compressed(tmp_path / "bomb.npz", X=np.zeros((2**12, 2**9), np.float32), y=np.arange(2**12) % 9)
    with pytest.raises(InputError, match="would swell") as caught:
        load_dataset(str(tmp_path / "bomb.npz"))
    refused(caught.value, "dataset")
    monkeypatch.setattr("metaal_env.datasets.readers.npz.MAX_BYTES", 300)
    np.savez(tmp_path / "many.npz", X=VECTORS[:12], y=LABELS)
    with pytest.raises(InputError, match="declares over 300 bytes") as caught:
        load_dataset(str(tmp_path / "many.npz"))
    refused(caught.value, "dataset")
    monkeypatch.setattr("metaal_env.datasets.readers.npz.MAX_MEMBERS", 1)
    with pytest.raises(InputError, match="at most 1") as caught:
        load_dataset(str(tmp_path / "many.npz"))
    refused(caught.value, "dataset")


def test_a_header_that_claims_gigabytes_is_cut(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "bad.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("X.npy", b"\x93NUMPY\x02\x00" + struct.pack("<I", 2**31) + b" " * 2**20)
    with pytest.raises(InputError, match="no readable npz") as caught:
        load_dataset(str(tmp_path / "bad.npz"))
    refused(caught.value, "dataset")


def test_tables_have_limits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "wide.csv").write_text("," * 200 + "\n" * 100)
    monkeypatch.setattr("metaal_env.datasets.readers.cells.MAX_CELLS", 250)
    with pytest.raises(InputError, match="more than 250 cells; convert it") as caught:
        load_dataset(str(tmp_path / "wide.csv"))
    refused(caught.value, "dataset")
    monkeypatch.setattr("metaal_env.datasets.readers.table.MAX_BYTES", 99)
    with pytest.raises(InputError, match="exceeds 99 bytes") as caught:
        load_dataset(str(tmp_path / "wide.csv"))
    refused(caught.value, "dataset")
    (tmp_path / "words.csv").write_text("word,label\n" + "".join(f"w{i % 40},{i % 2}\n" for i in range(80)))
    monkeypatch.undo()
    monkeypatch.setattr("metaal_env.datasets.readers.columns.MAX_CELLS", 1000)
    with pytest.raises(InputError, match="become 3,200 numbers") as caught:
        load_dataset(str(tmp_path / "words.csv"))
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
    with pytest.raises(InputError, match=r"x\.png' is no readable image") as caught:
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
