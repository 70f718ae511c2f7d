"""`Group`: the processes that meta-train one learner together, as ``torchrun`` starts them.

Gradients are averaged by hand: second-order derivatives of the inner loop do not pass DistributedDataParallel.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

import torch
from torch import Tensor
from torch import distributed as dist

from metaal_env.errors import InputError


class Group:
    """One process among those that train together; alone where ``torchrun`` has not started it.

    Attributes:
        rank: of this process, from 0.
        size: number of processes.
    """

    def __init__(self) -> None:
        self.size = int(os.environ.get("WORLD_SIZE", "1"))
        self.rank = int(os.environ.get("RANK", "0")) if self.size > 1 else 0
        if self.size > 1 and not dist.is_initialized():
            if torch.cuda.is_available():
                torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
            dist.init_process_group("nccl" if torch.cuda.is_available() else "gloo")

    @property
    def leads(self) -> bool:
        """Whether this process writes files and speaks."""
        return self.rank == 0

    def share(self, count: int) -> slice:
        """Returns which of `count` tasks are this process's. Raises: `InputError` if they cannot be shared equally."""
        if count % self.size:
            raise InputError(
                f"tasks_per_batch={count} must be a multiple of the {self.size} processes, which share them equally."
            )
        each = count // self.size
        return slice(self.rank * each, (self.rank + 1) * each)

    def average(self, tensors: Sequence[Tensor]) -> None:
        """Replaces tensors by their means over the processes, in one message."""
        if self.size == 1:
            return
        flat = torch.cat([tensor.detach().flatten().float() for tensor in tensors])
        dist.all_reduce(flat)
        flat /= self.size
        for tensor, mean in zip(tensors, flat.split([tensor.numel() for tensor in tensors]), strict=True):
            tensor.detach().copy_(mean.view_as(tensor))

    def agree(self, number: float) -> float:
        """Returns the mean of a number over the processes, the same in all."""
        value = torch.tensor([number], device="cuda" if torch.cuda.is_available() else "cpu")
        self.average([value])
        return float(value)

    def wait(self) -> None:
        """Waits until all processes are here."""
        if self.size > 1:
            dist.barrier()

    def close(self) -> None:
        """Leaves the group."""
        if self.size > 1 and dist.is_initialized():
            dist.destroy_process_group()
