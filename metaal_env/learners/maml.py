"""MAML with a prototypical head: the default inner learner (Finn et al. 2017; Triantafillou et al. 2020)."""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from metaal_env.errors import InputError
from metaal_env.learners.base import EXCLUDED_LOGIT, LEARNERS, Adapted, InnerLearner, one_hot_support
from metaal_env.learners.networks import Body, Kind

Depth = Literal["head", "last_block", "all"]

UNIT_NORM = (7.0, 0.75, 0.2, -5.5)
"""s, κ, b and u for unit-norm inputs without a network, where nobody meta-trains them.

Fitted jointly to six spaces (glyphs and Omniglot pixels, language names, CLINC150 sentence embeddings, digits,
Fashion-MNIST) by meta-training the four scalars alone. Mean validation log-loss over 1, 2, 5, 10 and 20 labels,
5- to 20-way, here / fitted to that space alone: glyphs 2.32 / 2.32, language names 2.20 / 2.17, CLINC150 1.88 /
1.84, Omniglot 2.36 / 2.30 nats. Calibration error .02 / .04 / .12 / .03.
"""


CPU_EPISODES = 16
"""Episodes whose bodies are adapted together on a CPU: most adaptations per second (`benchmarks/inner_loop.py`)."""


class MAML(InnerLearner):
    """Gradient adaptation of an embedding network whose head starts from the support's shrunk prototypes.

    For a class c with n_c > 0 labels and mean embedding p_c the head starts as

        logit_c(h) = −s · ‖h − p_c‖² / (1 + κ / n_c) + b · log n_c ,

    and every class without a label has the constant logit u. s, κ, b and u are meta-learned with the body, so
    the learner is calibrated from the first label on and serves any number of classes. Then `steps` gradient
    steps on the support's cross-entropy adapt the prototypes, the class biases and, by `depth`, the last
    block (``"last_block"``) or all of the body (``"all"``); ``"head"`` adapts the head alone (ANIL, Raghu et
    al. 2020), so that embeddings are computed once. With ``steps=0`` it is a calibrated prototypical network
    (Snell et al. 2017).

    Args:
        input_shape: (C, H, W) or (D,).
        body: ``"conv4"``, ``"mlp"``, ``"identity"`` or None for the modality's default.
        width: filters or hidden units of the body.
        depth: what the gradient steps adapt.
        steps: number of inner gradient steps.
        first_order: ignore second derivatives in the meta-gradient (FOMAML).
        inner_lr: initial inner step size.
        rates: one positive rate per ``"tensor"`` and step (MAML++, Antoniou et al. 2019), or one of either sign
            per ``"parameter"``, the same at all steps (Meta-SGD, Li et al. 2017); prototypes share theirs
            over classes.
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
        self.body = Body(body or ("conv4" if len(input_shape) == 3 else "mlp"), input_shape, width)
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
        # Distances of untrained embeddings grow with their mean square: start at logits of order one.
        scale, shrink, count_weight, unseen = (10.0 / self.size, 0.5, 0.1, -5.0) if n_blocks else UNIT_NORM
        self.log_scale = nn.Parameter(torch.tensor(math.log(scale)))
        self.log_shrink = nn.Parameter(torch.tensor(math.log(shrink)))
        self.count_weight = nn.Parameter(torch.tensor(count_weight))
        self.unseen_logit = nn.Parameter(torch.tensor(unseen))
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
        """Adapted tensors of the head, as shapes for one class."""
        return {"prototypes": torch.Size([self.size]), "bias": torch.Size([])}

    def calibration_parameters(self) -> list[nn.Parameter]:
        """The scalars of the head, which want larger meta-steps than the body's weights."""
        return [self.log_scale, self.log_shrink, self.count_weight, self.unseen_logit, *self.log_lr.values()]

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

    def _embed(self, params: Adapted, features: Tensor) -> Tensor:
        if self.split == len(self.body.blocks):
            return features
        return self.body(features, start=self.split, params=params).flatten(2)

    def adapt(self, support: Tensor, labels: Tensor, mask: Tensor, class_mask: Tensor) -> Adapted:
        whole = (support, labels, mask, class_mask)
        if self.static_embedding or support.device.type != "cpu" or torch.is_grad_enabled():
            return self.adapt_path(*whole)[-1]
        # Own filters for hundreds of episodes at once leave every cache of a CPU.
        parts = [
            self.adapt_path(*part)[-1] for part in zip(*(t.split(CPU_EPISODES) for t in whole), strict=True)
        ]
        return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}

    def adapt_path(self, support: Tensor, labels: Tensor, mask: Tensor, class_mask: Tensor) -> list[Adapted]:
        """The start and the state after each gradient step."""
        meta_training = torch.is_grad_enabled()
        hot = one_hot_support(labels, mask, class_mask.shape[1])  # (B, S, K)
        fixed = {"counts": hot.sum(1), "class_mask": class_mask}
        with torch.enable_grad():
            fast = self._start(support, hot)
            if not meta_training:
                fast = {name: value.detach() for name, value in fast.items()}
            path, state = [fast | fixed], self.start_state(fast)
            for step in range(self.steps if support.shape[1] else 0):
                fast, state = self._gradient_step(
                    fast, fixed, state, support, labels, mask, step, meta_training
                )
                path.append(fast | fixed)
        return path

    def _start(self, support: Tensor, hot: Tensor) -> Adapted:
        """Per-episode copies of the adapted weights, and the head's start."""
        weights = dict(self.body.blocks.named_parameters())
        fast = {n: weights[n].expand(len(support), *weights[n].shape) for n in self.adapted_names}
        return fast | self.start_head(fast, support, hot)

    def start_head(self, weights: Adapted, support: Tensor, hot: Tensor) -> Adapted:
        """The head from the support's prototypes: (B, K, D) and biases (B, K)."""
        counts = hot.sum(1)  # (B, K)
        if support.shape[1]:
            h = self._embed(weights, support)  # (B, S, D)
            prototypes = torch.einsum("bsk,bsd->bkd", hot, h) / counts.clamp(min=1).unsqueeze(-1)
        else:
            prototypes = support.new_zeros(*counts.shape, self.size)
        return {"prototypes": prototypes, "bias": self.count_weight * counts.clamp(min=1).log()}

    def start_state(self, fast: Adapted) -> Adapted:
        """What an update rule remembers from step to step; plain gradient descent nothing."""
        return {}

    def update_rule(
        self, name: str, step: int, value: Tensor, gradient: Tensor, loss: Tensor, state: Adapted
    ) -> Tensor:
        """An adapted tensor's next value, (B, …) like `value` and `gradient`; `loss` is (B,)."""
        key = name.replace(".", "_")
        rate = self.log_lr[key][step].exp() if key in self.log_lr else self.lr[key]
        return value - rate * gradient

    def _gradient_step(
        self,
        fast: Adapted,
        fixed: Adapted,
        state: Adapted,
        support: Tensor,
        labels: Tensor,
        mask: Tensor,
        step: int,
        meta_training: bool,
    ) -> tuple[Adapted, Adapted]:
        if meta_training:
            # New nodes of the graph: the inner gradient is partial, although prototypes depend on the body.
            fast = {
                n: v.view_as(v) if v.requires_grad else v.detach().requires_grad_() for n, v in fast.items()
            }
        else:
            fast = {name: value.detach().requires_grad_() for name, value in fast.items()}
        logits = self.predict(fast | fixed, support)  # (B, S, K)
        losses = F.cross_entropy(logits.flatten(0, 1), labels.clamp(min=0).flatten(), reduction="none")
        loss = (losses.view(mask.shape) * mask).sum(1) / mask.sum(1).clamp(min=1)
        second_order = meta_training and not self.first_order and self.update >= self.first_order_until
        # The sum over episodes keeps their gradients apart: each depends on its own weights alone.
        gradients = torch.autograd.grad(
            loss.sum(),
            list(fast.values()),
            create_graph=second_order,
            retain_graph=meta_training,
            materialize_grads=True,
        )
        with torch.set_grad_enabled(meta_training):
            state = dict(state)
            fast = {
                name: self.update_rule(name, step, value, gradient, loss, state)
                for (name, value), gradient in zip(fast.items(), gradients, strict=True)
            }
        return fast, state

    def predict(self, adapted: Adapted, features: Tensor) -> Tensor:
        logits = self.head_logits(adapted, self._embed(adapted, features))
        logits = torch.where(adapted["counts"].unsqueeze(1) > 0, logits, self.unseen_logit)
        return logits.masked_fill(~adapted["class_mask"].unsqueeze(1), EXCLUDED_LOGIT)

    def head_logits(self, adapted: Adapted, h: Tensor) -> Tensor:
        """(B, n, D) embeddings → (B, n, K) logits of the classes with labels."""
        p = adapted["prototypes"]  # (B, K, D)
        distance = (
            h.square().sum(-1, keepdim=True) + p.square().sum(-1).unsqueeze(1) - 2 * h @ p.transpose(1, 2)
        )  # (B, n, K)
        counts = adapted["counts"].unsqueeze(1)  # (B, 1, K)
        precision = self.log_scale.exp() / (1 + self.log_shrink.exp() / counts.clamp(min=1))
        return adapted["bias"].unsqueeze(1) - precision * distance

    def embed(self, adapted: Adapted, features: Tensor) -> Tensor:
        return self._embed(adapted, features)


@LEARNERS.register("maml")
def maml(input_shape: tuple[int, ...], **options: object) -> MAML:
    """MAML with the prototypical start; Conv4 for images, an MLP for vectors."""
    return MAML(input_shape, **options)  # type: ignore[arg-type]


@LEARNERS.register("prototype")
def prototype(input_shape: tuple[int, ...], **options: object) -> MAML:
    """Nearest centroid, calibrated, on unit-norm inputs: no network, so it works without meta-training."""
    return MAML(input_shape, **({"body": "identity", "steps": 0} | options))  # type: ignore[arg-type]


@LEARNERS.register("protonet")
def protonet(input_shape: tuple[int, ...], **options: object) -> MAML:
    """Prototypical network (Snell et al. 2017), calibrated as MAML's start is."""
    return MAML(input_shape, **({"steps": 0} | options))  # type: ignore[arg-type]


@LEARNERS.register("meta_sgd")
def meta_sgd(input_shape: tuple[int, ...], **options: object) -> MAML:
    """Meta-SGD (Li et al. 2017) from the prototypical start: all layers, one step, a rate per parameter."""
    return MAML(input_shape, **({"depth": "all", "rates": "parameter"} | options))  # type: ignore[arg-type]
