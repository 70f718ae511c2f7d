"""The policies that ship with the package, one folder each."""

from __future__ import annotations

from pathlib import Path

SHIPPED = Path(__file__).parent
"""Folder of the shipped policies; each has a folder of its name."""


def shipped_policies(root: Path = SHIPPED) -> dict[str, Path]:
    """Returns name → folder of every whole policy in a folder, by default those that ship with the package."""
    folders = (file.parent for file in sorted(root.glob("*/policy.json")))
    return {folder.name: folder for folder in folders if (folder / "policy.safetensors").is_file()}
