"""A problem with constraints ``c_E(x) = 0``, ``c_I(x) >= 0`` and bounds."""

from __future__ import annotations

import numpy as np

import difftensor as dif

from ..implicit import untracked, unwatched
from ..place import like
from ..point import Point
from ..problem import Problem


class ConstrainedPoint(Point):
    """A Point that also knows the constraints.

    Attributes
    ----------
    c : array, shape (m,)
        Equalities first, then inequalities, positive where they hold.
    A : array, shape (m, n)
        Their Jacobian.
    """

    __slots__ = ("_A", "_c")

    def __init__(self, problem, x):
        super().__init__(problem, x)
        self._A = self._c = None

    @property
    def c(self):
        if self._c is None:
            self._c = self.problem.constraints(self.x)
        return self._c

    @property
    def A(self):
        if self._A is None:
            self._A = self.problem.constraint_jacobian(self.x)
        return self._A

    def __getstate__(self):
        return (super().__getstate__(), self._c, self._A)

    def __setstate__(self, state):
        base, self._c, self._A = state
        super().__setstate__(base)


class ConstrainedProblem(Problem):
    """`Problem` with constraints. Its vectors are on the host: multipliers and quadratic programs are few numbers.

    Parameters
    ----------
    constraints : dict, object or a sequence of them
        SciPy's forms: ``{"type": "eq" or "ineq", "fun": c, "jac": optional, "args": optional}`` with ``c(x) = 0`` or
        ``c(x) >= 0``; or objects with ``fun`` (or the matrix ``A``), ``lb`` and ``ub``, as `NonlinearConstraint` and
        `LinearConstraint`, whose matrix acts on the vector of all elements.

    Attributes
    ----------
    equalities : int
        How many of the constraints are equalities.
    names : list of str
        What the constraints are called in messages.
    """

    def __init__(self, *args, constraints=(), **kwargs):
        super().__init__(*args, **kwargs)
        self.come_home()
        if isinstance(constraints, dict) or hasattr(constraints, "lb"):
            constraints = (constraints,)
        equal, atleast = [], []
        with unwatched():
            for k, given in enumerate(constraints):
                before = len(equal), len(atleast)
                _read(given, self, equal, atleast)
                for part, _ in (*equal[before[0] :], *atleast[before[1] :]):
                    part.number = k
            self._parts = (*equal, *atleast)
            sizes = [part(self.x0.copy()).size for part, _ in self._parts]
        self.names = [name for (part, _), size in zip(self._parts, sizes, strict=True) for name in part.names(size)]
        self.equalities = sum(sizes[: len(equal)])
        self.m = sum(sizes)
        if self.equalities > self.n:
            raise ValueError(
                f"optim: {self.equalities} equality constraints for {self.n} variables contradict each other or "
                "repeat each other; use optim.least_squares for the best compromise"
            )

    def at(self, x) -> ConstrainedPoint:
        return ConstrainedPoint(self, x)

    def constraints(self, x):
        return np.concatenate([part(x.copy()) for part, _ in self._parts])

    def constraint_jacobian(self, x):
        return np.concatenate([jacobian(x.copy()) for _, jacobian in self._parts])

    def tracked_constraints(self, x):
        """All constraints, differentiable in x."""
        return dif.concatenate([part.tracked(x) for part, _ in self._parts])

    def violation(self, point) -> float:
        """The largest amount by which a constraint or a bound is missed."""
        c, E = point.c, self.equalities
        return float(max(np.abs(c[:E]).max(initial=0.0), (-c[E:]).max(initial=0.0)))

    def lagrangian_hessian(self, x, multipliers):
        """The Hessian of ``f - multipliers . c``."""
        self.nhev += 1

        def lagrangian(x):
            return self.objective(x) - dif.sum(multipliers * self.tracked_constraints(x))

        return untracked(dif.hessian(lagrangian)(x))


class _Part:
    """One constraint function of the vector, shifted and signed so that it is compared with 0."""

    def __init__(self, problem, fun, args=(), sign=1.0, shift=0.0, rows=slice(None)):
        self.problem, self.fun, self.args = problem, fun, args
        self.sign, self.shift, self.rows = sign, shift, rows
        self.number = 0  # among the constraints as they were given

    def names(self, size):
        rows = range(size) if isinstance(self.rows, slice) else self.rows
        alone = isinstance(self.rows, slice) and size == 1
        return [f"constraints[{self.number}]" + ("" if alone else f"[{i}]") for i in rows]

    def tracked(self, x):
        y = self.fun(self.problem.layout.unpack(x), *self.args)
        if y is None:
            raise TypeError("optim: a constraint returned None; is its `return` missing?")
        if isinstance(y, (list, tuple)):
            y = dif.asarray(y)
        y = dif.reshape(y, (-1,)) if getattr(y, "shape", None) is not None else dif.asarray([y])
        y = self.problem.layout.home(y)
        if not isinstance(self.rows, slice):
            y = y[self.rows]
        return self.sign * (y - self.shift)

    def __call__(self, x):
        return np.asarray(untracked(self.tracked(x)), dtype=float)


def _read(given, problem, equal, atleast):
    """Sort one constraint into equalities and inequalities."""
    if isinstance(given, dict):
        kind, fun, args = given.get("type"), given.get("fun"), given.get("args", ())
        if kind not in ("eq", "ineq") or not callable(fun):
            raise ValueError(f"optim: a constraint is {{'type': 'eq' or 'ineq', 'fun': function}}, got {given!r}")
        args = args if isinstance(args, tuple) else (args,)
        part = _Part(problem, fun, args)
        (equal if kind == "eq" else atleast).append((part, _jacobian_of(part, given.get("jac"))))
        return
    if hasattr(given, "A"):
        matrix = np.atleast_2d(np.asarray(given.A.toarray() if hasattr(given.A, "toarray") else given.A, dtype=float))
        if matrix.shape[1] != problem.n:
            raise ValueError(f"optim: the matrix of a linear constraint has {matrix.shape[1]} columns, and x0 has "
                             f"{problem.n} elements")  # fmt: skip

        def fun(x):  # of all elements in one vector, whatever x0 is
            x = problem.layout.vector(x, "x")
            return dif.matmul(like(matrix, x), x)

        own = None
    elif callable(getattr(given, "fun", None)):
        fun, own = given.fun, getattr(given, "jac", None)
    else:
        raise TypeError(f"optim: expected a constraint, got {given!r}")
    size = np.asarray(_Part(problem, fun)(problem.x0.copy())).size
    low = np.broadcast_to(np.asarray(given.lb, dtype=float), (size,))
    high = np.broadcast_to(np.asarray(given.ub, dtype=float), (size,))
    if (low > high).any():
        i = int(np.argmax(low > high))
        raise ValueError(f"optim: the limits of constraint {i} contradict: {low[i]} > {high[i]}")
    same = low == high
    for mask, sign, shift, kind in (
        (same, 1.0, low, equal),
        (~same & np.isfinite(low), 1.0, low, atleast),
        (~same & np.isfinite(high), -1.0, high, atleast),
    ):
        if mask.any():
            rows = np.flatnonzero(mask)
            part = _Part(problem, fun, (), sign, shift[rows], rows)
            kind.append((part, _jacobian_of(part, own)))


def _jacobian_of(part, own):
    if not callable(own):
        return lambda x: untracked(dif.jacobian(part.tracked)(x))

    def jacobian(x):
        layout = part.problem.layout
        J = np.asarray(layout.home(own(layout.unpack(x), *part.args)), dtype=float)
        return part.sign * J.reshape(-1, part.problem.n)[part.rows]

    return jacobian
