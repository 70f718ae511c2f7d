"""Trains the policy of users' own pools: ``python -m benchmarks.policy.own_pool_policy --data DATA --parts 107``.

As in `metaal train`, the policy imitates look-ahead; its tasks are those of `benchmarks.policy.own_pool_tasks`. Half
of its states are visited by `metaal-general`, half by the rule `uherding`. Every part of the tasks leaves a file, so
that the same command continues. With all parts there, it fits the policy, judges policies that have not seen one domain
on that domain, and writes all of them.
"""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from agents.policy.network import AcquisitionNetwork
from agents.policy.sb3_policy import LearnedStrategy
from agents.pretrained import SHIPPED
from agents.training.general.sources import IMAGE_LEARNER, SPACES, tables
from agents.training.imitation.examples import Examples, collect_examples
from agents.training.imitation.imitate import ImitationConfig, fit_mean
from agents.training.task_mixture import ATTEMPTS, WHOLE_TABLES
from benchmarks.policy.own_pool_sets import with_tfidf
from benchmarks.policy.own_pool_tasks import NAMED, OwnPoolCore, own_pool_shape
from benchmarks.policy.release_policy import HELD_BACK, LICENCES
from metaal_env.core import Core
from metaal_env.datasets import load_dataset
from metaal_env.datasets.prepare import standardise
from metaal_env.errors import InputError
from metaal_env.make import make_core
from metaal_env.runtime.command_line import run_command
from metaal_env.supply import fit_task
from metaal_env.tasks import TaskConfig
from metaal_env.vector_env import MetaALVectorEnv

EPISODES = 8
"""Episodes of a part."""
GUIDED = 0.67
"""Share of the parts in which the policy sees the classifier that is judged."""
SMALL = 100
"""Most pools of fewer items are drawn again."""
DOMAINS = {
    "images": ("glyphs", "omniglot"),
    "texts": ("languages", "clinc", "banking", "tfidf"),
    "tables": ("tables",),
    "drawn spaces": ("synthetic",),
}
"""Sources by domain."""
OFTEN = {"tables": 2, "synthetic": 2}
"""Sources that count more than once."""


@dataclass(frozen=True)
class Options:
    """How much to train on."""

    data: Path
    """Folder that holds omniglot_28.npz, intents/*.npz and pmlb/*.npz."""
    parts: int = 107
    """Parts, each of one data set and one task shape; the shipped policy has 107."""
    seed: int = 1
    """Of the tasks."""
    out: Path = Path("runs/own-pools")
    """Folder of the parts and of the policy."""
    covered: tuple[float, float] | None = (1.5, 2.0)
    """Distances from the examples between which the policy steps back; see `AcquisitionNetwork`."""
    release: bool = False
    """Whether the policy goes into the package, with its card."""


def sources(data: Path) -> dict[str, list[str]]:
    """Returns the data sets to train on by source."""
    intents = [str(data / "intents" / f"{name}_minilm384.npz") for name in ("clinc150", "banking77")]
    found = [file for place, file in enumerate(tables(data, held_back=False)) if place % WHOLE_TABLES]
    return {
        "glyphs": ["glyphs"],
        "omniglot": [str(data / "omniglot_28.npz")],
        "languages": ["languages"],
        "clinc": intents[:1],
        "banking": intents[1:],
        "tfidf": intents,
        "tables": [str(file) for file in found],
        "synthetic": [f"synthetic:{number}" for number in range(SPACES)],
    }


@lru_cache(maxsize=60)
def core_of(source: str, name: str) -> Core:
    """Returns the core of a data set to train on."""
    data = load_dataset(name)
    if source == "tfidf":
        data = with_tfidf(data, name)
        data = replace(data, inputs=torch.from_numpy(standardise(data.inputs.numpy())).float())
    data = data.split("all" if source in ("tables", "synthetic") else "train")
    learner = IMAGE_LEARNER if source in DOMAINS["images"] else "prototype"
    shape = fit_task(TaskConfig(), data, set())[0]
    return make_core(data, split="all", learner=learner, task=shape, reward="aulc", device="cpu")


def drawn_core(names: dict[str, list[str]], rng: np.random.Generator) -> tuple[str, str, OwnPoolCore] | None:
    """Draws source, data set and tasks; None where the data set cannot supply any of the shapes that were tried."""
    often = [source for source in names for _ in range(OFTEN.get(source, 1))]
    source = often[int(rng.integers(len(often)))]
    name = names[source][int(rng.integers(len(names[source])))]
    base = core_of(source, name)
    for _ in range(ATTEMPTS):
        try:
            shape = fit_task(own_pool_shape(base.config, base.dataset, rng), base.dataset, set())[0]
            if shape.max_pool < SMALL and rng.random() < 0.7:
                continue
            guided, named = bool(rng.random() < GUIDED), bool(rng.random() < NAMED)
            return source, name, OwnPoolCore(base.with_task(shape), guided=guided, named=named, rng=rng)
        except InputError:
            continue
    return None


def collect(options: Options, number: int, visitors: list[AcquisitionNetwork]) -> None:
    """Plays a part and writes its examples, unless that is done or its data set supplies none."""
    file = options.out / f"{options.seed}-{number:04d}.pt"
    if file.is_file():
        return
    rng = np.random.default_rng([options.seed, number])
    drawn = drawn_core(sources(options.data), rng)
    if drawn is None:
        return
    source, name, core = drawn
    envs = MetaALVectorEnv(
        EPISODES, core=core, observation=visitors[0].names.items + visitors[0].names.pool_features
    )
    envs.seed_episodes(rng.integers(2**62, size=EPISODES).tolist())
    found = collect_examples(visitors[int(rng.integers(len(visitors)))], envs, rng, most=24, per_episode=15)
    about = {"source": source, "name": Path(name).stem, "guided": core.guided, "named": core.named}
    about |= {"way": core.config.max_way, "pool": core.config.max_pool}
    torch.save({"about": about, "examples": tuple(found)}, file)


