"""``metaal suggest | label | status | report | serve``: which of one's own items to label next, and labelling them."""

from __future__ import annotations

import csv
import io
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import tyro

from agents.acquisition.integrations.label_studio import AcquisitionBackend
from agents.acquisition.integrations.label_studio_http import make_server
from agents.acquisition.items.encoders import EncoderName, encode
from agents.acquisition.items.read_items import Items, read_items
from agents.acquisition.policies import load_policy
from agents.acquisition.query import select
from agents.acquisition.tool.progress import NEXT, progress
from agents.acquisition.tool.session import Session, label_loop
from agents.acquisition.why.figures import check_figure_path, report_figure, save_figure, why_figure
from agents.acquisition.why.likeness import most_alike, policy_report
from agents.policy.reasons import in_words, reasons
from metaal_env.errors import InputError
from metaal_env.runtime.command_line import run_cli
from metaal_env.runtime.files import write_atomic


@dataclass(frozen=True)
class Common:
    """What every command reads."""

    data: tyro.conf.Positional[Path]
    """Your items: .npz (X, optional y), .npy, .csv, .txt with one text a line, or a folder of images."""
    labels: Path | None = None
    """CSV of answers; by default <data>.labels.csv beside the data. Labels in the data itself count too."""
    encoder: EncoderName = "auto"
    """How items become vectors; auto takes the best that is installed."""
    label_column: str | None = None
    """Column of a CSV file that holds labels, empty where unknown."""
    text_column: str | None = None
    """Column of a CSV file that holds the text to label."""

    def load(self) -> tuple[Items, np.ndarray, Session]:
        items = read_items(self.data, label_column=self.label_column, text_column=self.text_column)
        default = self.data.with_name(self.data.name + ".labels.csv")
        session = Session.open(self.labels or default, items)
        return items, encode(items, self.encoder), session


@dataclass(frozen=True)
class Suggest(Common):
    """Write the items to label next, best first, with scores and reasons."""

    k: int = 10
    """Items to suggest; chosen together, so that they are not near-copies."""
    policy: str | None = None
    """Rule, shipped policy, or run folder; by default uherding; try metaal-general on MiniLM's vectors."""
    budget: int | None = None
    """Labels you will buy in all."""
    out: Path = Path("suggestions.csv")
    """CSV to write: rank, item, score, why, shown."""
    figure: Path | None = None
    """Figure to write (.png, .svg, .pdf): per suggestion what raised its score."""

    def run(self) -> None:
        check_figure_path(self.figure)
        items, x, session = self.load()
        left = session.open_positions(items)
        if not len(left):
            raise InputError(f"data={str(self.data)!r}: every item is labelled or skipped.")
        if self.k < 1:
            raise InputError(f"k={self.k} must be at least 1.")
        found = select(
            x,
            session.labels(items),
            candidates=left,
            batch_size=min(self.k, len(left)),
            policy=self.policy,
            missing_label=None,
            budget=self.budget,
        )
        rows: list[list[object]] = [["rank", "item", "score", "why", "shown"]]
        for rank, (pick, score) in enumerate(zip(found.picks, found.scores, strict=True), 1):
            why = in_words(reasons(found.strategy, found.views[rank - 1], found.places[rank - 1]))
            rows.append([rank, items.ids[pick], f"{score:.6g}", why, items.shown[pick]])
            print(f"{rank:4d}  {items.ids[pick]}  {items.shown[pick][:70]}\n      {why}")
        _write_csv(self.out, rows)
        print(f"written to {self.out}")
        if self.figure is not None:
            names = [f"{items.ids[pick]}: {items.shown[pick]}" for pick in found.picks]
            save_figure(why_figure(found, names), self.figure)
            print(f"written to {self.figure}")


@dataclass(frozen=True)
class Label(Common):
    """Label items in the terminal, the most useful first; saved after every answer, resumes where you left."""

    count: int | None = None
    """Stop after this many labels."""
    policy: str | None = None
    """Rule, shipped policy, or run folder; by default uherding; try metaal-general on MiniLM's vectors."""
    budget: int | None = None
    """Labels you will buy in all."""

    def run(self) -> None:
        items, x, session = self.load()
        label_loop(session, items, x, policy=self.policy, count=self.count, budget=self.budget)


