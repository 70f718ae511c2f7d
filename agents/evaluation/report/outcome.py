"""`Outcome`: everything that is shown of an evaluation, computed from rows and protocol alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from matplotlib import rc_context
from matplotlib.figure import Figure

from agents.evaluation.episodes import Episodes, is_policy
from agents.evaluation.measures import MEASURES, Measure
from agents.evaluation.protocol.protocol import Protocol, file_name
from agents.evaluation.protocol.scenario import short_names
from agents.evaluation.report import diagrams, plots, tables
from agents.evaluation.report.example_pools import ExamplePool
from agents.evaluation.report.glossary import MEASURE_TITLES
from agents.evaluation.report.grid import Grid
from agents.evaluation.report.headline import Headline, headlines
from agents.evaluation.report.matrix import Matrix, make_matrix, matrix_table, scenario_means
from agents.evaluation.report.picks import Pick, example_figure, picks_of, strips

_BANDS = "Lines are means over tasks, bands 95 % intervals; * sees hidden labels."


@dataclass
class Picture:
    """A figure with its heading and caption."""

    title: str
    caption: str
    figure: Figure


@dataclass
class Outcome:
    """All that is shown of an evaluation.

    Attributes:
        headlines: the verdict in words, one per policy.
        grids: tables, the most telling first.
        pictures: file name → figure, the most telling first.
        strips: strategy → its picks in the example pool, in order.
        example: what the example pool is called; empty where there is none.
    """

    headlines: list[Headline]
    grids: list[Grid]
    pictures: dict[str, Picture]
    strips: dict[str, list[Pick]] = field(default_factory=dict)
    example: str = ""


@rc_context({"text.parse_math": False})  # names may hold a $
def outcome(
    protocol: Protocol,
    results: Mapping[str, Episodes],
    *,
    measure: str = "aulc",
    target: float | None = None,
    examples: Mapping[str, ExamplePool] | None = None,
) -> Outcome:
    """Computes sentences, tables and figures.

    Args:
        protocol: what was played.
        results: strategy name → its episodes.
        measure: name of one of `MEASURES`, which tables and tests compare.
        target: accuracy for "to target"; None takes what random reaches at its budget.
        examples: scenario key → the pool of its first task.

    Raises:
        InputError: unknown measure.
    """
    value = MEASURES[measure]
    names = short_names(protocol.scenarios)
    policies = [name for name in results if is_policy(name)]
    several = len(names) > 1
    matrices = {policy: make_matrix(results, names, policy, value) for policy in policies} if several else {}
    shown = Outcome(
        headlines(results, measure, matrices),
        _tables(results, names, measure, target, matrices),
        _pictures(results, names, measure, matrices),
    )
    for key, example in list((examples or {}).items())[:1]:
        if key in names:
            _add_example(shown, results, key, names[key], example, value)
    return shown


def _tables(
    results: Mapping[str, Episodes],
    names: Mapping[str, str],
    measure: str,
    target: float | None,
    matrices: Mapping[str, Matrix],
) -> list[Grid]:
    value = MEASURES[measure]
    policies = [name for name in results if is_policy(name)]
    title = MEASURE_TITLES.get(measure, measure)
    grids = [tables.verdict(results, p, measure=value, title=f"Verdict on {p} ({title})") for p in policies]
    grids.append(tables.summary(results, measure=value, target=target))
    grids += [matrix_table(matrix) for matrix in matrices.values()]
    if len(policies) > 1:
        grids.append(tables.pooled_policies(results, value))
    if len(names) > 1:
        grids.append(scenario_means(results, names, value))
    grids.append(tables.all_pairs(results, value))
    return grids


def _pictures(
    results: Mapping[str, Episodes], names: Mapping[str, str], measure: str, matrices: Mapping[str, Matrix]
) -> dict[str, Picture]:
    value, title = MEASURES[measure], MEASURE_TITLES.get(measure, measure)

    def curves(curve: str, heading: str, caption: str) -> Picture:
        return Picture(heading, f"{caption} {_BANDS}", plots.learning_curves(results, names, curve))

    pictures = {
        "learning_curves": curves(
            "accuracy",
            "Learning curves",
            "Accuracy on unseen test items after each label; below, the paired difference to random.",
        ),
        "coverage": curves("coverage", "Class coverage", "Share of the task's classes that have a label."),
        "calibration": curves(
            "ece", "Calibration error", "Lower is better: confidence agrees with accuracy."
        ),
    }
    for policy, matrix in matrices.items():
        name = "matrix" if len(matrices) == 1 else f"matrix_{file_name(policy)}"
        pictures[name] = Picture(
            f"Scenarios of {policy}",
            f"Difference in {title}, policy − rival. Bold: the corrected test supports it.",
            diagrams.matrix_heat_map(matrix, title),
        )
    pictures["critical_differences"] = Picture(
        "Critical differences",
        "Mean ranks over tasks, 1 is best. Strategies that a bar joins do not differ (Nemenyi, α = .05).",
        diagrams.critical_differences(results, value),
    )
    pictures["performance_profile"] = Picture(
        "Performance profile",
        f"Share of tasks on which a strategy's {title} exceeds τ; higher is better everywhere on the axis.",
        plots.performance_profile(results, value, title),
    )
    return pictures


def _add_example(
    shown: Outcome,
    results: Mapping[str, Episodes],
    key: str,
    name: str,
    example: ExamplePool,
    measure: Measure,
) -> None:
    """Adds the map of the example pool and the picks in it, where anybody played its task."""
    picks = picks_of(results, key, example, measure)
    if not picks:
        return
    shown.example, shown.strips = name, strips(example, picks)
    shown.pictures["example_pool"] = Picture(
        f"One pool of {name}",
        "One task: its unlabelled pool on two principal components, coloured by true class. Numbers are the order "
        "of the picks; classes are hidden from strategies without a star.",
        example_figure(example, picks),
    )


def write_figures(shown: Outcome, folder: Path) -> dict[str, bytes]:
    """Writes each figure as PNG and SVG; returns file name → PNG."""
    return {name: plots.save_figure(picture.figure, folder, name) for name, picture in shown.pictures.items()}
