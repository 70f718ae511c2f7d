"""Sounds as recorders leave them, and what cannot be read among them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from agents.acquisition.items.encoders import encode
from agents.acquisition.items.options import ReadOptions
from agents.acquisition.items.read_items import read_items
from metaal_env.errors import InputError

soundfile = pytest.importorskip("soundfile", reason="needs the extra audio")

RATE = 16_000
TONES = [np.sin(2 * np.pi * pitch * np.arange(RATE) / RATE) for pitch in (220, 1000, 4000)]


@pytest.mark.parametrize(
    ("suffix", "options"),
    [
        ("wav", {"subtype": "PCM_16"}),
        ("wav", {"subtype": "PCM_24"}),
        ("wav", {"subtype": "FLOAT"}),
        ("wav", {"subtype": "ULAW"}),
        ("flac", {}),
        ("ogg", {"format": "OGG", "subtype": "VORBIS"}),
        ("mp3", {"format": "MP3"}),
    ],
)
@pytest.mark.parametrize("channels", [1, 2])
def test_formats(suffix: str, options: dict[str, str], channels: int, tmp_path: Path) -> None:
    for folder in ("plain", "other"):
        (tmp_path / folder).mkdir()
    for i, tone in enumerate(TONES):
        soundfile.write(tmp_path / "plain" / f"{i}.wav", 0.5 * tone, RATE)
        wave = np.stack([0.5 * tone] * channels, 1)
        soundfile.write(tmp_path / "other" / f"{i}.{suffix}", wave, RATE, **options)
    plain, other = (encode(read_items(tmp_path / folder)) for folder in ("plain", "other"))
    apart = np.linalg.norm(plain[:, None] - other[None], axis=-1)
    assert apart.argmin(1).tolist() == [0, 1, 2], "each tone is nearest to itself"


def test_unreadable_sounds_are_named_or_left_out(tmp_path: Path) -> None:
    for i, tone in enumerate(TONES):
        soundfile.write(tmp_path / f"{i}.wav", tone, RATE)
    (tmp_path / "cut.wav").write_bytes(b"RIFFnothing")
    (tmp_path / "page.mp3").write_bytes(b"<html>404</html>")
    (tmp_path / "notes.txt").write_text("by hand")
    with pytest.raises(InputError, match=r"2 sounds cannot be read.*cut\.wav.*or add --skip-unreadable"):
        encode(read_items(tmp_path))
    with pytest.warns(UserWarning, match=r"2 unreadable sounds are left out: 'cut\.wav', 'page\.mp3'"):
        items = read_items(tmp_path, ReadOptions(skip_unreadable=True))
    assert list(items.ids) == ["0.wav", "1.wav", "2.wav"] and encode(items).shape == (3, 128)
    assert "other files left out: 1 .txt" in items.understood
    for i in range(3):
        (tmp_path / f"{i}.wav").unlink()
    with pytest.warns(UserWarning), pytest.raises(InputError, match="holds no sound that can be read"):
        read_items(tmp_path, ReadOptions(skip_unreadable=True))


def test_rows_of_a_table_without_a_readable_file(tmp_path: Path) -> None:
    for i, tone in enumerate(TONES):
        soundfile.write(tmp_path / f"{i}.wav", tone, RATE)
    (tmp_path / "3.wav").write_bytes(b"RIFFnothing")
    rows = [f"{i}.wav,{name},{i}" for i, name in enumerate(["low", "", "high", "low", "low"])]
    (tmp_path / "t.csv").write_text("\n".join(["file,label,room", *rows]))
    with pytest.raises(InputError, match=r"row 5 names the file '4\.wav', which is not there"):
        read_items(tmp_path / "t.csv")
    with pytest.warns(UserWarning, match=r"2 rows without a readable file are left out: 4 \('3\.wav'\), 5"):
        items = read_items(tmp_path / "t.csv", ReadOptions(skip_unreadable=True))
    assert items.kind == "sounds" and list(items.ids) == ["0.wav", "1.wav", "2.wav"]
    assert list(items.labels) == ["low", None, "high"] and items.columns["room"] == ("0", "1", "2")
