"""Truncated conjugate gradients."""

from __future__ import annotations

import math

import numpy as np

from .dogleg import to_boundary


def steihaug(model, radius, most=None):
    """Conjugate gradients until the boundary, negative curvature or enough accuracy; hvp only.

    Returns
    -------
    p : array, shape (n,)
    boundary : bool

    Notes
    -----
    Algorithm 7.2 of Nocedal and Wright, Numerical Optimization, 2nd ed., 2006, with the forcing sequence
    ``min(1/2, sqrt |g|) |g|`` of section 7.1.
    """
    g = model.g
    size = math.sqrt(float(g.dot(g)))
    tolerance = min(0.5, math.sqrt(size)) * size
    p, r, d = np.zeros_like(g), g, -g
    rr = size * size
    for _ in range(2 * len(g) if most is None else most):
        Hd = model.hvp(d)
        curvature = float(d.dot(Hd))
        if not curvature > 0:
            return p + to_boundary(p, d, radius) * d, True
        alpha = rr / curvature
        ahead = p + alpha * d
        if float(ahead.dot(ahead)) >= radius * radius:
            return p + to_boundary(p, d, radius) * d, True
        p, r = ahead, r + alpha * Hd
        new = float(r.dot(r))
        if math.sqrt(new) <= tolerance:
            break
        d = -r + (new / rr) * d
        rr = new
    return p, False
