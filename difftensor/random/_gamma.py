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
from difftensor.special._incomplete_gamma import log_slope

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
        return x, _noise.where(small, -e / a, 0.0 * e)


# The derivative -------------------------------------------------------------------------------------------------------


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
