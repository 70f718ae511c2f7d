"""Trains one acquisition policy for images, texts and tables, from a mixture of tasks.

    python benchmarks/general_policy.py --data DATA --seed 0            # → runs/general-all-0
    python benchmarks/general_policy.py --data DATA --sources images    # never sees texts and tables

``DATA`` holds ``omniglot_28.npz``, ``intents/*.npz`` and ``pmlb/*.npz`` (Lake et al. 2015, MIT; CLINC150 and
BANKING77 as MiniLM-L6 embeddings, CC BY; Penn Machine Learning Benchmarks, MIT). What is held back, and so fit
for testing: unseen glyph scripts, Omniglot's evaluation alphabets, the test splits of languages and intents, the
UCI tables, and every fourth PMLB table.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import tyro

import train_policy
from agents.ppo import PPOConfig
from metaal_env.cli import run_cli
from metaal_env.tasks import TaskConfig

GLYPHS = "agents/pretrained/metaal-glyphs"
"""A learner of images and, where images are among the sources, the policy that training starts from: made by
``python train_policy.py`` with no arguments."""

SAME_AS_UCI = (
    "australian", "crx", "buggyCrx", "breast_cancer", "diabetes", "flare", "solar_flare_1", "solar_flare_2",
    "german", "credit_g", "heart_statlog", "heart_c", "heart_h", "cleve", "hungarian", "mushroom", "wdbc",
    "breast", "breast_w", "breast_cancer_wisconsin",
)  # fmt: skip
"""PMLB tables that are, or come from the same study as, one of the ten UCI sets on which the policy is judged."""

UNUSABLE = ("auto", "flags", "penguins")
"""PMLB tables with missing values or classes of one or two rows."""


@dataclass
class Options:
    """How to train the general policy."""

    data: Path
    """Folder of the data."""
    out: Path = Path("runs")
    seed: int = 0
    sources: Literal["all", "images", "vectors"] = "all"
    """Which sources of tasks; the other domains then stay unseen."""
    iterations: int = 100
    """Roll-outs of PPO."""


def tables(data: Path, *, held_back: bool) -> list[Path]:
    """The PMLB tables to train on, or every fourth, which only tests see."""
    names = sorted(f for f in (data / "pmlb").glob("*.npz") if f.stem not in (*SAME_AS_UCI, *UNUSABLE))
    return [f for place, f in enumerate(names) if (place % 4 == 1) == held_back]


def configuration(options: Options) -> train_policy.TrainConfig:
    """The training run of `options`."""
    data, learner = options.data, options.out / "omniglot-learner"
    omniglot, intents = data / "omniglot_28.npz", data / "intents"
    pmlb = "+".join(map(str, tables(data, held_back=False)))
    images = (f"{omniglot}@{learner}", f"{omniglot}@{GLYPHS}")
    vectors = (
        "languages@prototype",
        "languages@logistic",
        f"{intents}/clinc150_minilm384.npz@prototype",
        f"{intents}/clinc150_minilm384.npz@logistic",
        f"{intents}/banking77_minilm384.npz@prototype",
        f"{pmlb}@prototype",
        f"{pmlb}@logistic",
    )
    first, also = {
        "all": (("glyphs", GLYPHS), images + vectors),
        "images": (("glyphs", GLYPHS), images),
        "vectors": (("languages", "prototype"), vectors[1:]),
    }[options.sources]
    groups = min(8, 1 + len(also))
    return train_policy.TrainConfig(
        dataset=first[0],
        learner=first[1],
        name=f"general-{options.sources}-{options.seed}",
        out=options.out,
        task=TaskConfig(),
        also=also,
        vary=True,
        ppo=PPOConfig(
            iterations=options.iterations,
            groups=groups,
            n_envs=32 * groups,
            epochs=2,
            learning_rate=1e-3,
            start=GLYPHS if options.sources != "vectors" else None,
            validate_every=20,
            validation_tasks=320,
            seed=options.seed,
        ),
    )


def omniglot_learner(options: Options) -> None:
    """Meta-trains the learner of Omniglot's background alphabets."""
    config = train_policy.TrainConfig(
        dataset=str(options.data / "omniglot_28.npz"),
        out=options.out,
        name="omniglot-learner",
        task=TaskConfig(reward_per_class=5, test_per_class=5),
    )
    train, validation, _ = train_policy.check(config)
    with train_policy.claim(config):
        train_policy.make_learner(config, train, validation)


def main(options: Options) -> None:
    if options.sources != "vectors" and not (options.out / "omniglot-learner" / "learner.json").is_file():
        omniglot_learner(options)
    train_policy.main(configuration(options))


if __name__ == "__main__":
    sys.exit(run_cli(lambda: main(tyro.cli(Options, description=__doc__))))
