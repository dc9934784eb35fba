"""L-BFGS: BFGS that remembers a few steps only."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from ..loop import Method, State
from ..search import SearchFailed
from ..stop import stuck
from .descent import MOST_FLAT, along, check_search, first_step
from .multistep import curvature_pair


@dataclass(slots=True)
class LBFGSState(State):
    flat: int = 0  # steps in a row that did not lower f
    pairs: tuple = ()  # (s, y, 1 / s.y) of the secant equations, the newest last
    pair: tuple | None = None  # (s, y) of the last step


@dataclass(frozen=True)
class LBFGS(Method):
    """Limited-memory BFGS.

    Parameters
    ----------
    memory : int
        How many steps are remembered.
    search : {"strong-wolfe", "weak-wolfe", "armijo"}
    c1, c2 : float
        The constants of the Wolfe conditions.
    multistep : bool
        Whether the secant equations look back over two steps and at values of f (see `BFGS`).

    Notes
    -----
    Algorithm 7.5 of [1]_ with the two-loop recursion, Algorithm 7.4, started from the scaling of eq. 7.20.
    Work and memory per step are O(memory n). With bounds, the recursion runs on the free variables and the
    search follows the projection arc (see `BFGS`).

    References
    ----------
    .. [1] J. Nocedal, S. J. Wright, Numerical Optimization, 2nd ed., Springer 2006, section 7.2.
    """

    memory: int = 10
    search: str = "strong-wolfe"
    c1: float = 1e-4
    c2: float = 0.9
    multistep: bool = True

    name = "l-bfgs"
    bounds = True

    def __post_init__(self):
        check_search(self.search)
        if self.memory < 1:
            raise ValueError(f"optim: memory must be at least 1, got {self.memory}")

    def max_steps(self, n):
        return 15000

    def start(self, problem, x) -> LBFGSState:
        point = problem.at(x)
        return LBFGSState(point, problem.optimality(point))

    def step(self, problem, state) -> LBFGSState:
        point, pairs = state.point, state.pairs
        g, box = point.g, problem.box
        free = None if box is None else box.free(point.x, g)
        constants = {"c1": self.c1} if self.search == "armijo" else {"c1": self.c1, "c2": self.c2}
        if state.flat >= MOST_FLAT:
            decrement = -0.5 * float(g.dot(_direction(state.pairs, g, free))) if state.pairs else np.inf
            return replace(state, stuck=stuck(problem, point, decrement, "f has stopped falling"))
        while True:
            p = _direction(pairs, g, free)
            try:
                alpha, new = along(problem, point, p, 1.0 if pairs else first_step(point, p), self.search, **constants)
                break
            except SearchFailed as failure:
                if not pairs:
                    decrement = float(np.inf) if not state.pairs else -0.5 * float(
                        g.dot(_direction(state.pairs, g, free)))  # fmt: skip
                    return replace(state, stuck=stuck(problem, point, decrement, str(failure)))
                pairs = ()
        pair = new.x - point.x, new.g - g
        last = state.pair if self.multistep and self.search != "weak-wolfe" else None
        s, y = pair if last is None else curvature_pair(problem, point, new, alpha, pair, last)
        sy = float(s.dot(y))
        if sy > 1e-14 * float(np.sqrt(s.dot(s) * y.dot(y))):
            pairs = (*pairs[-(self.memory - 1) :], (s, y, 1.0 / sy)) if self.memory > 1 else ((s, y, 1.0 / sy),)
        flat = 0 if new.f < point.f else state.flat + 1
        return LBFGSState(new, problem.optimality(new), alpha, flat=flat, pairs=pairs, pair=pair)


def _direction(pairs, g, free):
    """``-H g`` by the two-loop recursion, Algorithm 7.4."""
    q = -g if free is None else -g * free
    if not pairs:
        return q
    alphas = []
    for s, y, rho in reversed(pairs):
        alpha = rho * s.dot(q)
        alphas.append(alpha)
        q = q - alpha * y
    s, y, rho = pairs[-1]
    q = q * (1.0 / (rho * y.dot(y)))
    for (s, y, rho), alpha in zip(pairs, reversed(alphas), strict=True):
        q = q + (alpha - rho * y.dot(q)) * s
    return q if free is None else q * free
