"""Measures how far several annotators agree on the items that more than one of them answered."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from itertools import combinations, permutations

from agents.acquisition.tool.marks import contested
from agents.acquisition.tool.session import Session


def agreement_lines(session: Session) -> list[str]:
    """Returns what a person is told of the agreement; nothing where no item was answered twice."""
    marks = contested(session)
    units = [mark.opinions for mark in marks.values() if len(mark.opinions) > 1]
    if not units:
        return []
    same = sum(len(set(opinions.values())) == 1 for opinions in units)
    unsettled = sum(mark.disagrees for mark in marks.values())
    lines = [
        f"{len(units)} items were answered by several annotators, {same} of them alike; {unsettled} to settle"
    ]
    names = sorted({name for opinions in units for name in opinions})
    for first, second in combinations(names, 2):
        both = [(o[first], o[second]) for o in units if first in o and second in o]
        if both:
            agree = sum(a == b for a, b in both)
            lines.append(
                f"  {first} and {second} agree on {agree} of {len(both)}, Cohen's kappa {_shown(cohen(both))}"
            )
    if len(names) > 2:
        lines.append(
            f"  all of them: Krippendorff's alpha {_shown(krippendorff([[*o.values()] for o in units]))}"
        )
    return lines


def cohen(pairs: Sequence[tuple[str, str]]) -> float | None:
    """Returns Cohen's kappa (1960); None where both gave one and the same class throughout."""
    from sklearn.metrics import cohen_kappa_score

    first, second = zip(*pairs, strict=True)
    if len({*first, *second}) < 2:
        return None
    return float(cohen_kappa_score(first, second))


def krippendorff(units: Sequence[Sequence[str]]) -> float | None:
    """Returns Krippendorff's alpha for classes (2011), which allows for any number of answers per item.

    None where all answers are of one class.

    Args:
        units: Answers to each item; items with fewer than two answers tell nothing.
    """
    pairs: defaultdict[tuple[str, str], float] = defaultdict(float)
    for answers in units:
        for a, b in permutations(answers, 2):
            pairs[a, b] += 1 / (len(answers) - 1)
    total = sum(pairs.values())
    of_class: defaultdict[str, float] = defaultdict(float)
    for (a, _), count in pairs.items():
        of_class[a] += count
    chance = sum(of_class[a] * of_class[b] for a, b in permutations(of_class, 2))
    if not chance:
        return None
    apart = sum(count for (a, b), count in pairs.items() if a != b)
    return 1 - (total - 1) * apart / chance


def _shown(value: float | None) -> str:
    return "undefined, since there is one class" if value is None else f"{value:.2f}"
