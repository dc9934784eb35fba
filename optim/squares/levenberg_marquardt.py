"""Levenberg-Marquardt as a trust-region method, with bounds."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from ..loop import Method, State, run
from ..methods import BFGS
from ..stop import Doubt, Reason, Stop, stuck
from ..trust import Step, boundary_multiplier, descend
from .jacobians import column_norms, divisors, is_finite

NOT_FINITE = Reason("not finite", False, "the Jacobian is not finite although the residuals are; look for a kink, a "
                    "square root or a power at zero, or an overflow in between")  # fmt: skip


class SquaresMethod(Method):
    """What the dense and the sparse method share: closing steps, doubts, and the fields of the result."""

    bounds = True
    polish: bool

    def gauss_newton(self, problem, point):
        """The full step of the linear least-squares problem around a point, over the free variables."""
        raise NotImplementedError

    def settled(self, problem, point):
        """The point that a run towards ``point`` ends at; for methods that only approach bounds, on them."""
        return point

    def finish(self, problem, state) -> State:
        """Gauss-Newton steps as long as they shrink; Newton steps where those shrink slowly."""
        settled = self.settled(problem, state.point)
        if settled is not state.point:
            state = replace(state, point=settled, optimality=problem.optimality(settled))
        if not self.polish or problem.rho is not None:
            return state
        point, last, newton = state.point, math.inf, False
        best = point
        for _ in range(20):
            p, size = self._closing_step(problem, point, newton)
            if p is not None and size > 0.05 * last and not newton and problem.has_second_order(point):
                # Large residuals or curvature: Gauss-Newton converges linearly there.
                newton, last = True, math.inf
                p, size = self._closing_step(problem, point, newton)
            if p is None or not size < 0.5 * last:
                break
            best, last = point, size
            x = point.x + p
            if problem.box is not None:
                x = problem.box.project(x)
            if (x == point.x).all():
                break
            point = problem.at(x)
            if not point.f <= best.f + problem.noise(best):
                break
        return replace(state, point=best, optimality=min(state.optimality, problem.optimality(best)))

    def _closing_step(self, problem, point, newton):
        """A full step and its length in units of the parameters' own scales."""
        scale = divisors(column_norms(point.scaled[1]))
        if newton:
            free = slice(None) if problem.box is None else problem.box.free(point.x, point.g)
            H = (point.H / scale[:, None] / scale)[free][:, free]
            try:
                np.linalg.cholesky(H)
            except np.linalg.LinAlgError:
                return None, math.nan
            p = np.zeros_like(point.x)
            p[free] = -np.linalg.solve(H, (point.g / scale)[free]) / scale[free]
        else:
            p = self.gauss_newton(problem, point)
        if not np.isfinite(p).all():
            return None, math.nan
        return p, norm(scale * p)

    def doubt(self, problem, state):
        point = self.settled(problem, state.point)
        doubt = problem.doubt(point, state.extent)
        return doubt if doubt is not None else self._far(problem, point)

    def _far(self, problem, point) -> Doubt | None:
        p = self.gauss_newton(problem, point)
        ratio = np.abs(p) / (1.0 + np.abs(point.x))
        if not ratio.max() > 0.01 or problem.has_second_order(point):
            return None
        i = int(np.argmax(ratio))
        return Doubt(f"the gradient is small, but the Gauss-Newton step still moves {problem.layout.name(i)} = "
                     f"{point.x[i]:.4g} by {p[i]:.2g}: the residuals hardly depend on it here, it may be on its way "
                     "to infinity; try another start, bounds, or a simpler model")  # fmt: skip

    def extras(self, problem, state):
        point = state.point
        J = point.J if math.isfinite(point.f) else None
        return {
            "cost": point.f, "fun": point.r, "jac": J,
            "grad": None if J is None else problem.place(point.g),
            "active_mask": _active(problem, point.x),
        }  # fmt: skip


@dataclass(slots=True)
class LMState(State):
    scale: object = None  # D: the largest column norms of J so far
    radius: float = math.nan  # of the ellipsoid |D p|; NaN until the first step


