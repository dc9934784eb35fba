"""The dogleg path."""

from __future__ import annotations

import math

import numpy as np

from .exact import exact


def dogleg(model, radius):
    """The best point of the path from the Cauchy point to the Newton point, within ``radius``.

    Notes
    -----
    Eq. 4.16 of Nocedal and Wright, Numerical Optimization, 2nd ed., 2006. The path needs a positive definite
    Hessian; where it is not, the subproblem is solved exactly.
    """
    values, _ = model.spectrum
    if not values[0] > 1e-12 * abs(float(values[-1])):
        return exact(model, radius)
    along = model.along
    newton = -along / values
    if newton.dot(newton) <= radius * radius:
        return model.spread(newton), False
    size = math.sqrt(float(along.dot(along)))
    cauchy = -(size**2 / float((values * along).dot(along))) * along
    length = math.sqrt(float(cauchy.dot(cauchy)))
    if length >= radius:
        return model.spread(-radius / size * along), True
    return model.spread(cauchy + to_boundary(cauchy, newton - cauchy, radius) * (newton - cauchy)), True


def to_boundary(p, d, radius) -> float:
    """The positive ``t`` with ``|p + t d| = radius``, without cancellation."""
    dd, pd = float(d.dot(d)), float(p.dot(d))
    gap = max(radius * radius - float(p.dot(p)), 0.0)
    root = float(np.sqrt(pd * pd + dd * gap))
    if pd + root > 0:
        return gap / (pd + root)
    return (root - pd) / dd if dd > 0 else 0.0  # 0 where d . d underflows
