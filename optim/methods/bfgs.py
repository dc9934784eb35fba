"""BFGS: a quasi-Newton method with a dense inverse Hessian."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from ..loop import Method, State
from ..place import identity
from ..search import SearchFailed
from ..stop import stuck
from .descent import MOST_FLAT, along, check_search, first_step
from .multistep import curvature_pair


@dataclass(slots=True)
class BFGSState(State):
    flat: int = 0  # steps in a row that did not lower f
    H: object = None  # the approximate inverse Hessian; None stands for a multiple of 1 not yet known
    pair: tuple | None = None  # (s, y) of the last step


@dataclass(frozen=True)
class BFGS(Method):
    """The method of Broyden, Fletcher, Goldfarb and Shanno.

    Parameters
    ----------
    search : {"strong-wolfe", "weak-wolfe", "armijo"}
        The line search; "weak-wolfe" for functions with kinks.
    c1, c2 : float
        The constants of the Wolfe conditions.
    multistep : bool
        Whether the secant equation looks back over two steps and at values of f (see `curvature_pair`). Not with
        "weak-wolfe".
    first_step : float, optional
        The largest change of a variable in the first trial step; by default from the size of f and x.

    Notes
    -----
    Algorithm 6.1 of [1]_: ``p = -H g``, a Wolfe search, and the update 6.17 of the inverse Hessian H, written
    as the symmetric rank-two change ``H + w s^T + s w^T``; before the first update H is scaled by eq. 6.20. The pair
    ``(s, y)`` of the update is that of the two-step method [3]_, which saves some 15 % of the evaluations.
    Memory and work per step are O(n^2). With bounds, the direction is that of the two-metric projection [2]_:
    the block of H that belongs to the free variables, and a search along the projection arc.

    References
    ----------
    .. [1] J. Nocedal, S. J. Wright, Numerical Optimization, 2nd ed., Springer 2006, section 6.1.
    .. [2] D. P. Bertsekas, Projected Newton methods for optimization problems with simple constraints, SIAM
       J. Control Optim. 20 (1982) 221-246.
    .. [3] J. A. Ford, I. A. R. Moghrabi, Multi-step quasi-Newton methods for optimization, J. Comput. Appl. Math. 50
       (1994) 305-323.
    """

    search: str = "strong-wolfe"
    c1: float = 1e-4
    c2: float = 0.9
    multistep: bool = True
    first_step: float | None = None

    name = "bfgs"
    bounds = True

    def __post_init__(self):
        check_search(self.search)

    def start(self, problem, x) -> BFGSState:
        point = problem.at(x)
        return BFGSState(point, problem.optimality(point))

    def step(self, problem, state) -> BFGSState:
        point, H = state.point, state.H
        g, box = point.g, problem.box
        free = None if box is None else box.free(point.x, g)
        if state.flat >= MOST_FLAT:
            decrement = -0.5 * float(g.dot(_direction(state.H, g, free))) if state.H is not None else np.inf
            return replace(state, stuck=stuck(problem, point, decrement, "f has stopped falling"))
        while True:
            p = _direction(H, g, free)
            try:
                alpha, new = along(
                    problem, point, p, 1.0 if H is not None else first_step(point, p, self.first_step), self.search,
                    **self._constants(),
                )  # fmt: skip
                break
            except SearchFailed as failure:
                if H is None:  # even the steepest descent does not lower f
                    decrement = float(np.inf) if state.H is None else -0.5 * float(
                        g.dot(_direction(state.H, g, free)))  # fmt: skip
                    return replace(state, stuck=stuck(problem, point, decrement, str(failure)))
                H = None
        pair = new.x - point.x, new.g - g
        last = state.pair if self.multistep and self.search != "weak-wolfe" else None
        s, y = pair if last is None else curvature_pair(problem, point, new, alpha, pair, last)
        flat = 0 if new.f < point.f else state.flat + 1
        return BFGSState(new, problem.optimality(new), alpha, flat=flat, H=update(H, s, y), pair=pair)

    def second_thoughts(self):
        cautious = replace(self, multistep=False, first_step=1.0)
        return (cautious,) if self.search == "strong-wolfe" and cautious != self else ()

    def _constants(self):
        return {"c1": self.c1} if self.search == "armijo" else {"c1": self.c1, "c2": self.c2}

    def extras(self, problem, state):
        return {"hess_inv": identity(problem.x0) if state.H is None else state.H}


def _direction(H, g, free):
    if free is None:
        return -g if H is None else -H.dot(g)
    p = g * free
    return -(p if H is None else H.dot(p)) * free


def update(H, s, y):
    """The BFGS update of the inverse Hessian, eq. 6.17; skipped where the curvature ``s . y`` is not positive."""
    sy = float(s.dot(y))
    if not sy > 1e-14 * float(np.sqrt(s.dot(s) * y.dot(y))):
        return H
    if H is None:
        H = identity(s) * (sy / float(y.dot(y)))
    Hy = H.dot(y)
    # H - (s (Hy)^T + Hy s^T)/sy + (1 + y.Hy/sy) s s^T/sy  =  H + w s^T + s w^T
    w = (0.5 * (1.0 + float(y.dot(Hy)) / sy) / sy) * s - Hy / sy
    change = np.multiply.outer(w, s)
    return H + change + change.T
