"""Meta-LSTM: the update rule itself is learned (Ravi & Larochelle 2017)."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from metaal_env.learners.base import LEARNERS, Adapted
from metaal_env.learners.maml import MAML


@LEARNERS.register("meta_lstm")
class MetaLSTM(MAML):
    """Treats every adapted number as the cell of an LSTM that reads its gradient and the loss.

    θ_t = f_t ⊙ θ_{t−1} − i_t ⊙ ∇_t (Ravi & Larochelle 2017, eq. 2–4): the forget gate f and the input gate i are
    sigmoids of the hidden state of a first LSTM over the gradient and the loss, of θ_{t−1} and of the gate's
    previous value, with weights shared by all numbers. Gradients count as constants in the meta-gradient, as in
    the paper. The paper meta-learns the start; here the body's start is meta-learned and the head's comes from
    the support's prototypes, so that any way is served and label-less classes keep their constant logit.

    Args:
        hidden: units of the first LSTM.
        inner_lr: initial value of the input gate.
        steps, depth, options: as in `GradientLearner`; its first-order and rate options have no meaning here.
    """

    def __init__(
        self,
        input_shape: tuple[int, ...],
        *,
        hidden: int = 8,
        steps: int = 3,
        inner_lr: float = 0.05,
        **options: Any,
    ):
        super().__init__(input_shape, steps=steps, inner_lr=inner_lr, **options)
        self.first_order, self.hidden = True, hidden
        self.reader = nn.LSTMCell(4, hidden)
        # [hidden, θ, previous gate] → gate. Starts as gradient descent: nothing forgotten, i = inner_lr.
        self.forget, self.input = nn.Linear(hidden + 2, 1), nn.Linear(hidden + 2, 1)
        with torch.no_grad():
            for layer, bias in ((self.forget, 6.0), (self.input, math.log(inner_lr / (1 - inner_lr)))):
                layer.weight.mul_(0.01)
                layer.bias.fill_(bias)

    def _make_rates(self, rates: str, inner_lr: float) -> None:
        """Makes none, because the input gate is the rate."""

    def update_rule(
        self, name: str, step: int, value: Tensor, gradient: Tensor, loss: Tensor, state: Adapted
    ) -> Tensor:
        shape, gradient, loss = value.shape, gradient.detach(), loss.detach()
        losses = loss.view(-1, *[1] * (value.dim() - 1)).expand(shape)
        read = torch.cat([preprocess(gradient), preprocess(losses)], -1).flatten(0, -2)  # (n, 4)
        before = None if step == 0 else (state[f"{name}.h"], state[f"{name}.c"])
        h, c = self.reader(read, before)  # (n, hidden)
        start = read.new_ones(len(read), 1)
        parts = [h, value.reshape(-1, 1)]
        forget = torch.sigmoid(self.forget(torch.cat([*parts, state.get(f"{name}.f", start)], 1)))
        gate = torch.sigmoid(self.input(torch.cat([*parts, state.get(f"{name}.i", 0 * start)], 1)))
        state |= {f"{name}.h": h, f"{name}.c": c, f"{name}.f": forget, f"{name}.i": gate}
        return forget.view(shape) * value - gate.view(shape) * gradient


def preprocess(x: Tensor, p: float = 10.0) -> Tensor:
    """Maps (…) numbers to (…, 2) log-magnitudes and signs, in about [−1, 1].

    Ravi & Larochelle 2017, §3.2, from Andrychowicz et al. 2016.
    """
    large = x.abs() >= math.exp(-p)
    size = torch.where(large, x.abs().clamp(min=1e-30).log() / p, -1.0)
    sign = torch.where(large, x.sign(), math.exp(p) * x)
    return torch.stack([size, sign], -1)
