"""The incomplete gamma functions, differentiable in both arguments: DLMF 8.8.13, and quadrature.

P(a, x) is the distribution function of a gamma variable x of shape a. With its density p, dP/da = -p dx/da, where dx/da
says how x moves with a at a fixed value of P.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from difftensor.special._declare import two
from difftensor.special._entropy import xlogy
from difftensor.special._gamma import digamma, gammaln

DEPTH = 40.0  # exp(-40) of the integrand's height is left out
_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(40)
QUADRATURE = [(float(0.5 * (1 + s)), float(0.5 * w)) for s, w in zip(_NODES, _WEIGHTS, strict=True)]
_LOG_SMALL = float(np.log(0.25))


def log_slope(xp: Any, a: Any, log_x: Any) -> Any:
    """d log x / da at fixed F(x; a), for the logarithm of a gamma variable; positive.

    For x <= 1/4 the series P(a, x) = x^a e^-x sum_n x^n / Gamma(a + n + 1) (DLMF 8.7.1), differentiated; all terms
    have one sign as ln x < psi(a + 1). Else, with t = x e^v,

        dx/da = -1/p int_0^x p(t) (ln t - psi(a)) dt = x int_-inf^0 exp(a v - x (e^v - 1)) (psi(a) - ln x - v) dv

    or the same integral from 0 to infinity with the other sign (both together vanish): the one in which the last
    factor has one sign. The integrand is log-concave but for that factor; it is cut off where the exponent is -40, and
    integrated by Gauss and Legendre.
    """
    small = log_x <= _LOG_SMALL
    log_s = xp.where(small, log_x, -2.0)
    s = xp.exp(log_s)
    term, total, slope, harmonic = 1.0, 1.0, 0.0, 0.0
    for n in range(1, 13):  # 0.25^13 / 13! = 2e-18
        harmonic = harmonic + 1 / (a + n)
        term = term * s / (a + n)
        total = total + term
        slope = slope - term * harmonic
    series = -((log_s - digamma(a + 1)) * total + slope) / a

    log_l = xp.where(small, 0.0, log_x)
    x = xp.exp(log_l)
    t = log_l - digamma(a)
    sign = xp.copysign(1.0, t)
    tilt = sign * (x - a)
    # the exponent is -h(r): h = x (e^(sign r) - 1 - sign r) + tilt r, convex; h(r) = 40 from its quadratic part on
    r = 2 * DEPTH / (tilt + xp.sqrt(tilt * tilt + 2 * DEPTH * x))
    for _ in range(2):  # above the root on this side, where exponentials grow: a fixed point from above
        r = xp.where(sign > 0, xp.log1p((DEPTH + a * r) / x), r)
    for _ in range(3):  # Newton
        bend = xp.expm1(sign * r)
        r = r - (x * (bend - sign * r) + tilt * r - DEPTH) / (sign * x * bend + tilt)
    integral = 0.0
    for node, weight in QUADRATURE:
        q = r * node
        e = sign * q
        integral = integral + weight * xp.exp(-(x * (xp.expm1(e) - e) + tilt * q)) * (sign * t + q)
    return xp.where(small, series, r * integral)


def shape_slope(xp: Any, a: Any, x: Any) -> Any:
    """-dP(a, x) / da, which is not negative; 0 where P is 0 or 1 for all a."""
    inside = (x > 0) & (x < np.inf)
    log_x = xp.log(xp.where(inside, x, 1.0))
    slope = xp.exp(a * log_x - xp.exp(log_x) - gammaln(a)) * log_slope(xp, a, log_x)
    return xp.where(inside, slope, 0.0)


def _gamma_density(xp: Any, a: Any, x: Any) -> Any:
    """x^(a-1) e^-x / Gamma(a)"""
    return xp.exp(xlogy(a - 1, x) - x - gammaln(a))


gammainc = two(
    "gammainc", lambda xp, g, y, a, b: -g * shape_slope(xp, a, b), lambda xp, g, y, a, b: g * _gamma_density(xp, a, b),
    "ab", samples=[(0.3, 4.0), (0.1, 5.0)],
)  # fmt: skip
gammaincc = two(
    "gammaincc", lambda xp, g, y, a, b: g * shape_slope(xp, a, b), lambda xp, g, y, a, b: -g * _gamma_density(xp, a, b),
    "ab", samples=[(0.3, 4.0), (0.1, 5.0)],
)  # fmt: skip
