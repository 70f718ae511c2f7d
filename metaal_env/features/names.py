"""`FeatureNames`: which features a network was built for, stored with its weights and compared on loading."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable, Mapping
from dataclasses import asdict, dataclass
from itertools import zip_longest

from metaal_env.errors import InputError, unknown_name
from metaal_env.features.catalogue import ITEM_FEATURES, ITEM_SCORES, POOL_FEATURES, Feature
from metaal_env.registry import Registry

REGISTRIES: dict[str, Registry] = {
    "item_scores": ITEM_SCORES,
    "item_features": ITEM_FEATURES,
    "pool_features": POOL_FEATURES,
}


@dataclass(frozen=True)
class FeatureNames:
    """The features that a network takes, each kind in the order of registration.

    They need not be all that are registered: a policy goes on working when features are added.

    Raises:
        InputError: a name is unknown, named twice or out of order.
    """

    item_scores: tuple[str, ...]
    item_features: tuple[str, ...]
    pool_features: tuple[str, ...]

    def __post_init__(self) -> None:
        for kind, registry in REGISTRIES.items():
            if problem := _problem(getattr(self, kind), registry):
                raise InputError(f"{kind}: {problem}; choose registered names in their order.")

    @classmethod
    def registered(cls, terms: Collection[str] = ()) -> FeatureNames:
        """Returns the names of all features that are registered now and that vary in such tasks.

        Args:
            terms: of the tasks, `TaskConfig.terms`.
        """
        return cls(
            *(
                tuple(name for name, known in registry.items() if varies(known, terms))
                for registry in REGISTRIES.values()
            )
        )

    @classmethod
    def read(cls, stored: object, what: str) -> FeatureNames:
        """Returns what `to_json` stored in an artifact that a stranger may have written.

        Args:
            stored: the value found there, None if there is none.
            what: the artifact in words, for the error.

        Raises:
            InputError: there are no names, or a feature is unknown here, named twice or out of order.
        """
        if not isinstance(stored, dict) or set(stored) != set(REGISTRIES):
            raise InputError(
                f"{what} does not name the features that it was trained on, like files of older versions; "
                "train it again with this version."
            )
        for kind, registry in REGISTRIES.items():
            names = stored[kind]
            if not isinstance(names, (list, tuple)) or not all(isinstance(name, str) for name in names):
                raise InputError(
                    f"{what}: {kind} must be a list of names; restore the file or train it again."
                )
            if problem := _problem(names, registry):
                raise InputError(
                    f"{what}: {problem}; register the features that it was trained on in their order, restore the "
                    "file, or train it again."
                )
        return cls(*(tuple(stored[kind]) for kind in REGISTRIES))

    def to_json(self) -> dict[str, list[str]]:
        """Returns the names as JSON holds them."""
        return {kind: list(names) for kind, names in asdict(self).items()}

    @property
    def items(self) -> tuple[str, ...]:
        """Returns the columns of the items' features: the scores, then the others."""
        return self.item_scores + self.item_features

    @property
    def all(self) -> tuple[str, ...]:
        """Returns the names of all kinds."""
        return self.items + self.pool_features

    @property
    def context(self) -> tuple[str, ...]:
        """Returns the pool features that do not depend on the budget; picks depend on no others."""
        return tuple(name for name in self.pool_features if not POOL_FEATURES[name].budget)

    @property
    def budget(self) -> tuple[str, ...]:
        """Returns the pool features that depend on the budget."""
        return tuple(name for name in self.pool_features if POOL_FEATURES[name].budget)

    def without(self, *names: str) -> FeatureNames:
        """Returns these names but for some. Raises: `InputError` if one of them is not among these."""
        for name in names:
            if name not in (known := self.items + self.pool_features):
                raise unknown_name("feature", name, known)
        return FeatureNames(
            *(tuple(name for name in getattr(self, kind) if name not in names) for kind in REGISTRIES)
        )

    def check_counts(self, counts: Mapping[str, int], what: str) -> None:
        """Compares the number of names with what the weights of an artifact were made for.

        Args:
            counts: number of inputs by field, e.g. ``{"item_scores": 25}``.

        Raises:
            InputError: they differ; it says which registered feature is missing among the names.
        """
        for kind, expected in counts.items():
            names = getattr(self, kind)
            if len(names) != expected:
                absent = [repr(name) for name in REGISTRIES[kind] if name not in names][:5]
                missing = f", without {', '.join(absent)}" if absent and len(names) < expected else ""
                raise InputError(
                    f"{what} does not fit its own description: it has weights for {expected} {kind} but names "
                    f"{len(names)}{missing}; restore the file or train it again."
                )

    def check_same(self, stored: object, what: str) -> None:
        """Compares these names with those that a checkpoint stores.

        Raises:
            InputError: they differ; it names the first difference.
        """
        own = self.to_json()
        if stored != own:
            difference = _first_difference(stored if isinstance(stored, dict) else {}, own)
            raise InputError(
                f"{what} was made with other features ({difference}); choose another run name or delete it to start "
                "afresh."
            )


def varies(feature: Feature, terms: Collection[str]) -> bool:
    """Returns whether a feature is more than a constant in tasks with these `terms`."""
    return not feature.terms or any(term in terms for term in feature.terms)


def _first_difference(theirs: Mapping[str, object], own: Mapping[str, list[str]]) -> str:
    for kind, names in own.items():
        found = theirs.get(kind)
        if not isinstance(found, list):
            return f"no {kind}"
        for one, other in zip_longest(found, names):
            if one != other:
                return f"{kind}: {repr(one or other)[:60]}"
    return "more kinds of them"


def _problem(names: Iterable[str], registry: Registry) -> str | None:
    """Returns what is wrong with `names` as part of a sentence, None if nothing is."""
    place = {name: number for number, name in enumerate(registry)}
    before: str | None = None
    for name in names:
        if name not in place:
            near = difflib.get_close_matches(name, registry, n=1, cutoff=0.6)
            hint = f" (nearest: {near[0]!r})" if near else ""
            return f"{registry.kind} {name[:60]!r} is unknown{hint}"
        if before is not None and place[name] == place[before]:
            return f"{registry.kind} {name!r} is named twice"
        if before is not None and place[name] < place[before]:
            return f"{registry.kind} {name!r} comes after {before!r} but is registered before it"
        before = name
    return None
