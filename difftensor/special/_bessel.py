"""Bessel functions, in their argument. Derivatives in the order are not known yet and raise.

DLMF 10.6.1 and 10.6.3 (J, Y, H), 10.29.1 and 10.29.3 (I, K).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import scipy.special

from difftensor._core import Tensor, X, composition
from difftensor.special._declare import missing, one, two

_POSITIVE = [(0.3, 6.0)]


def _slope_of_ive(xp: Any, y: Any, v: Any, z: Any) -> Any:
    if z.dtype.kind == "c":
        missing("ive", "z", " for complex numbers (the scale e^-|Re z| is not holomorphic)")()
    return 0.5 * (ive(v - 1, z) + ive(v + 1, z)) - xp.sign(z) * y


def _order(name: str, slope: Callable, **facts: Any) -> Callable:
    """A function of order a and argument b with derivative ``slope(xp, y, a, b)`` in b."""
    saves = facts.pop("saves", "|ab")
    samples = [1.3, *_POSITIVE]
    return two(name, missing(name, "v"), lambda xp, g, y, a, b: g * slope(xp, y, a, b), saves, samples=samples, **facts)


jv = _order("jv", lambda xp, y, v, z: 0.5 * (jv(v - 1, z) - jv(v + 1, z)))
yv = _order("yv", lambda xp, y, v, z: 0.5 * (yv(v - 1, z) - yv(v + 1, z)))
iv = _order("iv", lambda xp, y, v, z: 0.5 * (iv(v - 1, z) + iv(v + 1, z)))
kv = _order("kv", lambda xp, y, v, z: -0.5 * (kv(v - 1, z) + kv(v + 1, z)))
# Scaled by e^-|x| and e^x.
ive = _order("ive", lambda xp, y, v, z: _slope_of_ive(xp, y, v, z), saves="|yab", complex_order=0)
kve = _order("kve", lambda xp, y, v, z: y - 0.5 * (kve(v - 1, z) + kve(v + 1, z)), saves="|yab")

j0 = one("j0", lambda xp, g, y, x: -g * j1(x), "x")
j1 = one("j1", lambda xp, g, y, x: g * (0.5 * (j0(x) - jv(2.0, x))), "x")
y0 = one("y0", lambda xp, g, y, x: -g * y1(x), "x", samples=_POSITIVE)
y1 = one("y1", lambda xp, g, y, x: g * (0.5 * (y0(x) - yv(2.0, x))), "x", samples=_POSITIVE)
i0 = one("i0", lambda xp, g, y, x: g * i1(x), "x")
i1 = one("i1", lambda xp, g, y, x: g * (0.5 * (i0(x) + iv(2.0, x))), "x")
k0 = one("k0", lambda xp, g, y, x: -g * k1(x), "x", samples=_POSITIVE)
k1 = one("k1", lambda xp, g, y, x: -g * (0.5 * (k0(x) + kv(2.0, x))), "x", samples=_POSITIVE)
i0e = one("i0e", lambda xp, g, y, x: g * (i1e(x) - xp.sign(x) * y), "yx", kinks="0 at 0")
i1e = one("i1e", lambda xp, g, y, x: g * (0.5 * (i0e(x) + ive(2.0, x)) - xp.sign(x) * y), "yx")
k0e = one("k0e", lambda xp, g, y, x: g * (y - k1e(x)), "yx", samples=_POSITIVE)
k1e = one("k1e", lambda xp, g, y, x: g * (y - 0.5 * (k0e(x) + kve(2.0, x))), "yx", samples=_POSITIVE)


def _hankel(name: str) -> Callable:
    """A Hankel function: of complex numbers, real arguments are cast."""
    ufunc = getattr(scipy.special, name)
    f = _order(name, lambda xp, y, v, z: 0.5 * (f(v - 1, z) - f(v + 1, z)), numpy=None, complex_only=True)

    @composition(ufunc, name=f"special.{name}")
    def hankel(v: Any, z: Any) -> Any:
        if isinstance(z, Tensor) and z.dtype.kind != "c":
            z = X.astype(z, np.result_type(z.dtype, np.complex64))
        return f(v, z)

    return hankel


hankel1, hankel2 = _hankel("hankel1"), _hankel("hankel2")
