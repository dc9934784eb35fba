"""`optim.fixed_point`: Anderson's acceleration of ``x = g(x)``."""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np

from .. import implicit
from ..layout import Layout
from ..result import Result, Trace
from ..stop import CODES


@dataclass
class FixedPointState:
    """The last points and residuals, newest last."""

    xs: list
    residuals: list
    k: int = 0


def fixed_point(fun, x0, args=(), xtol=1e-12, maxiter=500, *, memory=5, damping=1.0) -> Result:
    """Find ``x = fun(x)``.

    Parameters
    ----------
    fun : callable
        ``fun(x, *args)``, shaped like ``x``.
    x0 : array or pytree
    args : tuple
    xtol : float
        Converged when no element of ``fun(x) - x`` is larger than ``xtol`` times that of ``x`` (or 1, if that is
        larger).
    maxiter : int
    memory : int
        How many earlier steps the acceleration uses; 0 is plain iteration.
    damping : float
        The share of ``fun(x)`` in the mixture, between 0 and 1.

    Returns
    -------
    Result

    Notes
    -----
    Anderson's method in the form of [1]_, eq. 1.1: the last residuals are combined to the least one and the same
    combination of the iterates is the next point. The least-squares problem runs over differences of residuals
    and drops what is linearly dependent. Differentiable by the implicit function theorem.

    References
    ----------
    .. [1] H. F. Walker, P. Ni, Anderson acceleration for fixed-point iterations, SIAM J. Numer. Anal. 49 (2011)
       1715-1735.

    Examples
    --------
    >>> import numpy as np, optim
    >>> float(optim.fixed_point(np.cos, 1.0).x.round(10))
    0.7390851332
    """
    args = args if isinstance(args, tuple) else (args,)
    layout = Layout(x0)
    begun = time.perf_counter()
    problem = _Map(fun, args, layout, layout.pack(x0))

    def solve():
        x, trace, best = problem.x0, Trace(), None
        xs, rs = [], []
        reason, words = "max steps", f"no fixed point within {maxiter} steps; try damping below 1, or optim.root"
        k = 0
        while k <= maxiter:
            r = problem.map(x) - x
            size = float((np.abs(r) / np.maximum(np.abs(x), 1.0)).max())
            if not np.isfinite(size):
                if best is None:
                    reason, words = "not finite", "fun is not finite at the start; choose another x0"
                    best = (np.inf, x)
                    break
                # an extrapolation too far: forget the past and take a short plain step from the best point
                xs, rs = [], []
                best = (best[0], best[1], 0.5 * best[2])
                x, k = best[1] + damping * best[2], k + 1
                continue
            trace.add(size, size, float(np.abs(r).max()), problem.nfev, time.perf_counter() - begun)
            if best is None or size < best[0]:
                best = (size, x, r)
            if size <= xtol:
                reason, words = "converged", f"fun(x) - x is within {size:.1g}"
                break
            xs, rs = [*xs[-memory:], x], [*rs[-memory:], r]
            x, k = _next(xs, rs, memory, damping), k + 1
        x = best[1]
        state = FixedPointState(xs, rs, k)
        return Result(
            x=layout.restore(x), fun=layout.restore(problem.map(x)) if np.isfinite(best[0]) else None,
            success=reason == "converged", status=CODES[reason], reason=reason, message=words, nit=k, nfev=problem.nfev,
            njev=0, nhev=0, optimality=best[0], method="anderson", choice="", state=state, trace=trace,
            seconds=time.perf_counter() - begun, _problem=problem, _x=x,
        )  # fmt: skip

    return implicit.through(solve, problem, implicit.fixed)


def _next(xs, rs, memory, damping):
    x, r = xs[-1], rs[-1]
    if memory == 0 or len(rs) == 1:
        return x + damping * r
    dR = np.stack([rs[i + 1] - rs[i] for i in range(len(rs) - 1)], axis=1)
    dX = np.stack([xs[i + 1] - xs[i] for i in range(len(xs) - 1)], axis=1)
    gamma = np.linalg.lstsq(dR, r, rcond=1e-10)[0]
    return x + damping * r - (dX + damping * dR) @ gamma


class _Map:
    """The map of one vector."""

    def __init__(self, fun, args, layout, x0):
        self.fun, self.args, self.layout, self.x0 = fun, args, layout, x0
        self.n, self.nfev, self.box = layout.size, 0, None

    def objective(self, x):
        import difftensor as dif

        y = self.fun(self.layout.unpack(x), *self.args)
        leaves = [dif.reshape(leaf, (-1,)) for leaf in dif.tree.leaves(y)]
        return leaves[0] if len(leaves) == 1 else dif.concatenate(leaves)

    def map(self, x):
        self.nfev += 1
        return implicit.untracked(self.objective(x.copy()))
