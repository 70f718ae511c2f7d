"""A folder and a cache of a test's own."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture()
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder, which is empty at first."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture()
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("METAAL_CACHE", str(tmp_path / "cache"))
