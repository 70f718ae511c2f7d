"""The verdict in words: what the tests support, in one short paragraph per policy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from agents.evaluation.episodes import Episodes, is_policy
from agents.evaluation.measures import MEASURES
from agents.evaluation.paired import Paired, pair
from agents.evaluation.report.formats import bracketed, number, percent, show, show_p
from agents.evaluation.report.glossary import MEASURE_TITLES
from agents.evaluation.report.matrix import Matrix
from agents.evaluation.statistics.comparisons import (
    RANDOM,
    Compared,
    best_rule,
    compare,
    compare_pairs,
    gap_share,
    reference_of,
)
from agents.evaluation.statistics.intervals import bootstrap

NAMED = 3
"""Rules that a sentence names; more are counted."""


@dataclass(frozen=True)
class Headline:
    """One sentence of verdict, and the figures behind it."""

    verdict: str
    details: str = ""


def headlines(
    results: Mapping[str, Episodes], measure: str, matrices: Mapping[str, Matrix] | None = None
) -> list[Headline]:
    """Returns one headline per policy, or one on the best rule where no policy was played.

    Args:
        results: strategy name → its episodes on the same tasks.
        measure: name of one of `MEASURES`.
        matrices: policy → its comparisons by scenario, where there are several scenarios.
    """
    paired = pair(results, MEASURES[measure])
    policies = [name for name in paired.names if is_policy(name)]
    title = MEASURE_TITLES.get(measure, measure)
    if not policies:
        return [_on_rules(results, paired, title)]
    return [_on_policy(results, paired, name, title, (matrices or {}).get(name)) for name in policies]


def _on_policy(
    results: Mapping[str, Episodes], paired: Paired, policy: str, title: str, matrix: Matrix | None
) -> Headline:
    # The very comparisons of the verdict's table, so that words and colours agree.
    compared = compare(paired, policy, [name for name in paired.names if name != policy])
    rules = {n: c for n, c in compared.items() if not results[n].privileged and not is_policy(n)}
    rules = {n: c for n, c in rules.items() if c.difference.interval.n}
    if not rules:
        own = show(bootstrap(paired.column(policy), paired.strata))
        return Headline(
            f"{policy}: mean {title} {own}.", "It was compared with no rule; name some with --strategies."
        )
    tasks = max(c.difference.interval.n for c in rules.values())
    verdict = f"{policy} {_won_and_lost(rules, 'rules')} on {tasks} paired tasks."
    best = best_rule(results, paired)
    found = rules[best].difference
    against = (
        f"Against the best rule in hindsight, {best}, its mean {title} differs by "
        f"{number(found.interval.estimate, 4, '+')} {bracketed(found.interval, 4, '+')} "
        f"(p {show_p(rules[best].p_value)})"
    )
    if not rules[best].supported and not np.isnan(found.detectable):
        against += f"; a true difference of {number(found.detectable, 4)} would be found with probability .8"
    sentences = [against + "."]
    reference = reference_of(results, paired)
    gap = gap_share(paired, policy, RANDOM, reference)
    if not np.isnan(gap.estimate):
        sentences.append(
            f"It closes {percent(gap).whole} of the gap between random picks and {reference}, which sees hidden labels."
        )
    if matrix is not None and len(matrix.scenarios) > 1:
        sides = matrix.supported[:, -1]
        sentences.append(
            f"By scenario it is above the best rule in {(sides > 0).sum()} of {len(sides)}, level in "
            f"{(sides == 0).sum()} and below in {(sides < 0).sum()}."
        )
    return Headline(verdict, " ".join(sentences))


def _on_rules(results: Mapping[str, Episodes], paired: Paired, title: str) -> Headline:
    best = best_rule(results, paired)
    if not best:
        return Headline(
            "Only strategies that see hidden labels were played.", "Name rules with --strategies."
        )
    own = f"{title} {show(bootstrap(paired.column(best), paired.strata))}"
    names = [name for name in paired.names if not results[name].privileged]
    if len(names) < 2:
        return Headline(
            f"{best}: mean {own}.", "It was compared with nothing; name further rules with --strategies."
        )
    compared = compare_pairs(paired, list(combinations(names, 2)))
    rivals = {
        (b if a == best else a): (c if a == best else _turned(c))
        for (a, b), c in compared.items()
        if best in (a, b)
    }
    tasks = max(c.difference.interval.n for c in rivals.values())
    return Headline(
        f"{best} has the highest mean {own} of {len(names)} rules on {tasks} paired tasks; it "
        f"{_won_and_lost(rivals, 'others')}.",
        "No policy was played; the best rule is chosen in hindsight.",
    )


def _turned(compared: Compared) -> Compared:
    """Returns the comparison seen from the rival."""
    d = compared.difference
    i = d.interval
    turned = d._replace(
        interval=i._replace(estimate=-i.estimate, low=-i.high, high=-i.low),
        improvement=1 - d.improvement,
        wins=d.losses,
        losses=d.wins,
    )
    return Compared(turned, compared.p_value)


def _won_and_lost(compared: Mapping[str, Compared], kind: str) -> str:
    """Returns e.g. ``beats 6 of 8 rules and is level with typiclust and uherding``."""
    beaten = [n for n, c in compared.items() if c.supported > 0]
    lost = [n for n, c in compared.items() if c.supported < 0]
    level = [n for n, c in compared.items() if c.supported == 0]
    total = len(compared)
    if len(beaten) == total:
        return (
            f"beats {_listed(beaten, '')}"
            if total == 1
            else f"beats {'both' if total == 2 else f'all {total}'} {kind}"
        )
    if len(level) == total:
        return f"is level with {_listed(level, f'all {total} {kind}')}"
    clauses = []
    if lost:
        clauses.append(f"loses to {_listed(lost, f'{len(lost)} of {total} {kind}')}")
    if beaten:
        clauses.append(f"beats {_listed(beaten, f'{len(beaten)} of {total} {kind}')}")
    if level:
        clauses.append(f"is level with {_listed(level, f'the other {len(level)}')}")
    return f"{', '.join(clauses[:-1])} and {clauses[-1]}" if len(clauses) > 1 else clauses[0]


def _listed(names: Sequence[str], count: str) -> str:
    """Returns the names where they are few, else `count`."""
    if len(names) > NAMED:
        return count
    return " and ".join(filter(None, (", ".join(names[:-1]), names[-1])))
