"""Exponential, sine, cosine and Fresnel integrals; Airy functions; trigonometric functions of degrees."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import scipy.special

from difftensor._core import general
from difftensor._core.primitive import dress, publish
from difftensor.special._declare import forward_of, one

_DEGREE = math.pi / 180

expi = one("expi", lambda xp, g, y, x: g * (xp.exp(x) / x), "x", samples=[(0.3, 3.0)])
exp1 = one("exp1", lambda xp, g, y, x: -g * (xp.exp(-x) / x), "x", samples=[(0.3, 3.0)])
exp10 = one("exp10", lambda xp, g, y, x: g * (y * math.log(10)), "y")
sindg = one("sindg", lambda xp, g, y, x: g * (_DEGREE * cosdg(x)), "x", samples=[(-90.0, 90.0)])
cosdg = one("cosdg", lambda xp, g, y, x: -g * (_DEGREE * sindg(x)), "x", samples=[(-90.0, 90.0)])


def _several(name: str, saves: str, outputs: int, slopes: Callable) -> Callable:
    """A ufunc of one operand with several results; ``slopes(xp, y, x)`` are their derivatives."""
    ufunc = getattr(scipy.special, name)

    def pull(xp: Any, gs: tuple, y: Any, x: Any) -> Any:
        parts = [g * s for g, s in zip(gs, slopes(xp, y, x), strict=True) if g is not None]
        total = parts[0]
        for part in parts[1:]:
            total = total + part
        return total

    def push(xp: Any, ts: tuple, y: Any, x: Any) -> tuple:
        return tuple(ts[0] * s for s in slopes(xp, y, x))

    f = general(f"special.{name}", forward_of(name, ufunc), pull, push, saves=saves, outputs=outputs, public=False,
                samples="points", batch="trailing")  # fmt: skip
    publish(f"special.{name}", f, ufunc)
    dress(f, name, ufunc)
    return f


def _over_x(xp: Any, x: Any) -> tuple:
    """sin x / x and cos x / x."""
    return xp.sinc(x / math.pi), xp.cos(x) / x


def _fresnel(xp: Any, x: Any) -> tuple:
    """DLMF 7.2.7 and 7.2.8: S' = sin(pi x^2 / 2), C' = cos(pi x^2 / 2)."""
    phase = 0.5 * math.pi * x * x
    return xp.sin(phase), xp.cos(phase)


sici = _several("sici", "x", 2, lambda xp, y, x: _over_x(xp, x))
fresnel = _several("fresnel", "x", 2, lambda xp, y, x: _fresnel(xp, x))
# Ai'' = z Ai, and Bi likewise: DLMF 9.2.1.
airy = _several("airy", "yx", 4, lambda xp, y, x: (y[1], x * y[0], y[3], x * y[2]))
