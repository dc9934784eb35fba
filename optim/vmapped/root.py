"""`optim.root` inside `difftensor.vmap`."""

from __future__ import annotations

import numpy as np

import difftensor as dif

from .. import batched
from ..batch import BatchResult
from .residuals import Residuals


class Equations(Residuals):
    """The systems of equations, and half the sum of their squares with Gauss and Newton's curvature."""

    def __init__(self, batch, fun, x0, args):
        super().__init__(batch, fun, x0, args)
        self.equations, self._hessians = self._rows(self.system), self._rows(self._curvature)

    def system(self, x):
        r = super().system(x)
        if r.shape != x.shape:
            raise ValueError(f"optim: {r.size} equations for {self.n} unknowns")
        return r

    def _curvature(self, x):
        J = dif.jacobian(self.system)(x)
        return dif.matmul(J.T, J)

    def hold(self, x, tol):
        """Whether every equation holds within ``tol`` times the size of its terms, row by row."""
        r, J = self._some(self.equations, x, None), np.abs(self._some(self._jacobians, x, None))
        terms = np.einsum("bij,bj->bi", J, np.abs(x)) + J.max(axis=2) * np.finfo(x.dtype).eps
        return (np.abs(r) <= tol * np.where(terms > 0, terms, 1.0)).all(axis=1)


def root(problem, tol, given):
    """Solve the equations of all examples by Newton's method in a trust region.

    Parameters
    ----------
    problem : Equations
    tol : float or None
        As of `optim.root`.
    given : dict
        Further arguments of `optim.root`, which have no meaning for a batch; of the options, ``maxiter`` has.

    Returns
    -------
    BatchResult
        Seen as that of one example; ``fun`` are the values of the equations.
    """
    options = dict(given.pop("options") or {})
    most = options.pop("maxiter", 500)
    refused = sorted([*options, *(name for name, value in given.items() if value is not None and value is not False)])
    if refused:
        raise dif.errors.BatchedValueError(f"optim.root inside vmap has no {', '.join(refused)}; dif.vmap(f, "
                                           "fallback='loop') runs the examples one by one")  # fmt: skip
    batch, tol = problem.batch, float(np.finfo(problem.x0.dtype).eps) ** 0.5 if tol is None else tol

    def solve():
        problem.nfev = 0
        ends = batched.Watch().run(batched.trust_exact, problem, 0.0, most)
        return ends, problem.hold(ends.x, tol)

    ends, solved, x, _ = problem.solutions(solve)

    def each(rows):
        return batch.each(rows.reshape(batch.shape))

    return BatchResult(problem.layout.unpack(x), problem.value(x), each(ends.size), each(solved), each(ends.nit),
                       problem.nfev, batched.words("Newton's method", solved))  # fmt: skip