@dataclass(frozen=True)
class Status(Common):
    """Labels so far, estimated accuracy, what the next ten would bring, and whether to stop."""

    def run(self) -> None:
        items, x, session = self.load()
        y = session.labels(items)
        state = progress(x, y)
        n = sum(state.counts.values())
        skipped = sum(label is None for label in session.answers.values())
        print(f"{n} of {len(items)} items labelled, {skipped} skipped, {len(state.counts)} classes")
        for name, count in sorted(state.counts.items(), key=lambda pair: -pair[1]):
            print(f"  {count:5d}  {name}")
        if state.accuracy is not None and state.interval is not None:
            low, high = state.interval
            print(f"estimated accuracy {state.accuracy:.1%} (95 %: {low:.1%} to {high:.1%}; leave-one-out)")
        if state.gain is not None and state.gain_interval is not None:
            low, high = state.gain_interval
            print(
                f"estimated gain by the next {NEXT} labels {state.gain:.1%} (95 %: {low:.1%} to {high:.1%})"
            )
        print(state.advice)


@dataclass(frozen=True)
class Report(Common):
    """Rank correlation of a policy's scores with each rule's, as labels grow; needs fully labelled data."""

    policy: str = "metaal-general"
    """Rule, shipped policy, or run folder."""
    budget: int = 30
    """Labels of the played episode."""
    out: Path = Path("policy_report.csv")
    """CSV to write: labels, rule, correlation."""
    figure: Path | None = None
    """Figure to write (.png, .svg, .pdf): rules × labels, coloured by correlation."""

    def run(self) -> None:
        check_figure_path(self.figure)
        items, x, session = self.load()
        truth = session.labels(items)
        if any(label is None for label in truth):
            raise InputError(f"data={str(self.data)!r}: a report plays an episode and needs every label.")
        found = policy_report(x, truth, policy=self.policy, budget=self.budget)
        for n in sorted({point.labels for point in found}):
            alike = [f"{point.rule} {point.correlation:+.2f}" for point in most_alike(found, n)]
            print(f"{n:4d} labels: " + ", ".join(alike))
        header: list[object] = ["labels", "rule", "correlation"]
        _write_csv(self.out, [header, *([n, rule, f"{value:.4f}"] for n, rule, value in found)])
        print(f"written to {self.out}")
        if self.figure is not None:
            save_figure(report_figure(found), self.figure)
            print(f"written to {self.figure}")


@dataclass(frozen=True)
class Serve:
    """Score tasks for Label Studio: add http://<host>:<port> as its ML backend, order by uncertainty."""

    key: str = "text"
    """Entry of a task's data that is the item: a text or a list of numbers."""
    policy: str | None = None
    """Rule, shipped policy, or run folder; by default uherding; try metaal-general on MiniLM's vectors."""
    encoder: EncoderName = "auto"
    """How texts become vectors."""
    host: str = "127.0.0.1"
    """Address to listen on; there is no authentication, so keep it private."""
    port: int = 9090
    """Port to listen on."""

    def run(self) -> None:
        load_policy(self.policy)  # complain now, not at the first request
        server = make_server(AcquisitionBackend(self.key, self.policy, self.encoder), self.host, self.port)
        print(f"listening on http://{self.host}:{server.server_port}; Ctrl-C stops.")
        server.serve_forever()


Command = (
    Annotated[Suggest, tyro.conf.subcommand("suggest")]
    | Annotated[Label, tyro.conf.subcommand("label")]
    | Annotated[Status, tyro.conf.subcommand("status")]
    | Annotated[Report, tyro.conf.subcommand("report")]
    | Annotated[Serve, tyro.conf.subcommand("serve")]
)


def _write_csv(path: Path, rows: list[list[object]]) -> None:
    buffer = io.StringIO()
    csv.writer(buffer).writerows(rows)
    write_atomic(path, buffer.getvalue().encode())


def main(args: list[str] | None = None) -> int:
    """The console script; returns the exit code."""

    def run() -> None:
        tyro.cli(Command, prog="metaal", description=__doc__, args=args).run()

    return run_cli(run)


def entry() -> None:
    """What the console script ``metaal`` calls."""
    sys.exit(main())
