"""Registers the features of what labels cost, of open batches, of prices and of targets.

Only tasks with such terms show them, and only policies for such tasks take them: elsewhere they are constant.
"""

from __future__ import annotations

import torch
from torch import Tensor

from metaal_env.batched import masked_mean
from metaal_env.features import pool_features, shared  # noqa: F401 (all others register first)
from metaal_env.features.catalogue import item_feature, item_score, pool_feature
from metaal_env.pool.expected_gain import expected_accuracy, present_accuracy
from metaal_env.pool.terms import terms_of
from metaal_env.pool.view import PoolView

TARGET_LIMIT = 1.0
"""Bound of features of the target, for pools that have none."""


@item_score(
    "cheapness",
    "minus the logarithm of its cost",
    high="its label is cheap",
    low="its label is dear",
    terms=("item_costs",),
)
def cheapness(view: PoolView) -> Tensor:
    return -terms_of(view).cost.log()


@item_feature(
    "log_cost",
    "logarithm of its cost, 0 for an item of the middle cost",
    high="its label is dear",
    low="its label is cheap",
    terms=("item_costs",),
)
def log_cost(view: PoolView) -> Tensor:
    return terms_of(view).cost.log()


@item_feature(
    "cost_share",
    "its cost over the money left, at most 2",
    high="its label takes much of the money that is left",
    low="its label takes little of the money that is left",
    terms=("item_costs",),
)
def cost_share(view: PoolView) -> Tensor:
    terms = terms_of(view)
    return (terms.cost / terms.money_left.clamp(min=1e-3).unsqueeze(1)).clamp(max=2)


@item_feature(
    "in_batch",
    "1 if it is in the open batch",
    high="it was picked for the open batch",
    low="it is not in the open batch",
    terms=("batch_size",),
)
def in_batch(view: PoolView) -> Tensor:
    return terms_of(view).pending


@item_feature(
    "near_batch",
    "similarity to the nearest pick of the open batch, middle kernel",
    high="it resembles a pick of the open batch",
    low="it is unlike the open batch",
    terms=("batch_size",),
)
def near_batch(view: PoolView) -> Tensor:
    pending = terms_of(view).pending
    if view.order.shape[1] == 0:
        return torch.zeros_like(view.embeddings[..., 0])
    opened = pending.gather(1, view.order.clamp(min=0)) & view.order_mask  # (B, S)
    nearest = view.labelled_sq_dist.masked_fill(~opened.unsqueeze(-1), torch.inf).amin(1)
    return torch.exp(-nearest / (shared.WIDTHS[1] * view.geometry.mean_sq_dist).unsqueeze(1))


@pool_feature("batch_left", "share of the open batch that is still to be picked", terms=("batch_size",))
def batch_left(view: PoolView) -> Tensor:
    terms = terms_of(view)
    return terms.batch_left / terms.batch_size


@pool_feature("log_batch", "log of the batch size, over 3", terms=("batch_size",))
def log_batch(view: PoolView) -> Tensor:
    return terms_of(view).batch_size.to(view.embeddings.dtype).log() / 3


@pool_feature("log_price", "5 + log of the price of a label, 0 where labels are free", terms=("price",))
def log_price(view: PoolView) -> Tensor:
    price = terms_of(view).price
    return torch.where(price > 0, 5 + price.clamp(min=1e-9).log(), 0.0)


@pool_feature(
    "price_of_rest", "price of all labels that the budget still allows", budget=True, terms=("price",)
)
def price_of_rest(view: PoolView) -> Tensor:
    terms = terms_of(view)
    return terms.price * terms.money_left


@pool_feature(
    "mean_confidence", "mean largest class probability: the learner's own guess of its accuracy",
    terms=("price", "target"),
)  # fmt: skip
def mean_confidence(view: PoolView) -> Tensor:
    return masked_mean(view.beliefs.top[0].unsqueeze(-1), view.valid).squeeze(-1)


@pool_feature("target", "accuracy at which the episode ends, at most 1", terms=("target",))
def target(view: PoolView) -> Tensor:
    return terms_of(view).target.clamp(max=TARGET_LIMIT)


@pool_feature(
    "present_accuracy",
    "accuracy on the pool that is expected now, averaged over partitions",
    terms=("price", "target"),
)
def expected_now(view: PoolView) -> Tensor:
    return present_accuracy(view)


@pool_feature("best_gain", "gain in expected accuracy by the best single label", terms=("price", "target"))
def best_gain(view: PoolView) -> Tensor:
    after = expected_accuracy(view).masked_fill(~view.selectable, -1.0).amax(1)
    return (after - present_accuracy(view)).clamp(min=0)
