"""Pictures of an episode: the pool in two dimensions with the picks numbered, or a few lines of text."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from metaal_env.pool.view import PoolView
from metaal_env.thumbnails import draw_images

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def project(view: PoolView, row: int = 0) -> np.ndarray:
    """Returns (n, 2) coordinates of one episode's real items: its two principal components, signs fixed."""
    items = view.embeddings[row][view.valid[row]].detach().cpu().double()
    centred = items - items.mean(0)
    if min(centred.shape) < 2:
        return torch.nn.functional.pad(centred, (0, 2))[:, :2].numpy()
    _, _, axes = torch.linalg.svd(centred, full_matrices=False)
    axes = axes[:2]
    axes = axes * axes.gather(1, axes.abs().argmax(1, keepdim=True)).sign()
    return (centred @ axes.T).numpy()


def draw_pool(axes: Axes, view: PoolView, row: int = 0, images: Tensor | None = None) -> None:
    """Draws one episode: grey = unlabelled, colours = revealed classes, numbers = the order of the picks.

    Args:
        axes: matplotlib axes to draw on.
        view: view of B pools.
        row: the pool to draw.
        images: (N, C, H, W) uint8 images of the pool's items, which are drawn in place of points.
    """
    valid = view.valid[row].cpu().numpy()
    point_of = np.cumsum(valid) - 1  # pool position → row of `points`
    points, labels = project(view, row), view.labels[row].cpu().numpy()[valid]
    # A class keeps its colour for the whole episode; a distractor is black.
    picks = [(point_of[p], labels[point_of[p]]) for p in view.order[row].cpu().numpy() if p >= 0]
    colours = {item: f"C{label % 10}" if label >= 0 else "black" for item, label in picks}
    if images is not None:
        draw_images(axes, points, images[view.valid[row].to(images.device)], colours)
    else:
        axes.scatter(points[:, 0], points[:, 1], s=22, color="0.8", linewidths=0)
        for number, (item, colour) in enumerate(colours.items(), start=1):
            x, y = points[item]
            axes.scatter(x, y, s=110, color=colour, linewidths=0)
            axes.text(x, y, str(number), ha="center", va="center", fontsize=7, color="white")
    axes.set_xticks([])
    axes.set_yticks([])


def title(view: PoolView, accuracy: float, row: int = 0) -> str:
    """Returns one line: labels bought, classes seen, accuracy on the reward set."""
    used = int(view.budget[row] - view.budget_left[row])
    return (
        f"{used}/{int(view.budget[row])} labels · {int(view.seen[row].sum())}/{int(view.way[row])} classes seen · "
        f"accuracy {accuracy:.2f}"
    )


def render_rgb(view: PoolView, accuracy: float, row: int = 0, images: Tensor | None = None) -> np.ndarray:
    """Returns a (400, 400, 3) uint8 picture of one episode; see `draw_pool`."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4, 4), dpi=100, layout="constrained")
    canvas = FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    draw_pool(axes, view, row, images)
    axes.set_title(title(view, accuracy, row), fontsize=8)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()


def render_ansi(view: PoolView, accuracy: float, row: int = 0) -> str:
    """Returns the title, and the picks in order with the class that each revealed."""
    picks = [int(p) for p in view.order[row] if p >= 0]
    shown = [f"{p}→{int(view.labels[row, p]) if view.labels[row, p] >= 0 else '–'}" for p in picks]
    return title(view, accuracy, row) + "\npicks (item→class): " + (" ".join(shown) or "none yet") + "\n"
