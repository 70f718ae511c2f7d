"""``metaal``'s commands about one's own items: choose which to label next, and know what labels bring."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from agents.acquisition.integrations.label_studio.serve import Serve
from agents.acquisition.tool.compare import Compare
from agents.acquisition.tool.export.command import Export
from agents.acquisition.tool.forecast_command import ForecastCommand
from agents.acquisition.tool.label import label_loop
from agents.acquisition.tool.menu import MAX_NAME
from agents.acquisition.tool.outputs import as_csv
from agents.acquisition.tool.pool_options import ChoiceOptions, PoolOptions
from agents.acquisition.tool.status import Status
from agents.acquisition.tool.suggest_commands import Import, Suggest
from agents.acquisition.tool.web.claims import OVERLAP
from agents.acquisition.tool.web.serve import check_installed, label_page
from agents.acquisition.why.figures import report_figure, save_figure
from agents.acquisition.why.likeness import most_alike, policy_report
from metaal_env.errors import InputError, require_at_least
from metaal_env.runtime.command_line import run_cli, say
from metaal_env.runtime.files import write_atomic


@dataclass(frozen=True)
class Label(ChoiceOptions):
    """Label items in the terminal or the browser, the most useful first; saved after every answer, resumes there."""

    count: int | None = None
    """Stop after this many labels."""
    annotator: str = ""
    """Your name, which is kept with every answer."""
    web: bool = False
    """Label on a page in the browser instead; it is reached from this machine alone."""
    port: int | None = None
    """Port of the page; by default a free one."""
    browser: bool = True
    """Open the page in the browser."""
    overlap: float | None = None
    """Share of the page's items of which a second annotator is asked, where several give their names; 0.1 by
    default."""

    def run(self) -> None:
        self.check(self.policy)
        require_at_least(1, self, "count")
        if self.overlap is not None and not 0 <= self.overlap <= 1:
            raise InputError(f"overlap={self.overlap} must lie in 0…1.")
        if self.web:
            self._check_web()
        else:
            self._check_terminal()
        if len(self.annotator) > MAX_NAME or not (self.annotator.isprintable() or not self.annotator):
            raise InputError(
                f"annotator={self.annotator!r:.80} must be at most {MAX_NAME} characters that can be shown."
            )
        self.check_choice()
        session = self.read()
        choice = self.choice(session.items)
        if self.dry_run:
            return
        x = self.encoded(session.items)
        if self.web:
            overlap = OVERLAP if self.overlap is None else self.overlap
            label_page(
                session,
                x,
                choice,
                port=self.port or 0,
                overlap=overlap,
                browser=self.browser,
                annotator=self.annotator,
            )
        else:
            label_loop(session, x, choice, count=self.count, annotator=self.annotator.strip())

    def _check_web(self) -> None:
        check_installed()
        if self.count is not None:
            raise InputError(f"count={self.count} is for the terminal; --budget ends a session on the page.")
        if self.port is not None and not 0 <= self.port < 2**16:
            raise InputError(f"port={self.port} must lie in 0…65535.")

    def _check_terminal(self) -> None:
        """Refuses options of the page, which the terminal would pass over."""
        given = {
            f"port={self.port}": self.port is not None,
            f"overlap={self.overlap}": self.overlap is not None,
            "browser=False": not self.browser,
        }
        for option in (option for option, is_given in given.items() if is_given):
            raise InputError(f"{option} is for the page in the browser; add --web.")


@dataclass(frozen=True)
class Report(PoolOptions):
    """Show how a policy's scores correlate with each rule's, as labels grow; needs fully labelled data."""

    policy: str = "metaal-pools"
    """Rule, shipped policy, or run folder."""
    budget: int = 30
    """Labels of the played episode."""
    out: Path = Path("policy_report.csv")
    """CSV to write: labels, rule, correlation."""
    figure: Path | None = None
    """Figure to write (.png, .svg, .pdf): rules × labels, coloured by correlation."""

    def run(self) -> None:
        self.check(self.policy, out=self.out, figure=self.figure)
        session = self.read()
        if self.dry_run:
            return
        truth = session.labels()
        if any(label is None for label in truth):
            raise InputError(
                f"data={str(self.data)!r}: a report plays an episode and needs every label; label the rest, "
                "or give a file of the labelled items alone."
            )
        x = self.encoded(session.items)
        found = policy_report(x, truth, policy=self.policy, budget=self.budget)
        rows = [[n, rule, f"{value:.4f}"] for n, rule, value in found]
        write_atomic(self.out, as_csv([["labels", "rule", "correlation"], *rows]))
        if self.figure is not None:
            save_figure(report_figure(found), self.figure)
        for n in sorted({point.labels for point in found}):
            alike = [f"{point.rule} {point.correlation:+.2f}" for point in most_alike(found, n)]
            say(f"{n:4d} labels: " + (", ".join(alike) or "all items score alike"))
        for path in filter(None, (self.out, self.figure)):
            say(f"written to {path}")


Command = (
    Annotated[Suggest, tyro.conf.subcommand("suggest")]
    | Annotated[Import, tyro.conf.subcommand("import")]
    | Annotated[Label, tyro.conf.subcommand("label")]
    | Annotated[Export, tyro.conf.subcommand("export")]
    | Annotated[Status, tyro.conf.subcommand("status")]
    | Annotated[Compare, tyro.conf.subcommand("compare")]
    | Annotated[ForecastCommand, tyro.conf.subcommand("forecast")]
    | Annotated[Report, tyro.conf.subcommand("report")]
    | Annotated[Serve, tyro.conf.subcommand("serve")]
)


def main(args: list[str] | None = None) -> int:
    """Runs a command line and returns the exit code."""

    def run() -> None:
        tyro.cli(Command, prog="metaal", description=__doc__, args=args).run()

    return run_cli(run)


def entry() -> None:
    """Runs the console script ``metaal``."""
    sys.exit(main())
