"""The trust-region subproblem solved exactly."""

from __future__ import annotations

import math

import numpy as np

from .secular import boundary_multiplier


def exact(model, radius):
    """The minimizer of the model within ``radius``.

    Returns
    -------
    p : array, shape (n,)
    boundary : bool
        Whether the step ends on the boundary.

    Notes
    -----
    In the eigenvectors of H, ``p(lam) = -(H + lam)^{-1} g`` with ``lam`` from the secular equation [1]_, Theorem
    4.1 and section 4.3. In the hard case, where g has no component along the lowest eigenvector, that vector
    is added until the boundary is reached.

    References
    ----------
    .. [1] J. Nocedal, S. J. Wright, Numerical Optimization, 2nd ed., Springer 2006, chapter 4.
    """
    values, _ = model.spectrum
    along = model.along
    size = max(abs(float(values[0])), abs(float(values[-1])), 1e-300)
    tiny = 1e-14 * size
    if values[0] > tiny:
        c = -along / values
        if c.dot(c) <= radius * radius:
            return model.spread(c), False
    floor = max(0.0, -float(values[0]))
    # the length of the step at the floor, without the lowest eigenvectors
    rest = values + floor > 1e-10 * size
    c = np.where(rest, -along / np.where(rest, values + floor, 1.0), 0.0)
    hidden = math.sqrt(float((along[~rest] ** 2).sum()))
    short = radius * radius - float(c.dot(c))
    if hidden <= 1e-12 * math.sqrt(float(along.dot(along))) and short >= 0:
        if values[0] < -tiny:  # the hard case
            c[0] += math.copysign(math.sqrt(short), -along[0])
            return model.spread(c), True
        return model.spread(c), False
    lam = boundary_multiplier(values, along, radius, floor)
    return model.spread(-along / (values + lam)), True
