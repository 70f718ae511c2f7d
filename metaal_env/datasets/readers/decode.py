"""Decodes the bytes of a text file: byte-order marks, UTF-16, Western European code pages, compression."""

from __future__ import annotations

import bz2
import codecs
import lzma
import re
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple, Protocol

from metaal_env.errors import InputError, brief
from metaal_env.runtime.files import read_bytes


class _Unpacker(Protocol):
    @property
    def eof(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    def decompress(self, data: bytes, max_length: int, /) -> bytes: ...


_UNPACKERS: dict[bytes, Callable[[], _Unpacker]] = {
    b"\x1f\x8b": lambda: zlib.decompressobj(31),  # 31: with gzip's header
    b"BZh": bz2.BZ2Decompressor,
    b"\xfd7zXZ\0": lzma.LZMADecompressor,
}
_FOREIGN = {
    b"PK\x03\x04": "a zip archive or a spreadsheet; save it as CSV UTF-8",
    b"\xd0\xcf\x11\xe0": "an old spreadsheet; save it as CSV UTF-8",
    b"PAR1": "a Parquet file; save it as CSV (pandas.DataFrame.to_csv)",
    b"\x89HDF": "an HDF5 file; save it as npz or CSV",
    b"%PDF": "a PDF; save its text as .txt or CSV",
    b"\x93NUMPY": "an array of NumPy's; let its name end in .npy",
    b"version https://git-lfs": "a pointer of Git LFS; fetch the file itself (git lfs pull)",
    **dict.fromkeys(
        (b"<!DOCTYPE", b"<!doctype", b"<html", b"<HTML"), "a page of HTML; download the file itself"
    ),
}
_MARKS = (  # the longer ones first: UTF-32's begins like UTF-16's
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_LETTER = "[A-Za-zÀ-ÖØ-öø-ÿ]"
_SIGNS = "[\u201a\u0192\u201e\u2026\u2020\u2021\u02c6\u2030\u2039\u201c\u201d\u2022\u02dc\u203a\u00a1-\u00bf]"
_NO_WESTERN = re.compile(
    "[\x7f-\x9f]"  # bytes that stand for nothing in cp1252
    "|[a-zß-ÿ][À-ÞŠŒŽŸ]"  # a capital after a small letter: another code page's letter
    f"|{_LETTER}{_SIGNS}{_LETTER}"  # a sign inside a word
    "|[À-ÿŠŒŽšœžŸƒ]{3}"  # accented letters alone: Cyrillic, Greek, Chinese, …
)
"""Sequences that are rare in Western European text but frequent where another code page is read as cp1252."""


class Decoded(NamedTuple):
    """Holds the characters of a file and the name of its encoding."""

    text: str
    encoding: str

    @property
    def notes(self) -> tuple[str, ...]:
        """Returns the encoding as a remark, where it is not the usual one."""
        return () if self.encoding == "utf-8" else (f"encoding {self.encoding}",)


def read_decoded(path: Path, subject: str, most: int, encoding: str | None = None) -> Decoded:
    """Returns the characters of a text file, unpacked if it is compressed by gzip, bzip2 or xz.

    A byte-order mark decides. Without one the encoding is UTF-8 if the bytes are valid, UTF-16 if every other byte is
    zero, and Windows' cp1252 if the accented letters occur as in Western European text.

    Args:
        subject: start of error messages, e.g. ``"data='a.csv'"``.
        most: largest number of bytes, packed and unpacked.
        encoding: Python's name of the encoding, if it is known.

    Raises:
        InputError: the file is missing, unreadable, too large, no text file or of an unknown encoding.
    """
    data = _unpacked(read_bytes(path, subject, most), subject, most)
    if not data.startswith(codecs.BOM_UTF16_LE) and not data.startswith(codecs.BOM_UTF16_BE):
        data = data.rstrip(b"\x1a")  # DOS's end of a file
    return decode(data, subject, encoding)


def decode(data: bytes, subject: str, encoding: str | None = None) -> Decoded:
    """Returns the characters of a text file's bytes; the rules and errors of `read_decoded`."""
    foreign = next((kind for magic, kind in _FOREIGN.items() if data.startswith(magic)), None)
    if foreign is not None:
        raise InputError(f"{subject} is {foreign}.")
    if encoding is not None:
        return Decoded(_strictly(data, encoding, subject), encoding)
    marked = next((name for mark, name in _MARKS if data.startswith(mark)), None)
    if marked is not None:
        return Decoded(_strictly(data, marked, subject), marked.removesuffix("-sig"))
    if b"\0" in data[:4096]:
        for name, zeros in (("utf-16-le", data[1:4096:2]), ("utf-16-be", data[0:4096:2])):
            if zeros.count(0) > 0.7 * len(zeros):
                return Decoded(_strictly(data, name, subject), name)
    try:
        return Decoded(data.decode("utf-8"), "utf-8")
    except UnicodeDecodeError as error:
        text = data.decode("cp1252", "ignore" if b"\0" in data else "replace")
        if "\ufffd" in text or "\0" in text or len(text) < len(data) or _NO_WESTERN.search(text):
            raise InputError(
                f"{subject} is not UTF-8 ({brief(error)}); save it as UTF-8 or name its encoding, e.g. cp1251."
            ) from error
        return Decoded(text, "cp1252")


def _strictly(data: bytes, encoding: str, subject: str) -> str:
    try:
        return data.decode(
            "utf-8-sig" if encoding.lower().replace("_", "-") in ("utf-8", "utf8") else encoding
        )
    except (UnicodeError, LookupError) as error:
        raise InputError(f"{subject} is not {encoding} ({brief(error)}); save it as UTF-8.") from error


def _unpacked(data: bytes, subject: str, most: int) -> bytes:
    """Returns the contents of an archive, which may have several parts; other bytes unchanged."""
    unpacker = next((make for magic, make in _UNPACKERS.items() if data.startswith(magic)), None)
    if unpacker is None:
        return data
    unpacked = b""
    while data:
        part = unpacker()
        try:
            unpacked += part.decompress(data, most + 1 - len(unpacked))
        except (OSError, EOFError, ValueError, zlib.error, lzma.LZMAError) as error:
            raise InputError(
                f"{subject} is not a readable archive ({brief(error)}); pack it again."
            ) from error
        if len(unpacked) > most:
            raise InputError(f"{subject} exceeds {most:,} bytes unpacked; give a smaller file.")
        if not part.eof:
            raise InputError(f"{subject} is an archive that ends early; pack it again.")
        data = part.unused_data
    return unpacked
