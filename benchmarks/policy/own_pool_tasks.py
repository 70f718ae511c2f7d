"""Tasks as on users' own pools: classes that nobody has named, and vectors and classifiers as users have them.

In the benchmark's tasks a policy is told all classes, sees unit vectors, and its learner has an opinion about classes
without a label. On an own pool the classes appear on the way, vectors are taken as they are, and the user's classifier
knows of nothing but the classes that it was fitted to.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

from agents.acquisition.own_head import centred, head_for
from agents.training.task_mixture import ODD, RARE_SHARES, TWO_CLASSES
from metaal_env.batched import gather, take_rows
from metaal_env.core import Core
from metaal_env.datasets.base import ClassDataset
from metaal_env.datasets.sources.synthetic import log_uniform
from metaal_env.episode import EpisodeState
from metaal_env.learners.linear import Logistic
from metaal_env.pool.class_count import cautious_class_count
from metaal_env.pool.view import PoolView
from metaal_env.tasks import TaskConfig

REGULARISATIONS = (0.003, 1.0)
"""Range of the weight of ½‖W‖² for vectors of mean squared length 1: scikit-learn's default on the vectors of the
training data as they are, from raw pixels to sentence embeddings."""

ABSENT = float(np.log(1e-30))
"""Logit of a class to which a classifier gives no probability, as in `PoolView.from_arrays`."""

POOLS = (150, 1200)
"""Range of the pools' sizes."""

NAMED = 1 / 4
"""Share of the parts in which all classes are known in advance."""


class UserHead(Logistic):
    """Fits logistic regression with an intercept to vectors whose lengths count, as scikit-learn's does."""

    def __init__(self, input_shape: tuple[int, ...], *, regularisation: float):
        super().__init__(input_shape, regularisation=regularisation, intercept=True, iterations=30)

    def prepare(self, inputs: Tensor) -> Tensor:
        return inputs.flatten(1)


def user_vectors(core: Core, rng: np.random.Generator) -> Tensor:
    """Returns the (M, D) items of a core as a user may have them, of mean squared length 1.

    Images are raw pixels or the embeddings of the core's learner; vectors are as they are or with standardised columns.
    """
    inputs = core.dataset.inputs
    if core.dataset.modality == "image":
        x = (
            core.prepared.flatten(1)
            if rng.random() < 0.5 and len(core.prepared[0].shape) == 1
            else inputs.flatten(1)
        )
    else:
        x = inputs.flatten(1).float()
        if x.shape[1] <= 256 and rng.random() < 0.5:
            x = (x - x.mean(0)) / x.std(0).clamp(min=1e-6)
    x = x.float()
    return x / x.square().sum(1).mean().sqrt().clamp(min=1e-12)


class OwnPoolCore(Core):
    """A core whose strategies see its pools as `agents.acquisition.query` shows a user's.

    Args:
        core: where the data and the reward come from.
        guided: whether strategies see the probabilities of the classifier that is judged; else those of metaal's own
            head.
        named: whether all classes are known in advance.
        rng: draws the vectors and the classifier's regularisation.
    """

    def __init__(self, core: Core, *, guided: bool, named: bool, rng: np.random.Generator):
        x = user_vectors(core, rng)
        data = ClassDataset(
            name=core.dataset.name,
            inputs=x,
            labels=core.dataset.labels,
            class_names=core.dataset.class_names,
            groups=core.dataset.groups,
            modality="vector",
        )
        learner = UserHead((x.shape[1],), regularisation=log_uniform(rng, *REGULARISATIONS))
        super().__init__(data, learner, core.config, core.reward, device=core.device)
        self.guided, self.named = guided, named
        self.head = cast(Logistic, head_for(x))
        self.of_head = self.head.prepare_all(centred(x))
        self.least = cautious_class_count(x[torch.from_numpy(rng.permutation(len(x))[:256])])

    def view(self, state: EpisodeState) -> PoolView:
        view = super().view(state)
        if not len(view):
            return view
        view = replace(view, learner=None, prepared=None, adapt=None)
        width = view.class_mask.shape[1]
        if not self.named:
            seen = view.seen.sum(1)
            width = max(self.least, int(seen.max()), round(float(seen.double().mean())) + 1, 2)
        return as_own_pool(view, width, self._own_logits(state, view), self.guided)

    def _own_logits(self, state: EpisodeState, view: PoolView) -> tuple[Tensor, Tensor]:
        """Returns the (B, N, K) logits of metaal's own head, and its (B, N, 1) logit of a class without a label."""
        prepared = gather(self.of_head, state.task.pool)
        place = view.order.clamp(min=0)
        known = torch.take_along_dim(view.labels, place, 1)
        mask = view.order_mask & (known >= 0)
        adapted = self.head.adapt(take_rows(prepared, place), known, mask, view.class_mask)
        return self.head.predict(adapted, prepared), self.head.unseen_logit


