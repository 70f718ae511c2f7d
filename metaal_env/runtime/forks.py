"""Keeps torch usable in forked processes.

A process that computed with several threads keeps a pool of them, which a fork does not copy. The child's first
parallel loop then waits for ever for the missing threads (with GNU's OpenMP, which torch's Linux builds use).
Gymnasium's asynchronous vector environments fork by default on Linux before Python 3.14. A single thread never uses
the pool; torch's data loaders set their workers to one thread, too.
"""

from __future__ import annotations

import os

import torch

_forked = False


def _remember_fork() -> None:
    global _forked
    _forked = True


if hasattr(os, "register_at_fork"):  # not on Windows, which cannot fork
    os.register_at_fork(after_in_child=_remember_fork)


def use_one_thread_after_fork() -> None:
    """Sets torch to one thread, once in every forked process.

    Environments call it before they compute, so that forked processes without environments keep their threads.
    """
    global _forked
    if _forked:
        torch.set_num_threads(1)
        _forked = False
