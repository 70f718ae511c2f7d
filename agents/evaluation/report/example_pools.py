"""An example pool: its items in two dimensions and as people see them, kept so that redrawing needs no data."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from agents.evaluation.protocol.cells import core_of
from agents.evaluation.protocol.protocol import Protocol
from agents.evaluation.protocol.scenario import Scenario
from metaal_env import render
from metaal_env.datasets.base import ClassDataset
from metaal_env.errors import InputError
from metaal_env.runtime.files import read_json

MAX_PICTURES = 300
"""Largest pool whose pictures are kept."""

PIXELS = 32
"""Longest side of a kept picture."""

MAX_TEXT = 200
"""Characters kept of a text."""

NO_CLASS = "no class"
"""What a distractor is called."""


@dataclass(frozen=True)
class ExamplePool:
    """The pool of one task; N items.

    Attributes:
        x, y: (N,) coordinates on the two principal components.
        label: (N,) true classes; −1 for distractors.
        seed: of the task.
        classes: name of each class, by label.
        pictures: (N,) base64 PNG of each item; empty where items are no images.
        texts: (N,) text of each item; empty where items are no texts.
    """

    x: list[float]
    y: list[float]
    label: list[int]
    seed: int
    classes: list[str]
    pictures: list[str]
    texts: list[str]

    def __post_init__(self) -> None:
        points = np.array([self.x, self.y, self.label], dtype=float)
        if points.ndim != 2 or not np.isfinite(points).all() or type(self.seed) is not int:
            raise ValueError("coordinates")
        if not all(type(label) is int and -1 <= label < len(self.classes) for label in self.label):
            raise ValueError("labels")
        for items in (self.pictures, self.texts):
            if len(items) not in (0, len(self.x)):
                raise ValueError("items")
        if not all(isinstance(text, str) for text in (*self.classes, *self.texts)):
            raise ValueError("texts")
        for picture in self.pictures:
            opened(picture)

    def class_of(self, item: int) -> str:
        """Returns the name of an item's class."""
        return self.classes[self.label[item]] if self.label[item] >= 0 else NO_CLASS


def opened(picture: str) -> Image.Image:
    """Returns a kept picture. Raises `ValueError` when it is no small PNG: the file may come from a stranger."""
    try:
        image = Image.open(io.BytesIO(base64.b64decode(picture, validate=True)), formats=("PNG",))
        if max(image.size) > PIXELS:
            raise ValueError("a picture is too large")
        image.load()
    except (OSError, SyntaxError, Image.DecompressionBombError) as error:
        raise ValueError("no picture") from error
    return image


@torch.no_grad()
def make_example_pool(scenario: Scenario, seed: int, device: str = "cpu") -> ExamplePool:
    """Draws the task of `seed` and keeps what is shown of its pool."""
    core = core_of(scenario, device)
    state = core.reset(core.sampler.sample([np.random.default_rng(seed)]))
    task = state.task
    flat = render.project(core.view(state))
    real = task.pool_mask[0]
    items = task.pool[0][real].cpu()
    pictures, texts = _items(core.dataset, items)
    return ExamplePool(
        x=np.round(flat[:, 0], 5).tolist(),
        y=np.round(flat[:, 1], 5).tolist(),
        label=task.pool_labels[0][real].tolist(),
        seed=seed,
        classes=[core.dataset.class_names[c] for c in task.classes[0].tolist() if c >= 0],
        pictures=pictures,
        texts=texts,
    )


def _items(data: ClassDataset, items: torch.Tensor) -> tuple[list[str], list[str]]:
    """Returns pictures and texts of the items, each empty where there are none."""
    if data.texts is not None:
        return [], [data.texts[i][:MAX_TEXT] for i in items.tolist()]
    if data.modality == "image" and len(items) <= MAX_PICTURES:
        return [_png(data.inputs[i].cpu()) for i in items.tolist()], []
    return [], []


def _png(image: torch.Tensor) -> str:
    """Returns a (C, H, W) uint8 image as base64 PNG of at most `PIXELS` pixels a side."""
    channels = image.permute(1, 2, 0).numpy()
    shown = Image.fromarray(channels[..., 0] if channels.shape[2] in (1, 2) else channels[..., :3].copy())
    shown.thumbnail((PIXELS, PIXELS))
    out = io.BytesIO()
    shown.save(out, format="PNG")
    return base64.b64encode(out.getvalue()).decode()


def example_pools(protocol: Protocol, device: str = "cpu") -> dict[str, dict[str, Any]]:
    """Returns scenario key → the pool of its first task as JSON, for the first scenario."""
    scenario = protocol.scenarios[0]
    _, _, task_seeds = next(iter(protocol.blocks()))
    return {scenario.key: asdict(make_example_pool(scenario, task_seeds[0], device))}


def read_examples(path: Path) -> Mapping[str, ExamplePool]:
    """Reads what `example_pools` made; nothing when the file is missing or unusable, for it only decorates."""
    try:
        return {key: ExamplePool(**raw) for key, raw in read_json(path, "examples").items()}
    except (InputError, KeyError, TypeError, ValueError, IndexError):
        return {}
