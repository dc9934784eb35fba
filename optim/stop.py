"""When to stop, and how to say why: one object, the same words for every method."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True)
class Reason:
    """Why a run ended.

    Attributes
    ----------
    status : str
        One word or two: "converged", "float64 limit", "target", "stalled", "not finite", "unbounded",
        "max steps", "max evaluations", "max seconds", "callback", "interrupted", "infeasible", "small change".
    success : bool
        Whether the point satisfies the conditions of a solution, as far as float64 can tell.
    words : str
        A sentence, with advice where there is some.
    """

    status: str
    success: bool
    words: str


@dataclass(frozen=True, slots=True)
class Doubt:
    """Why a point with a small gradient may be no solution, and perhaps a direction in which f falls, or a point where
    it is lower."""

    words: str
    direction: object = None
    beyond: object = None


# SciPy's `status` is an integer; 0 is success in every method of `scipy.optimize.minimize`.
CODES = {
    "converged": 0, "float64 limit": 0, "target": 0, "small change": 0,
    "max steps": 1, "stalled": 2, "not finite": 3, "unbounded": 4, "infeasible": 5,
    "max evaluations": 6, "max seconds": 7, "saddle": 8, "callback": 99, "interrupted": 98, "error": 97,
}  # fmt: skip

BOTTOM = -1e150  # a function that falls so low has no minimum


@dataclass(frozen=True)
class Stop:
    """The conditions under which a run ends.

    Parameters
    ----------
    gtol : float
        Converged when the optimality measure of the method (the largest component of the projected gradient,
        for most) is at most this.
    ftol : float
        Stop when a step changes f by at most ``ftol * max(|f|, |f_new|)``. 0 switches the test
        off: a small change is no proof of a solution.
    xtol : float
        Stop when a step changes x by at most ``xtol * |x|`` in the maximum norm. 0: off.
    max_steps, max_evaluations : int or None
        None for ``max_steps``: the method's own limit.
    max_seconds : float or None
    target : float or None
        Stop when ``f <= target``.
    verify : bool
        Check the second-order conditions before believing a small gradient (see `optim.verdict`).
    """

    gtol: float = 1e-6
    ftol: float = 0.0
    xtol: float = 0.0
    max_steps: int | None = None
    max_evaluations: int | None = None
    max_seconds: float | None = None
    target: float | None = None
    verify: bool = True

    def __post_init__(self):
        for name in ("gtol", "ftol", "xtol"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"optim: {name} must be a number that is not negative, got {getattr(self, name)}")

    def before(self, problem, state, k, begun) -> Reason | None:
        """A reason to stop at ``state``, before another step is taken."""
        point = state.point
        f = point.f
        if not math.isfinite(f) or f < BOTTOM:
            return _not_finite(f)
        if self.target is not None and f <= self.target:
            return Reason("target", True, f"f = {f:.6g} is at or below the target {self.target:.6g}")
        if state.optimality <= self.gtol:
            return Reason(
                "converged",
                True,
                f"the optimality measure {state.optimality:.3g} is within gtol = {self.gtol:g}",
            )
        if not math.isfinite(state.optimality):
            return Reason("not finite", False, "the gradient is not finite although f is; look for a kink, a "
                          "square root or a norm at zero, or an overflow in an intermediate value")  # fmt: skip
        return state.stuck or self.limits(problem, state, k, begun)

    def limits(self, problem, state, k, begun) -> Reason | None:
        """A reason to stop because of what it has cost so far."""
        if self.max_steps is not None and k >= self.max_steps:
            return Reason("max steps", False, f"{k} steps taken, the limit; the optimality measure is still "
                          f"{state.optimality:.3g}; raise maxiter, scale x, or continue with resume=")  # fmt: skip
        if self.max_evaluations is not None and problem.nfev >= self.max_evaluations:
            return Reason("max evaluations", False, f"{problem.nfev} evaluations made, the limit; the optimality "
                          f"measure is still {state.optimality:.3g}")  # fmt: skip
        if self.max_seconds is not None and time.perf_counter() - begun >= self.max_seconds:
            return Reason("max seconds", False, f"{self.max_seconds:g} seconds are over; the optimality measure "
                          f"is still {state.optimality:.3g}")  # fmt: skip
        return None

    def between(self, old, new) -> Reason | None:
        """A reason to stop in the change from one state to the next; only when the user asked for it."""
        if new.stuck is not None:
            return None
        if self.ftol:
            change = abs(old.point.f - new.point.f)
            if change <= self.ftol * max(abs(old.point.f), abs(new.point.f)):
                return Reason("small change", True, f"f changed by {change:.3g}, within ftol = {self.ftol:g} as asked; "
                              f"the optimality measure is {new.optimality:.3g}")  # fmt: skip
        if self.xtol:
            change = float(np.abs(new.point.x - old.point.x).max())
            if change <= self.xtol * float(np.abs(new.point.x).max()):
                return Reason("small change", True, f"x changed by {change:.3g}, within xtol = {self.xtol:g} as asked; "
                              f"the optimality measure is {new.optimality:.3g}")  # fmt: skip
        return None


def _not_finite(f: float) -> Reason:
    if f < BOTTOM:
        return Reason("unbounded", False, f"f reached {f:.3g}: the function is unbounded below; add bounds "
                      "or a term that holds the parameters")  # fmt: skip
    return Reason("not finite", False, f"f = {f} at the start; choose an x0 where the function is finite, or add "
                  "bounds that keep it in its domain")  # fmt: skip


def stuck(problem, point, decrement: float, what: str) -> Reason:
    """What it means that no step from ``point`` lowers f: the limit of float64, or a failure.

    Parameters
    ----------
    decrement : float
        The decrease of f that the method's model still expects, ``g^T B^{-1} g / 2``.
    what : str
        What happened, for the message.

    Notes
    -----
    f carries a rounding error of a few ``eps |f|``. If the Newton decrement, from the true Hessian where it is
    affordable, is below that, no algorithm that looks at f can do better here, and the point is the solution
    to the accuracy of f.
    """
    noise = problem.noise(point)
    curvature = problem.newton_decrement(point)
    if curvature is None and problem.has_second_order(point):
        decrement = np.inf  # the gradient is not that of a smooth minimum
    if curvature is not None:
        decrement, lowest, noise = curvature
        if (lowest < 0 or decrement > noise) and problem.is_level(point):
            return Reason("float64 limit", True, f"f = {point.f:.6g} falls in no direction of its Hessian by more than "
                          "its own rounding, measured around this point, which is as good as f can tell")  # fmt: skip
        if lowest < 0:
            return Reason("stalled", False, f"{what} at a point with negative curvature; start elsewhere, or use "
                          "method='trust-exact', which follows negative curvature")  # fmt: skip
    if decrement <= noise:
        return Reason("float64 limit", True, f"the decrease that is left, {decrement:.1g}, is below what f = "
                      f"{point.f:.6g} resolves in float64; this point is as good as f can tell")  # fmt: skip
    more = f"a decrease of {decrement:.2g}" if np.isfinite(decrement) else "that f still falls"
    return Reason("stalled", False, f"{what}, although the model expects {more}; the "
                  "function may have a kink here or noise in its value, or its gradient may be wrong "
                  "(dif.testing.check_grads tells); for kinks try search='weak-wolfe'")  # fmt: skip
