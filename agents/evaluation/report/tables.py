"""Tables over all scenarios: the verdict on a policy, every strategy side by side, all pairs."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations

import numpy as np

from agents.evaluation.episodes import Episodes, is_policy
from agents.evaluation.measures import Measure, area, aulc, final_accuracy, labels_to_target
from agents.evaluation.paired import pair
from agents.evaluation.report.formats import (
    comparison,
    difference_entry,
    mean_entry,
    number,
    percent,
    show_p,
    show_target,
)
from agents.evaluation.report.grid import Entry, Grid
from agents.evaluation.statistics import rank_tests
from agents.evaluation.statistics.comparisons import (
    ALPHA,
    RANDOM,
    compare,
    compare_pairs,
    gap_share,
    mean_of,
    pooled_difference,
    reference_of,
    regret,
    targets,
)
from agents.evaluation.statistics.intervals import bootstrap, iqm

STAR = "* sees hidden labels"
COLOUR = "colour: the test supports it (Holm-corrected p < .05)"


def verdict(
    results: Mapping[str, Episodes],
    policy: str = "policy",
    *,
    measure: Measure = aulc,
    title: str = "Area under the learning curve, paired tasks",
) -> Grid:
    """Compares the policy with all other strategies; ``rich.print`` shows the table.

    Args:
        results: strategy name → its episodes on the same tasks.
        policy: the name under which the policy stands in `results`.
        measure: one number per episode, higher = better.
        title: above the table.

    Raises:
        InputError: the policy is not among the results.
    """
    paired = pair(results, measure)
    reference = reference_of(results, paired)
    compared = compare(paired, policy, [name for name in paired.names if name != policy])
    grid = Grid(
        title,
        ["strategy", "mean", "difference", "p", "MDD", "P(better)", "win/tie/loss", "gap closed"],
        caption=f"difference: {policy} − strategy · {STAR} · {COLOUR}",
        essential=("strategy", "mean", "difference", "p", "gap closed"),
        headline="difference",
        phone=("strategy", "mean", "difference", "p"),
    )
    for name in sorted(paired.names, key=lambda n: -mean_of(paired.column(n))):
        against: list[Entry | str] = [""] * 5 if name == policy else comparison(compared[name])
        label = Entry(results[name].label, "strong" if name == policy else "")
        own = mean_entry(bootstrap(paired.column(name), paired.strata))
        grid.rows.append([label, own, *against, percent(gap_share(paired, name, RANDOM, reference))])
    return grid


def summary(results: Mapping[str, Episodes], *, measure: Measure = aulc, target: float | None = None) -> Grid:
    """Shows every strategy with every measure.

    Args:
        results: strategy name → its episodes on the same tasks.
        measure: one number per episode, higher = better.
        target: accuracy to reach; None takes what random reaches at its budget in each scenario.
    """
    paired = pair(results, measure)
    reference = reference_of(results, paired)
    ranks, _ = rank_tests.average_ranks(paired.values)
    regrets = regret(results, paired)
    goals = targets(results, target)
    goal = f"accuracy {target:g}" if target is not None else "what random reaches at its budget"
    grid = Grid(
        "Strategies",
        ["strategy", "mean", "IQM", "final", "to target", "log-loss", "ECE", "coverage"],
        caption=f"{STAR} · to target: median labels (and share of tasks) to {goal}",
        essential=("strategy", "mean", "final", "to target", "gap closed", "rank"),
        headline="mean",
        phone=("strategy", "mean", "final", "to target"),
    )
    grid.headings += ["gap closed", "regret", "rank", "ms/query"]
    for i in np.argsort([-mean_of(paired.column(n)) for n in paired.names]):
        name = paired.names[i]
        e = results[name]
        own_goals = np.array([goals[s] for s in e.strata])
        grid.rows.append(
            [
                Entry(e.label, "strong" if is_policy(name) else ""),
                mean_entry(bootstrap(paired.column(name), paired.strata)),
                mean_entry(bootstrap(paired.column(name), paired.strata, statistic=iqm)),
                number(mean_of(final_accuracy(e)), 3),
                show_target(labels_to_target(e.curves["accuracy"], own_goals)),
                number(mean_of(area(e.curves["log_loss"])), 3),
                number(mean_of(area(e.curves["ece"])), 3),
                number(mean_of(area(e.curves["coverage"])), 3),
                percent(gap_share(paired, name, RANDOM, reference)),
                number(regrets[name], 4),
                number(ranks[i], 2),
                number(1000 * mean_of(e.seconds), 2),
            ]
        )
    return grid


def all_pairs(results: Mapping[str, Episodes], measure: Measure = aulc) -> Grid:
    """Compares all pairs of unprivileged strategies; Friedman's test of all at once is in the caption."""
    paired = pair({name: e for name, e in results.items() if not e.privileged}, measure)
    compared = compare_pairs(paired, list(combinations(paired.names, 2)))
    statistic, p_value = rank_tests.friedman(paired.values)
    grid = Grid(
        "All pairs",
        ["first − second", "difference", "p", "MDD", "P(better)", "win/tie/loss"],
        caption=f"unprivileged strategies · Friedman χ² = {number(statistic, 1)}, p {show_p(p_value)} · {COLOUR}",
        essential=("first − second", "difference", "p"),
        headline="difference",
        brief=len(compared) <= 10,
        folded=True,
    )
    for (a, b), found in compared.items():
        grid.rows.append([f"{a} − {b}", *comparison(found)])
    return grid


def pooled_policies(results: Mapping[str, Episodes], measure: Measure = aulc) -> Grid:
    """Compares several policies, e.g. of different training seeds, as one method with every rule."""
    paired = pair(results, measure)
    policies = [name for name in paired.names if is_policy(name)]
    rivals = [name for name in paired.names if not is_policy(name)]
    grid = Grid(
        f"The {len(policies)} policies as one method",
        ["rival", "policies − it", "worst policy", "best policy"],
        caption="interval: policies and tasks resampled together, so it covers the training seeds as well · "
        f"colour: the interval at {100 * (1 - ALPHA / max(1, len(rivals))):.3g} %, corrected for {len(rivals)} "
        "rivals, excludes 0",
        essential=("rival", "policies − it"),
        headline="policies − it",
    )
    for name in rivals:
        apart = [mean_of(paired.column(p) - paired.column(name)) for p in policies]
        corrected = pooled_difference(paired, policies, name, level=1 - ALPHA / len(rivals))
        supported = int(corrected.low > 0) - int(corrected.high < 0)
        shown = difference_entry(pooled_difference(paired, policies, name), supported)
        grid.rows.append([results[name].label, shown, *(number(f(apart), 4, "+") for f in (min, max))])
    return grid
