"""Bessel functions of small integer order in array code, for GPUs: CuPy has those of the orders 0 and 1 only.

The derivatives of these two need the orders 2 and 3. Below |x| = n + 2 the power series (DLMF 10.2.2, 10.25.2), above
the recurrence from the orders 0 and 1 (DLMF 10.6.1, 10.29.1), which is stable there; Y and K are the growing solutions
of theirs, so that the recurrence serves everywhere.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from difftensor._backend import science
from difftensor.errors import not_there

_TERMS = 20  # (x/2)^40 / 20!^2 is below 1e-18 of the largest term for |x| <= 8
_HIGHEST = 6


def _order(name: str, v: Any) -> int:
    n = float(v) if np.ndim(v) == 0 and not hasattr(v, "__cuda_array_interface__") else np.nan
    if not (n == int(n) if np.isfinite(n) else False) or abs(n) > _HIGHEST:
        raise not_there(f"special.{name} of orders other than integers up to {_HIGHEST}")
    return int(n)


def _series(n: int, x: Any, sign: float) -> Any:
    half = 0.5 * x
    quarter = sign * half * half
    total = term = quarter * 0 + 1
    for k in range(1, _TERMS):
        term = term * quarter / (k * (k + n))
        total = total + term
    for k in range(1, n + 1):
        total = total * half / k
    return total


def _declare(name: str, at_zero: str, at_one: str, kind: str) -> Callable:
    """`kind`: J, Y, I or K; scaled or not, as the functions of the orders 0 and 1 are."""

    def f(v: Any, x: Any) -> Any:
        n = _order(name, v)
        parity = -1.0 if n < 0 and n % 2 and kind in "JY" else 1.0
        n = abs(n)
        space = science((x,), "special")
        low, high = getattr(space, at_zero)(x), getattr(space, at_one)(x)
        if n < 2:
            return parity * (high if n else low)
        safe = np.where(x == 0, 1, x) if kind in "JI" else x
        for k in range(1, n):
            step = (2.0 * k / safe) * high
            low, high = high, step - low if kind in "JY" else low - step if kind == "I" else low + step
        if kind in "YK":
            return parity * high
        near = np.where(abs(x) < n + 2, x, 0)
        series = _series(n, near, -1.0 if kind == "J" else 1.0)
        if name.endswith("e"):
            series = series * np.exp(-abs(near))
        return parity * np.where(abs(x) < n + 2, series, high)

    return f


SUBSTITUTES = {
    "jv": _declare("jv", "j0", "j1", "J"),
    "yv": _declare("yv", "y0", "y1", "Y"),
    "iv": _declare("iv", "i0", "i1", "I"),
    "kv": _declare("kv", "k0", "k1", "K"),
    "ive": _declare("ive", "i0e", "i1e", "I"),
    "kve": _declare("kve", "k0e", "k1e", "K"),
}