@dataclass(frozen=True)
class LevenbergMarquardt(SquaresMethod):
    """The method of Levenberg, Marquardt and More.

    Parameters
    ----------
    factor : float
        The first trust radius in units of ``|D x0|``.
    scaled : bool
        Whether the trust region is an ellipsoid with the columns of J for axes, or a ball.
    polish : bool
        Close with Gauss-Newton steps as long as they shrink, which carries the parameters to the accuracy of
        float64 where the sum of squares itself no longer tells points apart.
    after_bfgs : bool
        Start from where BFGS on the sum of squares arrives: far from a solution with large residuals the Gauss-Newton
        model lacks the curvature of the residuals, which BFGS gathers [2]_.

    Notes
    -----
    Every step minimizes ``|J p + r|`` within ``|D p| <= radius`` [1]_ by the singular values of ``J D^-1``; D
    holds the largest column norms seen (section 6), which makes the method independent of the units of the
    parameters. The radius follows the ratio of actual and predicted decrease (section 4). With bounds,
    variables held by a bound leave the subproblem, and a step that crosses bounds is bent: the crossing
    variables stay there and the others are solved for again.

    References
    ----------
    .. [1] J. J. More, The Levenberg-Marquardt algorithm: implementation and theory, in Numerical Analysis, ed.
       G. A. Watson, Springer 1978, 105-116.
    .. [2] R. Fletcher, C. Xu, Hybrid methods for nonlinear least squares, IMA J. Numer. Anal. 7 (1987) 371-389.
    """

    factor: float = 1.0
    scaled: bool = True
    polish: bool = True
    after_bfgs: bool = False

    name = "lm"

    def start(self, problem, x) -> LMState:
        if self.after_bfgs:
            x = run(problem, BFGS(), Stop(gtol=1e-6, max_steps=2000, verify=False)).state.point.x
        point = problem.at(x)
        if not math.isfinite(point.f):
            return LMState(point, math.inf)
        return LMState(point, problem.optimality(point))

    def step(self, problem, state) -> LMState:
        point = state.point
        r, J = point.scaled
        if not is_finite(J):
            return replace(state, stuck=NOT_FINITE)
        columns = column_norms(J)
        if not self.scaled:
            D = np.ones(problem.n)
        else:
            D = columns if state.scale is None else np.maximum(state.scale, columns)
        scale = divisors(D)
        radius = state.radius
        model = self.model(problem, point, r, J, scale)
        if math.isnan(radius):
            size = model.length(point.x)
            radius = self.factor * (size if size > 0 else 1.0)
        if model.best <= problem.noise(point):
            reason = Reason("float64 limit", True, f"the decrease that is left, {model.best:.1g}, is below what "
                            "the residuals resolve in float64; this point is as good as they can tell")  # fmt: skip
            return replace(state, stuck=reason)
        least = problem.eps * max(norm(scale * point.x), norm(r))  # such steps change neither x nor the residuals
        new, step, radius = descend(problem, point, radius, model.solve, _judge(point), _resize(point), least)
        if new is None:
            settled = self.settled(problem, point)
            return replace(state, stuck=stuck(problem, settled, model.best, "no step lowers the sum of squares"))
        return LMState(new, problem.optimality(new), step.size, scale=D, radius=radius)

    def model(self, problem, point, r, J, scale):
        """The model around a point, with ``solve(radius) -> Step``."""
        return Model(problem, point, r, J, scale)

    def restart(self, problem, x):
        return replace(self, after_bfgs=False).start(problem, x)

    def escape(self, problem, state, direction):
        return Method.escape(self, problem, replace(state, point=self.settled(problem, state.point)), direction)

    def second_thoughts(self):
        # A run that loses its way from a far start often finds it with curvature that J does not have, or in a
        # trust region of another shape and size.
        others = ((False, 0.1), (False, 1.0), (True, 100.0))
        return (
            replace(self, after_bfgs=True),
            *(replace(self, scaled=scaled, factor=factor) for scaled, factor in others),
        )

    def gauss_newton(self, problem, point):
        r, J = point.scaled
        return Model(problem, point, r, J, divisors(column_norms(J))).gauss_newton()


def _judge(point):
    def ratio(new, step):
        if not (math.isfinite(new.f) and step.predicted > 0):
            return -math.inf
        return (point.f - new.f - step.correction) / step.predicted

    return ratio


