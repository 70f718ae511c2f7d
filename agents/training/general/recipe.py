"""Recipes: small declarative files that say from which sources, seeds and fits a policy is made."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, TypeVar, get_args

from agents.training.general.sources import Kinds, sources
from agents.training.imitation.imitate import ImitationConfig
from agents.training.ppo.config import PPOConfig
from metaal_env.errors import InputError, brief, unknown_name
from metaal_env.runtime.files import read_text
from metaal_env.tasks import TaskConfig

if sys.version_info >= (3, 11):
    import tomllib
else:  # pragma: no cover
    import tomli as tomllib

RECIPES = Path(__file__).resolve().parents[1] / "recipes"
MAX_RECIPE = 2**16

T = TypeVar("T")


@dataclass(frozen=True)
class Recipe:
    """Says what a policy is made from."""

    name: str
    """File name without suffix."""
    kinds: Kinds | None = None
    """Set of sources, in place of the next three."""
    dataset: str = ""
    learner: str = "prototype"
    extra_sources: tuple[str, ...] = ()
    """As for ``metaal train``; {data} stands for the folder of the data."""
    seeds: int = 1
    """Number of imitations, with seeds 0, 1, …; the policy is fitted to the examples of all."""
    validation_tasks: int = 192
    """Tasks of validation classes that the policy and some rules play at the end."""
    task: TaskConfig = field(default_factory=TaskConfig)
    imitation: ImitationConfig = field(default_factory=ImitationConfig)
    ppo: PPOConfig = field(default_factory=lambda: PPOConfig(iterations=0))
    """Of its settings, those of the network are used, and its iterations go on from the policy where there are any."""

    def __post_init__(self) -> None:
        if (self.kinds is None) == (not self.dataset):
            raise InputError(f"recipe={self.name!r}: give either kinds or dataset.")
        if self.kinds is not None and self.kinds not in get_args(Kinds):
            raise unknown_name(f"recipe={self.name!r}: kinds", self.kinds, get_args(Kinds))
        for name in ("seeds", "validation_tasks"):
            if type(getattr(self, name)) is not int or getattr(self, name) < 1:
                raise InputError(f"recipe={self.name!r}: {name}={getattr(self, name)!r} must be at least 1.")

    @property
    def needs_omniglot(self) -> bool:
        return self.kinds in ("all", "images")

    def sources(self, data: Path | None, omniglot_run: Path) -> tuple[str, str, tuple[str, ...]]:
        """Returns the data set, the learner and the extra sources. Raises: `InputError` if the data are missing."""
        if data is None and (self.kinds not in (None, "synthetic") or "{data}" in str(self)):
            raise InputError(f"data: recipe={self.name!r} needs the folder of its data; give --data FOLDER.")
        if self.kinds is not None:
            return sources(self.kinds, data or Path(), omniglot_run)
        filled = [
            text.replace("{data}", str(data)) for text in (self.dataset, self.learner, *self.extra_sources)
        ]
        return filled[0], filled[1], tuple(filled[2:])


def read_recipe(source: str) -> Recipe:
    """Reads a recipe that ships with metaal, by its name, or a TOML file.

    Raises:
        InputError: it is unknown, unreadable, or holds an unknown or wrong setting.
    """
    file = Path(source) if source.endswith(".toml") else RECIPES / f"{source}.toml"
    if not file.is_file() and file.parent == RECIPES:
        raise unknown_name("recipe", source, [path.stem for path in RECIPES.glob("*.toml")])
    text = read_text(file, f"recipe={source!r}", MAX_RECIPE)
    try:
        settings = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise InputError(
            f"recipe={source!r} is not valid TOML ({brief(error)}); correct the file."
        ) from error
    subject = f"recipe={source!r}"
    for name, kind in (("task", TaskConfig), ("imitation", ImitationConfig), ("ppo", PPOConfig)):
        given = settings.get(name, {})
        if not isinstance(given, dict):
            raise InputError(f"{subject}: {name}={given!r} must be a table of settings.")
        settings[name] = _made(
            kind, given | ({"iterations": given.get("iterations", 0)} if name == "ppo" else {}), subject
        )
    if "extra_sources" in settings:
        settings["extra_sources"] = tuple(map(str, settings["extra_sources"]))
    return _made(Recipe, settings | {"name": file.stem}, subject)


def _made(kind: type[T], settings: Mapping[str, Any], subject: str) -> T:
    known = [f.name for f in fields(kind)]  # type: ignore[arg-type]
    if unknown := [name for name in settings if name not in known]:
        raise unknown_name(f"{subject}: setting", unknown[0], known)
    values = {name: tuple(value) if isinstance(value, list) else value for name, value in settings.items()}
    try:
        return kind(**values)
    except InputError as error:
        raise InputError(f"{subject}: {error}") from error
    except (TypeError, ValueError, AttributeError) as error:
        raise InputError(f"{subject}: {brief(error)}; correct the file.") from error
