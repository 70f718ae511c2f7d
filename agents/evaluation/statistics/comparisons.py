"""Comparisons across strategies: share of the gap closed, regret in hindsight, targets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from agents.evaluation.episodes import Episodes, is_policy
from agents.evaluation.measures import final_accuracy
from agents.evaluation.paired import Paired
from agents.evaluation.statistics.intervals import Interval, bootstrap, resamples

RANDOM, ORACLE = "random", "greedy_lookahead"
"""Floor and privileged reference of the gap share, by registered name."""


def reference_of(results: Mapping[str, Episodes], paired: Paired) -> str | None:
    """Greedy look-ahead where it was played, else the privileged strategy with the highest mean, or None."""
    if ORACLE in paired.names:
        return ORACLE
    candidates = [name for name in paired.names if results[name].privileged]
    return max(candidates, key=lambda name: mean_of(paired.column(name)), default=None)


def gap_share(paired: Paired, name: str, floor: str | None, reference: str | None) -> Interval:
    """(s − floor) / (reference − floor), a ratio of means; tasks are resampled together for its interval."""
    if floor not in paired.names or reference not in paired.names or floor is None or reference is None:
        return Interval(np.nan, np.nan, np.nan, 0, 0)
    columns = np.stack([paired.column(n) for n in (name, floor, reference)], 1)  # (n, 3)

    def ratio(sample: np.ndarray) -> np.ndarray:  # (…, 3, n) → (…)
        means = sample.mean(-1)
        gap = means[..., 2] - means[..., 1]
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.where(gap > 0, (means[..., 0] - means[..., 1]) / gap, np.nan)

    return bootstrap(columns, paired.strata, statistic=ratio)


def pooled_difference(paired: Paired, policies: Sequence[str], rival: str, seed: int = 0) -> Interval:
    """Mean over `policies` of (policy − rival); policies and tasks are both resampled, tasks within strata.

    Tasks that one of them lacks are missing.
    """
    delta = np.stack([paired.column(p) - paired.column(rival) for p in policies], 1)  # (n, P)
    keep = ~np.isnan(delta).any(1)
    kept, missing = delta[keep], int((~keep).sum())
    if len(kept) == 0:
        return Interval(np.nan, np.nan, np.nan, 0, missing)
    rng, means = np.random.default_rng(seed), []
    for index in resamples(paired.strata[keep], seed=seed):
        by_policy = kept[index].mean(1)  # (r, P)
        chosen = rng.integers(len(policies), size=by_policy.shape)
        means.append(np.take_along_axis(by_policy, chosen, 1).mean(1))
    low, high = np.quantile(np.concatenate(means), [0.025, 0.975])
    return Interval(float(kept.mean()), float(low), float(high), len(kept), missing)


def regret(results: Mapping[str, Episodes], paired: Paired) -> dict[str, float]:
    """Mean over scenarios of (best rule's mean − the strategy's mean); negative when better than every rule.

    Rules are unprivileged and not policies; the best one is chosen per scenario, in hindsight.
    """
    rules = [n for n in paired.names if not results[n].privileged and not is_policy(n)]
    lost: dict[str, list[float]] = {name: [] for name in paired.names}
    for stratum in dict.fromkeys(paired.strata.tolist()):
        here = paired.strata == stratum
        means = {name: mean_of(paired.column(name)[here]) for name in paired.names}
        best = max((means[n] for n in rules if not np.isnan(means[n])), default=np.nan)
        for name in paired.names:
            lost[name].append(best - means[name])
    return {name: mean_of(np.array(values)) for name, values in lost.items()}


def targets(results: Mapping[str, Episodes], target: float | None = None) -> dict[str, float]:
    """Scenario → accuracy to reach: `target`, else random's mean final accuracy there, else NaN."""
    strata = dict.fromkeys(str(s) for e in results.values() for s in e.strata)
    if target is not None:
        return dict.fromkeys(strata, target)
    if RANDOM not in results:
        return dict.fromkeys(strata, np.nan)
    floor = results[RANDOM]
    return {s: mean_of(final_accuracy(floor)[floor.strata == s]) for s in strata}


def mean_of(values: np.ndarray) -> float:
    """Mean of what is there; NaN when nothing is."""
    there = values[~np.isnan(values)]
    return float(there.mean()) if len(there) else np.nan
