"""The error function's family and the normal distribution.

Derivatives: DLMF 7.10, https://dlmf.nist.gov/7.10, unless said.
"""

from __future__ import annotations

import math
from typing import Any

from difftensor.special._declare import one

_ROOT_PI = math.sqrt(math.pi)
_ROOT_2 = math.sqrt(2)
_ROOT_2PI = math.sqrt(2 * math.pi)

erf = one("erf", lambda xp, g, y, x: g * (2 / _ROOT_PI * xp.exp(-x * x)), "x")
erfc = one("erfc", lambda xp, g, y, x: g * (-2 / _ROOT_PI * xp.exp(-x * x)), "x")
erfi = one("erfi", lambda xp, g, y, x: g * (2 / _ROOT_PI * xp.exp(x * x)), "x")


def _slope_of_erfcx(xp: Any, y: Any, x: Any) -> Any:
    """2 x erfcx(x) - 2/sqrt(pi) loses 2 log10(x) digits: beyond 30 its asymptotic series, DLMF 7.12.1 differentiated.

    -1/(sqrt(pi) x^2) sum_k (2k+1)!! (-1/(2 x^2))^k: the first term left out is below 1e-16 there.
    """
    far = x.real > 30
    t = -0.5 / xp.where(far, x * x, 1)
    series = 1 + 3 * t * (1 + 5 * t * (1 + 7 * t * (1 + 9 * t * (1 + 11 * t))))
    return xp.where(far, 2 / _ROOT_PI * t * series, 2 * x * y - 2 / _ROOT_PI)


erfcx = one("erfcx", lambda xp, g, y, x: g * _slope_of_erfcx(xp, y, x), "yx")


def _slope_of_dawsn(xp: Any, y: Any, x: Any) -> Any:
    """1 - 2 x F(x) loses 2 log10(x) digits, at each order: beyond 10 its asymptotic series.

    -sum_k (2k-1)!! u^k from k = 1 on with u = 1/(2 x^2), from DLMF 7.6.2 and 7.12.1 along the imaginary axis: the
    first term left out is below 1e-16 there. Not for complex numbers, where another exponential joins it.
    """
    near = 1 - 2 * x * y
    if x.dtype.kind == "c":
        return near
    far = abs(x) > 10
    u = 0.5 / xp.where(far, x * x, 1)
    series: Any = 1
    for k in range(29, 1, -2):
        series = 1 + k * u * series
    return xp.where(far, -u * series, near)


dawsn = one("dawsn", lambda xp, g, y, x: g * _slope_of_dawsn(xp, y, x), "yx")
erfinv = one("erfinv", lambda xp, g, y, x: g * (_ROOT_PI / 2 * xp.exp(y * y)), "y", samples=[(-0.95, 0.95)])
erfcinv = one("erfcinv", lambda xp, g, y, x: g * (-_ROOT_PI / 2 * xp.exp(y * y)), "y", samples=[(0.05, 1.95)])

# The normal distribution function Phi; phi/Phi = sqrt(2/pi) / erfcx(-x/sqrt(2)) keeps its digits in the lower tail.
ndtr = one("ndtr", lambda xp, g, y, x: g * (xp.exp(-0.5 * x * x) / _ROOT_2PI), "x")
log_ndtr = one("log_ndtr", lambda xp, g, y, x: g * (math.sqrt(2 / math.pi) / erfcx(-x / _ROOT_2)), "x")
ndtri = one("ndtri", lambda xp, g, y, x: g * (_ROOT_2PI * xp.exp(0.5 * y * y)), "y", samples=[(0.05, 0.95)])
