"""Saving inner learners, and loading them by path, run folder or name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from metaal_env.errors import InputError, unknown_name
from metaal_env.learners.base import LEARNERS, InnerLearner
from metaal_env.runtime.artifacts import (
    artifact_stem,
    fingerprint,
    limit_allocation,
    load_artifact,
    load_weights,
    save_artifact,
)


def save_learner(
    learner: InnerLearner,
    stem: Path,
    name: str,
    input_shape: tuple[int, ...],
    options: dict[str, Any],
    summary: dict[str, Any],
) -> None:
    """Writes ``<stem>.safetensors`` and ``<stem>.json``.

    Args:
        name: registered name; with `input_shape` and `options` it rebuilds the learner.
        summary: how the learner was trained, in free form.
    """
    config = {"name": name, "input_shape": list(input_shape), "options": options}
    save_artifact(stem, "learner", learner, config, summary)


def build_learner(name: str, input_shape: tuple[int, ...], **options: Any) -> InnerLearner:
    """Builds a fresh learner of a registered name.

    Raises:
        InputError: unknown name, an option that the learner does not have, or one that it needs and is not given.
    """
    constructor = LEARNERS[name]
    try:
        return constructor(tuple(input_shape), **options)
    except TypeError as error:
        if options:
            problem = (
                f"does not take the options {options} ({error}); see its constructor for the valid ones."
            )
        else:
            problem = (
                f"cannot be built without options ({error}); give its parameters defaults, or name options."
            )
        raise InputError(f"learner={name!r} {problem}") from error


def load_learner(source: str | Path, input_shape: tuple[int, ...]) -> InnerLearner:
    """Loads a learner that is ready for inputs of `input_shape`.

    Args:
        source: a registered name (fresh weights), a run folder, or a saved learner: one of its files, or their path
            without suffix.

    Raises:
        InputError: unknown name, damaged files, or weights made for inputs of another shape.
    """
    stem = _stem(source)
    if stem is None:
        return build_learner(str(source), input_shape)
    card, tensors = load_artifact(stem, "learner")
    config, subject = card["config"], f"learner={str(source)!r}"
    made_for = config.get("input_shape")
    if made_for != list(input_shape):
        raise InputError(
            f"{subject} was trained on inputs of shape {made_for} but the data has {list(input_shape)}; "
            "train one on this data or use learner='prototype'."
        )
    with limit_allocation(tensors, subject):
        learner = build_learner(config["name"], tuple(made_for), **config["options"])
    load_weights(learner, tensors, subject)
    return learner.eval()


def learner_fingerprint(source: str | Path) -> str:
    """Returns the fingerprint of a saved learner, independent of its path; of a registered learner, the name.

    Raises:
        InputError: unknown name, or damaged files.
    """
    stem = _stem(source)
    return str(source) if stem is None else fingerprint(stem, "learner")


def _stem(source: str | Path) -> Path | None:
    """Returns a saved learner's path without suffix, or None for a registered name. Raises: `InputError`."""
    stem = artifact_stem(source, "learner")
    if Path(source).is_dir() or stem.with_name(stem.name + ".json").is_file():
        return stem
    if str(source) in LEARNERS:
        return None
    raise unknown_name("learner", str(source), LEARNERS)
