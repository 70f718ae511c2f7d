"""Tables: the verdict on a policy, every strategy side by side, all pairs, and the matrix."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations

import numpy as np

from agents.evaluation.episodes import Episodes, is_policy
from agents.evaluation.measures import Measure, area, aulc, final_accuracy, labels_to_target
from agents.evaluation.paired import pair
from agents.evaluation.report.formats import (
    comparison,
    number,
    percent,
    show,
    show_difference,
    show_p,
    show_target,
    toned,
)
from agents.evaluation.report.grid import Entry, Grid
from agents.evaluation.report.matrix import BEST_RULE, Matrix
from agents.evaluation.statistics import rank_tests
from agents.evaluation.statistics.comparisons import (
    RANDOM,
    gap_share,
    mean_of,
    pooled_difference,
    reference_of,
    regret,
    targets,
)
from agents.evaluation.statistics.intervals import bootstrap, difference, iqm

MARKS = "* sees hidden labels · [95 % stratified bootstrap interval]"
MDD = "MDD: smallest true difference that this many tasks find with power .8 at α = .05"


def verdict(
    results: Mapping[str, Episodes],
    policy: str = "policy",
    baselines: Sequence[str] | None = None,
    *,
    measure: Measure = aulc,
    floor: str = RANDOM,
    reference: str | None = None,
    title: str = "Area under the learning curve, paired tasks",
) -> Grid:
    """The policy against every baseline, with intervals; ``rich.print`` shows it.

    Args:
        results: strategy name → its episodes on the same tasks.
        policy: the name under which the policy stands in `results`.
        baselines: names to compare with; None takes all others.
        measure: one number per episode, higher = better.
        floor, reference: the gap share is ``(s − floor) / (reference − floor)``; the reference defaults to
            greedy look-ahead, else to the best privileged strategy.

    Raises:
        InputError: the policy or a baseline is not among the results.
    """
    paired = pair(results, measure)
    others = [name for name in paired.names if name != policy] if baselines is None else list(baselines)
    names = [policy, *others]
    for name in names:
        paired.column(name)  # refuses unknown names before anything is computed
    reference = reference or reference_of(results, paired)
    compared = {n: difference(paired.column(policy), paired.column(n), paired.strata) for n in others}
    adjusted = dict(
        zip(others, rank_tests.holm(np.array([compared[n].p_value for n in others])), strict=True)
    )
    ahead = f"{policy} − it"
    grid = Grid(
        title,
        ["strategy", "mean", ahead, "MDD", "P(better)", "win/tie/loss", "p", "gap closed", "gap interval"],
        caption=f"{MARKS} · {MDD} · p: Wilcoxon, Holm",
        essential=("strategy", "mean", ahead, "MDD", "gap closed"),
    )
    for name in sorted(names, key=lambda n: -mean_of(paired.column(n))):
        against: list[Entry | str] = [""] * 5
        if name != policy:
            against = comparison(compared[name], adjusted[name])
        label = Entry(results[name].label, "strong" if name == policy else "")
        own = show(bootstrap(paired.column(name), paired.strata))
        grid.rows.append([label, own, *against, *percent(gap_share(paired, name, floor, reference))])
    return grid


def summary(results: Mapping[str, Episodes], *, measure: Measure = aulc, target: float | None = None) -> Grid:
    """Every strategy with every measure.

    Args:
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
        caption=f"{MARKS} · to target: median label count and share of tasks that reach {goal} · "
        "regret: to the best unprivileged rule of each scenario in hindsight",
        essential=("strategy", "mean", "final", "to target", "gap closed", "rank"),
    )
    grid.headings += ["gap closed", "gap interval", "regret", "rank", "ms/query"]
    for i in np.argsort([-mean_of(paired.column(n)) for n in paired.names]):
        name = paired.names[i]
        e = results[name]
        own_goals = np.array([goals[s] for s in e.strata])
        grid.rows.append(
            [
                Entry(e.label, "strong" if is_policy(name) else ""),
                show(bootstrap(paired.column(name), paired.strata)),
                show(bootstrap(paired.column(name), paired.strata, statistic=iqm)),
                number(mean_of(final_accuracy(e)), 3),
                show_target(labels_to_target(e.curves["accuracy"], own_goals)),
                number(mean_of(area(e.curves["log_loss"])), 3),
                number(mean_of(area(e.curves["ece"])), 3),
                number(mean_of(area(e.curves["coverage"])), 3),
                *percent(gap_share(paired, name, RANDOM, reference)),
                number(regrets[name], 4),
                number(ranks[i], 2),
                number(1000 * mean_of(e.seconds), 2),
            ]
        )
    return grid


