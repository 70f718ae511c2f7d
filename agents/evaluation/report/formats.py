"""Writes numbers for tables: without leading zeros, with intervals, a dash for what is missing."""

from __future__ import annotations

import numpy as np

from agents.evaluation.report.grid import Entry, Tone
from agents.evaluation.statistics.comparisons import Compared
from agents.evaluation.statistics.intervals import Interval

MISSING = "–"


def number(value: float, digits: int, sign: str = "") -> str:
    """Returns e.g. ``.674``: decimals without the leading zero, a dash for what is missing."""
    if np.isnan(value):
        return MISSING
    text = f"{value:{sign}.{digits}f}"
    return text.replace("0.", ".", 1) if abs(value) < 1 and "0." in text[:3] else text


def bracketed(interval: Interval, digits: int, sign: str = "") -> str:
    """Returns ``[.668, .681]``, with the number of missing values where there are any."""
    text = f"[{number(interval.low, digits, sign)}, {number(interval.high, digits, sign)}]"
    return text + (f" ({interval.missing} missing)" if interval.missing else "")


def show(interval: Interval, digits: int = 3) -> str:
    """Returns ``.674 [.668, .681]``."""
    return mean_entry(interval, digits).whole


def mean_entry(interval: Interval, digits: int = 3) -> Entry:
    """Returns a mean with its interval."""
    if np.isnan(interval.estimate):
        return Entry(MISSING)
    return Entry(number(interval.estimate, digits), interval=bracketed(interval, digits))


def difference_entry(interval: Interval, supported: int = 0) -> Entry:
    """Returns a difference with its interval; toned when `supported` is not 0."""
    if np.isnan(interval.estimate):
        return Entry(MISSING)
    tone: Tone = "good" if supported > 0 else "bad" if supported < 0 else ""
    return Entry(number(interval.estimate, 4, "+"), tone, bracketed(interval, 4, "+"))


def comparison(compared: Compared) -> list[Entry | str]:
    """Returns difference, p, minimum detectable difference, probability of improvement, win/tie/loss."""
    found = compared.difference
    return [
        difference_entry(found.interval, compared.supported),
        show_p(compared.p_value),
        number(found.detectable, 4),
        number(found.improvement, 2),
        f"{found.wins}/{found.ties}/{found.losses}",
    ]


def percent(interval: Interval) -> Entry:
    """Returns a share and its interval in percent."""
    if np.isnan(interval.estimate):
        return Entry(MISSING)
    return Entry(
        f"{100 * interval.estimate:.0f} %", "", f"[{100 * interval.low:.0f}, {100 * interval.high:.0f}]"
    )


def show_p(p_value: float) -> str:
    """Returns ``.031``, ``<.001`` or a dash."""
    return MISSING if np.isnan(p_value) else "<.001" if p_value < 0.001 else number(p_value, 3)


def show_target(labels: np.ndarray) -> str:
    """Returns the median of censored label counts and the share that got there: ``7 (86 %)``."""
    labels = labels[~np.isnan(labels)]
    if len(labels) == 0:
        return MISSING
    # The lower median: a mean of a reached and an unreached one would be infinite.
    middle = np.sort(labels)[(len(labels) - 1) // 2]
    reached = f"{100 * np.isfinite(labels).mean():.0f} %"
    return f"{middle:.0f} ({reached})" if np.isfinite(middle) else f"never ({reached})"
