"""The LSTM cell that PyTorch runs on GPUs as one kernel, computed by single operations."""

from __future__ import annotations

import torch
from torch import Tensor


def lstm_cell(
    input_gates: Tensor,
    hidden_gates: Tensor,
    cell: Tensor,
    input_bias: Tensor | None = None,
    hidden_bias: Tensor | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """Returns the (B, H) hidden state and cell after a step, and the (B, 4H) gates that the backward pass reads."""
    gates = input_gates + hidden_gates
    for bias in (input_bias, hidden_bias):
        gates = gates if bias is None else gates + bias
    i, f, g, o = gates.chunk(4, 1)
    i, f, g, o = i.sigmoid(), f.sigmoid(), g.tanh(), o.sigmoid()
    after = f * cell + i * g
    return o * after.tanh(), after, torch.cat([i, f, g, o], 1)


def lstm_cell_backward(
    grad_hidden: Tensor | None,
    grad_cell: Tensor | None,
    before: Tensor,
    after: Tensor,
    gates: Tensor,
    has_bias: bool,
) -> tuple[Tensor, Tensor, Tensor | None]:
    """Returns the gradients of the (B, 4H) sums behind the gates, of the cell before, and of a bias."""
    i, f, g, o = gates.chunk(4, 1)
    hidden = torch.zeros_like(after) if grad_hidden is None else grad_hidden
    cell = hidden * o * (1 - after.tanh().square())
    cell = cell if grad_cell is None else cell + grad_cell
    parts = (
        cell * g * i * (1 - i),
        cell * before * f * (1 - f),
        cell * i * (1 - g.square()),
        hidden * after.tanh() * o * (1 - o),
    )
    grad = torch.cat(parts, 1)
    return grad, cell * f, grad.sum(0) if has_bias else None
