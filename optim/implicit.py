"""The derivative of a solution, by the implicit function theorem.

A solution satisfies ``F(x, theta) = 0``: the equations, or the gradient of the objective. If ``theta`` is
watched by an outer `difftensor.grad` (through ``args`` or a closure), the solver runs unwatched, and chord steps

    x1 = x* - J^{-1} F(x*, theta),    x2 = x1 - J^{-1} F(x1, theta),      J = dF/dx at x*, a constant,

then leave the number ``x*`` unchanged but depend on ``theta``: the first has the first derivative of the solution,
``-J^{-1} dF/dtheta``; every further step is exact to one more order, because its error is that of the step
before times ``I - J^{-1} J(x1, theta)``, which vanishes at the solution. No iteration of the solver is on the
tape.
"""

from __future__ import annotations

from contextlib import contextmanager
from contextvars import ContextVar

import numpy as np

import difftensor as dif

ORDER = 2


class Watched(Exception):
    """The objective depends on a tracked Tensor of an outer transformation."""


_unwatched = ContextVar("unwatched", default=False)


@contextmanager
def unwatched():
    """Inside, solvers see numbers only, whoever may be watching outside."""
    token = _unwatched.set(True)
    try:
        with dif.no_grad():
            yield
    finally:
        _unwatched.reset(token)


def untracked(y):
    """``y`` as a raw array; raises `Watched` if an outer transformation is watching it."""
    if isinstance(y, dif.Tensor):
        if y.requires_grad and not _unwatched.get():
            raise Watched
        return y.detach().numpy()
    return y


def through(solve, problem, equations, free=None):
    """The result of ``solve()``; with derivatives if an outer transformation watches.

    Parameters
    ----------
    solve : callable
        Runs the solver and returns its Result.
    problem : Problem
    equations : callable
        ``equations(problem, x)``, shape (n,): zero at the solution, differentiable in x.
    free : callable, optional
        ``free(result)``: the boolean mask of elements that are not held by a bound.
    """
    try:
        return solve()
    except Watched:
        pass
    problem.nfev = problem.njev = problem.nhev = 0
    with unwatched():
        result = solve()
    if not result.success:
        return result  # there is no solution to differentiate; x stays a plain array
    x = _solution(result)
    with unwatched():
        J = untracked(dif.jacobian(lambda x: equations(problem, x))(x))
    mask = np.ones(problem.n, dtype=bool) if free is None else free(result)
    inverse = np.zeros((problem.n, problem.n))
    inverse[np.ix_(mask, mask)] = _inverse(J[np.ix_(mask, mask)])
    for _ in range(ORDER):
        x = x - dif.matmul(inverse, equations(problem, x))
    result.x = problem.layout.unpack(x)
    return result


def gradient(problem, x):
    """The equations of an unconstrained minimizer: the gradient, zero."""
    if problem._jac is True:
        return problem.layout_vector(problem.fun(problem.layout.unpack(x), *problem.args)[1])
    if problem._jac is not None:
        return problem.layout_vector(problem._jac(problem.layout.unpack(x), *problem.args))
    return dif.grad(problem.objective)(x)


def gradient_of_cost(problem, x):
    """The same for a sum of squares."""
    return dif.grad(problem._cost)(x)


def free(result):
    """Elements that no bound holds; the derivative of the others is zero."""
    problem, x = result._problem, result.state.point.x
    if problem.box is None:
        return np.ones(problem.n, dtype=bool)
    return (x > problem.box.lower) & (x < problem.box.upper)


def _solution(result):
    return result._x if "_x" in result else result.state.point.x


def _inverse(J):
    if J.size == 0:
        return J
    try:
        inverse = np.linalg.inv(J)
    except np.linalg.LinAlgError:
        inverse = np.full_like(J, np.nan)
    if not np.isfinite(inverse).all() or np.linalg.cond(J) > 1e14:
        raise ValueError(
            "optim: the solution is not determined by its equations (their Jacobian is singular there), so it "
            "has no derivative; add a term that singles one solution out"
        )
    return inverse
