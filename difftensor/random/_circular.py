"""Angles about a mean: the von Mises distribution by rejection from a wrapped Cauchy distribution.

D. J. Best, N. I. Fisher, Efficient simulation of the von Mises distribution, Applied Statistics 28 (1979) 152-157.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from difftensor._backend import Device
from difftensor.random import _noise
from difftensor.random._philox import Philox
from difftensor.random._rejection import SECOND_LANE, reject

_ATTEMPTS = 40  # at least 0.658 are accepted: 0.342^40 < 10^-18


def _propose(xp: Any, w: list, k: Any, s: Any) -> tuple:
    z = xp.cos(np.pi * _noise.centered(xp, w[0]))
    cosine = (1 + s * z) / (s + z)
    y = k * (s - cosine)
    u = _noise.centered(xp, w[1])
    accepted = (y * (2 - y) - u > 0) | (xp.log(y / u) + 1 - y >= 0)
    angle = xp.arccos(xp.clip(cosine, -1.0, 1.0))
    return xp.where(w[2] & np.uint64(1) == np.uint64(1), angle, -angle), accepted


def _proposal(k: Any) -> Any:
    """The parameter s = (1 + rho^2) / (2 rho) of the wrapped Cauchy distribution; for small k by its series 1/k + k."""
    safe = np.maximum(k, 1e-5)
    r = 1 + (1 + 4 * safe * safe) ** 0.5
    rho = (r - (2 * r) ** 0.5) / (2 * safe)
    return _noise.where(k > 1e-5, (1 + rho * rho) / (2 * rho), 1 / np.maximum(k, 1e-300) + k)


def vonmises(source: Philox, shape: tuple, device: Device, k: Any) -> Any:
    """Raw angles in [-pi, pi] of concentration k about 0."""
    n = math.prod(shape)
    start = source.reserve(3 * n)
    with np.errstate(over="ignore", divide="ignore", invalid="ignore"):
        bounded = np.clip(k, 1e-8, 1e6)
        angle = reject(source, start, shape, device, 3, _ATTEMPTS, _propose, bounded, _proposal(bounded))
        if device.kind == "cpu" and not np.any((k < 1e-8) | (k > 1e6)):
            return angle
        u = _noise.centered(np, source.words(start, n, device, SECOND_LANE)).reshape(shape)
        z = _noise._ndtri(u) / np.maximum(k, 1e6) ** 0.5
    return _noise.where(k < 1e-8, np.pi * (2 * u - 1), _noise.where(k > 1e6, z, angle))
