"""What all line-search methods share: one step along a direction, inside the bounds."""

from __future__ import annotations

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
    """The first trial along the steepest descent: a step of length 1 or less, for want of curvature."""
    size = float(abs(p).max())
    return min(1.0, 1.0 / size) if size > 0 else 1.0
