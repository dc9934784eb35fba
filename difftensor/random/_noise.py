"""Standard draws: functions of one random word each, in array code for every backend.

``f(xp, w)``: `w` is an array of uint64 words that nobody else needs, or of uint32 halves of words where the result is
of single precision.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from difftensor.special._declare import forward_of

_ndtri = forward_of("ndtri")
_ELEVEN, _TWELVE, _EIGHT = np.uint64(11), np.uint64(12), np.uint32(8)


def where(condition: Any, a: Any, b: Any) -> Any:
    """``np.where``, also of one boolean beside arrays of a GPU, which CuPy refuses."""
    if isinstance(condition, (bool, np.bool_)):
        return a if condition else b
    return np.where(condition, a, b)[()]


def uniform(xp: Any, w: Any) -> Any:
    """k 2^-53 with k of 53 bits: uniform in [0, 1); NumPy's bits from the same words."""
    w >>= _ELEVEN
    u = w.astype(xp.float64)
    u *= 2.0**-53
    return u


def uniform_single(xp: Any, w: Any) -> Any:
    """k 2^-24 with k of 24 bits, of half a word."""
    w >>= _EIGHT
    return w.astype(xp.float32) * np.float32(2.0**-24)


def centered(xp: Any, w: Any) -> Any:
    """(k + 1/2) 2^-52 with k of 52 bits: exact, symmetric about 1/2, never 0 and never 1."""
    w >>= _TWELVE
    u = w.astype(xp.float64)
    u *= 2.0**-52
    u += 2.0**-53
    return u


def normal(xp: Any, w: Any) -> Any:
    """The inverse of the normal distribution function: |z| <= 8.21, monotone in the word."""
    return _ndtri(centered(xp, w))


def normal_single(xp: Any, w: Any) -> Any:
    """As `normal`, of half a word: |z| <= 6.34."""
    return _ndtri((w + 0.5) * 2.0**-32).astype(xp.float32)


def exponential(xp: Any, w: Any) -> Any:
    """-log(1 - u)."""
    w >>= _ELEVEN
    u = w.astype(xp.float64)
    u *= -(2.0**-53)
    e = xp.log1p(u)
    e *= -1.0
    return e


def exponential_single(xp: Any, w: Any) -> Any:
    """As `exponential`, of half a word."""
    return (-xp.log1p(w * -(2.0**-32))).astype(xp.float32)


def cauchy(xp: Any, w: Any) -> Any:
    """tan(pi (u - 1/2))"""
    u = centered(xp, w)
    u -= 0.5
    u *= np.pi
    return xp.tan(u)


def laplace(xp: Any, w: Any) -> Any:
    """sign(u - 1/2) times an exponential variable of what is left of u."""
    u = centered(xp, w)
    return xp.where(u < 0.5, xp.log(2 * u), -xp.log(2 * (1 - u)))


def logistic(xp: Any, w: Any) -> Any:
    """log(u / (1 - u))"""
    u = centered(xp, w)
    return xp.log(u / (1 - u))


def gumbel(xp: Any, w: Any) -> Any:
    """-log(-log u), by way of 1 - u where u is near 1."""
    u = centered(xp, w)
    return -xp.log(xp.where(u < 0.5, -xp.log(u), -xp.log1p(u - 1)))
