"""What all line-search methods share: one step along a direction, inside the bounds."""

from __future__ import annotations

import difftensor as dif

from ..search import Ray, SearchFailed, armijo, projected, strong_wolfe, weak_wolfe

SEARCHES = {"strong-wolfe": strong_wolfe, "weak-wolfe": weak_wolfe, "armijo": armijo}

MOST_FLAT = 5  # steps that may keep f the same to the last bit before a run ends


def along(problem, point, p, first, search, **constants):
    """Search from ``point`` along ``p``; returns the step length and the new point, or raises SearchFailed."""
    ray = Ray(problem, point, p)
    if not ray.slope < 0:
        raise SearchFailed("the direction does not descend")
    if problem.box is not None:
        return projected(ray, first)
    return SEARCHES[search](ray, first, **constants)


def check_search(search: str) -> None:
    if search not in SEARCHES:
        raise ValueError(f"optim: search must be one of {', '.join(SEARCHES)}, got {search!r}")


def first_step(point, p) -> float:
    """The first trial along the steepest descent: to the minimizer of the parabola with the true curvature.

    One Hessian-vector product there spares several values. Where it cannot be had, or the curvature is not
    positive, a step of length 1 or less.
    """
    size = float(abs(p).max())
    if not size > 0:
        return 1.0
    curvature = 0.0
    if point.problem.has_hessian:
        try:
            curvature = float(p.dot(point.hvp(p)))
        except (NotImplementedError, dif.errors.DifftensorError):
            pass
    if not curvature > 0:
        return min(1.0, 1.0 / size)
    return min(float(p.dot(p)) / curvature, 10.0 * max(1.0, float(abs(point.x).max())) / size)
