"""The point that violates constraints least, and what is said of it."""

from __future__ import annotations

import numpy as np

import difftensor as dif

from ..stop import Stop

MOST_NAMED = 5
MOST_STEPS = 200


def nearest(problem, points):
    """The point with the least sum of squared violations inside the bounds that is found from ``points``."""
    from ..loop import run
    from ..squares.levenberg_marquardt import LevenbergMarquardt
    from ..squares.problem import SquaresProblem

    E, best = problem.equalities, points[0]

    def missed(x):
        c = problem.tracked_constraints(x)
        return dif.concatenate([c[:E], dif.minimum(c[E:], 0.0)])

    for point in points:
        squares = SquaresProblem(missed, point.x, box=problem.box)
        stop = Stop(gtol=1e-10, max_steps=MOST_STEPS, verify=False)
        new = problem.at(run(squares, LevenbergMarquardt(polish=False), stop).state.point.x)
        if _size(problem, new) < _size(problem, best):
            best = new
    return best


def tolerance(problem) -> float:
    """Violations up to this count as rounding."""
    return 1e-6 * (1.0 + float(np.abs(problem.x0).max()))


def _violations(problem, point):
    E = problem.equalities
    return np.concatenate([np.abs(point.c[:E]), np.maximum(-point.c[E:], 0.0)])


def _size(problem, point) -> float:
    v = _violations(problem, point)
    return float(v @ v) if np.isfinite(v).all() else np.inf


def named(problem, point) -> str:
    """The violated constraints, the worst first, and by how much."""
    v = _violations(problem, point)
    worst = [i for i in np.argsort(-v) if v[i] > 1e-3 * v.max()]
    words = [f"{problem.names[i]} by {v[i]:.3g}" for i in worst[:MOST_NAMED]]
    return ", ".join(words) + (f" and {len(worst) - MOST_NAMED} more" if len(worst) > MOST_NAMED else "")
