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


def first_step(point, p, change=None) -> float:
    """The first trial along the steepest descent, for want of curvature.

    Where the parabola that has its minimum at f = 0 is lowest, as in Fletcher's rule, but no further than the size of
    x (or 1), and no less than a hundredth of that. With ``change``: where no variable changes by more than that.
    """
    size = float(abs(p).max())
    if not size > 0:
        return 1.0
    if change is not None:
        return min(1.0, change / size)
    far, square = max(1.0, float(abs(point.x).max())) / size, float(p.dot(p))
    return min(max(2.0 * abs(point.f) / square, 0.01 * far), far) if square > 0 else far
