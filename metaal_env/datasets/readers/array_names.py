"""Maps the names of saved arrays to the documented names: X, y, text, ids, class_names."""

from __future__ import annotations

from collections.abc import Iterable

from metaal_env.errors import InputError

_ALIASES = {
    "X": ("x", "data", "features", "embeddings", "embedding", "vectors", "emb", "feats", "images"),
    "y": ("y", "label", "labels", "target", "targets"),
    "text": ("text", "texts", "sentences", "documents"),
    "ids": ("id", "ids"),
    "class_names": ("class_names", "target_names", "label_names", "classes"),
}
_KEYS = {alias: key for key, aliases in _ALIASES.items() for alias in aliases}
_POSITIONAL = ("arr_0", "arr_1")


def documented_names(names: Iterable[str], subject: str) -> dict[str, str]:
    """Returns documented name → name in the file; ``X`` and ``y`` may have the names of ``numpy.savez`` for 0 and 1.

    An array alone is ``X``, whatever its name.

    Raises:
        InputError: two arrays serve one purpose, and none has the documented name.
    """
    names = list(names)
    found: dict[str, str] = {}
    for name in names:
        key = _KEYS.get(name.lower())
        if key is None or found.get(key) == key:
            continue
        if key in found and name != key:
            raise InputError(
                f"{subject} has the arrays {found[key]!r} and {name!r}; rename the right one to {key!r}."
            )
        found[key] = name
    if "X" not in found and "text" not in found and _POSITIONAL[0] in names:
        found["X"] = _POSITIONAL[0]
        if "y" not in found and _POSITIONAL[1] in names and not any("arr_2" in name for name in names):
            found["y"] = _POSITIONAL[1]
    if not found and len(names) == 1:  # nothing else that it could be
        found["X"] = names[0]
    return found
