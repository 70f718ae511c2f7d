"""``metaal compare``: random, rules and policies on data of one's own that are labelled already."""

from __future__ import annotations

import signal
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from agents.acquisition.comparison import Plan, Row, as_episodes, sessions, table
from agents.acquisition.named_classifiers import named_classifier
from agents.acquisition.policies import load_policy
from agents.acquisition.tool.outputs import as_csv
from agents.acquisition.tool.pool_options import PoolOptions
from agents.acquisition.why.figures import save_figure
from agents.evaluation.report.plots import learning_curves
from agents.evaluation.statistics.comparisons import RANDOM
from metaal_env.errors import InputError, require_at_least
from metaal_env.runtime.command_line import say
from metaal_env.runtime.files import write_atomic

HEADER = ("policy", "aulc", "final", "difference", "low", "high", "wins", "ties", "losses", "pools")


@dataclass(frozen=True)
class Compare(PoolOptions):
    """Compare random, rules and policies on your labelled data, with your classifier and on the same pools."""

    policies: tuple[str, ...] = ("margin", "uherding", "typiclust", "metaal-pools")
    """Rules, shipped policies or run folders to compare with random."""
    classifier: str = "logistic"
    """logistic, neighbours, bayes, forest, label_spreading (which learns from items without a label, too), or
    module:attribute of a scikit-learn classifier of your own."""
    budget: int = 50
    """Labels of a session, those of --start included."""
    batch: int = 1
    """Labels to buy at a time."""
    start: int = 0
    """Labels drawn at random before the policies choose; all policies begin with the same."""
    pool: int = 400
    """Items of a pool, at most two thirds of those with a label; of the others up to 1,000 judge the classifier."""
    seeds: int = 10
    """Pools to draw. Ctrl-C ends earlier and keeps what is finished."""
    out: Path = Path("compare.csv")
    """Table to write."""
    figure: Path | None = Path("compare.png")
    """Figure to write (.png, .svg, .pdf): learning curves, and their differences to random."""

    def further_reads(self) -> list[Path]:
        module, of_module, _ = self.classifier.partition(":")
        return [Path(*module.split(".")).with_suffix(".py")] if of_module and module else []

    def run(self) -> None:
        for path in self.policies:
            self.check(path, out=self.out, figure=self.figure)
        require_at_least(1, self, "budget", "batch", "seeds", "pool")
        if not 0 <= self.start < self.budget:
            raise InputError(f"start={self.start} must lie in 0…{self.budget - 1}, below the budget.")
        policies = tuple(dict.fromkeys((RANDOM, *self.policies)))
        for name in policies:
            load_policy(name)
        make = named_classifier(self.classifier)
        session = self.read()
        labels = session.labels()
        known = np.flatnonzero([label is not None for label in labels])
        names, truth = np.unique(labels[known].astype(str), return_inverse=True)
        what = f"data={str(self.data)!r}"
        if len(names) < 2:
            raise InputError(f"{what} has {len(names)} class(es) in {len(known)} labels; compare needs two.")
        if (absent := set(names) - set(self.class_names())) and self.classes is not None:
            raise InputError(
                f"classes={self.classes!r} lacks {str(sorted(absent)[0])!r}, a label of the data."
            )
        size = min(self.pool, len(known) * 2 // 3)
        if self.budget > size:
            raise InputError(
                f"budget={self.budget} exceeds the {size} items of a pool of {len(known)} labelled items; lower it."
            )
        say(f"{len(known)} of {len(labels)} items have a label, {len(names)} classes; pools of {size}.")
        if self.dry_run:
            return
        plan = Plan(policies, make, self.budget, self.batch, self.start, size, named=self.classes is not None)
        groups = None if session.groups is None else np.array(session.groups.keys)[known]
        self._play(self.encoded(session.items)[known], truth, plan, groups)

    def _play(self, x: np.ndarray, truth: np.ndarray, plan: Plan, groups: np.ndarray | None) -> None:
        finished: list[dict[str, np.ndarray]] = []
        stopped = False
        try:
            for curves in sessions(x, truth, plan, self.seeds, groups):
                finished.append(curves)
                say(f"  pool {len(finished)} of {self.seeds}")
        except KeyboardInterrupt:
            stopped = True
        except ValueError as error:
            if isinstance(error, InputError):
                raise
            raise InputError(f"classifier={self.classifier!r} fails on these data ({error}).") from error
        if stopped:
            say(f"interrupted after {len(finished)} of {self.seeds} pools; these are kept.")
        if finished:
            episodes = as_episodes(finished, plan, int(truth.max()) + 1)
            rows = table(episodes)
            for line in lines(rows, len(finished)):
                say(line)
            write_atomic(self.out, as_csv([HEADER, *(cells(row, len(finished)) for row in rows)]))
            say(f"written to {self.out}")
            if self.figure is not None:
                save_figure(learning_curves(episodes, {"own data": str(self.data)}), self.figure)
                say(f"written to {self.figure}")
        if stopped:
            raise SystemExit(128 + signal.SIGINT)


def lines(rows: list[Row], pools: int) -> list[str]:
    """Returns the table for a terminal, and what it says."""
    width = max(len(row.policy) for row in rows)
    found = [f"{'policy':{width}}  mean AULC  final  difference to random [95 %]  wins/ties/losses"]
    for row in rows:
        line = f"{row.policy:{width}}  {row.aulc:9.3f}  {row.final:.3f}"
        if row.against is not None:
            apart = row.against
            between = (
                f"{apart.interval.estimate:+.3f} [{apart.interval.low:+.3f}, {apart.interval.high:+.3f}]"
            )
            line += f"  {between:28}  {apart.wins}/{apart.ties}/{apart.losses}"
        found.append(line)
    return [*found, verdict(rows, pools)]


def verdict(rows: list[Row], pools: int) -> str:
    """Returns one sentence about the best policy."""
    if pools < 5:
        return f"{pools} pool(s) are too few for a verdict; 5 or more would allow one."
    best = rows[0]
    if best.against is None or best.against.interval.low <= 0:
        return "No policy is above random for certain: label at random here, or play more pools."
    return f"{best.policy} is ahead, and above random with an interval that excludes 0."


def cells(row: Row, pools: int) -> list[object]:
    """Returns a row of the file."""
    if row.against is None:
        return [row.policy, f"{row.aulc:.6f}", f"{row.final:.6f}", *[""] * 6, pools]
    apart = row.against
    numbers = (row.aulc, row.final, apart.interval.estimate, apart.interval.low, apart.interval.high)
    return [row.policy, *(f"{value:.6f}" for value in numbers), apart.wins, apart.ties, apart.losses, pools]