def all_pairs(results: Mapping[str, Episodes], measure: Measure = aulc) -> Grid:
    """All pairs of unprivileged strategies, Wilcoxon with Holm's correction; Friedman in the caption."""
    paired = pair({name: e for name, e in results.items() if not e.privileged}, measure)
    pairs = list(combinations(paired.names, 2))
    compared = [difference(paired.column(a), paired.column(b), paired.strata) for a, b in pairs]
    adjusted = rank_tests.holm(np.array([c.p_value for c in compared]))
    statistic, p_value = rank_tests.friedman(paired.values)
    grid = Grid(
        "All pairs",
        ["first − second", "difference", "MDD", "P(better)", "win/tie/loss", "p"],
        caption=f"unprivileged · Friedman χ² = {number(statistic, 1)}, p {show_p(p_value)} · {MDD}",
        essential=("first − second", "difference", "MDD", "p"),
        brief=len(pairs) <= 10,
    )
    for (a, b), c, p in zip(pairs, compared, adjusted, strict=True):
        grid.rows.append([f"{a} − {b}", *comparison(c, p)])
    return grid


def matrix_table(matrix: Matrix) -> Grid:
    """The matrix as a table, with intervals."""
    grid = Grid(
        f"{matrix.policy} − rival, by scenario",
        ["scenario", *matrix.rivals, "which rule"],
        caption=f"differences · {MARKS} · the best rule is chosen in hindsight, on these very tasks",
        essential=("scenario", RANDOM, BEST_RULE, "which rule"),
    )
    for scenario, row, best in zip(matrix.scenarios, matrix.cells, matrix.best, strict=True):
        cells = [show_difference(c) if c else "missing" for c in row]
        grid.rows.append([scenario, *cells, best or "–"])
    return grid


def pooled_policies(results: Mapping[str, Episodes], measure: Measure = aulc) -> Grid:
    """Several policies, e.g. of different training seeds, as one method against every rule."""
    paired = pair(results, measure)
    policies = [name for name in paired.names if is_policy(name)]
    grid = Grid(
        f"The {len(policies)} policies as one method",
        ["rival", "policies − it", "worst policy", "best policy"],
        caption="interval: policies and tasks resampled together, so it covers the training seeds as well",
    )
    for name in paired.names:
        if name not in policies:
            apart = [mean_of(paired.column(p) - paired.column(name)) for p in policies]
            interval = pooled_difference(paired, policies, name)
            grid.rows.append(
                [results[name].label, toned(interval), number(min(apart), 4, "+"), number(max(apart), 4, "+")]
            )
    return grid


def scenario_means(
    results: Mapping[str, Episodes], names: Mapping[str, str], measure: Measure = aulc
) -> Grid:
    """Mean and interval of every strategy in every scenario.

    Args:
        names: scenario key → row name.
    """
    paired = pair(results, measure)
    headings = ["scenario", *(e.label for e in results.values())]
    grid = Grid("Means by scenario", headings, caption=MARKS, brief=len(results) <= 4)
    for key, name in names.items():
        here = paired.strata == key
        grid.rows.append([name, *(show(bootstrap(paired.column(n)[here])) for n in paired.names)])
    return grid
