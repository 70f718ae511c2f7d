"""Bodies: networks from raw inputs to embeddings, as lists of blocks that run with shared or per-episode weights.

Weights per episode have a leading dimension B and run batched, which is faster than `torch.vmap` over convolutions.
There are no batch statistics: an episode must not depend on its neighbours in the batch.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from itertools import pairwise
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.grad import conv2d_weight

from metaal_env.errors import InputError

Params = Mapping[str, Tensor]
Kind = Literal["conv4", "mlp", "identity"]


class ConvBlock(nn.Module):
    """Applies a 3×3 convolution, 2×2 max-pooling, per-image normalisation and ReLU.

    This is the Conv4 block of Finn et al. (2017) with two changes: no batch statistics, and pooling before the
    normalisation, which leaves a quarter of the element-wise work.
    """

    def __init__(self, channels: int, filters: int):
        super().__init__()
        self.weight = nn.Parameter(torch.empty(filters, channels, 3, 3))
        self.gain = nn.Parameter(torch.ones(filters))
        self.bias = nn.Parameter(torch.zeros(filters))
        nn.init.kaiming_normal_(self.weight, nonlinearity="relu")

    def forward(self, x: Tensor, params: Params | None = None) -> Tensor:
        """Maps (M, C, H, W) images with shared weights, or (B, n, C, H, W) with per-episode `params`."""
        if params is None:
            x = F.conv2d(x.contiguous(memory_format=torch.channels_last), self.weight, padding=1)
            return F.relu(F.group_norm(self._pool(x), 1, self.gain, self.bias))
        b, n = x.shape[:2]
        weight, gain, bias = params["weight"], params["gain"], params["bias"]
        x = self._pool(convolve_each(x, weight).flatten(0, 1))  # (B·n, O, H/2, W/2)
        x = F.group_norm(x, 1).unflatten(0, (b, n))
        return F.relu(x * gain[:, None, :, None, None] + bias[:, None, :, None, None])

    @staticmethod
    def _pool(x: Tensor) -> Tensor:
        return F.max_pool2d(x, 2) if min(x.shape[-2:]) >= 2 else x


def convolve_each(x: Tensor, weight: Tensor) -> Tensor:
    """Convolves each episode's (B, n, C, H, W) images with its own (B, O, C, 3, 3) filters to (B, n, O, H, W).

    On a GPU, where launches dominate, this is one grouped convolution. On a CPU it is a loop, because grouped
    convolutions are slower there (`benchmarks/speed/inner_loop.py`). Filters that all episodes still share, as before
    the first gradient step, convolve all images at once.
    """
    if weight.stride(0) == 0:
        return _EqualFilters.apply(x, weight)  # type: ignore[no-untyped-call, no-any-return]
    if x.device.type == "cpu":
        one = torch.channels_last
        return torch.stack(
            [F.conv2d(x[i].contiguous(memory_format=one), weight[i], padding=1) for i in range(len(x))]
        )
    grouped = x.transpose(0, 1).flatten(1, 2)  # (n, B·C, H, W)
    out = F.conv2d(grouped, weight.flatten(0, 1), padding=1, groups=len(x))
    return out.unflatten(1, (len(x), -1)).transpose(0, 1)


class _EqualFilters(torch.autograd.Function):
    """Convolves with filters that are equal for all episodes; only their gradients differ."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor) -> Tensor:
        ctx.save_for_backward(x, weight)
        images = x.flatten(0, 1).contiguous(memory_format=torch.channels_last)
        return F.conv2d(images, weight[0], padding=1).unflatten(0, x.shape[:2])

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None]:  # type: ignore[override]
        # Under autocast the product was computed in lower precision than its operands are kept.
        x, weight = (saved.to(gradient.dtype) for saved in ctx.saved_tensors)
        b, to_x, to_weight = len(x), None, None
        if ctx.needs_input_grad[0]:
            images = gradient.flatten(0, 1).contiguous(memory_format=torch.channels_last)
            to_x = F.conv_transpose2d(images, weight[0], padding=1).unflatten(0, x.shape[:2])
            to_x = to_x.to(ctx.saved_tensors[0].dtype)
        if ctx.needs_input_grad[1]:
            grouped = [t.transpose(0, 1).flatten(1, 2) for t in (x, gradient)]  # (n, B·C, H, W)
            shape = torch.Size([b * weight.shape[1], *weight.shape[2:]])
            to_weight = conv2d_weight(grouped[0], shape, grouped[1], padding=1, groups=b)
            to_weight = to_weight.unflatten(0, (b, -1)).to(ctx.saved_tensors[1].dtype)
        return to_x, to_weight


