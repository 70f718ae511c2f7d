"""MAML as in the paper: a linear head that does not start from the support (Finn et al. 2017)."""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor, nn

from metaal_env.errors import InputError
from metaal_env.learners.base import LEARNERS, Adapted
from metaal_env.learners.gradient import Depth, GradientLearner


@LEARNERS.register("finn_maml")
class FinnMAML(GradientLearner):
    """Adapts the linear head logit_c(h) = w_c · h / √D + b_c by gradient: textbook MAML, for comparison.

    Classes without a label have the constant logit u here too; the gradient steps raise the others above it.

    Args:
        head: ``"learned"`` starts from meta-learned weights of `max_way` classes, as in the paper;
            ``"shared"`` from one learned vector for all classes (UNICORN-MAML, Ye & Chao 2022), which fits any
            number of them; ``"zero"`` from nothing.
        max_way: most classes of a task with ``head="learned"``.
        depth, steps, inner_lr, options: as in `GradientLearner`.

    Raises:
        InputError: unknown head; on adapting, more classes than `max_way`.
    """

    def __init__(
        self,
        input_shape: tuple[int, ...],
        *,
        head: Literal["learned", "shared", "zero"] = "learned",
        max_way: int = 20,
        depth: Depth = "all",
        steps: int = 5,
        inner_lr: float = 0.4,
        **options: Any,
    ):
        if head not in ("learned", "shared", "zero"):
            raise InputError(f"head={head!r} is unknown; choose one of: learned, shared, zero.")
        super().__init__(input_shape, depth=depth, steps=steps, inner_lr=inner_lr, **options)
        self.head, self.max_way = head, max_way
        if head != "zero":
            rows = max_way if head == "learned" else 1
            self.head_weight = nn.Parameter(0.1 * torch.randn(rows, self.size))
            self.head_bias = nn.Parameter(torch.zeros(rows))

    def head_shapes(self) -> dict[str, torch.Size]:
        return {"weight": torch.Size([self.size]), "bias": torch.Size([])}

    def start_head(self, weights: Adapted, support: Tensor, hot: Tensor) -> Adapted:
        b, way = len(hot), hot.shape[2]
        if self.head == "zero":
            return {"weight": hot.new_zeros(b, way, self.size), "bias": hot.new_zeros(b, way)}
        weight, bias = self.head_weight, self.head_bias
        if self.head == "learned":
            if way > self.max_way:
                raise InputError(
                    f"the task has {way} classes but max_way={self.max_way}; raise max_way or use head='shared'."
                )
            return {"weight": weight[:way].expand(b, way, -1), "bias": bias[:way].expand(b, way)}
        return {"weight": weight.expand(b, way, -1), "bias": bias.expand(b, way)}

    def head_logits(self, adapted: Adapted, h: Tensor) -> Tensor:
        scores = h @ adapted["weight"].transpose(1, 2) / self.size**0.5
        return scores + adapted["bias"].unsqueeze(1)
