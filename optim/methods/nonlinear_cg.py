"""Nonlinear conjugate gradients."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from ..loop import Method, State
from ..search import SearchFailed
from ..stop import stuck
from .descent import along, first_step


@dataclass(slots=True)
class CGState(State):
    p: object = None  # the last direction; None before the first step and after a restart
    slope: float = 0.0


@dataclass(frozen=True)
class NonlinearCG(Method):
    """Conjugate gradients with the formula of Hager and Zhang, which descends for any line search.

    Parameters
    ----------
    c2 : float
        The curvature constant of the strong Wolfe search.

    Notes
    -----
    ``beta`` by the formula of [1]_, truncated from below as there. Memory and work per step are O(n). With bounds the
    direction is that of the free variables, restarted whenever a bound is met.

    References
    ----------
    .. [1] W. W. Hager, H. Zhang, A new conjugate gradient method with guaranteed descent and an efficient line
       search, SIAM J. Optim. 16 (2005) 170-192.
    """

    c2: float = 0.1

    name = "cg"
    bounds = True

    def max_steps(self, n):
        return max(15000, 200 * n)

    def start(self, problem, x) -> CGState:
        point = problem.at(x)
        return CGState(point, problem.optimality(point))

    def step(self, problem, state) -> CGState:
        point, p = state.point, state.p
        free = None if problem.box is None else problem.box.free(point.x, point.g)
        steepest = -point.g if free is None else -point.g * free
        if p is not None and free is not None:
            p = p * free
        while True:
            if p is None:
                p, first = steepest, first_step(point, steepest, 1.0)
                if state.step:  # a restart: expect the decrease of the last step
                    first = state.step * state.slope / -float(steepest.dot(steepest))
            else:
                slope = float(point.g.dot(p))
                first = state.step * state.slope / slope if slope < 0 else 1.0
            try:
                alpha, new = along(problem, point, p, first, "strong-wolfe", **({} if problem.box else {"c2": self.c2}))
                break
            except SearchFailed as failure:
                if p is steepest:
                    decrement = 0.5 * abs(state.step * state.slope) if state.step else float(np.inf)
                    return replace(state, stuck=stuck(problem, point, decrement, str(failure)))
                p = None
        slope = float(point.g.dot(p))
        g, y = new.g, new.g - point.g
        if free is not None and (problem.box.free(new.x, g) != free).any():
            return CGState(new, problem.optimality(new), alpha, p=None, slope=slope)
        here = point.g
        if free is not None:  # the method of the face: what is held does not count
            g, y, here = g * free, y * free, here * free
        py = float(p.dot(y))
        if not py > 0:
            return CGState(new, problem.optimality(new), alpha, p=None, slope=slope)
        beta = float((y - (2.0 * float(y.dot(y)) / py) * p).dot(g)) / py
        least = -1.0 / (np.sqrt(float(p.dot(p))) * min(0.01, np.sqrt(float(here.dot(here)))))
        following = -g + max(beta, float(least)) * p
        if not float(g.dot(following)) < 0:
            following = None
        return CGState(new, problem.optimality(new), alpha, p=following, slope=slope)
