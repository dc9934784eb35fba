"""Sequential quadratic programming."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from ..loop import Method, State
from ..stop import Doubt, Reason
from . import quadratic
from .violation import named, nearest, tolerance

MOST_RESTARTS = 2  # from feasible points, or beyond saddles


@dataclass(slots=True)
class SQPState(State):
    B: object = None  # the approximate Hessian of the Lagrangian
    u: object = None  # multipliers of the constraints, then of the lower and the upper bounds
    weights: object = None  # of the constraints in the merit function
    flat: int = 0  # steps without progress


@dataclass(frozen=True)
class SQP(Method):
    """Sequential quadratic programming with a damped BFGS Hessian of the Lagrangian.

    Parameters
    ----------
    c1 : float
        The share of the predicted decrease of the merit function that is asked for.
    exact : bool
        Start every quadratic program from the exact Hessian of the Lagrangian, made positive definite, instead of
        the BFGS approximation; tried by itself where that loses its way.

    Notes
    -----
    Algorithm 18.3 of [1]_: the step minimizes a quadratic model of the Lagrangian subject to the linearized
    constraints (Goldfarb and Idnani's method), and a backtracking search lowers the l1 merit function ``f + sum
    w_i |violation_i|``, with a second-order correction (section 15.6) where the full step is refused. The Hessian is
    updated by Powell's damped BFGS, Procedure 18.2. Where the linearized constraints contradict each other they are
    relaxed at a price (section 18.5).

    References
    ----------
    .. [1] J. Nocedal, S. J. Wright, Numerical Optimization, 2nd ed., Springer 2006, chapters 15 and 18.
    """

    c1: float = 1e-4
    exact: bool = False

    name = "slsqp"
    bounds = True
    constraints = True

    def max_steps(self, n):
        return max(500, 20 * n)

    def second_thoughts(self):
        return () if self.exact else (replace(self, exact=True),)

    def start(self, problem, x) -> SQPState:
        point = problem.at(x)
        u = np.zeros(problem.m + 2 * problem.n)
        weights = np.zeros(problem.m)
        optimality = kkt(problem, point, u) if math.isfinite(point.f) else math.inf
        return SQPState(point, optimality, B=None, u=u, weights=weights)

    def step(self, problem, state) -> SQPState:
        point, x, m, E = state.point, state.point.x, problem.m, problem.equalities
        g, c, A = point.g, point.c, point.A
        if not (np.isfinite(c).all() and np.isfinite(A).all()):
            reason = Reason("not finite", False, "a constraint or its gradient is not finite here; choose an x0 inside "
                            "the domain of the constraints, or bounds that keep x there")  # fmt: skip
            return replace(state, stuck=reason)
        B = self._hessian(problem, state)
        rows, levels = _with_bounds(problem, x, c, A)
        relaxed = 0.0
        try:
            p, u = quadratic.solve(B, g, rows, levels, E)
        except (quadratic.Infeasible, np.linalg.LinAlgError, ValueError):  # ValueError: B has overflown
            price = 10.0 * max(1.0, float(np.abs(state.u).max(initial=0.0)), float(np.abs(g).max()))
            found: tuple = ()
            try:
                for _ in range(6):
                    tried = quadratic.elastic(B, g, rows, levels, E, m, price)
                    if found and not _kept(rows, levels, m, *tried):
                        break  # the price has outgrown the digits
                    found, relaxed = tried, tried[2]
                    if relaxed <= 1e-8 * (1.0 + float(np.abs(c).max(initial=0.0))):
                        break
                    price *= 10.0
                p, u, _ = found
            except (quadratic.Infeasible, np.linalg.LinAlgError, ValueError):  # ValueError: B has overflown
                return self._lost(problem, state, point, "the quadratic program could not be solved")
            missed = _penalty(c, np.ones(m), E)
            if state.k and relaxed >= (1 - 1e-4) * missed > 1e-6 * (1.0 + float(np.abs(problem.x0).max())):
                return self._lost(problem, state, point, "no step brings the constraints closer")
        multipliers = _full(u, problem, m)
        optimality = kkt(problem, point, multipliers)
        weights = np.maximum(1.1 * np.abs(multipliers[:m]), 0.5 * (state.weights + np.abs(multipliers[:m])))
        if optimality < state.optimality and optimality <= 1e-9:
            return replace(state, u=multipliers, weights=weights, optimality=optimality, flat=state.flat + 1)
        merit = _merit(point, weights, E)
        slope = float(g.dot(p)) - _penalty(c, weights, E) + _penalty(c + A.dot(p), weights, E)
        slope = min(slope, -1e-16)
        noise = problem.eps * (10 * abs(point.f) + 10 * _penalty(np.abs(c), weights, E)) + 1e-300
        alpha, new = 1.0, problem.at(_moved(problem, x, p))
        size = float(np.abs(p).max())
        while not _enough(new, weights, E, merit + self.c1 * alpha * slope + noise):
            if alpha == 1.0 and m and np.isfinite(new.c).all():
                corrected = self._corrected(problem, B, g, rows, levels, point, new, p)
                if corrected is not None and _enough(corrected, weights, E, merit + self.c1 * slope + noise):
                    new = corrected
                    break
            alpha *= 0.5 if math.isfinite(new.f) else 0.1
            if alpha * size < 1e-15 * (1.0 + float(np.abs(x).max())):
                state = replace(state, u=multipliers, optimality=min(optimality, state.optimality))
                if state.B is None or state.flat:
                    return self._lost(problem, state, point, "no step lowers the merit function")
                return replace(state, B=None, flat=1)  # once more from the steepest descent
            new = problem.at(_moved(problem, x, alpha * p))
        s = new.x - x
        y = _lagrangian_gradient(new, multipliers, m) - _lagrangian_gradient(point, multipliers, m)
        optimality = kkt(problem, new, multipliers)
        still = size * alpha <= 1e-14 * (1.0 + float(np.abs(x).max()))
        if still and optimality > 1e-6 and state.flat > 5:
            return self._lost(problem, state, new, "the steps have become too small")
        return SQPState(new, optimality, alpha, B=None if self.exact else damped(B, s, y, state.B is None),
                        u=multipliers, weights=weights, flat=state.flat + 1 if still else 0,
                        escapes=state.escapes)  # fmt: skip

    def _hessian(self, problem, state):
        if self.exact:
            H = problem.lagrangian_hessian(state.point.x, state.u[: problem.m])
            if np.isfinite(H).all():
                values, Q = np.linalg.eigh(0.5 * (H + H.T))
                floor = 1e-8 * max(1.0, float(np.abs(values).max()))
                return (Q * np.maximum(np.abs(values), floor)) @ Q.T
        return np.eye(problem.n) if state.B is None else state.B

    def _corrected(self, problem, B, g, rows, levels, point, new, p):
        """The second-order correction: the constraints as they are at the refused point."""
        shifted = levels.copy()
        shifted[: problem.m] = new.c - point.A.dot(p)
        try:
            q, _ = quadratic.solve(B, g, rows, shifted, problem.equalities)
        except (quadratic.Infeasible, np.linalg.LinAlgError, ValueError):  # ValueError: B has overflown
            return None
        if not np.isfinite(q).all() or np.abs(q).max() > 10 * np.abs(p).max() + 1e-300:
            return None
        return problem.at(_moved(problem, point.x, q))

    def _lost(self, problem, state, point, what):
        """Where no step helps: on from a feasible point if there is one, else the end at the least violation."""
        if problem.violation(point) <= tolerance(problem):
            words = (f"{what}, though the conditions of a solution do not hold yet; a constraint gradient may vanish "
                     "at the solution, or the function may have a kink")  # fmt: skip
            reason = Reason("stalled", False, words)
            return replace(state, stuck=reason)
        near = nearest(problem, [point, problem.at(problem.x0)])
        if problem.violation(near) <= tolerance(problem) and state.escapes < MOST_RESTARTS:
            new = self.start(problem, near.x)
            if math.isfinite(new.point.f):
                new.escapes = state.escapes + 1
                return new
        return replace(state, point=near, stuck=_infeasible(problem, near, what))

    def last(self, problem, state):
        """Without a solution: the point of least violation, if constraints are violated."""
        if state.stuck is not None or not math.isfinite(state.point.f):
            return state
        if problem.violation(state.point) <= tolerance(problem):
            return state
        near = nearest(problem, [state.point])
        if not math.isfinite(near.f) or problem.violation(near) <= tolerance(problem):
            return state
        return replace(state, point=near)

    def explain(self, problem, state, reason):
        if reason.status == "max steps" and problem.violation(state.point) > tolerance(problem):
            return _infeasible(problem, state.point, reason.words.split(",")[0])
        return reason

    def doubt(self, problem, state) -> Doubt | None:
        """Negative curvature of the Lagrangian along the constraints that hold with equality."""
        if problem.n > 50 or not problem.has_hessian:
            return None
        point, m = state.point, problem.m
        try:
            H = problem.lagrangian_hessian(point.x, state.u[:m])
        except NotImplementedError:
            return None
        if not np.isfinite(H).all():
            return None
        rows, levels = _with_bounds(problem, point.x, point.c, point.A)
        u = _compressed(state.u, problem, m)
        held = np.abs(levels) <= 1e-6 * (1.0 + np.abs(point.x).max())
        firmly = held & (np.abs(u) > 1e-8 * (1.0 + np.abs(u).max(initial=0.0)))
        firmly[: problem.equalities] = True
        # Constraints that hold without force may be left inwards; if that leads nowhere, count them all as held.
        for mask in (firmly, held):
            v = _downward(H, rows[mask])
            if v is None:
                return None
            loose = rows[held & ~mask]
            for direction in (v, -v):
                if (loose.dot(direction) >= -1e-8).all():
                    return Doubt("the conditions of first order hold, but the curvature along the constraints is "
                                 "negative: this is no minimum; start elsewhere", direction)  # fmt: skip
        return None

    def escape(self, problem, state, direction):
        if state.escapes >= MOST_RESTARTS:
            return None
        size = 0.1 * (1.0 + float(np.abs(state.point.x).max())) / float(np.abs(direction).max())
        new = self.start(problem, _moved(problem, state.point.x, size * direction))
        new.escapes = state.escapes + 1
        return new

    def extras(self, problem, state):
        return {
            "maxcv": problem.violation(state.point) if math.isfinite(state.point.f) else math.inf,
            "constr": state.point.c,
            "multipliers": state.u[: problem.m],
        }


def _infeasible(problem, point, what) -> Reason:
    return Reason("infeasible", False, f"{what}, and the constraints seem to contradict each other: at the least sum "
                  f"of squared violations found, which x is, those missed are {named(problem, point)}; drop one at a "
                  "time, or start elsewhere")  # fmt: skip


def kkt(problem, point, multipliers) -> float:
    """The largest violation of the first-order conditions: stationarity, feasibility, complementarity."""
    m, n, E = problem.m, problem.n, problem.equalities
    size = max(1.0, float(np.abs(multipliers).mean()) / 100)
    r = _lagrangian_gradient(point, multipliers, m) - multipliers[m : m + n] + multipliers[m + n :]
    worst = max(float(np.abs(r).max()) / size, problem.violation(point))
    if m > E:
        worst = max(worst, float(np.abs(multipliers[E:m] * point.c[E:]).max()) / size)
    if problem.box is not None:
        x, box = point.x, problem.box
        for u, gap in ((multipliers[m : m + n], x - box.lower), (multipliers[m + n :], box.upper - x)):
            held = u != 0
            if held.any():
                worst = max(worst, float(np.abs(u[held] * gap[held]).max()) / size)
    return worst


def damped(B, s, y, first):
    """Powell's damped BFGS update, Procedure 18.2."""
    if not np.isfinite(y).all() or not s.any():
        return B
    sy, ss = float(s.dot(y)), float(s.dot(s))
    if first and sy > 0:
        B = np.eye(len(s)) * min(max(float(y.dot(y)) / sy, 1e-4), 1e6)
    Bs = B.dot(s)
    sBs = float(s.dot(Bs))
    if sy < 0.2 * sBs:
        theta = 0.8 * sBs / (sBs - sy)
        y = theta * y + (1 - theta) * Bs
        sy = float(s.dot(y))
    if not (sy > 1e-16 * ss and sBs > 0):
        return B
    B = B - np.multiply.outer(Bs, Bs) / sBs + np.multiply.outer(y, y) / sy
    return 0.5 * (B + B.T)


def _lagrangian_gradient(point, multipliers, m):
    return point.g - point.A.T.dot(multipliers[:m])


def _kept(rows, levels, m, p, u, relaxed) -> bool:
    """Whether a relaxed quadratic program keeps to the bounds."""
    room = (rows @ p + levels)[m:].min(initial=0.0)
    return relaxed >= -1e-8 and room >= -1e-8 * (1.0 + float(np.abs(p).max(initial=0.0)))


def _with_bounds(problem, x, c, A):
    """The linearized constraints and the bounds as rows ``A p + c``."""
    if problem.box is None:
        return A, c
    low, high = np.isfinite(problem.box.lower), np.isfinite(problem.box.upper)
    eye = np.eye(problem.n)
    return (
        np.concatenate([A, eye[low], -eye[high]]),
        np.concatenate([c, (x - problem.box.lower)[low], (problem.box.upper - x)[high]]),
    )


def _full(u, problem, m):
    """Multipliers of the constraints and of every bound, zero where there is none."""
    full = np.zeros(m + 2 * problem.n)
    full[:m] = u[:m]
    if problem.box is not None:
        low, high = np.isfinite(problem.box.lower), np.isfinite(problem.box.upper)
        k = int(low.sum())
        full[m : m + problem.n][low] = u[m : m + k]
        full[m + problem.n :][high] = u[m + k :]
    return full


def _compressed(full, problem, m):
    """The multipliers in the order of `_with_bounds`."""
    if problem.box is None:
        return full[:m]
    low, high = np.isfinite(problem.box.lower), np.isfinite(problem.box.upper)
    return np.concatenate([full[:m], full[m : m + problem.n][low], full[m + problem.n :][high]])


def _downward(H, rows):
    """The direction of the most negative curvature within the null space of ``rows``, or None."""
    Z = np.eye(len(H))
    if len(rows):
        _, s, Vt = np.linalg.svd(rows)
        Z = Vt[int((s > 1e-10 * s[0]).sum()) :].T
    if Z.shape[1] == 0:
        return None
    values, vectors = np.linalg.eigh(Z.T @ H @ Z)
    if values[0] >= -1e-6 * max(1.0, float(np.abs(values).max())):
        return None
    return Z @ vectors[:, 0]


def _penalty(c, weights, E) -> float:
    return float(weights[:E].dot(np.abs(c[:E])) + weights[E:].dot(np.maximum(-c[E:], 0.0)))


def _merit(point, weights, E) -> float:
    return point.f + _penalty(point.c, weights, E)


def _enough(point, weights, E, most) -> bool:
    merit = _merit(point, weights, E)
    return math.isfinite(merit) and merit <= most


def _moved(problem, x, p):
    """``x + p`` within the bounds, and exactly on those that it meets but for rounding: they count as held."""
    new, box = x + p, problem.box
    if box is None:
        return new
    rounding = 100 * problem.eps * np.maximum(np.abs(x), np.abs(p))
    for bound in (box.lower, box.upper):
        new = np.where(np.abs(new - bound) <= rounding, bound, new)
    return box.project(new)
