"""`optim.fixed_point`: Anderson's acceleration of ``x = g(x)``."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, fields, replace

import numpy as np

import difftensor as dif

from .. import implicit, vmapped
from .. import progress as progress_line
from ..layout import Layout
from ..loop import Method, State, run
from ..minimize import _adapt, configure
from ..result import Result
from ..stop import Reason, Stop

MOST_RETREATS = 50  # halvings of a step that led out of where fun is finite


def fixed_point(fun, x0, args=(), xtol=1e-12, maxiter=500, *, memory=5, damping=1.0, callback=None, options=None,
                progress=False, resume=None) -> Result:  # fmt: skip
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
    callback, options, progress, resume
        As in `minimize`; the line and the trace show the measure that ``xtol`` is compared with.

    Returns
    -------
    Result
        With ``fun`` the map's value at ``x``.

    Notes
    -----
    Anderson's method [1]_: the last residuals are combined to the least one and the same
    combination of the iterates is the next point. The least-squares problem runs over differences of residuals
    and drops what is linearly dependent. Differentiable by the implicit function theorem. Inside `difftensor.vmap` the
    fixed points of all examples are found together; the answer's fields are those of one.

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
    settings = {"gtol": xtol, "max_steps": maxiter, "verify": False, **(options or {})}
    on_interrupt = settings.pop("on_interrupt", "raise")
    show = settings.pop("disp", False) or progress
    rule, stop = configure(Anderson, {"memory": memory, "damping": damping, **settings})
    if dif.batching.inside_vmap():
        batch = vmapped.of_examples(fun, x0, args)
        if batch is not None:
            further = [f.name for f in fields(Stop) if f.name not in ("gtol", "max_steps", "verify")
                       and getattr(stop, f.name) != f.default]  # fmt: skip
            given = {"callback": callback, "resume": resume, "progress": show, **dict.fromkeys(further, True)}
            return vmapped.fixed_point(batch, fun, x0, args, stop.gtol, stop.max_steps, memory, damping, given)
        with dif.batching.outside_vmap():  # the same map for all examples
            return fixed_point(fun, x0, args, xtol, maxiter, memory=memory, damping=damping, callback=callback,
                               options=options, progress=progress, resume=resume)  # fmt: skip
    problem = _Map(fun, x0, args)

    def solve():
        result = run(problem, rule, stop, state=resume, callback=_adapt(callback), on_interrupt=on_interrupt,
                     progress=progress_line.line(stop.max_steps) if show else None)  # fmt: skip
        result.fun = problem.layout.restore(result.state.point.y)
        if result.reason == "max steps":
            result.message += "; or try damping below 1, or optim.root"
        return result

    return implicit.through(solve, problem, implicit.fixed)


@dataclass(slots=True)
class AndersonState(State):
    xs: list = field(default_factory=list)  # the last points and residuals, newest last
    residuals: list = field(default_factory=list)
    best: object = None


@dataclass(frozen=True)
class Anderson(Method):
    """Anderson's method; see `fixed_point`."""

    memory: int = 5
    damping: float = 1.0

    name = "anderson"
    order = 0

    def start(self, problem, x) -> AndersonState:
        point = problem.at(x)
        return AndersonState(point, point.f, best=point)

    def step(self, problem, state) -> AndersonState:
        point, keep = state.point, self.memory
        if keep == 0:  # plain iteration
            xs, residuals = [point.x], [point.r]
        else:
            xs, residuals = [*state.xs[-keep:], point.x], [*state.residuals[-keep:], point.r]
        new = problem.at(_next(xs, residuals, self.damping))
        best, share = state.best, self.damping
        while not math.isfinite(new.f):  # an extrapolation too far: forget the past, a short step from the best point
            xs, residuals, share = [], [], 0.5 * share
            if share < self.damping * 0.5**MOST_RETREATS:
                words = "fun is not finite around the best point found"
                return replace(state, stuck=Reason("not finite", False, words))
            new = problem.at(best.x + share * best.r)
        best = new if new.f < best.f else best
        return AndersonState(new, new.f, float(abs(new.x - point.x).max()), xs=xs, residuals=residuals, best=best)

    def last(self, problem, state):
        return replace(state, point=state.best, optimality=state.best.f)

    def extras(self, problem, state):
        return {"_x": state.point.x}


class _MapPoint:
    """A place, the map there, and how far they are apart."""

    __slots__ = ("f", "problem", "r", "x", "y")
    _g = None

    def __init__(self, problem, x):
        self.problem, self.x, self.y = problem, x, problem.map(x)
        self.r = self.y - x
        self.f = float((abs(self.r) / np.maximum(abs(x), 1.0)).max())

    def __getstate__(self):
        return self.x, self.y

    def __setstate__(self, state):
        self.x, self.y = state
        self.problem, self.r = None, self.y - self.x
        self.f = float((abs(self.r) / np.maximum(abs(self.x), 1.0)).max())


def _next(xs, rs, damping):
    x, r = xs[-1], rs[-1]
    if len(rs) == 1:
        return x + damping * r
    dR = np.stack([rs[i + 1] - rs[i] for i in range(len(rs) - 1)], axis=1)
    dX = np.stack([xs[i + 1] - xs[i] for i in range(len(xs) - 1)], axis=1)
    gamma = np.linalg.lstsq(dR, r, rcond=1e-10)[0]
    return x + damping * r - (dX + damping * dR) @ gamma


class _Map:
    """The map of one vector."""

    def __init__(self, fun, x0, args):
        self.fun, self.args = fun, args if isinstance(args, tuple) else (args,)
        self.layout = Layout(x0)
        self.x0, self.n = self.layout.pack(x0), self.layout.size
        self.eps, self.box = float(np.finfo(self.x0.dtype).eps), None
        self.nfev = self.njev = self.nhev = 0

    def at(self, x):
        return _MapPoint(self, x)

    def place(self, x):
        return x

    def objective(self, x):
        return self.layout.vector(self.fun(self.layout.unpack(x), *self.args), "what fun returns")

    def map(self, x):
        self.nfev += 1
        return implicit.untracked(self.objective(x.copy()))
