"""What is shown of an evaluation: tables, figures and one self-contained HTML page, all from the rows."""

from __future__ import annotations

import base64
import html
import platform
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np
from matplotlib import rc_context
from matplotlib.figure import Figure

from agents.evaluation.episodes import Episodes, is_policy
from agents.evaluation.measures import MEASURES
from agents.evaluation.protocol.protocol import Protocol, file_name, short_names
from agents.evaluation.report import diagrams, plots
from agents.evaluation.report.grid import Grid
from agents.evaluation.report.matrix import make_matrix
from agents.evaluation.report.tables import (
    all_pairs,
    matrix_table,
    pooled_policies,
    scenario_means,
    summary,
    verdict,
)
from agents.evaluation.statistics.comparisons import RANDOM
from metaal_env.runtime.files import write_atomic

MAX_EXAMPLES = 6

_STYLE = """
body{font:16px/1.5 system-ui,sans-serif;color:#1a1a1a;background:#fff;max-width:76rem;
margin:2rem auto;padding:0 1rem}
h1{font-size:1.6rem}h2{font-size:1.2rem;margin-top:2.2rem}figure{margin:1rem 0}img{max-width:100%;height:auto}
figcaption,.note{color:#555;font-size:.85rem}.wide{overflow-x:auto}
table{border-collapse:collapse;font-size:.85rem;font-variant-numeric:tabular-nums}
th,td{padding:.25rem .6rem;text-align:right;border-bottom:1px solid #ddd;white-space:nowrap}
th:first-child,td:first-child{text-align:left}.good{color:#00643c}.bad{color:#b00020}.strong{font-weight:700}
pre{background:#f5f5f5;padding:.7rem;overflow-x:auto;font-size:.8rem}
"""


@dataclass
class Outcome:
    """All that is shown of an evaluation; computed from rows and protocol alone."""

    grids: list[Grid]
    figures: dict[str, tuple[str, Figure]]  # file name → title, figure


@rc_context({"text.parse_math": False})  # names may hold a $
def outcome(
    protocol: Protocol,
    results: Mapping[str, Episodes],
    *,
    measure: str = "aulc",
    target: float | None = None,
    examples: Mapping[str, Mapping[str, list[float]]] | None = None,
) -> Outcome:
    """Tables and figures.

    Args:
        examples: scenario key → projected pool of its first task, as `examples.project` gives it.

    Raises:
        InputError: unknown measure.
    """
    value = MEASURES[measure]
    names = short_names(protocol.scenarios)
    policies = [name for name in results if is_policy(name)]
    grids = [summary(results, measure=value, target=target)]
    figures = {
        "learning_curves": ("Learning curves", plots.learning_curves(results, names)),
        "coverage": ("Class coverage", plots.learning_curves(results, names, "coverage")),
        "calibration": ("Calibration error", plots.learning_curves(results, names, "ece")),
        "critical_differences": ("Critical differences", diagrams.critical_differences(results, value)),
        "performance_profile": ("Performance profile", plots.performance_profile(results)),
    }
    for policy in policies:
        title = f"Verdict on {policy} ({measure})"
        grids.append(verdict(results, policy, measure=value, title=title))
        if len(names) > 1:
            matrix = make_matrix(results, names, policy, value)
            grids.append(matrix_table(matrix))
            file = "matrix" if len(policies) == 1 else f"matrix_{file_name(policy)}"
            figures[file] = (f"Matrix of {policy}", diagrams.matrix_heat_map(matrix))
    if len(policies) > 1:
        grids.append(pooled_policies(results, value))
    if len(names) > 1:
        grids.append(scenario_means(results, names, value))
    grids.append(all_pairs(results, value))
    for key, example in list((examples or {}).items())[:1]:
        means = {name: np.nanmean(value(e)) for name, e in results.items()}
        telling = sorted(results, key=lambda name: (name not in (*policies, RANDOM), -means[name]))
        picks = {
            results[name].label: results[name].picks[
                (results[name].strata == key) & (results[name].seeds == int(example["seed"][0]))
            ]
            for name in telling
        }
        size = len(example["x"])
        shown = {label: found[0] for label, found in picks.items() if len(found) and found[0].max() < size}
        if shown and key in names:
            first = dict(list(shown.items())[:MAX_EXAMPLES])
            figures["example_pool"] = (
                f"One pool of {names[key]}: picks in order",
                plots.example_pool(example, first),
            )
    return Outcome(grids, figures)


def write_figures(shown: Outcome, folder: Path) -> dict[str, bytes]:
    """Each figure as PNG and SVG; returns title → PNG."""
    return {title: plots.save_figure(figure, folder, name) for name, (title, figure) in shown.figures.items()}


def write_report(
    grids: list[Grid],
    images: dict[str, bytes],
    protocol: Protocol,
    notes: list[str],
    command: str,
    path: Path,
) -> None:
    """One HTML file without any reference to the outside.

    Args:
        images: title → PNG.
        notes: remarks on how the protocol came about.
        command: the command line that made the rows.
    """
    tables = "".join(f"<h2>{html.escape(g.title)}</h2>{g.html()}" for g in grids)
    figures = "".join(
        f"<h2>{html.escape(title)}</h2><figure><img alt='{html.escape(title)}' "
        f"src='data:image/png;base64,{base64.b64encode(png).decode()}'></figure>"
        for title, png in images.items()
    )
    tasks = protocol.n_tasks * len(protocol.seeds)
    scenarios = "".join(f"<li>{html.escape(s.key)}</li>" for s in protocol.scenarios)
    remarks = "".join(f"<li>{html.escape(note)}</li>" for note in notes)
    page = f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<link rel="icon" href="data:,"><title>metaal evaluation</title><style>{_STYLE}</style></head><body>
<h1>metaal evaluation</h1>
<p>{tasks} paired tasks in each of {len(protocol.scenarios)} scenario(s); every strategy starts from the same
tasks and labels. Accuracy is measured on the {html.escape(protocol.measure_on)} set, which no strategy
sees.</p>
{f"<ul class='note'>{remarks}</ul>" if remarks else ""}
{tables}
{figures}
<h2>How it was made</h2>
<pre>{html.escape(command)}</pre>
<pre>{html.escape(", ".join(f"{k} {v}" for k, v in versions().items()))}</pre>
<ul class="note">{scenarios}</ul>
<p class="note">protocol {protocol.digest}, version {protocol.schema}</p>
</body></html>
"""
    write_atomic(path, page.encode())


def versions() -> dict[str, str]:
    """Versions that may change a figure's last digit."""
    found = {"python": platform.python_version()}
    for name in ("metaal", "torch", "numpy", "scipy", "scikit-learn"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