class Part:
    """The examples of a part and what they are about."""

    def __init__(self, file: Path):
        saved = torch.load(file, weights_only=True)
        self.about: dict[str, Any] = saved["about"]
        self.examples = Examples(*saved["examples"])

    @property
    def domain(self) -> str:
        return next(domain for domain, names in DOMAINS.items() if self.about["source"] in names)


def fitted(parts: list[Part], network: AcquisitionNetwork) -> AcquisitionNetwork:
    """Returns a network of the same features, fitted to the examples of all parts."""
    torch.manual_seed(0)
    found = AcquisitionNetwork(names=network.names)
    fit_mean(found, Examples.joined([part.examples for part in parts]), ImitationConfig(iterations=1))
    return found


@torch.no_grad()
def gain_of_picks(network: AcquisitionNetwork, examples: Examples) -> Tensor:
    """Returns the (M,) gains of the candidates that the network would pick."""
    logits = network(examples.items.float(), examples.episode, examples.candidates).logits
    best = logits.masked_fill(~examples.candidates, -torch.inf).argmax(1, keepdim=True)
    return examples.gain.gather(1, best).squeeze(1)


def left_out(parts: list[Part], like: AcquisitionNetwork, options: Options) -> dict[str, Any]:
    """Judges policies that have not seen one domain on its examples: mean one-step gain over that of `uherding`.

    They are saved as ``without-DOMAIN`` beside the policy, for sessions on pools of that domain.

    Returns:
        By domain, for all of them by distance from the examples, and by the distances between which the policy steps
        back: the number of parts or states, the mean difference, and half its 95 % interval.
    """
    by_domain, distances, gains = {}, [], []
    stepping: dict[str, list[float]] = {}
    for domain in DOMAINS:
        rest = [part for part in parts if part.domain != domain]
        its = [part for part in parts if part.domain == domain]
        if not rest or not its:
            continue
        policy, rule = fitted(rest, like), AcquisitionNetwork(names=like.names)
        apart = [gain_of_picks(policy, p.examples) - gain_of_picks(rule, p.examples) for p in its]
        by_domain[domain] = _summary(np.array([float(one.mean()) for one in apart]))
        gains.append(torch.cat(apart).numpy())
        distances.append(torch.cat([policy.distance_of(p.examples.episode) for p in its]).numpy())
        for covered in (None, *COVERED):
            policy.step_back_beyond(covered)
            found = [
                float((gain_of_picks(policy, p.examples) - gain_of_picks(rule, p.examples)).mean())
                for p in its
            ]
            stepping.setdefault("never" if covered is None else "{:g} to {:g}".format(*covered), []).extend(
                found
            )
        policy.step_back_beyond(options.covered)
        LearnedStrategy(policy).save(options.out / f"without-{domain.replace(' ', '-')}" / "policy", {})
    distance, gain = np.concatenate(distances), np.concatenate(gains)
    far = {
        f"beyond {least:g}": _summary(gain[distance > least])
        for least in FAR
        if (distance > least).sum() > 20
    }
    back = {name: _summary(np.array(values)) for name, values in stepping.items()}
    return {"domains": by_domain, "distances": far, "stepping_back": back}


FAR = (0.0, 1.0, 1.5, 2.0, 2.5, 3.0, 4.0)
"""Distances beyond which gains are reported."""


def _summary(values: np.ndarray) -> dict[str, float]:
    half = 1.96 * float(values.std()) / max(1, len(values)) ** 0.5
    return {"count": len(values), "mean": round(float(values.mean()), 5), "half_interval": round(half, 5)}


COVERED = ((2.0, 3.0), (1.75, 2.5), (1.5, 2.0), (1.4, 1.8), (1.2, 1.6), (1.0, 1.4))
"""Distances of stepping back that are compared."""

CARD: dict[str, Any] = {
    "name": "metaal-pools",
    "training_data": LICENCES,
    "held_back": HELD_BACK,
    "limits": [
        "Trained on pools of up to 1,200 items, 2-20 classes, 30 labels, one at a time, from none or a few.",
        "It wants a classifier; without one scikit-learn's logistic regression on the vectors stands in.",
        "On tables its gain is not clear; where a pool is unlike those of training it gives way to uherding.",
        "Distances are Euclidean: scale columns of different units.",
    ],
}


def main(options: Options) -> None:
    options.out.mkdir(parents=True, exist_ok=True)
    general = LearnedStrategy.load(SHIPPED / "metaal-general").network
    visitors = [general, AcquisitionNetwork(names=general.names)]
    for number in range(options.parts):
        collect(options, number, visitors)
    parts = [Part(file) for file in sorted(options.out.glob("*-*.pt"))]
    policy = fitted(parts, general)
    policy.step_back_beyond(options.covered)
    states = sum(len(part.examples.gain) for part in parts)
    summary = {
        "chosen": {"parts": len(parts), "states": states},
        "results": left_out(parts, general, options),
    }
    command = f"python -m benchmarks.policy.own_pool_policy --data DATA --parts {options.parts}"
    summary |= CARD | {"commands": [command]}
    print(json.dumps(summary["results"], indent=1))
    LearnedStrategy(policy).save(options.out / "policy", summary)
    if options.release:
        LearnedStrategy(policy).save(SHIPPED / CARD["name"] / "policy", summary)


if __name__ == "__main__":
    sys.exit(run_command(Options, main, __doc__))
