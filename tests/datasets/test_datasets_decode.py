"""Bytes to characters: what is unambiguous is read and named, what is not is refused."""

from __future__ import annotations

import bz2
import gzip
import lzma
from pathlib import Path

import pytest

from metaal_env.datasets.readers.decode import decode, read_decoded
from metaal_env.errors import InputError

WESTERN = "Café, Größe, naïve, señor, œuvre; l’été – “cinq” €5, 30 m²"


@pytest.mark.parametrize(
    ("encoding", "text", "named"),
    [
        ("utf-8", WESTERN + " 你好 Привет", "utf-8"),
        ("utf-8-sig", WESTERN, "utf-8"),
        ("utf-16", WESTERN, "utf-16"),
        ("utf-16-le", "a,b\n1,2\n", "utf-16-le"),
        ("utf-16-be", "a,b\n1,2\n", "utf-16-be"),
        ("utf-32", WESTERN, "utf-32"),
        ("cp1252", WESTERN, "cp1252"),
        ("latin-1", "Spaß;Übung;garçon;ÅÄ;¿Qué?", "cp1252"),
    ],
)
def test_encodings(encoding: str, text: str, named: str) -> None:
    assert decode(text.encode(encoding), "data") == (text, named)


OTHERS = {
    "cp1251": "Привет, мир",
    "cp1253": "Καλημέρα κόσμε",
    "shift_jis": "こんにちは世界",
    "gb18030": "你好，世界",
    "big5": "你好，世界",
    "mac_roman": "café naïve señor",
    "cp437": "café señor über",
    "cp850": "Größe über Straße",
    "iso8859-2": "Zażółć gęślą jaźń",
}


@pytest.mark.parametrize("encoding", OTHERS)
def test_code_pages_that_cannot_be_told_are_named(encoding: str) -> None:
    data = OTHERS[encoding].encode(encoding)
    with pytest.raises(InputError, match=r"data='a\.csv' is not UTF-8 .*name its encoding"):
        decode(data, "data='a.csv'")
    assert decode(data, "data", encoding).text == OTHERS[encoding]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"PK\x03\x04[Content_Types].xml", "a spreadsheet; save it as CSV UTF-8"),
        (b"<!DOCTYPE html><html>", "a page of HTML"),
        (b"version https://git-lfs.github.com/spec/v1\n", "git lfs pull"),
        (b"PAR1\x15\x04", "a Parquet file; save it as CSV"),
        (b"\xff\xfe\x00", "is not utf-16"),
        (b"\x00\x01\x02\xff" * 9, "is not UTF-8"),
        (gzip.compress(b"a" * 99, mtime=0)[:-9], "ends early"),
        (b"\x1f\x8bnothing", "not a readable archive"),
        (lzma.compress(b"a" * 4000), "exceeds 2,000 bytes unpacked"),
    ],
)
def test_no_text(data: bytes, message: str, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(data)
    with pytest.raises(InputError, match=message):
        read_decoded(tmp_path / "a.csv", "data='a.csv'", 2000)


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress, lzma.compress])
def test_packed(pack: type[bytes], tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(pack(WESTERN.encode()))
    assert read_decoded(tmp_path / "a.csv", "data", 2000) == (WESTERN, "utf-8")


def test_an_unknown_encoding_is_one_sentence() -> None:
    with pytest.raises(InputError, match=r"is not cp9999 .*save it as UTF-8"):
        decode(b"a", "data", "cp9999")
