"""What looking further than one label is worth to one who sees the labels, on unseen glyph scripts.

    python -m benchmarks.policy.horizon --write

Greedy look-ahead labels what raises the accuracy on the reward set most. A beam keeps the `width` best sets of labels
at every step, by the area under the curve if nothing were gained any more, and its best is taken at the end: it may
give up accuracy now for more of it later. Both see hidden labels and play the same tasks. For an imitated policy, the
return of a label (the policy goes on from it) is set beside what the label earns at once, in the same states.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from torch import Tensor

from agents.evaluation.report.formats import number
from agents.policy.sb3_policy import LearnedStrategy
from agents.strategies.privileged import accuracy_first
from agents.training.imitation.examples import Gain, collect_examples
from benchmarks.policy.reinforcement import cores
from benchmarks.tables import MEASURED, mean_difference, write_table
from metaal_env.core import Core
from metaal_env.runtime.command_line import run_command
from metaal_env.vector_env import MetaALVectorEnv

AT_ONCE = 32
"""Tasks that are searched together."""


@dataclass(frozen=True)
class Options:
    """What to compare."""

    n_tasks: int = 256
    """Paired tasks of unseen scripts."""
    width: int = 6
    """Sets of labels that the beam keeps."""
    policy: Path | None = None
    """Folder of an imitated policy, of `benchmarks.policy.reinforcement`, for the last row."""
    states: int = 256
    """Episodes whose states are looked at for it."""
    write: bool = False
    """Write docs/measured/horizon.json."""


@torch.no_grad()
def beam(core: Core, seeds: range, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns (n,) areas under the curves on reward and test sets of the best of `width` sequences of labels.

    With a width of 1 it is greedy look-ahead. Areas are means over the steps, without the start.
    """
    task = core.sampler.sample([np.random.default_rng(seed) for seed in seeds])
    state = core.reset(task)
    b, n = state.labelled.shape
    # Sums of these tell sets apart.
    names = torch.randint(2**53, (n,), generator=torch.Generator().manual_seed(0))
    sums, tests = torch.zeros(b, dtype=torch.double), torch.zeros(b, dtype=torch.double)
    kept, steps = 1, core.config.max_actions
    for left in range(steps - 1, -1, -1):
        value = accuracy_first(core.oracle(state).look_ahead())
        area = (sums.unsqueeze(1) + value * (left + 1)).masked_fill(~state.selectable, -torch.inf)
        sets = ((state.labelled * names).sum(1, keepdim=True) + names).view(b, kept * n)
        area, places = area.view(b, kept * n), []
        for _ in range(min(width, int((area[0] > -torch.inf).sum()))):
            place = area.argmax(1, keepdim=True)
            places.append(place)
            area = area.masked_fill(sets == sets.gather(1, place), -torch.inf)
        chosen = torch.cat(places, 1)  # (b, width)
        rows = (torch.arange(b).unsqueeze(1) * kept + chosen // n).flatten()
        state, sums, tests, kept = state.rows(rows), sums[rows], tests[rows], chosen.shape[1]
        core.step(state, (chosen % n).flatten())
        sums += state.metrics.accuracy.double()
        right = core.test_logits(state).argmax(-1) == state.task.test_labels
        tests += right.double().mean(1)
    best = sums.view(b, kept).argmax(1, keepdim=True)
    on_reward, on_test = ((x.view(b, kept).gather(1, best)[:, 0] / steps).numpy() for x in (sums, tests))
    return on_reward, on_test


def areas(core: Core, n_tasks: int, width: int) -> np.ndarray:
    """Returns (n, 2) areas of a beam on reward and test sets."""
    parts = [beam(core, range(i, min(i + AT_ONCE, n_tasks)), width) for i in range(0, n_tasks, AT_ONCE)]
    return np.concatenate([np.stack(part, 1) for part in parts])


def correlation(core: Core, policy: LearnedStrategy, episodes: int) -> tuple[float, int]:
    """Returns the mean correlation, within a state, of a label's gain and its return, and the number of states."""
    gains: list[Tensor] = []
    kinds: tuple[Gain, Gain] = ("one_step", "return")
    for gain in kinds:
        envs = MetaALVectorEnv(episodes, core=core)
        found = collect_examples(policy.network, envs, np.random.default_rng(0), gain, played_out=True)
        gains.append(found.gain.double())
        real = found.candidates
    now, later = gains
    each = (now * later * real).sum(1) / (
        (now.square() * real).sum(1) * (later.square() * real).sum(1)
    ).sqrt()
    each = each[each.isfinite()]  # none where all candidates are alike
    return float(each.mean()), len(each)


def table(options: Options) -> dict[str, Any]:
    """Returns docs/measured/horizon.json."""
    of = cores("AULC", {})
    greedy, wide = (areas(of["test"], options.n_tasks, width) for width in (1, options.width))
    rows = []
    for column, name in enumerate(("reward set", "test set")):
        one, many = greedy[:, column], wide[:, column]
        means = [number(float(x.mean()), 4) for x in (one, many)]
        ahead = mean_difference((many - one)[:, None]).replace("-", "−")
        rows.append([f"accuracy over the labels, {name}", *means, ahead])
    text = (
        f"{options.n_tasks} paired tasks of unseen glyph scripts, 10-way, 20 labels; mean accuracy after each label. "
        f"Both see hidden labels and choose by the reward set; the beam keeps the {options.width} best sets of labels."
    )
    if options.policy is not None:
        found, states = correlation(of["validation"], LearnedStrategy.load(options.policy), options.states)
        text += (
            f" Between what a label earns at once and its return if the imitated policy goes on, the mean correlation "
            f"within {states:,} states of validation classes is {number(found, 2)}."
        )
    return {
        "title": "What the horizon is worth to one who sees the labels",
        "command": f"python -m benchmarks.policy.horizon --n-tasks {options.n_tasks} --width {options.width} --states "
        f"{options.states} --policy {options.policy} --write",
        "text": [text],
        "columns": ["", "greedy look-ahead*", f"beam of {options.width}*", "beam − greedy [95 %]"],
        "rows": rows,
    }


def main(options: Options) -> None:
    """Searches and compares."""
    found = table(options)
    Console(width=160).print(found)
    if options.write:
        write_table(MEASURED / "horizon.json", found)


if __name__ == "__main__":
    sys.exit(run_command(Options, main, __doc__))
