"""The inner loop of MAML and its relatives: a few gradient steps per episode, batched, differentiable."""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from metaal_env.errors import InputError
from metaal_env.learners.base import EXCLUDED_LOGIT, Adapted, InnerLearner, one_hot_support
from metaal_env.learners.bodies import Body, Kind

Depth = Literal["head", "last_block", "all"]

CPU_EPISODES = 16
"""Episodes adapted together on a CPU; chosen for the most adaptations
per second (`benchmarks/speed/inner_loop.py`)."""


class GradientLearner(InnerLearner):
    """Adapts a head and, by `depth`, the last block or all of the body to the support's cross-entropy.

    `MAML`, `FinnMAML` and `MetaLSTM` define the start of the head (`start_head`), its logits (`head_logits`) and the
    update of a tensor by its gradient (`update_rule`). Every class without a label has the constant, meta-learned
    logit u.

    Args:
        input_shape: (C, H, W) or (D,).
        body: ``"conv4"``, ``"mlp"``, ``"identity"`` or None for the modality's default.
        width: filters or hidden units of the body.
        depth: part that the gradient steps adapt. ``"head"`` adapts the head alone (ANIL, Raghu et al. 2020), so
            that embeddings are computed once.
        steps: number of inner gradient steps.
        first_order: ignore second derivatives in the meta-gradient (FOMAML).
        inner_lr: initial inner step size.
        rates: one positive rate per ``"tensor"`` and step (MAML++, Antoniou et al. 2019), or one of either sign
            per ``"parameter"``, the same at all steps (Meta-SGD, Li et al. 2017); heads share theirs over
            classes.
        multi_step_until: meta-updates during which the query loss after every step counts, from equal weights
            linearly to the last step alone (multi-step loss of MAML++); 0 = the last step always.
        first_order_until: meta-updates before which second derivatives are ignored (derivative-order
            annealing of MAML++).

    Raises:
        InputError: unknown depth or rates, or a depth that the body does not have.
    """

    def __init__(
        self,
        input_shape: tuple[int, ...],
        *,
        body: Kind | None = None,
        width: int = 32,
        depth: Depth = "head",
        steps: int = 1,
        first_order: bool = False,
        inner_lr: float = 0.05,
        rates: Literal["tensor", "parameter"] = "tensor",
        multi_step_until: int = 0,
        first_order_until: int = 0,
    ):
        super().__init__()
        if depth not in ("head", "last_block", "all"):
            raise InputError(f"depth={depth!r} is unknown; choose one of: head, last_block, all.")
        if rates not in ("tensor", "parameter"):
            raise InputError(f"rates={rates!r} is unknown; choose one of: tensor, parameter.")
        self.body = Body(body, input_shape, width)
        n_blocks = len(self.body.blocks)
        if depth != "head" and n_blocks == 0:
            raise InputError(
                f"depth={depth!r} needs a body with blocks; use depth='head' with body='identity'."
            )
        self.depth, self.steps, self.first_order = depth, steps, first_order
        self.multi_step_until, self.first_order_until = multi_step_until, first_order_until
        self.update = 0
        self.static_embedding = depth == "head" or steps == 0
        # Blocks before `split` are never adapted and run once, in `prepare`.
        self.split = {"head": n_blocks, "last_block": n_blocks - 1, "all": 0}[depth]
        self.adapted_names = [
            f"{i}.{name}"
            for i in range(self.split, n_blocks)
            for name, _ in self.body.blocks[i].named_parameters()
        ]
        with torch.no_grad():
            self.size = self.body(self.body.preprocess(torch.zeros(2, *input_shape))).flatten(1).shape[1]
        self.unseen_logit = nn.Parameter(torch.tensor(0.0))
        self.log_lr, self.lr = nn.ParameterDict(), nn.ParameterDict()
        if steps:
            self._make_rates(rates, inner_lr)

    def _make_rates(self, rates: str, inner_lr: float) -> None:
        weights = dict(self.body.blocks.named_parameters())
        # Without the class dimension, so that one set serves any number of classes.
        shapes = {name: weights[name].shape for name in self.adapted_names} | self.head_shapes()
        for name, shape in shapes.items():
            key = name.replace(".", "_")
            if rates == "tensor":
                self.log_lr[key] = nn.Parameter(torch.full((self.steps,), math.log(inner_lr)))
            else:
                self.lr[key] = nn.Parameter(torch.full(shape, inner_lr))

    def head_shapes(self) -> dict[str, torch.Size]:
        """Returns the shapes of the head's adapted tensors for one class."""
        raise AssertionError("abstract")  # pragma: no cover

    def start_head(self, weights: Adapted, support: Tensor, hot: Tensor) -> Adapted:
        """Returns the head before the first step: `head_shapes` with (B, K) in front.

        Args:
            weights: the body's adapted weights, (B, …) each.
            support: (B, S, *F) prepared items.
            hot: (B, S, K) one-hot labels, 0 at padding.
        """
        raise AssertionError("abstract")  # pragma: no cover

    def head_logits(self, adapted: Adapted, h: Tensor) -> Tensor:
        """Maps (B, n, D) embeddings to (B, n, K) logits of the classes with labels."""
        raise AssertionError("abstract")  # pragma: no cover

    def start_state(self, fast: Adapted) -> Adapted:
        """Returns the state of the update rule before the first step; plain gradient descent has none."""
        return {}

    def update_rule(
        self, name: str, step: int, value: Tensor, gradient: Tensor, loss: Tensor, state: Adapted
    ) -> Tensor:
        """Returns an adapted tensor's next value, (B, …) like `value` and `gradient`; `loss` is (B,)."""
        key = name.replace(".", "_")
        rate = self.log_lr[key][step].exp() if key in self.log_lr else self.lr[key]
        return value - rate * gradient

    def calibration_parameters(self) -> list[nn.Parameter]:
        return [self.unseen_logit, *self.log_lr.values()]

    def start_update(self, update: int) -> None:
        self.update = update

    def path_weights(self, length: int) -> list[float]:
        last = min(1.0, self.update / self.multi_step_until) if self.multi_step_until else 1.0
        if length < 3 or last == 1:  # the start and one step: nothing to share
            return super().path_weights(length)
        each = (1 - last) / (length - 1)
        return [0.0] + [each] * (length - 2) + [last + each]

    def prepare(self, inputs: Tensor) -> Tensor:
        x = self.body(self.body.preprocess(inputs), stop=self.split)
        return x.flatten(1) if self.split == len(self.body.blocks) else x

    def _embed(self, params: Adapted, prepared: Tensor) -> Tensor:
        if self.split == len(self.body.blocks):
            return prepared
        return self.body(prepared, start=self.split, params=params).flatten(2)

    def embed(self, adapted: Adapted, prepared: Tensor) -> Tensor:
        return self._embed(adapted, prepared)

    def predict(self, adapted: Adapted, prepared: Tensor) -> Tensor:
        logits = self.head_logits(adapted, self._embed(adapted, prepared))
        logits = torch.where(adapted["counts"].unsqueeze(1) > 0, logits, self.unseen_logit)
        return logits.masked_fill(~adapted["class_mask"].unsqueeze(1), EXCLUDED_LOGIT)

    def adapt(self, support: Tensor, labels: Tensor, mask: Tensor, class_mask: Tensor) -> Adapted:
        whole = (support, labels, mask, class_mask)
        if self.static_embedding or support.device.type != "cpu" or torch.is_grad_enabled():
            return self.adapt_path(*whole)[-1]
        # The filters of hundreds of episodes at once do not fit into any cache of a CPU.
        parts = [
            self.adapt_path(*part)[-1] for part in zip(*(t.split(CPU_EPISODES) for t in whole), strict=True)
        ]
        return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}

    def adapt_path(self, support: Tensor, labels: Tensor, mask: Tensor, class_mask: Tensor) -> list[Adapted]:
        """Returns the start and the state after each gradient step."""
        meta_training = torch.is_grad_enabled()
        hot = one_hot_support(labels, mask, class_mask.shape[1])  # (B, S, K)
        fixed = {"counts": hot.sum(1), "class_mask": class_mask}
        with torch.enable_grad():
            fast = self._start(support, hot)
            if not meta_training:
                fast = {name: value.detach() for name, value in fast.items()}
            path, state = [fast | fixed], self.start_state(fast)
            for step in range(self.steps if support.shape[1] else 0):
                fast = self._leaves(fast, meta_training)
                loss = self._support_loss(fast | fixed, support, labels, mask)
                second_order = (
                    meta_training and not self.first_order and self.update >= self.first_order_until
                )
                # Summing over episodes keeps their gradients apart: each loss depends on its own weights alone.
                gradients = torch.autograd.grad(
                    loss.sum(),
                    list(fast.values()),
                    create_graph=second_order,
                    retain_graph=meta_training,
                    materialize_grads=True,
                )
                state = dict(state)
                with torch.set_grad_enabled(meta_training):
                    fast = {
                        name: self.update_rule(name, step, value, gradient, loss, state)
                        for (name, value), gradient in zip(fast.items(), gradients, strict=True)
                    }
                path.append(fast | fixed)
        return path

    def _start(self, support: Tensor, hot: Tensor) -> Adapted:
        """Returns per-episode copies of the adapted weights, and the head's start."""
        weights = dict(self.body.blocks.named_parameters())
        fast = {n: weights[n].expand(len(support), *weights[n].shape) for n in self.adapted_names}
        return fast | self.start_head(fast, support, hot)

    @staticmethod
    def _leaves(fast: Adapted, meta_training: bool) -> Adapted:
        """Returns new nodes of the graph: the inner gradient is partial, although prototypes depend on the body."""
        return {
            n: v.view_as(v) if meta_training and v.requires_grad else v.detach().requires_grad_()
            for n, v in fast.items()
        }

    def _support_loss(self, adapted: Adapted, support: Tensor, labels: Tensor, mask: Tensor) -> Tensor:
        """Returns (B,) mean cross-entropy of each episode's labels; 0 without any."""
        logits = self.predict(adapted, support)  # (B, S, K)
        losses = F.cross_entropy(logits.flatten(0, 1), labels.clamp(min=0).flatten(), reduction="none")
        return (losses.view(mask.shape) * mask).sum(1) / mask.sum(1).clamp(min=1)
