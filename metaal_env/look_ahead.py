"""Computes what one further label would do to the reward set, for many candidates of every episode at once."""

from __future__ import annotations

import torch
from torch import Tensor

from metaal_env.batched import take_rows
from metaal_env.episode import EpisodeState
from metaal_env.inner_products import InnerProducts
from metaal_env.learners.base import InnerLearner
from metaal_env.learners.columns import Columns
from metaal_env.metrics import Metrics, score, score_logits

MAX_ELEMENTS = 2**22
"""Largest number of floats that one chunk of candidates may hold."""


def look_ahead(
    learner: InnerLearner, state: EpisodeState, positions: Tensor, labels: Tensor, *, exact: bool = True
) -> Metrics:
    """Returns reward-set metrics if (B, C) candidates had (B, C) `labels`, (B, C) each, in chunks of bounded memory.

    Args:
        learner: as it adapted to `state`.
        exact: use the learner's closed form where it has one, O(S·K·R) per candidate by inner products, or O(R);
            False always re-adapts.
    """
    columns, products = None, state.products if exact else None
    if exact and products is None:
        candidates = take_rows(state.embeddings, positions)
        evaluated = learner.embed(state.adapted, state.prepared_reward)
        columns = learner.columns(state.adapted, candidates, evaluated)
    b, n_rewards = state.task.reward_labels.shape
    if products is not None:
        per_candidate = b * state.task.class_mask.shape[1] * n_rewards
    elif columns is None:
        reward = state.prepared_reward
        per_candidate = b * (reward[0].numel() + state.order.shape[1] * reward[0, 0].numel())
    else:
        per_candidate = 8 * b * n_rewards
    step = max(1, MAX_ELEMENTS // max(per_candidate, 1))
    parts = []
    for start in range(0, positions.shape[1], step):
        part = slice(start, start + step)
        if products is not None:
            parts.append(_by_products(learner, state, products, positions[:, part], labels[:, part]))
        elif columns is None:
            parts.append(_by_adaptation(learner, state, positions[:, part], labels[:, part]))
        else:
            parts.append(_by_columns(learner, state, columns, part, labels[:, part]))
    return Metrics(*(torch.cat(column, 1) for column in zip(*parts, strict=True)))


def _by_adaptation(learner: InnerLearner, state: EpisodeState, positions: Tensor, labels: Tensor) -> Metrics:
    b, c = positions.shape
    support, support_labels, mask = state.support
    extra = take_rows(state.prepared, positions).unsqueeze(2)  # (B, C, 1, *F)

    def repeat(x: Tensor) -> Tensor:  # (B, …) → (B·C, …)
        return x.repeat_interleave(c, 0)

    adapted = learner.adapt(
        torch.cat([repeat(support), extra.flatten(0, 1)], 1),
        torch.cat([repeat(support_labels), labels.reshape(-1, 1)], 1),
        torch.cat([repeat(mask), labels.reshape(-1, 1) >= 0], 1),
        repeat(state.task.class_mask),
    )
    logits = learner.predict_each(adapted, state.prepared_reward)
    metrics = score_logits(logits, repeat(state.task.reward_labels))
    return Metrics(*(m.view(b, c) for m in metrics))


def _by_products(
    learner: InnerLearner, state: EpisodeState, products: InnerProducts, positions: Tensor, labels: Tensor
) -> Metrics:
    """The same from inner products alone."""
    longest, order = state.longest, state.order[:, : state.longest]
    now = products.labelled(state.order, state.labels, longest, state.task.class_mask)
    logits = learner.predict_products(products.hypotheses(now, order, positions, labels))  # (B·C, K, R)
    return Metrics(*(metric.view(positions.shape) for metric in score(logits, state.task.reward_labels)))


def _by_columns(
    learner: InnerLearner, state: EpisodeState, columns: Columns, part: slice, labels: Tensor
) -> Metrics:
    """The same from the one logit column that a label changes."""
    target = state.task.reward_labels  # (B, R)
    real = (target >= 0).unsqueeze(1)
    logits = learner.predict(state.adapted, state.prepared_reward)  # (B, R, K)
    true_logit = torch.take_along_dim(logits, target.clamp(min=0).unsqueeze(-1), 2).squeeze(-1)  # (B, R)
    y = labels.clamp(min=0)  # (B, c)
    new = columns.logits(part, y)  # (B, c, R)
    old = torch.take_along_dim(logits.transpose(1, 2), y.unsqueeze(-1), 1)
    new = torch.where((labels >= 0).unsqueeze(-1), new, old)  # a distractor changes nothing
    rest, best_other, best_class = _without(logits, y)
    is_target = target.unsqueeze(1) == y.unsqueeze(-1)  # (B, c, R)
    log_p = torch.where(is_target, new, true_logit.unsqueeze(1)) - torch.logaddexp(rest, new)
    # Ties go to the lower class number, as argmax does.
    wins = (new > best_other) | ((new == best_other) & (y.unsqueeze(-1) < best_class))
    guess = torch.where(wins, y.unsqueeze(-1), best_class)
    hit = (guess == target.unsqueeze(1)) & real
    count = real.sum(-1).clamp(min=1)
    return Metrics(
        accuracy=hit.sum(-1) / count,
        likelihood=(log_p.exp() * real).sum(-1) / count,
        log_loss=(-log_p * real).sum(-1) / count,
    )


def _without(logits: Tensor, y: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Over (B, R, K) logits without class `y` (B, c): log-sum-exp, maximum and its class, (B, c, R) each."""
    columns = []
    for left_out in range(logits.shape[-1]):
        others = logits.clone()
        others[..., left_out] = -torch.inf
        columns.append((torch.logsumexp(others, -1), *others.max(-1)))
    stacked = (torch.stack(column, 1) for column in zip(*columns, strict=True))  # (B, K, R)
    log_sum, top, top_class = (torch.take_along_dim(x, y.unsqueeze(-1), 1) for x in stacked)
    return log_sum, top, top_class
