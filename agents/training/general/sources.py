"""The sources of tasks on which the general policy is trained, and what is held back from it.

Omniglot is by Lake et al. 2015 (MIT), CLINC150 and BANKING77 are MiniLM-L6 embeddings of utterances (CC BY), tables
come from the Penn Machine Learning Benchmarks (MIT). What is held back, and so fit for testing: unseen glyph scripts,
Omniglot's evaluation alphabets, the test splits of languages and intents, the UCI tables, and every fourth PMLB table.
The digits of scikit-learn are not: they are PMLB's ``optdigits``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from agents.pretrained import SHIPPED

Kinds = Literal["all", "images", "vectors", "synthetic"]

IMAGE_LEARNER = str(SHIPPED / "metaal-general")
"""A learner of images, as ``metaal train`` makes it; training, verdict and release share it."""

SAME_AS_UCI = (
    "australian", "crx", "buggyCrx", "breast_cancer", "diabetes", "flare", "solar_flare_1", "solar_flare_2",
    "german", "credit_g", "heart_statlog", "heart_c", "heart_h", "cleve", "hungarian", "mushroom", "wdbc",
    "breast", "breast_w", "breast_cancer_wisconsin",
)  # fmt: skip
"""PMLB tables that are, or come from the same study as, one of the ten UCI sets on which the policy is judged."""

SAME_AS_TRAINED = ("allrep", "ann_thyroid", "clean2", "horse_colic", "spectf")
"""PMLB tables that come from the same study as one that is trained on: neither trained on nor held back."""

UNUSABLE = ("auto", "flags", "penguins")
"""PMLB tables with missing values or classes of one or two rows."""

SPACES = 200
"""Synthetic spaces to train on."""


def tables(data: Path, *, held_back: bool) -> list[Path]:
    """Returns the PMLB tables to train on, or every fourth, which only tests see."""
    names = sorted(f for f in (data / "pmlb").glob("*.npz") if f.stem not in (*SAME_AS_UCI, *UNUSABLE))
    parts = [f for position, f in enumerate(names) if (position % 4 == 1) == held_back]
    return [f for f in parts if f.stem not in SAME_AS_TRAINED]


def synthetic(families: int) -> tuple[str, ...]:
    """Returns `SPACES` drawn spaces, in as many families as are to count like one real source each."""
    parts = ["+".join(f"synthetic:{n}" for n in range(first, SPACES, families)) for first in range(families)]
    return tuple(f"{part}@{('prototype', 'logistic')[number % 2]}" for number, part in enumerate(parts))


def sources(kinds: Kinds, data: Path, omniglot_run: Path) -> tuple[str, str, tuple[str, ...]]:
    r"""Returns the data set and the learner of a run, and its extra sources.

    Args:
        kinds: which sources beside synthetic ones.
        data: folder that holds omniglot_28.npz, intents/\*.npz and pmlb/\*.npz.
        omniglot_run: folder of the learner of Omniglot.
    """
    omniglot, intents = data / "omniglot_28.npz", data / "intents"
    pmlb = "+".join(map(str, tables(data, held_back=False)))
    images = (f"{omniglot}@{omniglot_run}", f"{omniglot}@{IMAGE_LEARNER}")
    vectors = (
        "languages@prototype",
        "languages@logistic",
        f"{intents}/clinc150_minilm384.npz@prototype",
        f"{intents}/clinc150_minilm384.npz@logistic",
        f"{intents}/banking77_minilm384.npz@prototype",
        f"{pmlb}@prototype",
        f"{pmlb}@logistic",
    )
    return {
        "all": ("glyphs", IMAGE_LEARNER, images + vectors + synthetic(4)),
        "images": ("glyphs", IMAGE_LEARNER, images + synthetic(3)),
        "vectors": ("languages", "prototype", vectors[1:] + synthetic(4)),
        "synthetic": (f"synthetic:{SPACES}", "prototype", synthetic(10)),
    }[kinds]
