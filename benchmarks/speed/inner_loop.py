"""Adaptations per second of every learner: all episodes at once against a Python loop over them.

``python -m benchmarks.speed.inner_loop`` adapts to 10 labels of 5 classes, from prepared features: the work of one
environment step. Both sides alternate in one process, so that their ratio does not depend on how busy the machine
is. The bound is what the machine could do at best: its measured matrix-product rate over the floating-point
operations that PyTorch counts, or its measured copy rate over the bytes that adaptation must read and write (labelled
features, adapted tensors), whichever is lower; linear solves and element-wise work are not in it.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from rich.console import Console
from rich.table import Table
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from metaal_env.learners import InnerLearner, build_learner
from metaal_env.make import check_device
from metaal_env.runtime.command_line import run_command

LEARNERS: dict[str, tuple[str, dict[str, Any]]] = {
    "protonet": ("protonet", {}),
    "maml head": ("maml", {}),
    "maml last block": ("maml", {"depth": "last_block"}),
    "maml all": ("maml", {"depth": "all"}),
    "finn_maml, 5 steps": ("finn_maml", {}),
    "meta_lstm head": ("meta_lstm", {}),
    "matching": ("matching", {}),
    "siamese": ("siamese", {}),
    "r2d2": ("r2d2", {}),
    "metaoptnet": ("metaoptnet", {}),
    "metaoptnet_logistic": ("metaoptnet_logistic", {}),
}


@dataclass(frozen=True)
class Config:
    learners: tuple[str, ...] = tuple(LEARNERS)
    """Learners to time."""
    batches: tuple[int, ...] = (1, 4, 16, 64, 256)
    """Episodes at once."""
    repeats: int = 3
    """Alternating measurements; medians are reported."""
    most_seconds: float = 1.0
    """No larger batches of a learner once one takes longer than this."""
    width: int = 32
    """Filters of Conv4's second block."""
    device: str = "auto"
    """auto, cpu or cuda. auto takes the GPU if there is one."""


def main(config: Config) -> None:
    device = check_device(config.device)
    flops, bandwidth = peaks(device)
    console = Console(width=100)
    console.print(
        f"adaptations/s · torch {torch.__version__} · {torch.get_num_threads()} thread · {device} · "
        f"{flops / 1e9:.0f} GFLOP/s, {bandwidth / 1e9:.1f} GB/s measured"
    )
    for name in config.learners:
        table = Table(title=name, title_justify="left")
        for heading in ("episodes", "batched", "loop", "ratio", "bound", "of bound", "kFLOP each"):
            table.add_column(heading, justify="right")
        torch.manual_seed(0)
        kind, options = LEARNERS[name]
        learner = build_learner(kind, (1, 28, 28), **({"width": config.width} | options)).to(device).eval()
        learner.requires_grad_(False)
        for batch in config.batches:
            batched, loop, work, traffic = measure(learner, batch, config.repeats)
            bound = min(flops / max(work, 1), bandwidth / traffic)
            table.add_row(
                str(batch), f"{batched:,.0f}", f"{loop:,.0f}", f"{batched / loop:.1f}", f"{bound:,.0f}",
                f"{batched / bound:.1%}", f"{work / 1e3:,.0f}",
            )  # fmt: skip
            if batch / batched > config.most_seconds:
                break
        console.print(table)


@torch.no_grad()
def measure(learner: InnerLearner, batch: int, repeats: int) -> tuple[float, float, float, float]:
    """Adaptations per second batched and looped, floating-point operations and bytes of one adaptation."""
    device = next(learner.parameters()).device
    images = torch.randint(0, 256, (batch * 10, 1, 28, 28), dtype=torch.uint8)
    support = learner.prepare_all(images).unflatten(0, (batch, 10))
    labels = torch.randint(0, 5, (batch, 10), device=device)
    mask = torch.ones_like(labels, dtype=torch.bool)
    class_mask = torch.ones(batch, 5, dtype=torch.bool, device=device)

    def together() -> None:
        learner.adapt(support, labels, mask, class_mask)

    singles = min(batch, 16)  # a single episode costs the same each time

    def one_by_one() -> None:
        for i in range(singles):
            row = slice(i, i + 1)
            learner.adapt(support[row], labels[row], mask[row], class_mask[row])

    with Flops() as counter:
        adapted = learner.adapt(support, labels, mask, class_mask)
    moved = sum(t.numel() * t.element_size() for t in [support, *adapted.values()])
    one_by_one()
    pairs = [(seconds(together, device), seconds(one_by_one, device)) for _ in range(repeats)]
    batched, loop = (statistics.median(column) for column in zip(*pairs, strict=True))
    return batch / batched, singles / loop, counter.total / batch, moved / batch


class Flops(TorchDispatchMode):
    """Counts the operations of products and convolutions, forward and backward.

    `FlopCounterMode` hooks modules, which `autograd.grad` with respect to leaves refuses.
    """

    total = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        if func._overloadpacket in flop_registry:
            self.total += flop_registry[func._overloadpacket](*args, **(kwargs or {}), out_val=out)
        return out


def seconds(call: Callable[[], object], device: torch.device, least: float = 0.05) -> float:
    """Mean time of a call over at least `least` seconds."""
    calls, begin = 0, time.perf_counter()
    while True:
        call()
        calls += 1
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        if (passed := time.perf_counter() - begin) >= least:
            return passed / calls


def peaks(device: torch.device) -> tuple[float, float]:
    """Floating-point operations and bytes per second that a large product and a large copy reach."""
    n = 1024 if device.type == "cpu" else 8192
    a, b = torch.randn(n, n, device=device), torch.randn(n, n, device=device)
    big = torch.empty(n * n * 32, device=device)
    target = torch.empty_like(big)
    a @ b
    target.copy_(big)
    product = min(seconds(lambda: a @ b, device) for _ in range(3))
    copy = min(seconds(lambda: target.copy_(big), device) for _ in range(3))
    return 2 * n**3 / product, 2 * big.numel() * big.element_size() / copy


if __name__ == "__main__":
    sys.exit(run_command(Config, main, __doc__))
