"""Gamma variables and the derivative of a sample with respect to the shape.

Sampling: Marsaglia, Tsang, A simple method for generating gamma variables, ACM TOMS 26 (2000) 363-372, without the
squeeze; a shape a below 1 by way of a + 1 and U^(1/a) (section 6).

Derivative: at a fixed value u = F(x; a) of the distribution function, dx/da = -(dF/da) / p (Figurnov, Mohamed, Mnih,
Implicit reparameterization gradients, NeurIPS 2018, eq. 6).
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from difftensor._backend import Device, namespace
from difftensor._transforms.declare import primitive
from difftensor.errors import MissingDerivativeError
from difftensor.random import _noise
from difftensor.random._philox import Philox
from difftensor.random._rejection import SECOND_LANE, reject
from difftensor.special import digamma

_ATTEMPTS = 14  # at most 4.9 % are rejected, at a = 1: 0.049^14 < 10^-18


def _propose(xp: Any, w: list, d: Any, c: Any) -> tuple:
    z = _noise.normal(xp, w[0])
    v = 1 + c * z
    v = v * v * v
    fine = v > 0
    v = xp.where(fine, v, 1.0)
    log_v = xp.log(v)
    return d * v, fine & (xp.log(_noise.centered(xp, w[1])) < 0.5 * z * z + d * (1 - v + log_v))


def standard_gamma(source: Philox, shape: tuple, device: Device, a: Any) -> tuple[Any, Any]:
    """Raw gamma variables of the shape parameter a, or a + 1 where a < 1, and what is to be added to their logarithms
    there: log(U) / a. The second is None if nothing is to be added."""
    n = math.prod(shape)
    start = source.reserve(2 * n)
    small = a < 1
    if device.kind == "cpu" and not np.any(small):
        small = None
    boosted = a if small is None else a + small
    d = boosted - 1 / 3
    x = reject(source, start, shape, device, 2, _ATTEMPTS, _propose, d, 1 / (9 * d) ** 0.5)
    if small is None:
        return x, None
    xp = namespace(x)
    e = _noise.exponential(xp, source.words(start, n, device, SECOND_LANE)).reshape(shape)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        return x, xp.where(small, -e / a, 0.0)


# The derivative -------------------------------------------------------------------------------------------------------

_DEPTH = 40.0  # exp(-40) of the integrand's height is left out
_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(40)
_QUADRATURE = [(float(0.5 * (1 + s)), float(0.5 * w)) for s, w in zip(_NODES, _WEIGHTS, strict=True)]
_SMALL = 0.25


def log_slope(xp: Any, a: Any, log_x: Any) -> Any:
    """d log x / da at fixed F(x; a), for the logarithm of a gamma variable; positive.

    For x <= 1/4 the series P(a, x) = x^a e^-x sum_n x^n / Gamma(a + n + 1) (DLMF 8.7.1), differentiated; all terms
    have one sign as ln x < psi(a + 1). Else, with t = x e^v,

        dx/da = -1/p int_0^x p(t) (ln t - psi(a)) dt = x int_-inf^0 exp(a v - x (e^v - 1)) (psi(a) - ln x - v) dv

    or the same integral from 0 to infinity with the other sign (both together vanish): the one in which the last
    factor has one sign. The integrand is log-concave but for that factor; it is cut off where the exponent is -40, and
    integrated by Gauss and Legendre.
    """
    small = log_x <= float(np.log(_SMALL))
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
    sign = xp.where(t >= 0, 1.0, -1.0)
    tilt = sign * (x - a)
    # the exponent is -h(r): h = x (e^(sign r) - 1 - sign r) + tilt r, convex; h(r) = 40 from its quadratic part on
    r = 2 * _DEPTH / (tilt + xp.sqrt(tilt * tilt + 2 * _DEPTH * x))
    for _ in range(2):  # above the root on this side, where exponentials grow: a fixed point from above
        r = xp.where(t >= 0, xp.log1p((_DEPTH + a * r) / x), r)
    for _ in range(3):  # Newton
        bend = xp.expm1(sign * r)
        r = r - (x * (bend - sign * r) + tilt * r - _DEPTH) / (sign * x * bend + tilt)
    integral = 0.0
    for node, weight in _QUADRATURE:
        q = r * node
        e = sign * q
        integral = integral + weight * xp.exp(-(x * (xp.expm1(e) - e) + tilt * q)) * (sign * t + q)
    return xp.where(small, series, r * integral)


def _no_rule(*_: Any) -> Any:
    raise MissingDerivativeError("random: the standard draw behind a sample has no derivative")


def _gamma_rule(xp: Any, g: Any, y: Any, a: Any, x: Any) -> Any:
    """0 where the sample has underflowed to 0."""
    positive = y > 0
    safe = xp.where(positive, y, 1.0)
    return g * xp.where(positive, safe * log_slope(xp, a, xp.log(safe)), 0.0)


def _second(a: Any, x: Any) -> Any:
    return np.broadcast_to(x, np.broadcast_shapes(np.shape(a), np.shape(x))) if np.shape(a) != np.shape(x) else x


# The sample x as a function of its parameter, at a fixed value of the distribution function.
gamma_path = primitive("random.gamma_path", _second, _gamma_rule, _no_rule, kind="binary", saves="ya")
log_gamma_path = primitive(
    "random.log_gamma_path", _second, lambda xp, g, y, a, x: g * log_slope(xp, a, y), _no_rule,
    kind="binary", saves="ya",
)  # fmt: skip
