"""Derivatives of samples with respect to parameters that neither shift nor scale them: wald and vonmises.

At a fixed value of the distribution function F, dx/dtheta = -(dF/dtheta) / p (Figurnov, Mohamed, Mnih, Implicit
reparameterization gradients, NeurIPS 2018, eq. 6). For the gamma distribution see `_gamma.py`.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from difftensor._transforms.declare import primitive
from difftensor.random._gamma import _no_rule, _second
from difftensor.special import erfcx, i0e, i1e
from difftensor.special._incomplete_gamma import DEPTH, QUADRATURE


def wald_slope(xp: Any, c: Any, x: Any) -> Any:
    """dx/dc of the inverse Gaussian distribution of mean 1 and shape c.

    With F(x; m, c) = Phi(sqrt(c/x)(x/m - 1)) + exp(2c/m) Phi(-sqrt(c/x)(x/m + 1)) the densities in dF/dm cancel:
    dF/dm = -(2c/m^2) exp(2c/m) Phi(-...), so dx/dm = sqrt(2 pi c x^3) erfcx(sqrt(c/(2x))(x + 1)) at m = 1; and as
    k x has the parameters k m and k c, x = m dx/dm + c dx/dc.
    """
    return (x - xp.sqrt(2 * np.pi * c * x * x * x) * erfcx(xp.sqrt(c / (2 * x)) * (x + 1))) / c


def vonmises_slope(xp: Any, k: Any, t: Any) -> Any:
    """dt/dk of the angle t about the mean, in [-pi, pi], with density exp(k cos t) / (2 pi I0(k)).

    F is odd about 0, so for t > 0, with A = I1(k)/I0(k),

        dt/dk = -int_0^t exp(k (cos s - cos t)) (cos s - A) ds = int_t^pi (the same),

    the first where cos t > A, the second elsewhere: there the last factor has one sign.
    """
    sign = xp.where(t < 0, -1.0, 1.0)
    t = sign * t
    cos_t = xp.cos(t)
    mean = i1e(k) / i0e(k)
    near = cos_t >= mean
    low = cos_t * k > DEPTH - k  # exp(-40) of the height is reached before pi
    cut = xp.where(low, cos_t - DEPTH / xp.where(low, k, 1.0), 0.0)
    width = xp.where(near, t, xp.where(low, xp.arccos(cut), np.pi) - t)
    first = xp.where(near, 0.0, t)
    integral = 0.0
    for node, weight in QUADRATURE:
        s = first + width * node
        # cos s - cos t, without cancellation
        gap = -2 * xp.sin(0.5 * (s + t)) * xp.sin(0.5 * (s - t))
        integral = integral + weight * xp.exp(k * gap) * (gap + (cos_t - mean))
    return sign * xp.where(near, -1.0, 1.0) * width * integral


wald_path = primitive(
    "random.wald_path", _second, lambda xp, g, y, a, x: g * wald_slope(xp, a, y), _no_rule, kind="binary", saves="ya"
)
vonmises_path = primitive(
    "random.vonmises_path", _second, lambda xp, g, y, a, x: g * vonmises_slope(xp, a, y), _no_rule,
    kind="binary", saves="ya",
)  # fmt: skip
