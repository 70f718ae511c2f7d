"""Features of this checkout against those of another, ``python -m benchmarks.speed.features --against PATH``.

Both play the same random items in the same episodes (10 classes, pool of 100, 20 labels, glyphs, a fresh MAML head).
The share of pools with any value beyond the tolerance is printed, and which features they are. With ``--permuted`` the
other checkout is compared with itself on permuted pools, which shows what rounding alone does there.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tyro

from metaal_env.features import FeatureNames

ROOT = Path(__file__).resolve().parent.parent.parent
MOMENTS = (0, 5, 15)
"""Labels at which features are compared."""

PROGRAM = """
import sys, warnings
warnings.simplefilter("ignore")
import gymnasium, metaal_env, numpy as np, torch
from dataclasses import replace
from metaal_env import features
extract = features.extract
torch.set_num_threads(1)
torch.manual_seed(0)
count, permuted, out, *moments = sys.argv[1:]
envs = gymnasium.make_vec("MetaAL-v0", num_envs=int(count), learner="maml")
envs.seed_episodes(0)
envs.begin()
core, state, rng, found = envs.core, envs.state, np.random.default_rng(0), {}
with torch.no_grad():
    for number in range(int(moments[-1]) + 1):
        if str(number) in moments:
            view = core.view(state)
            parts = [x.clone() for x in (view.embeddings, view.logits, view.labels, view.order)]
            order = torch.from_numpy(np.random.default_rng(1).permutation(parts[0].shape[1]))
            if permuted == "1":
                parts[:3] = [x[:, order] for x in parts[:3]]
                parts[3] = torch.where(parts[3] >= 0, order.argsort()[parts[3].clamp(min=0)], -1)
            x, logits, labels, picks = parts
            geometry = type(view.geometry)(x, torch.ones(x.shape[:2], dtype=torch.bool))
            view = replace(
                view, embeddings=x, logits=logits, labelled=labels >= 0, labels=labels, order=picks, geometry=geometry,
            )
            got = extract(view)
            items = got.items[:, order.argsort()] if permuted == "1" else got.items
            found[f"items{number}"], found[f"pool{number}"] = items.numpy(), got.episode.numpy()
        actions = torch.from_numpy((rng.random(state.labelled.shape) * ~state.labelled.numpy()).argmax(1))
        core.step(state, actions)
np.savez(out, **found)
"""


@dataclass(frozen=True)
class Config:
    """What to compare."""

    against: Path
    """Checkout to compare with, e.g. of ``git worktree add /tmp/old 570bc01``."""
    pools: int = 1000
    """Pools."""
    tolerance: float = 1e-3
    """Largest difference of two values that count as equal."""
    permuted: bool = False
    """Compare the other checkout with itself on permuted pools."""


def features(checkout: Path, config: Config, permuted: bool, folder: str) -> dict[str, np.ndarray]:
    """Returns the features that a checkout computes, by kind and moment, in a process of its own."""
    out = Path(folder) / f"{checkout.name}{permuted}.npz"
    command = [sys.executable, "-c", PROGRAM, str(config.pools), str(int(permuted)), str(out)]
    environment = os.environ | {"PYTHONPATH": str(checkout), "OMP_NUM_THREADS": "1"}
    subprocess.run([*command, *map(str, MOMENTS)], check=True, cwd=checkout, env=environment)
    with np.load(out) as file:
        return dict(file)


def main(config: Config) -> None:
    with tempfile.TemporaryDirectory() as folder:
        other = features(config.against.resolve(), config, False, folder)
        checkout = config.against.resolve() if config.permuted else ROOT
        ours = features(checkout, config, config.permuted, folder)
    names = FeatureNames.registered()  # in the order that 570bc01 had, too
    beyond: dict[str, list[np.ndarray]] = {}
    for kind in ("items", "pool"):
        for number, name in enumerate(names.items if kind == "items" else names.pool_features):
            for moment in MOMENTS:
                apart = [found[f"{kind}{moment}"][..., number] for found in (ours, other)]
                difference = np.abs(apart[0] - apart[1]).reshape(config.pools, -1).max(1)
                beyond.setdefault(str(name), []).append(difference > config.tolerance)
    states = np.any([np.stack(value) for value in beyond.values()], 0)
    print(f"states of {config.pools} pools with a value beyond {config.tolerance}: {states.mean():.4f}")
    for name, value in beyond.items():
        if np.any(value):
            print(f"  {name:28s} {np.mean(value):.4f}")


if __name__ == "__main__":
    main(tyro.cli(Config, description=__doc__))
