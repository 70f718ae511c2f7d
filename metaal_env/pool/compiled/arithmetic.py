"""What compiled loops share: the compiler's settings, and functions that it can vectorise.

Sums may be taken in any order, else no loop over floats is vectorised; infinities and NaN keep their meaning.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numba
import numpy as np

F = np.float32
I = np.int32  # noqa: E741
Array = np.ndarray[Any, Any]


def jit(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compiles a function of NumPy arrays at its first call, and keeps the code on disk where that is possible."""
    settings = {"reassoc", "contract", "nsz", "arcp"}
    return numba.njit(fastmath=settings, error_model="numpy", cache=True, nogil=True)(function)  # type: ignore[no-any-return]


@jit
def exp(x: Any) -> Any:
    """Returns e^x of a float32 x ≤ 0 by a polynomial, to 1e-6 for x > −20; at least e^−87."""
    t = max(x, F(-87.0)) * F(1.4426950408889634)
    whole = math.floor(t + F(0.5))
    f = t - F(whole)
    p = F(1.5403530e-4)
    p = p * f + F(1.3333558e-3)
    p = p * f + F(9.6181291e-3)
    p = p * f + F(5.5504109e-2)
    p = p * f + F(2.4022651e-1)
    p = p * f + F(6.9314718e-1)
    p = p * f + F(1.0)
    return p * I((I(whole) + 127) << 23).view(np.float32)


@jit
def sigmoid(x: Any) -> Any:
    """Returns 1 / (1 + e^−x) of a float32 x to 2e-7, by a quotient of polynomials for tanh."""
    x = min(max(x * F(0.5), F(-7.9053111)), F(7.9053111))
    s = x * x
    p = F(-2.76076847742355e-16)
    p = p * s + F(2.00018790482477e-13)
    p = p * s + F(-8.60467152213735e-11)
    p = p * s + F(5.12229709037114e-08)
    p = p * s + F(1.48572235717979e-05)
    p = p * s + F(6.37261928875436e-04)
    p = p * s + F(4.89352455891786e-03)
    q = F(1.19825839466702e-06)
    q = q * s + F(1.18534705686654e-04)
    q = q * s + F(2.26843463243900e-03)
    q = q * s + F(4.89352518554385e-03)
    return F(0.5) + F(0.5) * (x * p / q)


@jit
def add(to: Array, row: Array) -> None:
    """Adds a row to another of the same length, in place."""
    for e in range(len(to)):
        to[e] += row[e]


@jit
def subtract(to: Array, row: Array) -> None:
    """Subtracts a row from another of the same length, in place."""
    for e in range(len(to)):
        to[e] -= row[e]
