"""MAML with a prototypical head: the default inner learner (Finn et al. 2017; Triantafillou et al. 2020)."""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from metaal_env.errors import InputError
from metaal_env.learners.base import EXCLUDED_LOGIT, LEARNERS, Adapted, InnerLearner, one_hot_support
from metaal_env.learners.networks import Body

Depth = Literal["head", "last_block", "all"]


class MAML(InnerLearner):
    """Gradient adaptation of an embedding network whose head starts from the support's shrunk prototypes.

    For a class c with n_c > 0 labels and mean embedding p_c the head starts as

        logit_c(h) = −s · ‖h − p_c‖² / (1 + κ / n_c) + b · log n_c ,

    and every class without a label has the constant logit u. s, κ, b and u are meta-learned with the body, so
    the learner is calibrated from the first label on and serves any number of classes. Then `steps` gradient
    steps on the support's cross-entropy adapt the prototypes, the class biases and, by `depth`, the last
    block (``"last_block"``) or all of the body (``"all"``); ``"head"`` adapts the head alone (ANIL, Raghu et
    al. 2020), so that embeddings are computed once. Step sizes are learned per tensor and step (MAML++,
    Antoniou et al. 2019). With ``steps=0`` it is a calibrated prototypical network (Snell et al. 2017).

    Args:
        input_shape: (C, H, W) or (D,).
        body: ``"conv4"``, ``"mlp"``, ``"identity"`` or None for the modality's default.
        width: filters or hidden units of the body.
        depth: what the gradient steps adapt.
        steps: number of inner gradient steps.
        first_order: ignore second derivatives in the meta-gradient (FOMAML).
        inner_lr: initial inner step size.

    Raises:
        InputError: unknown depth, or a depth that the body does not have.
    """

    def __init__(
        self,
        input_shape: tuple[int, ...],
        *,
        body: Literal["conv4", "mlp", "identity"] | None = None,
        width: int = 32,
        depth: Depth = "head",
        steps: int = 1,
        first_order: bool = False,
        inner_lr: float = 0.05,
    ):
        super().__init__()
        if depth not in ("head", "last_block", "all"):
            raise InputError(f"depth={depth!r} is unknown; choose one of: head, last_block, all.")
        self.body = Body(body or ("conv4" if len(input_shape) == 3 else "mlp"), input_shape, width)
        n_blocks = len(self.body.blocks)
        if depth != "head" and n_blocks == 0:
            raise InputError(
                f"depth={depth!r} needs a body with blocks; use depth='head' with body='identity'."
            )
        self.depth, self.steps, self.first_order = depth, steps, first_order
        self.static_embedding = depth == "head" or steps == 0
        # Blocks before `split` are never adapted and run once, in `prepare`.
        self.split = {"head": n_blocks, "last_block": n_blocks - 1, "all": 0}[depth]
        self.adapted_names = [
            f"{i}.{name}"
            for i in range(self.split, n_blocks)
            for name, _ in self.body.blocks[i].named_parameters()
        ]
        with torch.no_grad():
            probe = self.body(self.body.preprocess(torch.zeros(2, *input_shape))).flatten(1)
        # Distances of untrained embeddings grow with their mean square: start at logits of order one.
        scale = 10.0 if n_blocks == 0 else 10.0 / probe.shape[1]
        self.log_scale = nn.Parameter(torch.tensor(math.log(scale)))
        self.log_shrink = nn.Parameter(torch.tensor(math.log(0.5)))
        self.count_weight = nn.Parameter(torch.tensor(0.1))
        self.unseen_logit = nn.Parameter(torch.tensor(-5.0))
        tensors = [*self.adapted_names, "prototypes", "bias"]
        self.log_lr = nn.ParameterDict(
            {
                name.replace(".", "_"): nn.Parameter(torch.full((steps,), math.log(inner_lr)))
                for name in tensors
            }
            if steps
            else {}
        )

    def calibration_parameters(self) -> list[nn.Parameter]:
        """The scalars of the head, which want larger meta-steps than the body's weights."""
        return [self.log_scale, self.log_shrink, self.count_weight, self.unseen_logit, *self.log_lr.values()]

    def prepare(self, inputs: Tensor) -> Tensor:
        x = self.body(self.body.preprocess(inputs), stop=self.split)
        return x.flatten(1) if self.split == len(self.body.blocks) else x

    def _embed(self, params: Adapted, features: Tensor) -> Tensor:
        if self.split == len(self.body.blocks):
            return features
        return self.body(features, start=self.split, params=params).flatten(2)

    def adapt(self, support: Tensor, labels: Tensor, mask: Tensor, class_mask: Tensor) -> Adapted:
        meta_training = torch.is_grad_enabled()
        n_classes = class_mask.shape[1]
        hot = one_hot_support(labels, mask, n_classes)  # (B, S, K)
        with torch.enable_grad():
            fast = self._start(support, hot)
            if not meta_training:
                fast = {name: value.detach() for name, value in fast.items()}
            fixed = {"counts": hot.sum(1), "class_mask": class_mask}
            if support.shape[1]:
                for step in range(self.steps):
                    fast = self._gradient_step(fast, fixed, support, labels, mask, step, meta_training)
        if not meta_training:
            fast = {name: value.detach() for name, value in fast.items()}
        return fast | fixed

    def _start(self, support: Tensor, hot: Tensor) -> Adapted:
        """Per-episode copies of the adapted weights, and the head from the support's prototypes."""
        b = len(support)
        weights = dict(self.body.blocks.named_parameters())
        fast = {name: weights[name].expand(b, *weights[name].shape) for name in self.adapted_names}
        counts = hot.sum(1)  # (B, K)
        if support.shape[1]:
            h = self._embed(fast, support)  # (B, S, D)
            prototypes = torch.einsum("bsk,bsd->bkd", hot, h) / counts.clamp(min=1).unsqueeze(-1)
        else:
            size = self._embed(fast, support.new_zeros(b, 1, *support.shape[2:])).shape[-1]
            prototypes = support.new_zeros(b, hot.shape[2], size)
        return fast | {"prototypes": prototypes, "bias": self.count_weight * counts.clamp(min=1).log()}

    def _gradient_step(
        self,
        fast: Adapted,
        fixed: Adapted,
        support: Tensor,
        labels: Tensor,
        mask: Tensor,
        step: int,
        meta_training: bool,
    ) -> Adapted:
        if meta_training:
            # New nodes of the graph: the inner gradient is partial, although prototypes depend on the body.
            fast = {name: value.view_as(value) for name, value in fast.items()}
        else:
            fast = {name: value.requires_grad_() for name, value in fast.items()}
        logits = self.predict(fast | fixed, support)  # (B, S, K)
        losses = F.cross_entropy(logits.flatten(0, 1), labels.clamp(min=0).flatten(), reduction="none")
        # The sum over episodes keeps their gradients apart: each depends on its own weights alone.
        loss = (losses.view(mask.shape) * mask).sum(1) / mask.sum(1).clamp(min=1)
        gradients = torch.autograd.grad(
            loss.sum(), list(fast.values()), create_graph=meta_training and not self.first_order
        )
        return {
            name: (value if meta_training else value.detach())
            - self.log_lr[name.replace(".", "_")][step].exp() * gradient
            for (name, value), gradient in zip(fast.items(), gradients, strict=True)
        }

    def predict(self, adapted: Adapted, features: Tensor) -> Tensor:
        h = self._embed(adapted, features)  # (B, n, D)
        p = adapted["prototypes"]  # (B, K, D)
        distance = (
            h.square().sum(-1, keepdim=True) + p.square().sum(-1).unsqueeze(1) - 2 * h @ p.transpose(1, 2)
        )  # (B, n, K)
        counts = adapted["counts"].unsqueeze(1)  # (B, 1, K)
        precision = self.log_scale.exp() / (1 + self.log_shrink.exp() / counts.clamp(min=1))
        logits = adapted["bias"].unsqueeze(1) - precision * distance
        logits = torch.where(counts > 0, logits, self.unseen_logit)
        return logits.masked_fill(~adapted["class_mask"].unsqueeze(1), EXCLUDED_LOGIT)

    def embed(self, adapted: Adapted, features: Tensor) -> Tensor:
        return self._embed(adapted, features)


@LEARNERS.register("maml")
def maml(input_shape: tuple[int, ...], **options: object) -> MAML:
    """MAML with the prototypical start; Conv4 for images, an MLP for vectors."""
    return MAML(input_shape, **options)  # type: ignore[arg-type]


@LEARNERS.register("prototype")
def prototype(input_shape: tuple[int, ...], **options: object) -> MAML:
    """Calibrated prototypes on unit-norm inputs: no network, so it works without meta-training."""
    return MAML(input_shape, **({"body": "identity", "steps": 0} | options))  # type: ignore[arg-type]
