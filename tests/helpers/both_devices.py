"""One computation on the CPU and on a simulated GPU, with equal results."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

import torch
from helpers.cuda_kernels import missing_kernels
from helpers.simulated_gpu import DEVICE, Log, simulated_gpu
from torch import Tensor
from torch.utils._pytree import tree_map


def on_both_devices(compute: Callable[[str], Any], tolerance: float = 1e-5) -> Log:
    """Asserts that `compute` returns the same for ``"cpu"`` as for the simulated GPU, and returns the GPU's log.

    Args:
        compute: returns tensors, arrays or numbers in any containers; seeds what it draws.
        tolerance: absolute and relative; some code takes another way on a GPU, which rounds differently.
    """
    expected = compute("cpu")
    with simulated_gpu() as log:
        found = tree_map(_on_cpu, compute(DEVICE))
    torch.testing.assert_close(found, expected, atol=tolerance, rtol=tolerance, equal_nan=True)
    assert log.launches.total(), "nothing ran on the device"
    if find_spec("expecttest"):
        assert not missing_kernels(log)
    return log


def _on_cpu(value: Any) -> Any:
    return value.detach().cpu() if isinstance(value, Tensor) else value
