"""Sets how kernels are compiled, and holds arithmetic that the compiler vectorises."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numba
import numpy as np

F = np.float32
I = np.int32  # noqa: E741
Array = np.ndarray[Any, Any]


def jit(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compiles a function of NumPy arrays at its first call, and keeps the code on disk where that is possible."""
    settings = {"reassoc", "contract", "nsz", "arcp"}
    compiler = partial(numba.njit, fastmath=settings, error_model="numpy", nogil=True)
    try:
        return compiler(cache=True)(function)  # type: ignore[no-any-return]
    except RuntimeError:  # neither the package's folder nor the user's can be written to
        return compiler()(function)  # type: ignore[no-any-return]


@jit
def exp(x: Any) -> Any:
    """Returns e^x of a float32 x ≤ 0 by a polynomial, to 1e-6 for x > −20; 0 below −70."""
    t = max(x, F(-87.0)) * F(1.4426950408889634)
    whole = np.floor(t + F(0.5))  # a float: vectors have no conversion to math.floor's long integers
    f = t - whole
    p = F(1.5403530e-4)
    p = p * f + F(1.3333558e-3)
    p = p * f + F(9.6181291e-3)
    p = p * f + F(5.5504109e-2)
    p = p * f + F(2.4022651e-1)
    p = p * f + F(6.9314718e-1)
    p = p * f + F(1.0)
    # 0 before numbers become so small that processors take long over them.
    return p * I((I(whole) + 127) << 23).view(np.float32) if x > F(-70.0) else F(0)


@jit
def log(x: Any) -> Any:
    """Returns the logarithm of a float32 x > 0 to 1e-7 relative to the larger of 1 and itself (Cephes' polynomial)."""
    bits = F(x).view(np.int32)
    whole = I(I(bits - I(0x3F3504F3)) >> I(23))  # so that the rest lies between √½ and √2
    f = I(bits - I(whole << I(23))).view(np.float32) - F(1)
    p = F(7.0376836292e-2)
    p = p * f - F(1.1514610310e-1)
    p = p * f + F(1.1676998740e-1)
    p = p * f - F(1.2420140846e-1)
    p = p * f + F(1.4249322787e-1)
    p = p * f - F(1.6668057665e-1)
    p = p * f + F(2.0000714765e-1)
    p = p * f - F(2.4999993993e-1)
    p = p * f + F(3.3333331174e-1)
    square = f * f
    return F(whole) * F(0.69314718) + (f + (square * f * p - F(0.5) * square))


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
def put(to: Array, row: Array) -> None:
    """Copies a row to another of the same length; assigning a slice compiles an error message for other shapes."""
    for e in range(len(to)):
        to[e] = row[e]


@jit
def put_rows(to: Array, rows: Array) -> None:
    """Copies each row of a matrix to another of the same shape."""
    for i in range(len(to)):
        for e in range(to.shape[1]):
            to[i, e] = rows[i, e]
