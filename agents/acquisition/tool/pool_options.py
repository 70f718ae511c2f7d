"""Options that every command about a pool takes, and what is read by them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tyro

from agents.acquisition.items.encoders import ENCODERS, EncoderName, encode, resolve_encoder, with_embeddings
from agents.acquisition.items.items import Items
from agents.acquisition.items.options import ReadOptions
from agents.acquisition.items.read_items import read_items
from agents.acquisition.policies import load_policy
from agents.acquisition.tool.choice import Choice
from agents.acquisition.tool.outputs import check_folders, check_outputs
from agents.acquisition.tool.session import Session, labels_path
from agents.acquisition.why.figures import check_figure_path
from metaal_env.errors import InputError, require_at_least
from metaal_env.runtime.command_line import say


@dataclass(frozen=True, kw_only=True)
class PoolOptions(ReadOptions):
    """Options that every command about a pool takes."""

    data: tyro.conf.Positional[Path]
    """Your items: .csv, .jsonl, .parquet, .txt with a text a line, .npz (X, optional y), .h5, a folder of images or
    sounds, and others; docs/formats.md lists all."""
    labels: Path | None = None
    """CSV of answers; by default <data>.labels.csv beside the data. Labels in the data itself count too."""
    encoder: EncoderName = "auto"
    """How items become vectors; auto takes the best that is installed."""
    embeddings: Path | None = None
    """Your own vectors instead of an encoder's: .npy with a row per item in the data's order (files by name), or
    .npz with X and ids."""
    classes: str | None = None
    """Classes that are known in advance, e.g. ham,spam."""
    same_ids: bool = False
    """Names of items (rows, in answers of earlier versions) still name the same items although the data changed."""
    dry_run: bool = False
    """Show what was understood of the data and the answers, and do nothing."""
    overwrite: bool = False
    """Replace outputs that this tool did not write; data and answers are never written over."""

    def class_names(self) -> tuple[str, ...]:
        """Returns the classes that are known in advance. Raises: `InputError` for an empty or repeated one."""
        names = tuple(name.strip() for name in self.classes.split(",")) if self.classes is not None else ()
        if not all(names) or len(set(names)) < len(names):
            raise InputError(f"classes={self.classes!r} must be different names with commas between them.")
        return names

    def labels_file(self) -> Path:
        """Returns the file of answers."""
        return self.labels or labels_path(self.data)

    def check(self, policy: str | None = None, *, keeps: Path | None = None, **outputs: Path | None) -> None:
        """Refuses outputs that would destroy something, and figures in no known format.

        Args:
            policy: The policy's name or place; places are files that the command reads.
            keeps: An output of which the command keeps a copy, once people filled it in.
            outputs: Option → file to be written.

        Raises:
            InputError, FileError: see `check_outputs` and `check_folders` of `outputs`.
        """
        labels = self.labels_file()
        check_figure_path(outputs.get("figure"))
        reads = [self.data, labels, *self.further_reads()]
        if self.embeddings is not None:
            reads.append(self.embeddings)
        if policy is not None:
            reads += [Path(policy), Path(policy.rpartition(":")[0] or policy)]
        check_outputs({"labels": labels}, [self.data], overwrite=True, keeps=labels)
        check_outputs(outputs, reads, self.overwrite, keeps)
        check_folders(outputs)

    def further_reads(self) -> list[Path]:
        """Returns files that the command reads besides data and answers."""
        return []

    def read(self) -> Session:
        """Reads data and answers, and prints one line about each."""
        items = read_items(self.data, self)
        file = self.labels_file()
        session = Session.open(file, items, classes=self.class_names(), same_ids=self.same_ids)
        say(items.understood)
        say(f"vectors: {self.described_encoder(items)}.")
        say(f"answers: {describe(session)}")
        for note in session.notes:
            say(note)
        return session

    def encoded(self, items: Items) -> np.ndarray:
        """Returns (N, D) vectors of the items."""
        if self.embeddings is not None:
            items = with_embeddings(items, self.embeddings)
        return encode(items, self.encoder)

    def described_encoder(self, items: Items) -> str:
        """Returns the encoder's name and what it does. Raises: `InputError` for one of another kind of items."""
        if self.embeddings is not None:
            if self.encoder not in ("auto", "raw"):
                raise InputError(f"encoder={self.encoder!r} and embeddings exclude each other; give one.")
            return f"rows of {self.embeddings}"
        name = resolve_encoder(items, self.encoder)
        return f"{name}, {ENCODERS[name]}"


@dataclass(frozen=True, kw_only=True)
class ChoiceOptions(PoolOptions):
    """Options of the commands that choose items."""

    policy: str | None = None
    """Rule, shipped policy, or run folder; by default metaal-pools."""
    budget: float | None = None
    """Labels you will buy in all, those known included; choosing ends there. Money where --cost-column names prices."""
    yardstick: int = 0
    """Items to draw at random, before any is chosen; they measure the accuracy and never guide the choice."""

    per_group: int | None = None
    """Most items of a group of --group-column that are chosen together."""

    def choice(self, items: Items) -> Choice:
        """Returns what is to be chosen. Raises: `InputError` as `Choice.of_items`."""
        return Choice.of_items(
            items, self.policy, self.budget, self.class_names(), self.yardstick, self.per_group
        )

    def check_choice(self) -> None:
        """Refuses numbers out of range, and a policy that cannot be loaded. Raises: `InputError`."""
        require_at_least(0, self, "yardstick")
        require_at_least(1 if self.cost_column is None else 0, self, "budget")
        load_policy(self.policy)


def describe(session: Session) -> str:
    """Returns one line about the answers."""
    answers = session.answers.values()
    if not answers:
        return f"none yet; they go to {session.path}."
    given = sum(answer.label is not None for answer in answers)
    yardstick = int(session.yardstick().sum())
    parts = [f"{given} labels", f"{len(answers) - given} skipped"]
    parts += [f"{yardstick} of the labels drawn at random"] if yardstick else []
    return f"{session.path}: {', '.join(parts)}, {len(session.counts())} classes."
