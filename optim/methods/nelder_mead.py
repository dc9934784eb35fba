"""The simplex method of Nelder and Mead."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from ..loop import Method, State
from ..verdict import Look, answered, doubt


@dataclass(slots=True)
class SimplexState(State):
    xs: object = None
    fs: object = None
    restarts: int = 0
    before: float = np.inf  # f at the last restart


@dataclass(frozen=True)
class NelderMead(Method):
    """A simplex that crawls downhill; uses values only.

    Parameters
    ----------
    xatol : float
        The simplex has converged when it is smaller than this (relative to x, or absolute below 1).
    spread : float
        The edges of the first simplex relative to x0 (0.00025 absolute for elements that are 0).

    Notes
    -----
    The method of [1]_ with the constants of [2]_, which depend on n and keep it working beyond a few variables. A
    simplex may collapse where there is no minimum, so when it has converged a new one is started around its best
    corner; only when that comes back to the same value is the run a success. Bounds are kept by projection.

    References
    ----------
    .. [1] J. A. Nelder, R. Mead, A simplex method for function minimization, Comput. J. 7 (1965) 308-313.
    .. [2] F. Gao, L. Han, Implementing the Nelder-Mead simplex algorithm with adaptive parameters, Comput.
       Optim. Appl. 51 (2012) 259-277.
    """

    xatol: float = 1e-8
    spread: float = 0.05

    name = "nelder-mead"
    on_host = True
    bounds = True
    order = 0

    def max_steps(self, n):
        return 1000 * n

    def start(self, problem, x) -> SimplexState:
        return self._around(problem, x, self._value(problem, x), self.spread)

    def _value(self, problem, x) -> float:
        f = problem.value(x)
        return f if f == f else np.inf

    def _around(self, problem, x, f, spread, restarts=0, before=np.inf):
        xs, fs = [x], [f]
        for i in range(len(x)):
            corner, edge = x.copy(), spread * (x[i] or 0.005)
            corner[i] = x[i] + edge
            if problem.box is not None:
                corner = problem.box.project(corner)
                if corner[i] == x[i]:  # at a bound: inwards
                    corner[i] = x[i] - edge
                    corner = problem.box.project(corner)
            xs.append(corner)
            fs.append(self._value(problem, corner))
        return self._state(problem, np.array(xs), np.array(fs), restarts, before)

    def _state(self, problem, xs, fs, restarts, before):
        order = np.argsort(fs, kind="stable")
        xs, fs = xs[order], fs[order]
        point = problem.at(xs[0].copy())
        point._f = float(fs[0])
        size = float((np.abs(xs[1:] - xs[0]) / np.maximum(np.abs(xs[0]), 1.0)).max())
        # Not yet a solution as long as a fresh simplex has not confirmed it.
        settled = restarts > 0 and before - fs[0] <= 1e-12 * (1e-300 + abs(fs[0])) + 1e-16
        optimality = 0.0 if size <= self.xatol and settled else max(size, 2.0)
        return SimplexState(point, optimality, size, xs=xs, fs=fs, restarts=restarts, before=before)

    def doubt(self, problem, state):
        """What values along the axes and along the way from x0 say; derivatives are unknown."""
        n, point = problem.n, state.point
        unknown = np.full(n, np.nan), np.full((n, n), np.nan)

        def answer(kind, x=None, _=None):
            return self._value(problem, x) if kind == "value" else unknown

        box, free = problem.box, np.ones(n, dtype=bool)
        if box is not None:  # at a bound the last simplex had an edge inwards, which did not lead down
            x = self._snapped(box, point.x)
            free = (x > box.lower) & (x < box.upper)
        look = Look(point.x, point.f, np.zeros(n), np.zeros((n, n)), problem.x0, state.extent, free,
                    problem.noise(point), problem.layout.name,
                    (lambda x: x) if box is None else box.project)  # fmt: skip
        return answered(doubt(look), answer)

    def _snapped(self, box, x):
        """``x``, on the bounds from which it is no further away than the size of a simplex that has converged."""
        rounding = self.xatol * np.maximum(np.abs(x), 1.0)
        for bound in (box.lower, box.upper):
            x = np.where(np.abs(x - bound) <= rounding, bound, x)
        return x

    def finish(self, problem, state):
        """Onto the bounds that hold: only what is exactly there counts as held by those who ask."""
        if problem.box is None or (x := self._snapped(problem.box, state.point.x)).tolist() == state.point.x.tolist():
            return state
        point = problem.at(x)
        point._f = self._value(problem, x)
        return replace(state, point=point) if point.f <= state.point.f + problem.noise(point) else state

    def step(self, problem, state) -> SimplexState:
        xs, fs, n = state.xs.copy(), state.fs.copy(), problem.n
        if state.step <= self.xatol:
            return self._around(problem, xs[0], fs[0], 0.01, state.restarts + 1, float(fs[0]))
        reflect, expand = 1.0, 1 + 2 / n
        contract, shrink = 0.75 - 1 / (2 * n), 1 - 1 / n
        if n == 1:
            expand, contract, shrink = 2.0, 0.5, 0.5
        center = xs[:-1].mean(axis=0)

        def look(t):
            x = center + t * (center - xs[-1])
            x = x if problem.box is None else problem.box.project(x)
            return x, self._value(problem, x)

        x, f = look(reflect)
        if f < fs[0]:
            further, lower = look(reflect * expand)
            if lower < f:
                x, f = further, lower
        elif f >= fs[-2]:
            inner, lower = look(contract * reflect if f < fs[-1] else -contract)
            if lower < min(f, fs[-1]):
                x, f = inner, lower
            else:
                x = None
        if x is None:
            for i in range(1, n + 1):
                xs[i] = xs[0] + shrink * (xs[i] - xs[0])
                fs[i] = self._value(problem, xs[i])
        else:
            xs[-1], fs[-1] = x, f
        return self._state(problem, xs, fs, state.restarts, state.before)
