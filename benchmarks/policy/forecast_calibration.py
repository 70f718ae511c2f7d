"""Whether ``metaal forecast`` is right: ``python -m benchmarks.policy.forecast_calibration --data DATA/pmlb``.

Forecasts sessions on data sets whose labels are known, plays them with the true labels, and notes the errors. Every
second data set, in the order of the names and with its kin, gives the intervals: its errors are shipped with the
package (--write), and so many of them are taken into an interval of 80 % that it holds with one data set left out at a
time, with one standard error to spare. The other data sets are the check. Results are kept in --out, a line per
session, and what is there is not played again.

Data sets: scikit-learn's digits, iris, wine and breast_cancer, and every npz file with X and y that --data names.
"""

from __future__ import annotations

import json
import sys
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from agents.acquisition.forecast.forecast import LEVEL
from agents.acquisition.forecast.look_alikes import FILE, LookAlikes, log_odds, look_alikes
from benchmarks.policy.forecast_sessions import POLICIES, SessionOptions, first_of_kin, halves, played
from benchmarks.policy.forecast_statements import coverage, measured, said
from benchmarks.tables import write_table
from metaal_env.runtime.command_line import run_command
from metaal_env.runtime.files import write_atomic

GRID = (2, 4, 6, 10, 16, 24, 32, 40)


@dataclass(frozen=True)
class Options(SessionOptions):
    """Which sessions to forecast and play, and where their errors go."""

    write: bool = False
    """Write the errors of the first half into the package."""
    measured: Path | None = None
    """JSON to write for docs/results.md."""


def errors_of(rows: list[dict[str, Any]], level: float) -> LookAlikes:
    """Returns the errors of sessions in the form that ships."""
    at = np.array(GRID) - 1

    def curves(policy: str) -> tuple[np.ndarray, np.ndarray]:
        true, told = (np.array([row[key][policy] for row in rows]) for key in ("true", "forecast"))
        return true, told

    def gap(policy: str) -> np.ndarray:
        return np.asarray(np.subtract(*curves(policy)).mean(1) - np.subtract(*curves("random")).mean(1))

    errors = {p: np.subtract(*map(log_odds, curves(p)))[:, at].round(3) for p in POLICIES}
    saved = {policy: gap(policy).round(4) for policy in POLICIES[1:]}
    return LookAlikes(np.array(GRID), errors, saved, level, tuple(dict.fromkeys(row["data"] for row in rows)))


def level_that_holds(rows: list[dict[str, Any]]) -> float:
    """Returns the least level at which all kinds of statements hold, each data set by the errors of the others.

    The share that must hold is `LEVEL` and one standard error of it, since the data sets are few.
    """
    kin = {row["data"]: first_of_kin(row["data"]) for row in rows}
    wanted = LEVEL + (LEVEL * (1 - LEVEL) / len(set(kin.values()))) ** 0.5
    for level in np.arange(LEVEL, 0.999, 0.01):
        others = {name: errors_of([r for r in rows if kin[r["data"]] != kin[name]], level) for name in kin}
        if min(coverage(rows, others).values()) >= wanted:
            return round(float(level), 2)
    return 1.0


def check_with_labels(options: Options, rows: list[dict[str, Any]]) -> None:
    """Says how often statements with some labels known held by the shipped errors, which stay as they are."""
    shipped = look_alikes()
    others = [row for row in rows if row["data"] not in shipped.data]
    shares = said(coverage(others, dict.fromkeys((row["data"] for row in others), shipped)))
    line = f"With {options.known} labels known (--known), in {len(others)} sessions of the check: {shares}."
    print(line)
    if options.measured is not None:
        table = json.loads(options.measured.read_text())
        table["text"].append(line)
        write_table(options.measured, table)


def calibrate(options: Options, rows: list[dict[str, Any]]) -> None:
    """Takes the errors of one half of the data sets, and says how often statements held by them in the other half."""
    first, second = halves(rows)
    names = list(dict.fromkeys(row["data"] for row in rows))
    errors = errors_of(first, level_that_holds(first))
    told = {}
    for title, by in (
        ("Held in the check", errors),
        (f"With {LEVEL:.0%} of the errors inside", errors_of(first, LEVEL)),
    ):
        told[title] = said(coverage(second, dict.fromkeys(names, by)))
        print(f"{title}: {told[title]}")
    print(f"{len(names)} data sets, {len(rows)} sessions; level {errors.level}")
    if options.measured is not None:
        write_table(options.measured, measured(second, errors, told))
    if options.write:
        content = {
            "labels": list(GRID),
            "level": errors.level,
            "data": list(errors.data),
            "errors": {policy: values.tolist() for policy, values in errors.errors.items()},
            "saved": {policy: values.tolist() for policy, values in errors.saved.items()},
        }
        write_atomic(FILE, (json.dumps(content, ensure_ascii=False) + "\n").encode())


def main(options: Options) -> None:
    warnings.simplefilter("ignore")
    rows = played(options)
    (check_with_labels if options.known else calibrate)(options, rows)


if __name__ == "__main__":
    sys.exit(run_command(Options, main, __doc__))
