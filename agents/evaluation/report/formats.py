"""How figures are written in tables: without leading zeros, with intervals, a dash for what is missing."""

from __future__ import annotations

import numpy as np

from agents.evaluation.report.grid import Entry
from agents.evaluation.statistics.intervals import Difference, Interval


def comparison(compared: Difference, p_value: float) -> list[Entry | str]:
    """Difference, MDD, P(better), win/tie/loss, adjusted p."""
    return [
        show_difference(compared),
        number(compared.detectable, 4),
        number(compared.improvement, 2),
        f"{compared.wins}/{compared.ties}/{compared.losses}",
        show_p(p_value),
    ]


def number(value: float, digits: int, sign: str = "") -> str:
    """``.674``: decimals without the leading zero, a dash for what is missing."""
    if np.isnan(value):
        return "–"
    text = f"{value:{sign}.{digits}f}"
    return text.replace("0.", ".", 1) if abs(value) < 1 and "0." in text[:3] else text


def show(interval: Interval, digits: int = 3) -> str:
    """``.674 [.668, .681]``, with the number of missing values where there are any."""
    if np.isnan(interval.estimate):
        return "–"
    text = "{} [{}, {}]".format(*(number(value, digits) for value in interval[:3]))
    return text + (f" ({interval.missing} missing)" if interval.missing else "")


def percent(interval: Interval) -> list[Entry | str]:
    """A share and its interval in percent."""
    if np.isnan(interval.estimate):
        return ["–", "–"]
    return [f"{100 * interval.estimate:.0f} %", f"[{100 * interval.low:.0f}, {100 * interval.high:.0f}]"]


def show_difference(compared: Difference) -> Entry:
    """The paired difference of two strategies."""
    return toned(compared.interval)


def toned(i: Interval) -> Entry:
    """A difference: good when its interval lies above 0, bad when below."""
    if i.n == 0:
        return Entry("–")
    text = "{} [{}, {}]".format(*(number(value, 4, "+") for value in i[:3]))
    return Entry(text, "good" if i.low > 0 else "bad" if i.high < 0 else "")


def show_p(p_value: float) -> str:
    return "–" if np.isnan(p_value) else "<.001" if p_value < 0.001 else number(p_value, 3)


def show_target(labels: np.ndarray) -> str:
    """Median of censored label counts and the share that got there: ``7 (86 %)``."""
    labels = labels[~np.isnan(labels)]
    if len(labels) == 0:
        return "–"
    # The lower median: a mean of a reached and an unreached one would be infinite.
    middle = np.sort(labels)[(len(labels) - 1) // 2]
    reached = f"{100 * np.isfinite(labels).mean():.0f} %"
    return f"{middle:.0f} ({reached})" if np.isfinite(middle) else f"never ({reached})"
