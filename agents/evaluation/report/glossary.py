"""Words of the tables and figures, explained once; the report links every heading to its line."""

from __future__ import annotations

import re
from dataclasses import dataclass

MEASURE_TITLES = {
    "aulc": "AULC",
    "balanced_aulc": "balanced AULC",
    "final_accuracy": "final accuracy",
    "neg_log_loss": "negative log-loss",
    "neg_ece": "negative ECE",
    "coverage": "class coverage",
}
"""Names of measures in sentences and on axes."""

CURVE_TITLES = {
    "accuracy": "accuracy",
    "balanced_accuracy": "balanced accuracy",
    "log_loss": "log-loss (nats)",
    "ece": "expected calibration error",
    "coverage": "share of classes found",
}


@dataclass(frozen=True)
class Term:
    """One line of the glossary.

    Attributes:
        name: the term.
        meaning: one or two sentences.
        headings: headings of tables that mean this term, besides its own name.
    """

    name: str
    meaning: str
    headings: tuple[str, ...] = ()

    @property
    def anchor(self) -> str:
        """Returns the id of its line in the report."""
        return "term-" + re.sub(r"\W+", "-", self.name.lower()).strip("-")


TERMS = (
    Term(
        "AULC",
        "Area under the learning curve: the mean accuracy over label counts 1 to the budget, so a number between 0 and "
        "1. It rewards strategies that learn early, not only those that end high.",
        ("mean",),
    ),
    Term(
        "coverage",
        "Share of the task's classes that have at least one label, averaged over the label counts.",
    ),
    Term(
        "difference",
        "Mean over the same tasks of (the strategy that is judged − the one in the row). The brackets hold a 95 % "
        "bootstrap interval, tasks resampled within scenarios. Colour means that the corrected test "
        "and the interval both exclude 0.",
        ("policies − it",),
    ),
    Term(
        "ECE",
        "Expected calibration error: how far the classifier's confidence lies from its accuracy, over ten bins of "
        "confidence. Small test sets inflate it, so compare it between strategies, not with 0.",
    ),
    Term("final", "Accuracy when the budget is spent."),
    Term(
        "gap closed",
        "Where the strategy stands between random picks (0 %) and a reference that sees hidden labels (100 %): greedy "
        "look-ahead, which tries every label on the reward set.",
    ),
    Term(
        "IQM",
        "Interquartile mean: the mean without the lowest and the highest quarter of the tasks, so that a few odd tasks "
        "cannot decide.",
    ),
    Term("log-loss", "Mean negative log-probability of the true class, in nats; lower is better."),
    Term(
        "MDD",
        "Minimum detectable difference: the smallest true difference that a test on this many tasks finds with "
        "probability .8. A smaller one may exist unseen.",
    ),
    Term("ms/query", "Milliseconds that a strategy takes per label and task, measured here."),
    Term(
        "p",
        "Two-sided Wilcoxon signed-rank test on the paired tasks, corrected by Holm for all comparisons of the table: "
        "how often differences like these would appear if there were none.",
    ),
    Term("P(better)", "Share of tasks on which the judged strategy is better; ties count half."),
    Term("rank", "Mean rank over tasks, 1 is best."),
    Term(
        "regret",
        "Mean over scenarios of (the best rule's mean − the strategy's mean). The best rule is chosen in hindsight; "
        "negative means better than every rule.",
        ("best rule", "which rule"),
    ),
    Term(
        "to target",
        "Median number of labels until the accuracy that random reaches at its budget (or --target-accuracy), and the "
        "share of tasks that get there.",
    ),
    Term("win/tie/loss", "Tasks on which the judged strategy is better, equal and worse."),
    Term(
        "* (star)",
        "The strategy looks at hidden labels: a reference for what is possible, not a candidate.",
        ("strategy",),
    ),
)


def term_of(heading: str) -> Term | None:
    """Returns the glossary's line for a table heading, if it has one."""
    return next((t for t in TERMS if heading == t.name or heading in t.headings), None)