def _resize(point):
    """Section 4 of [1]_ of `LevenbergMarquardt`."""

    def resize(radius, step, ratio, new):
        if ratio < 0.25:
            slope, decrease = float(point.g.dot(step.p)), point.f - new.f
            shrink = 0.5 * slope / (slope + decrease) if math.isfinite(new.f) and decrease < 0 else 0.5
            return min(max(shrink, 0.1), 0.5) * min(radius, step.size)
        if step.inside:
            return 2.0 * step.size
        return max(radius, 2.0 * step.size) if ratio > 0.75 else radius

    return resize


class Model:
    """``|J p + r|^2 / 2`` around a point, over the free variables, in the variables ``D p``."""

    def __init__(self, problem, point, r, J, scale):
        self.box, self.x, self.r, self.J, self.scale = problem.box, point.x, r, J, scale
        self.eps = problem.eps
        self.g = point.g
        free = np.ones(len(scale), dtype=bool) if self.box is None else self.box.free(point.x, point.g)
        self.first = self._factor(free, r)
        self.best = 0.5 * float((self.first[3] ** 2).sum())  # the decrease of the Gauss-Newton step

    def _factor(self, free, r):
        """Singular values of the free columns; the rank decides what of r they can reach."""
        A = self.J / self.scale if free.all() else (self.J / self.scale)[:, free]
        if A.shape[0] > 2 * A.shape[1] + 1:  # all that matters is in the triangle of [A r]
            A = np.linalg.qr(np.concatenate([A, r[:, None]], axis=1), mode="r")
            A, r = A[:, :-1], A[:, -1]
        if A.shape[1] == 0:
            return free, np.ones(0), np.zeros((0, 0)), np.zeros(0)
        U, s, Vt = np.linalg.svd(A, full_matrices=False)
        keep = s > s[0] * self.eps * max(A.shape)
        return free, s[keep], Vt[keep], U.T[keep].dot(r)

    def _step(self, factored, radius):
        free, s, Vt, b = factored
        c = -b / s
        inside = norm(c) <= radius
        if not inside:
            lam = boundary_multiplier(s * s, s * b, radius)
            c = -s * b / (s * s + lam)
        p = np.zeros(len(self.scale))
        p[free] = Vt.T.dot(c) / self.scale[free]
        return p, inside

    def gauss_newton(self):
        return self._step(self.first, math.inf)[0]

    def solve(self, radius) -> Step:
        p, inside = self._step(self.first, radius)
        if self.box is not None:
            p, inside = self._bend(p, inside, radius)
        Jp = self.J.dot(p)
        return Step(p, -float(Jp.dot(self.r) + 0.5 * Jp.dot(Jp)), inside, self.length(p))

    def length(self, p) -> float:
        return norm(self.scale * p)

    def _bend(self, p, inside, radius):
        """Stop crossing variables at their bounds and solve for the others again."""
        free = self.first[0]
        for _ in range(len(p)):
            bent = self.box.project(self.x + p) - self.x
            crossing = free & (bent != p)
            if not crossing.any():
                return p, inside
            free = free & ~crossing
            fixed = np.where(free, 0.0, bent)
            room = radius * radius - float(((self.scale * fixed) ** 2).sum())
            if not free.any() or room <= 0:
                break
            p, inside = self._step(self._factor(free, self.r + self.J.dot(fixed)), math.sqrt(room))
            p = np.where(free, p, fixed)
        bent = self.box.project(self.x + p) - self.x
        Jp = self.J.dot(bent)
        if float(Jp.dot(self.r) + 0.5 * Jp.dot(Jp)) < 0:
            return bent, False
        # The bent step may climb; the projected steepest descent (in the scaled variables) never does.
        d = -self.g / self.scale**2 * self.first[0]
        d *= radius / max(norm(self.scale * d), 1e-300)
        for _ in range(60):
            bent = self.box.project(self.x + d) - self.x
            Jp = self.J.dot(bent)
            if float(Jp.dot(self.r) + 0.5 * Jp.dot(Jp)) < 0:
                break
            d = 0.5 * d
        return bent, False


def norm(v) -> float:
    """The Euclidean length."""
    return math.sqrt(float(v.dot(v)))


def _active(problem, x):
    if problem.box is None:
        return np.zeros(problem.n, dtype=int)
    return (x >= problem.box.upper).astype(int) - (x <= problem.box.lower).astype(int)
