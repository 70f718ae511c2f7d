"""Which operations of a simulated GPU's log CUDA has no kernel for, by the table that PyTorch's own tests go by.

The table is `torch.testing`'s OpInfo, by operation and type of the first tensor; it needs the package ``expecttest``.
An operation is named where CPUs have the kernel and CUDA lacks it in any variant, of which ``scatter_reduce`` has
several.
"""

from __future__ import annotations

from functools import cache

import torch
from helpers.simulated_gpu import Log


@cache
def _only_on_cpus() -> dict[str, set[str]]:
    from torch.testing._internal.common_methods_invocations import op_db

    found: dict[str, set[str]] = {}
    for info in op_db:
        types = info.supported_dtypes("cpu") - info.supported_dtypes("cuda")
        types -= {torch.bfloat16}  # which depends on the GPU's generation
        for name in {info.aten_name, info.name.split(".")[-1], info.name.replace(".", "_")}:
            found.setdefault(name, set()).update(str(dtype).removeprefix("torch.") for dtype in types)
    return found


def missing_kernels(log: Log) -> list[str]:
    """Returns ``operation types: line`` of each, with the innermost of one's own lines."""
    doubts: dict[str, str] = {}
    for stack in log.launches:
        name, *dtypes = stack[0].split()
        if dtypes and dtypes[0] in _only_on_cpus().get(name.strip("_"), ()):
            doubts.setdefault(stack[0], stack[1] if len(stack) > 1 else "?")
    return [f"{operation}: {line}" for operation, line in sorted(doubts.items())]
