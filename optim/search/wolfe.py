"""The strong Wolfe conditions by safeguarded cubic interpolation."""

from __future__ import annotations

import math
from typing import NamedTuple

from .ray import SearchFailed


class Trial(NamedTuple):
    """A step length with the value and the slope there."""

    a: float
    f: float
    d: float


def strong_wolfe(ray, first=1.0, c1=1e-4, c2=0.9, most=30):
    """A point with ``f <= f(0) + c1 alpha slope`` and ``|slope(alpha)| <= c2 |slope(0)|``.

    Parameters
    ----------
    ray : Ray
        With a negative slope.
    first : float
        The first step tried.
    c1, c2 : float
        ``0 < c1 < c2 < 1``: the sufficient decrease and curvature constants.

    Returns
    -------
    alpha : float
    point : Point

    Raises
    ------
    SearchFailed
        If no point with a lower value was found.

    Notes
    -----
    The search of More and Thuente [1]_: an interval that contains acceptable points is refined by cubic and
    quadratic interpolation, first on ``psi(a) = f(a) - f(0) - c1 slope a`` (section 2), then, once a point
    with ``psi <= 0`` and a nonnegative slope is known, on f (section 3). A step at which f is not finite ends
    the interval. Near a minimizer, where differences of f drown in rounding, the approximate Wolfe
    conditions of [2]_ decide from slopes.

    References
    ----------
    .. [1] J. J. More, D. J. Thuente, Line search algorithms with guaranteed sufficient decrease, ACM Trans.
       Math. Softw. 20 (1994) 286-307.
    .. [2] W. W. Hager, H. Zhang, Algorithm 851: CG_DESCENT, ACM Trans. Math. Softw. 32 (2006) 113-137.
    """
    start = Trial(0.0, ray.f, ray.slope)
    noise = 10 * ray.problem.eps * abs(ray.f)
    best, other = start, None  # the end with the lower value, and the other end once it is bracketed
    ceiling = ray.limit
    kept = None
    first_stage = True
    width = before = math.inf
    a = min(first, ceiling)
    for _ in range(most):
        point = ray.at(a)
        f = point.f
        d = ray.slope_at(point) if math.isfinite(f) else math.nan
        if not math.isfinite(d):
            ceiling = a
            a = best.a + 0.1 * (a - best.a)
            if a == best.a:
                break
            continue
        line = ray.f + c1 * a * ray.slope
        if f <= line and abs(d) <= -c2 * ray.slope:
            return a, point
        if abs(f - ray.f) <= noise and (2 * c1 - 1) * ray.slope >= d >= c2 * ray.slope:
            return a, point
        if f <= line and a >= ray.limit and d < 0:
            return a, point
        if f < ray.f and (kept is None or f < kept[1].f):
            kept = a, point
        if first_stage and f <= line and d >= 0:
            first_stage = False
        trial = Trial(a, f, d)
        if first_stage and line < f <= best.f:
            # On psi, whose minimizers satisfy sufficient decrease; its differences are those of f tilted.
            tilt = c1 * ray.slope
            best, other, a = _narrow(_tilted(best, tilt), _tilted(other, tilt), _tilted(trial, tilt), ceiling)
            best, other = _tilted(best, -tilt), _tilted(other, -tilt)
        else:
            best, other, a = _narrow(best, other, trial, ceiling)
        if other is not None:
            size = abs(other.a - best.a)
            if size >= 0.66 * before:
                a = best.a + 0.5 * (other.a - best.a)
            before, width = width, size
            if size <= 1e-15 * max(abs(best.a), abs(other.a)):
                break
        if a == best.a or (other is not None and a == other.a):  # float64 cannot tell the next trial from an old one
            break
    if kept is not None:
        return kept
    raise SearchFailed(f"the line search found no decrease down to a step of {a:.1g}")


def _tilted(trial, tilt):
    return trial if trial is None else Trial(trial.a, trial.f - tilt * trial.a, trial.d - tilt)


def _narrow(best, other, trial, ceiling):
    """The updated interval and the next trial step: section 4 of [1]_ of `strong_wolfe`, its four cases."""
    a, b = best.a, trial.a
    if trial.f > best.f:  # case 1: a minimizer lies between
        cubic, parabola = _cubic(best, trial), _vertex(best, trial)
        step = cubic if abs(cubic - a) < abs(parabola - a) else 0.5 * (cubic + parabola)
        return best, trial, step
    if trial.d * best.d < 0:  # case 2: the slopes differ in sign, so a minimizer lies between
        cubic, secant = _cubic(trial, best), _secant(best, trial)
        step = cubic if abs(cubic - b) >= abs(secant - b) else secant
        return trial, best, step
    if abs(trial.d) <= abs(best.d):  # case 3: lower and flatter
        cubic, secant = _cubic(trial, best, beyond=True), _secant(best, trial)
        if other is None:
            far = b + 4.0 * (b - a)
            candidates = [c for c in (cubic, secant) if c is not None and c > b]
            step = max(candidates, default=far)
            step = min(max(step, b + 1.1 * (b - a)), far, ceiling)
            return trial, None, step if step < ceiling else _below(b, ceiling)
        candidates = [c for c in (cubic, secant) if c is not None]
        step = min(candidates, key=lambda c: abs(c - b))
        edge = b + 0.66 * (other.a - b)
        step = min(edge, step) if b > a else max(edge, step)
        return trial, other, step
    if other is not None:  # case 4: lower and steeper
        return trial, other, _cubic(trial, other)
    step = min(b + 4.0 * (b - a), ceiling)
    return trial, None, step if step < ceiling else _below(b, ceiling)


def _below(a, ceiling):
    """The ceiling itself if it may be tried (a limit never tried yet), else the middle on the way to it."""
    return 0.5 * (a + ceiling) if ceiling < math.inf else 4.0 * a


def _cubic(p, q, beyond=False):
    """The minimizer of the cubic through two trials, eq. 3.59 of Nocedal and Wright, scaled against overflow.

    With ``beyond``, None where the cubic has no minimizer beyond ``p`` as seen from ``q``.
    """
    theta = 3.0 * (p.f - q.f) / (q.a - p.a) + p.d + q.d
    scale = max(abs(theta), abs(p.d), abs(q.d))
    if scale == 0.0:
        return 0.5 * (p.a + q.a)
    root = (theta / scale) ** 2 - (p.d / scale) * (q.d / scale)
    gamma = scale * math.sqrt(max(root, 0.0))
    if q.a < p.a:
        gamma = -gamma
    bottom = ((gamma - p.d) + gamma) + q.d
    if bottom == 0.0:
        return None if beyond else 0.5 * (p.a + q.a)
    r = ((gamma - p.d) + theta) / bottom
    if beyond and (r >= 0 or gamma == 0):
        return None
    return p.a + r * (q.a - p.a)


def _vertex(p, q):
    """The minimizer of the parabola through the value and slope at ``p`` and the value at ``q``."""
    bend = (p.f - q.f) / (q.a - p.a) + p.d
    return p.a + 0.5 * p.d / bend * (q.a - p.a) if bend != 0 else 0.5 * (p.a + q.a)


def _secant(p, q):
    """Where the slope vanishes if it is linear through both trials."""
    return p.a + p.d / (p.d - q.d) * (q.a - p.a) if p.d != q.d else 0.5 * (p.a + q.a)
