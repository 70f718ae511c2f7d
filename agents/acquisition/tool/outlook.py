"""Forecasts what further labels bring: the yardstick's learning curve, its continuation, and the price of a point."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import norm

from agents.acquisition.learning_curve import fit_curve
from agents.acquisition.tool.yardstick import yardstick_hits

MORE = 10
"""Further labels that are weighed against their price."""
DRAWS = 60
"""Bootstrap draws of the yardstick behind the intervals."""
LEVEL = 0.8
WANDER = 0.036
"""Standard deviation of a gain about the curve, by that of a single hit: which labels come decides more than the curve.
Fitted to 17 data sets (docs/log/2026-11.md, entry 92); `benchmarks.robustness.status_coverage` counts what it holds."""
ASIDE = norm.ppf((np.arange(9) + 0.5) / 9)
"""Nine equally likely places of a normal variable."""
LEAST_YARDSTICK = 10
LEAST_LABELS = 12


@dataclass(frozen=True)
class Outlook:
    """Holds an extrapolation; shares are in [0, 1].

    Attributes:
        now: fitted accuracy.
        gain: what the next `MORE` labels add.
        gain_interval: holds the true gain with probability `LEVEL`.
        sure: probability that `MORE` labels add less than half a point.
        top: accuracy to which the curve leads.
        top_interval: holds `LEVEL` of the bootstrap draws.
    """

    now: float
    gain: float
    gain_interval: tuple[float, float]
    sure: float
    top: float
    top_interval: tuple[float, float]


def outlook(x: np.ndarray, y: np.ndarray, drawn: np.ndarray, order: Sequence[int]) -> Outlook | None:
    """Computes what the next labels will probably bring, or None where the yardstick or the labels are too few.

    The curve is that of `yardstick_hits`, which has the same arguments. Intervals come from drawing the yardstick anew
    with replacement. That of the gain also holds what ten labels bring more or less than the curve says (`WANDER`);
    the other leaves out that the curve may bend otherwise than the fitted form.
    """
    sizes, hits = yardstick_hits(x, y, drawn, order)
    if hits.shape[1] < LEAST_YARDSTICK or not len(sizes) or sizes[-1] < LEAST_LABELS:
        return None
    return extrapolated(sizes, hits.astype(float))


def extrapolated(sizes: np.ndarray, hits: np.ndarray) -> Outlook:
    """Fits curves to (P, m) hits after (P,) numbers of labels, to all test items and to draws of them."""
    m, now = hits.shape[1], float(sizes[-1])
    rng = np.random.default_rng(0)
    whole = fit_curve(sizes, hits.mean(1))
    # One hit and one miss more, after Agresti and Coull (1998): a yardstick without a miss is not sure of 100 %.
    draws = []
    for _ in range(DRAWS):
        share = rng.dirichlet(np.ones(m + 2))
        draws.append(fit_curve(sizes, hits @ share[:m] + share[m]))
    likely = (m * float(whole.at(now)) + 1) / (m + 2)
    aside = WANDER * np.sqrt(likely * (1 - likely)) * ASIDE
    gains = (np.array([curve.gain(now, MORE) for curve in draws])[:, None] + aside).ravel()
    tops = np.array([curve.top for curve in draws])
    tails = [(1 - LEVEL) / 2, (1 + LEVEL) / 2]
    (low, high), (least, most) = np.quantile(gains, tails), np.quantile(tops, tails)
    gain = whole.gain(now, MORE)
    return Outlook(
        float(whole.at(now)),
        gain,
        (min(float(low), gain), max(float(high), gain)),
        float(np.mean(gains < 0.005)),
        whole.top,
        (min(float(least), whole.top), max(float(most), whole.top)),
    )


def outlook_lines(
    found: Outlook | None, *, price: float | None = None, worth: float | None = None
) -> list[str]:
    """Returns what a person is told of further labels.

    Args:
        price: of a label.
        worth: of a percentage point of accuracy, in the same money.
    """
    if found is None:
        return [
            f"what further labels bring cannot be extrapolated without a yardstick of {LEAST_YARDSTICK} items "
            f"and {LEAST_LABELS} labels of two classes beside it"
        ]
    low, high = found.gain_interval
    small = f"{found.sure:.0%} sure that it is less than half a point"
    lines = [
        f"the next {MORE} labels bring about {100 * found.gain:+.1f} points of accuracy "
        f"({LEVEL:.0%} interval {100 * low:+.1f} to {100 * high:+.1f}); {small}",
        f"the curve leads from {found.now:.1%} to about {found.top:.0%} "
        f"({found.top_interval[0]:.0%} to {found.top_interval[1]:.0%}) with very many labels",
    ]
    if price is not None:
        points = 100 * found.gain
        cost = f"{MORE} labels cost {MORE * price:g}"
        each = f"{MORE * price / points:.3g} a point" if points >= 0.05 else "and bring nearly nothing"
        lines.append(f"{cost}, {each}")
        if worth is not None:
            lines.append(_verdict(100 * low * worth, points * worth, 100 * high * worth, MORE * price))
    return lines


def _verdict(low: float, value: float, high: float, cost: float) -> str:
    if high < cost:
        return f"stop: they are worth {value:.3g} ({low:.3g} to {high:.3g}), less than they cost."
    if low > cost:
        return f"go on: they are worth {value:.3g} ({low:.3g} to {high:.3g}), more than they cost."
    tendency = "probably more" if value > cost else "probably less"
    return f"undecided: they are worth {value:.3g} ({low:.3g} to {high:.3g}), {tendency} than they cost."
