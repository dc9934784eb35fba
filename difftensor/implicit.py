"""Derivatives of what equations define: roots, fixed points, minimizers, solutions of linear systems.

A solver finds x with ``F(x, theta) = 0`` out of sight of the tape. Chord steps then tie the number to theta:

    x1 = x - J^-1 F(x, theta),   x2 = x1 - J^-1 F(x1, theta),   J = dF/dx at the solution, a constant.

Their values are x again; the first has the derivative of the solution, ``-J^-1 dF/dtheta`` (the implicit function
theorem), and every further step is exact to one more order: its error is that of the step before times
``I - J^-1 J(x1, theta)``, which vanishes at the solution. The tape holds a few nodes, whatever the solver did.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from difftensor import tree
from difftensor._core import Tensor, lift, no_grad, wrap
from difftensor._transforms.derived import jacobian
from difftensor._transforms.forward import linearize
from difftensor._transforms.opaque import Batched, Rules, record, rides, through, tracked
from difftensor._transforms.reverse import grad, vjp
from difftensor.errors import MissingDerivativeError

ORDER = 2  # chord steps: derivatives of the solution are exact up to this order


def _constant(x: Any) -> Any:
    return x.detach() if isinstance(x, Tensor) else x


def _vector(F: Callable, structure: Any) -> Callable:
    """F of a tree as a function of the flat vector, returning a flat vector."""

    def f(v: Any) -> Any:
        return tree.ravel(F(structure(v)))[0]

    return f


class _Dense:
    """J by columns, factorized once."""

    def __init__(self, f: Callable, x: Any, symmetric: bool):
        from scipy.linalg import lu_factor

        self.J = np.asarray(jacobian(f)(x))
        if self.J.size and (not np.isfinite(self.J).all() or np.linalg.cond(self.J) > 1 / np.finfo(float).eps):
            raise np.linalg.LinAlgError(
                "implicit: the Jacobian of the equations is singular at the solution (condition number above "
                "1/eps), so "
                "the solution is not a differentiable function there; add an equation, or a term that singles "
                "one solution out"
            )
        self.factors = lu_factor(self.J) if self.J.size else None

    def solve(self, v: Any, transposed: bool) -> Any:
        from scipy.linalg import lu_solve

        return lu_solve(self.factors, v, trans=int(transposed)) if v.size else v


class _Krylov:
    """J by its products only: conjugate gradients if symmetric (positive definite), else GMRES, to relative 1e-12."""

    def __init__(self, f: Callable, x: Any, symmetric: bool):
        self.symmetric = symmetric
        _, self.push = linearize(f, x)
        _, self.pull = vjp(f, x)

    def solve(self, v: Any, transposed: bool) -> Any:
        from scipy.sparse.linalg import LinearOperator, cg, gmres

        product = (lambda u: self.pull(u)[0]) if transposed and not self.symmetric else self.push
        A = LinearOperator((v.size, v.size), matvec=lambda u: np.asarray(product(u.ravel())), dtype=v.dtype)
        solver = cg if self.symmetric else gmres
        extra = {} if self.symmetric else {"restart": min(v.size, 100)}
        y, info = solver(A, v, rtol=1e-13, atol=0.0, maxiter=10 * v.size, **extra)
        if info and np.linalg.norm(A @ y - v) > 1e-9 * np.linalg.norm(v):
            raise np.linalg.LinAlgError(
                "implicit: the linear system of the derivative did not converge; the Jacobian of the equations may be "
                "singular at the solution. Use method='dense' for a direct solve"
            )
        return y


def _apply(inverse: Any, v: Any, transposed: bool = False) -> Any:
    """J^-1 v (or its transpose), linear and differentiable in v."""
    with no_grad():
        y = inverse.solve(v._data if isinstance(v, Tensor) else np.asarray(v), transposed)
    if not isinstance(v, Tensor):
        return y
    if not tracked([v]):
        return wrap(y)

    def step(way: bool) -> Callable:
        def rule(create: bool, gs: tuple, xs: tuple) -> list:
            (g,) = gs
            return [_apply(inverse, g if create else np.asarray(g), way)]

        return rule

    return record("implicit solve", [v], [y], Rules(step(not transposed), step(transposed)))[0]


def _tie(F: Callable, x: Any, method: str, symmetric: bool, order: int) -> Any:
    """The numbers x, tied to what F depends on by chord steps."""
    kinds = {"dense": _Dense, "krylov": _Krylov}
    if method == "auto":
        method = "dense" if sum(np.size(v) for v in tree.leaves(x)) <= 500 else "krylov"
    if method not in kinds:
        raise ValueError(f"implicit: method {method!r} is not one of 'auto', 'dense', 'krylov'")
    flat, structure = tree.ravel(x)
    flat = flat.detach().numpy() if isinstance(flat, Tensor) else flat
    f = _vector(F, structure)
    residual = f(lift(flat, None))
    if residual.shape != flat.shape:
        raise ValueError(f"implicit: {residual.size} equations for {flat.size} unknowns")
    if isinstance(residual, Batched) or rides(residual):
        raise MissingDerivativeError(
            "implicit: the equations use a value of an outer vmap or streaming jvp that is not among the parameters: "
            "pass it as one (implicit.root(F, solve, value, ...))"
        )
    if not tracked([residual]):
        return x
    with no_grad():
        inverse = kinds[method](f, flat, symmetric)
    v = lift(flat, None)
    for _ in range(order):
        v = v - _apply(inverse, f(v))
    return structure(v)


def _each(f: Callable, params: tuple) -> Any:
    """f(*params), one example after the other inside vmap; f sees nothing of an outer streaming jvp."""
    leaves, shape = tree.flatten(params)
    out: list = [None]

    def one(parts: list) -> list:
        found, out[0] = tree.flatten(f(*tree.unflatten(shape, parts)))
        return found

    found = through(one, leaves)
    return tree.unflatten(out[0], found)


def _solved(solve: Any, params: tuple) -> Any:
    if not callable(solve):
        return tree.map(_constant, solve)
    with no_grad():
        return tree.map(_constant, solve(*(tree.map(_constant, p) for p in params)))


def root(F: Callable, solve: Any, *params: Any, method: str = "auto", order: int = ORDER) -> Any:
    """A root of F, differentiable with respect to everything that F depends on.

    Parameters
    ----------
    F : callable
        ``F(x, *params)``: as many equations as unknowns, zero at the solution. x may be a pytree. F may also depend on
        Tensors of
        its surroundings.
    solve : callable or array
        ``solve(*params)`` returns the solution (it is not differentiated and sees constants), or the solution itself.
    *params : arrays or pytrees
    method : {"auto", "dense", "krylov"}
        How the linear system of the derivative is solved: by a factorization, or by products only (auto: more than 500
        unknowns).
    order : int
        Up to which order derivatives are wanted; each costs one evaluation of F and one linear solve.

    Returns
    -------
    x : like the solution

    Raises
    ------
    numpy.linalg.LinAlgError
        The Jacobian dF/dx is singular at the solution.

    Notes
    -----
    dx/dtheta = -(dF/dx)^-1 dF/dtheta. The number of recorded nodes does not depend on the solver's iterations. The
    derivative is     as accurate as the solution.

    Examples
    --------
    >>> import difftensor as dif
    >>> from math import sqrt
    >>> f = lambda a: dif.implicit.root(lambda x, a: x * x - a, lambda a: dif.sqrt(a), a)
    >>> float(dif.grad(f)(4.0)), float(dif.grad(dif.grad(f))(4.0))
    (0.25, -0.03125)
    """
    return _each(
        lambda solve, *ps: _tie(lambda x: F(x, *ps), _solved(solve, ps), method, False, order), (solve, *params)
    )


def fixed_point(f: Callable, solve: Any, *params: Any, method: str = "auto", order: int = ORDER) -> Any:
    """A fixed point ``x = f(x, *params)``; parameters as of `root`.

    Examples
    --------
    >>> import numpy as np, difftensor as dif
    >>> def iterate(a):
    ...     x = 1.0
    ...     for _ in range(100):
    ...         x = np.cos(a * x)
    ...     return x
    >>> g = lambda a: dif.implicit.fixed_point(lambda x, a: np.cos(a * x), iterate, a)
    >>> round(float(dif.grad(g)(1.0)), 6)
    -0.297474
    """
    def gap(x: Any, ps: tuple) -> Any:
        return tree.map(lambda u, v: u - v, x, f(x, *ps))

    return _each(
        lambda solve, *ps: _tie(lambda x: gap(x, ps), _solved(solve, ps), method, False, order), (solve, *params)
    )


def argmin(f: Callable, solve: Any, *params: Any, method: str = "auto", order: int = ORDER) -> Any:
    """An unconstrained minimizer (or any stationary point) of ``f(x, *params)``; parameters as of `root`.

    Notes
    -----
    The equations are grad f = 0; their Jacobian, the Hessian, is symmetric.

    Examples
    --------
    >>> import numpy as np, difftensor as dif
    >>> f = lambda x, a: np.sum((x - a) ** 2) + np.sum(x**2)
    >>> g = lambda a: dif.implicit.argmin(f, lambda a: a / 2, a).sum()
    >>> dif.grad(g)(np.array([1.0, 3.0])).tolist()
    [0.5, 0.5]
    """
    return _each(
        lambda solve, *ps: _tie(lambda x: grad(f)(x, *ps), _solved(solve, ps), method, True, order), (solve, *params)
    )


def linear_solve(
    matvec: Callable, b: Any, solve: Any = None, *, symmetric: bool = False, method: str = "krylov", order: int = ORDER
) -> Any:
    """The solution of ``matvec(x) = b``, matrix-free, differentiable in b and in all that `matvec` depends on.

    Parameters
    ----------
    matvec : callable
        Linear; x and its result are arrays or pytrees like b.
    b : array or pytree
    solve : callable, optional
        ``solve(matvec, b)`` finds the solution; by default conjugate gradients or GMRES.
    symmetric : bool
        The operator is symmetric positive definite.
    method, order
        As of `root`.

    Examples
    --------
    >>> import numpy as np, difftensor as dif
    >>> f = lambda k: dif.implicit.linear_solve(lambda x: k * x, np.array([2.0, 4.0])).sum()
    >>> round(float(dif.grad(f)(2.0)), 9)
    -1.5
    """
    return _each(lambda b: _linear(matvec, b, solve, symmetric, method, order), (b,))


def _linear(matvec: Callable, b: Any, solve: Any, symmetric: bool, method: str, order: int) -> Any:
    constant = tree.map(_constant, b)
    with no_grad():
        if solve is not None:
            x = tree.map(_constant, solve(matvec, constant))
        else:
            flat, structure = tree.ravel(constant)
            flat = flat.numpy() if isinstance(flat, Tensor) else flat
            f = _vector(matvec, structure)
            x = structure(_Krylov(f, np.zeros_like(flat), symmetric).solve(flat, False))
            if any(isinstance(v, Tensor) for v in tree.leaves(b)):
                x = tree.map(wrap, x)
    return _tie(lambda u: tree.map(lambda p, q: p - q, matvec(u), b), x, method, symmetric, order)
