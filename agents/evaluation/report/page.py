"""The report: one self-contained HTML page, rendered from an `Outcome`."""

from __future__ import annotations

import base64
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from agents.evaluation.episodes import is_policy
from agents.evaluation.protocol.protocol import Protocol
from agents.evaluation.report.glossary import TERMS, term_of
from agents.evaluation.report.outcome import Outcome
from metaal_env.runtime.files import write_atomic

TEMPLATE = "page.html.jinja"


@dataclass(frozen=True)
class Provenance:
    """Says how the rows came about.

    Attributes:
        judged: one line per policy: where it comes from and why it is judged.
        notes: what was fitted to the data or left out.
        commands: command lines that made the rows.
    """

    judged: Sequence[str] = ()
    notes: Sequence[str] = ()
    commands: Sequence[str] = field(default=())


def write_report(
    shown: Outcome, images: Mapping[str, bytes], protocol: Protocol, provenance: Provenance, path: Path
) -> None:
    """Writes one HTML file without any reference to the outside.

    Args:
        shown: sentences, tables and figures.
        images: file name of each figure → PNG.
        protocol: what was played.
        provenance: how it came about.
        path: of the file.
    """
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    page = environment.get_template(TEMPLATE).render(
        shown=shown,
        images={name: base64.b64encode(png).decode() for name, png in images.items()},
        protocol=protocol,
        policies=[c.name for c in protocol.contestants if is_policy(c.name)],
        specs={c.name: c.spec for c in protocol.contestants},
        tasks=protocol.n_tasks * len(protocol.seeds),
        provenance=provenance,
        terms=TERMS,
        term_of=term_of,
        versions=versions(),
    )
    write_atomic(path, page.encode(errors="backslashreplace"))  # names of files may be no UTF-8


def versions() -> dict[str, str]:
    """Returns the versions that may change a figure's last digit."""
    found = {"python": platform.python_version()}
    for name in ("metaal", "torch", "numpy", "scipy", "scikit-learn"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