def as_own_pool(view: PoolView, width: int, own: tuple[Tensor, Any], guided: bool) -> PoolView:
    """Shows a view as that of a user's pool with `width` classes, of which those with labels come first.

    Args:
        own: (B, N, K) logits of metaal's own head, which stands in while fewer than two classes have a label, and its
            logit of a class without a label.
        guided: whether the view's own logits count from the second class on; else the head's do.
    """
    logits, unseen = own
    b, k = view.class_mask.shape
    seen = view.seen
    order = torch.argsort((~seen).long(), dim=1, stable=True)  # classes with labels first
    place = torch.argsort(order, dim=1)
    labels = torch.where(view.labels >= 0, place.gather(1, view.labels.clamp(min=0)), view.labels)
    column = torch.arange(max(k, width), device=view.device)
    open_ = column >= seen.sum(1, keepdim=True)  # (B, K')

    def sorted_(values: Tensor, absent: Any) -> Tensor:
        wide = torch.nn.functional.pad(
            values.gather(2, order.unsqueeze(1).expand_as(values)), (0, max(0, width - k))
        )
        return torch.where(open_.unsqueeze(1), absent, wide)[..., :width]

    shown = sorted_(logits, unseen)
    if guided:
        probs = (
            view.logits.masked_fill(~seen.unsqueeze(1), -torch.inf).log_softmax(-1).nan_to_num(neginf=ABSENT)
        )
        two = (seen.sum(1) >= 2).view(-1, 1, 1)
        shown = torch.where(two, sorted_(probs, torch.tensor(ABSENT)).clamp(min=ABSENT), shown)
    return replace(
        view,
        logits=shown,
        labels=labels,
        class_mask=torch.ones(b, width, dtype=torch.bool, device=view.device),
    )


def own_pool_shape(base: TaskConfig, data: ClassDataset, rng: np.random.Generator) -> TaskConfig:
    """Draws the shape of a task like a user's: a pool of 150 to 1,200 items, or what there is, and 30 labels to buy.

    A quarter has two classes, half of these with one of 1–10 %, the others 3–20 (2 where there are no more),
    log-uniformly. Class shares are equal in a quarter of the draws, else from Dirichlet(.3), (1) or (3). In one draw of
    six there are initial labels, in one of twelve wrong ones.
    """
    n_classes, sizes = data.n_classes, np.bincount(data.labels.numpy())
    two = rng.random() < TWO_CLASSES
    way = 2 if two else round(log_uniform(rng, min(3, n_classes), min(20, n_classes)))
    initial = int(rng.integers(1, way + 1)) if rng.random() < ODD else 0
    return replace(
        base,
        way=way,
        budget=30,
        pool_size=round(log_uniform(rng, *POOLS)),
        class_concentration=float(rng.choice([0.3, 1.0, 3.0, np.inf])),
        rare_share=log_uniform(rng, *RARE_SHARES) if two and rng.random() < 0.5 else 0.0,
        label_noise=0.1 if rng.random() < ODD / 2 else 0.0,
        distractors=0.0,
        initial_labels=initial,
        reward_per_class=int(np.clip(np.median(sizes) // 3, 2, 60 if two else 30)),
        test_per_class=1,
    )
