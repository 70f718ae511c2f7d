"""Comparisons across strategies: tests of one against many, share of the gap closed, regret, targets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from agents.evaluation.episodes import Episodes, is_policy
from agents.evaluation.measures import final_accuracy
from agents.evaluation.paired import Paired
from agents.evaluation.statistics.intervals import Difference, Interval, bootstrap, difference, resamples
from agents.evaluation.statistics.rank_tests import holm

RANDOM, LOOKAHEAD = "random", "greedy_lookahead"
"""Floor and privileged reference of the gap share, by registered name."""

ALPHA = 0.05


@dataclass(frozen=True)
class Compared:
    """A strategy against a rival on paired tasks.

    Attributes:
        difference: strategy − rival.
        p_value: Wilcoxon's, corrected by Holm for every comparison of the same table.
    """

    difference: Difference
    p_value: float

    @property
    def supported(self) -> int:
        """Returns 1 for better and −1 for worse where the corrected test and the interval agree, else 0."""
        interval = self.difference.interval
        if not self.p_value < ALPHA:
            return 0
        return int(interval.low > 0) - int(interval.high < 0)


def compare_pairs(paired: Paired, pairs: Sequence[tuple[str, str]]) -> dict[tuple[str, str], Compared]:
    """Compares the first strategy of each pair with the second; the p-values are corrected together."""
    found = [difference(paired.column(a), paired.column(b), paired.strata) for a, b in pairs]
    adjusted = holm(np.array([d.p_value for d in found]))
    return {pair: Compared(d, float(p)) for pair, d, p in zip(pairs, found, adjusted, strict=True)}


def compare(paired: Paired, strategy: str, rivals: Sequence[str]) -> dict[str, Compared]:
    """Compares one strategy with every rival; the p-values are corrected together."""
    compared = compare_pairs(paired, [(strategy, rival) for rival in rivals])
    return {rival: found for (_, rival), found in compared.items()}


def best_rule(results: Mapping[str, Episodes], paired: Paired) -> str:
    """Returns the unprivileged rule with the highest mean on these very tasks; empty where there is none."""
    rules = [name for name in paired.names if not results[name].privileged and not is_policy(name)]
    means = {name: mean_of(paired.column(name)) for name in rules}
    known = [name for name in rules if not np.isnan(means[name])]
    return max(known, key=means.__getitem__, default="")


def reference_of(results: Mapping[str, Episodes], paired: Paired) -> str | None:
    """Returns greedy look-ahead where it was played, else the privileged strategy with the highest mean, or None."""
    if LOOKAHEAD in paired.names:
        return LOOKAHEAD
    candidates = [name for name in paired.names if results[name].privileged]
    return max(candidates, key=lambda name: mean_of(paired.column(name)), default=None)


def gap_share(paired: Paired, name: str, floor: str | None, reference: str | None) -> Interval:
    """Computes (s − floor) / (reference − floor), a ratio of means; tasks are resampled together for its interval."""
    if floor not in paired.names or reference not in paired.names or floor is None or reference is None:
        return Interval(np.nan, np.nan, np.nan, 0, 0)
    columns = np.stack([paired.column(n) for n in (name, floor, reference)], 1)  # (n, 3)

    def ratio(sample: np.ndarray) -> np.ndarray:  # (…, 3, n) → (…)
        means = sample.mean(-1)
        gap = means[..., 2] - means[..., 1]
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.where(gap > 0, (means[..., 0] - means[..., 1]) / gap, np.nan)

    return bootstrap(columns, paired.strata, statistic=ratio)


def pooled_difference(paired: Paired, policies: Sequence[str], rival: str, level: float = 0.95) -> Interval:
    """Computes the mean over `policies` of (policy − rival); policies and tasks are both resampled.

    Tasks are resampled within strata. Tasks that one of them lacks are missing.
    """
    delta = np.stack([paired.column(p) - paired.column(rival) for p in policies], 1)  # (n, P)
    keep = ~np.isnan(delta).any(1)
    kept, missing = delta[keep], int((~keep).sum())
    if len(kept) == 0:
        return Interval(np.nan, np.nan, np.nan, 0, missing)
    rng, means = np.random.default_rng(0), []
    for index in resamples(paired.strata[keep]):
        by_policy = kept[index].mean(1)  # (r, P)
        chosen = rng.integers(len(policies), size=by_policy.shape)
        means.append(np.take_along_axis(by_policy, chosen, 1).mean(1))
    low, high = np.quantile(np.concatenate(means), [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(kept.mean()), float(low), float(high), len(kept), missing)


def regret(results: Mapping[str, Episodes], paired: Paired) -> dict[str, float]:
    """Computes the mean over scenarios of (best rule's mean − the strategy's mean).

    It is negative for a strategy that is better than every rule. The best rule is chosen per scenario, in hindsight.
    """
    lost: dict[str, list[float]] = {name: [] for name in paired.names}
    for scenario in dict.fromkeys(paired.strata.tolist()):
        here = paired.of_scenario(scenario)
        best = best_rule(results, here)
        best_mean = mean_of(here.column(best)) if best else np.nan
        for name in paired.names:
            lost[name].append(best_mean - mean_of(here.column(name)))
    return {name: mean_of(np.array(values)) for name, values in lost.items()}


def targets(results: Mapping[str, Episodes], target: float | None = None) -> dict[str, float]:
    """Returns scenario → accuracy to reach: `target`, else random's mean final accuracy there, else NaN."""
    strata = dict.fromkeys(str(s) for e in results.values() for s in e.strata)
    if target is not None:
        return dict.fromkeys(strata, target)
    if RANDOM not in results:
        return dict.fromkeys(strata, np.nan)
    floor = results[RANDOM]
    return {s: mean_of(final_accuracy(floor)[floor.strata == s]) for s in strata}


def mean_of(values: np.ndarray) -> float:
    """Computes the mean of the values that are not missing; NaN when all are."""
    there = values[~np.isnan(values)]
    return float(there.mean()) if len(there) else np.nan
