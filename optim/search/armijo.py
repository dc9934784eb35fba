"""Sufficient decrease by interpolation; looks at values only."""

from __future__ import annotations

import math

from .ray import SearchFailed


def armijo(ray, first=1.0, c1=1e-4, most=40):
    """A point with ``f <= f(0) + c1 alpha slope``.

    Parameters
    ----------
    ray : Ray
        With a negative slope.
    first : float
        The first step tried.
    c1 : float
        The fraction of the decrease of the tangent that is asked for.

    Returns
    -------
    alpha : float
    point : Point

    Notes
    -----
    Backtracks to the minimizer of the parabola through ``f(0)``, ``slope`` and the last value, kept between
    0.1 and 0.5 of the last step [1]_, eq. 3.58. No gradient is evaluated.

    References
    ----------
    .. [1] J. Nocedal, S. J. Wright, Numerical Optimization, 2nd ed., Springer 2006, section 3.5.
    """
    alpha = min(first, ray.limit)
    for _ in range(most):
        point = ray.at(alpha)
        f = point.f
        if f <= ray.f + c1 * alpha * ray.slope:
            return alpha, point
        if math.isfinite(f):
            vertex = -0.5 * ray.slope * alpha / ((f - ray.f) / alpha - ray.slope)
            alpha = min(max(vertex, 0.1 * alpha), 0.5 * alpha)
        else:
            alpha *= 0.1
    raise SearchFailed(f"the line search found no decrease down to a step of {alpha:.1g}")