class DenseBlock(nn.Module):
    """Applies a linear layer, per-item normalisation and ReLU."""

    def __init__(self, width_in: int, width_out: int):
        super().__init__()
        self.weight = nn.Parameter(torch.empty(width_out, width_in))
        self.bias = nn.Parameter(torch.zeros(width_out))
        nn.init.kaiming_normal_(self.weight, nonlinearity="relu")

    def forward(self, x: Tensor, params: Params | None = None) -> Tensor:
        """Maps (M, D) vectors with shared weights, or (B, n, D) with per-episode `params`."""
        if params is None:
            x = F.linear(x, self.weight, self.bias)
        else:
            x = x @ params["weight"].transpose(1, 2) + params["bias"].unsqueeze(1)
        return F.relu(F.layer_norm(x, x.shape[-1:]))


class Body(nn.Module):
    """Embeds raw inputs: a preprocessing step, then blocks; the last block's output, flattened, is the embedding.

    Args:
        kind: ``"conv4"`` for images, ``"mlp"`` for vectors, ``"identity"`` for embeddings used as they are; None for
            one of the first two, by the inputs.
        input_shape: (C, H, W) or (D,).
        width: hidden units of ``"mlp"``; filters of ``"conv4"``, halved in its first block and doubled in its
            last two.

    Attributes:
        compute_dtype: precision of the blocks' convolutions and products; set it with `body_dtype`. Embeddings are
            always float32 or wider, because distances between them need that.
    """

    compute_dtype: torch.dtype | None = None

    def __init__(self, kind: Kind | None, input_shape: tuple[int, ...], width: int):
        super().__init__()
        kind = kind or ("conv4" if len(input_shape) == 3 else "mlp")
        if kind == "conv4" and len(input_shape) != 3:
            raise InputError(f"body='conv4' needs images, but inputs have shape {input_shape}; use 'mlp'.")
        self.kind, self.is_image = kind, len(input_shape) == 3
        blocks: list[nn.Module] = []
        if kind == "conv4":
            # Half the filters at full resolution and twice as many at the end: faster than equal widths on a CPU,
            # and better after equal time.
            sizes = [input_shape[0], max(width // 2, 1), width, 2 * width, 2 * width]
            blocks = [ConvBlock(a, b) for a, b in pairwise(sizes)]
        elif kind == "mlp":
            size = int(torch.tensor(input_shape).prod())
            blocks = [DenseBlock(size if i == 0 else width, width) for i in range(2)]
        self.blocks = nn.ModuleList(blocks)

    def preprocess(self, inputs: Tensor) -> Tensor:
        """Standardises each uint8 image, or scales vectors to unit norm; flattens unless the body is convolutional."""
        x = inputs.to(torch.get_default_dtype())
        if self.is_image:
            x = F.group_norm(x / 255, 1)
        if self.kind == "conv4":
            return x
        return F.normalize(x.flatten(1), dim=1)

    def forward(
        self, x: Tensor, start: int = 0, stop: int | None = None, params: Params | None = None
    ) -> Tensor:
        """Runs ``blocks[start:stop]``; `params` holds per-episode weights named ``"<block>.<weight>"``."""
        stop = len(self.blocks) if stop is None else stop
        lower = self.compute_dtype is not None
        with torch.autocast(x.device.type, self.compute_dtype, enabled=lower):
            for i in range(start, stop):
                own = None
                if params is not None:
                    own = {name: params[f"{i}.{name}"] for name, _ in self.blocks[i].named_parameters()}
                x = self.blocks[i](x, own)
        return x.float() if lower else x


@contextmanager
def body_dtype(module: nn.Module, dtype: torch.dtype | None) -> Iterator[None]:
    """Runs the bodies inside `module` with `dtype` arithmetic; the weights keep their type."""
    bodies = [m for m in module.modules() if isinstance(m, Body)]
    for body in bodies:
        body.compute_dtype = dtype
    try:
        yield
    finally:
        for body in bodies:
            body.compute_dtype = None
