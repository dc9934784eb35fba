"""Line-search Newton with conjugate gradients."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from ..loop import Method, State
from ..search import SearchFailed
from ..stop import stuck
from .descent import along, check_search


@dataclass(frozen=True)
class NewtonCG(Method):
    """Newton's direction by conjugate gradients, from Hessian-vector products only.

    Parameters
    ----------
    search : {"strong-wolfe", "weak-wolfe", "armijo"}

    Notes
    -----
    Algorithm 7.1 of [1]_: the inner iteration ends at negative curvature, or when the residual is below
    ``min(1/2, sqrt |g|) |g|``, which makes the convergence superlinear. With bounds it runs on the free
    variables, and the search follows the projection arc.

    References
    ----------
    .. [1] J. Nocedal, S. J. Wright, Numerical Optimization, 2nd ed., Springer 2006, section 7.1.
    """

    search: str = "strong-wolfe"

    name = "newton-cg"
    bounds = True
    order = 2

    def __post_init__(self):
        check_search(self.search)

    def start(self, problem, x) -> State:
        point = problem.at(x)
        return State(point, problem.optimality(point))

    def step(self, problem, state) -> State:
        point = state.point
        free = None if problem.box is None else problem.box.free(point.x, point.g)
        g = point.g if free is None else point.g * free
        p = _truncated(point, g, free)
        for direction in (p, -g):
            try:
                alpha, new = along(problem, point, direction, 1.0, self.search)
                return State(new, problem.optimality(new), alpha)
            except SearchFailed as failure:
                words = str(failure)
        return replace(state, stuck=stuck(problem, point, -0.5 * float(g.dot(p)), words))


def _truncated(point, g, free):
    size = math.sqrt(float(g.dot(g)))
    tolerance = min(0.5, math.sqrt(size)) * size
    p, r, d, rr = np.zeros_like(g), g, -g, size * size
    for j in range(2 * len(g)):
        Hd = point.hvp(d) if free is None else point.hvp(d) * free
        curvature = float(d.dot(Hd))
        if not curvature > 1e-14 * math.sqrt(float(d.dot(d)) * float(Hd.dot(Hd))):
            return -g if j == 0 else p
        alpha = rr / curvature
        p, r = p + alpha * d, r + alpha * Hd
        new = float(r.dot(r))
        if math.sqrt(new) <= tolerance:
            break
        d = -r + (new / rr) * d
        rr = new
    return p
