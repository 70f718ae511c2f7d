"""Keeps the memory of a long computation."""

from __future__ import annotations

import ctypes
import platform

TRIM_THRESHOLD, MMAP_MAX = -1, -4
"""Numbers of settings of ``mallopt``; see the GNU C library's ``malloc.h``."""

LARGEST = 2**31 - 1


def keep_memory() -> None:
    """Keeps freed memory for the next tensors instead of giving it back to the system; does nothing but on glibc.

    A computation that frees and takes large tensors at every step otherwise waits for the system to clear their pages
    each time. What the process holds is what it once needed at most.
    """
    if platform.libc_ver()[0] != "glibc":
        return
    mallopt = ctypes.CDLL(None).mallopt
    mallopt(TRIM_THRESHOLD, LARGEST)
    mallopt(MMAP_MAX, 0)
