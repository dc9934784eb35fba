"""Derivatives of what equations define: roots, fixed points, minimizers, solutions of linear systems.

A solver finds x with ``F(x, theta) = 0`` out of sight of the tape. There it stands as one node, whatever the solver
did, whose rule is the implicit function theorem, ``dx/dtheta = -(dF/dx)^-1 dF/dtheta``. The rule is itself written in
solutions of equations, so that its derivatives are right to every order.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from difftensor import tree
from difftensor._backend.device import inside_of
from difftensor._core import Leaf, Tensor, X, enable_grad, lift, no_grad, recording, wrap
from difftensor._core.tape import tick
from difftensor._transforms.batch import apart, expand, innermost, levels, like
from difftensor._transforms.batch.calls import surrounded
from difftensor._transforms.checkpoint import _boundary
from difftensor._transforms.derived import jacobian
from difftensor._transforms.opaque import Batched, Rules, record, rides, through, tracked
from difftensor._transforms.reverse import grad
from difftensor._transforms.sweep import place, pull_back
from difftensor.errors import MissingDerivativeError, MutatedConstantError
from difftensor.linalg._jacobians import Blocks, Dense, Krylov, Rows, eps, numbers

AT_ROOT = 5000  # change of the solution, in roundings of its size, up to which its Jacobian stands
STEPS = 3  # of Newton's method, at most
LOST = 1e-3  # relative change in the last of them that no solution makes
CHANGED = 1e-7  # relative change of the solution when equations are evaluated again, from which they are others
ROUNDING = 1e-10  # ... but one that is zero: what the rounding of equations of size one may still move it


def _constant(x: Any) -> Any:
    return x.detach() if isinstance(x, Tensor) else x


def _vector(F: Callable, structure: Any) -> Callable:
    """F of a tree as a function of the flat vector, returning a flat vector, of real numbers if that is real."""

    def f(v: Any) -> Any:
        y = tree.ravel(F(structure(apart(v))))[0]  # F may write into what it gets
        return X.concatenate([y.real, y.imag]) if y.dtype.kind == "c" != v.dtype.kind else y

    return f


def _shape(x: Any) -> tuple:
    return x.shape if hasattr(x, "shape") else np.shape(x)


def _as_pairs(flat: Any, structure: Callable) -> tuple[Any, Callable]:
    """The complex vector `flat` as real parts, then imaginary parts, and its structure: equations need not be
    holomorphic."""
    n = flat.size
    return X.concatenate([flat.real, flat.imag]), lambda v: structure(v[:n] + 1j * v[n:])


def _solution(f: Callable, v: Any, inverse: Any, transposed: bool = False) -> Any:
    """The numbers v with f(v) = 0, tied to what f depends on; `inverse` solves with df/dv (or its transpose).

    The rule, ``g -> -lambda df/dtheta`` with ``lambda df/dv = g``, is exact to every order because, when it is recorded
    itself, the solution and lambda stand in it as solutions of equations again.
    """
    start = tick()
    residual = f(lift(v, None))
    if not tracked([residual]):
        return lift(v, None)
    outside = _boundary([residual.node], [], start)

    def pull(create: bool, gs: tuple, xs: tuple) -> list:
        (g,) = gs
        recorded = create and recording()
        with no_grad():
            weights = _weights(inverse, g, not transposed, recorded)
        if not recorded:  # the equations as they were: what they read may have changed since
            cts, _ = pull_back({residual.node: -weights}, outside, create)
            return [cts.get(n) for n in outside]
        at = _solution(f, v, inverse, transposed)
        weights = _solution(lambda u: _pulled(f, at, u) - g, weights, inverse, not transposed)
        with enable_grad():
            r = f(at)
        with no_grad():
            _check_same(v, inverse.solve(numbers(r) - numbers(residual), transposed))
        cts, _ = pull_back({r.node: -weights}, [*outside, *([at.node] if at.node is not None else [])], create)
        return [cts.get(n) for n in outside]

    return record("implicit", [], [v], Rules(pull), tuple(outside))[0]


def _check_same(v: Any, change: Any) -> None:
    """Raise if the equations, evaluated again, have their solution elsewhere."""
    if change.size and float(abs(change).max()) > max(CHANGED * float(abs(v).max()), ROUNDING):
        raise MutatedConstantError(
            "implicit: the equations gave another value when they were evaluated again, for a forward sweep or a "
            "second derivative: a variable that they read has another value now, as in a loop. Bind it where the "
            "equations are made, lambda x, t=t: ..., or pass it as a parameter"
        )


def _weights(inverse: Any, g: Any, transposed: bool, recorded: bool) -> Any:
    """The numbers that solve for cotangent `g`, or for all cotangents of a Jacobian at once."""
    if isinstance(g, Batched) and g._data.inner.__class__ is Tensor and not recorded:
        return like(g, lift(inverse.solve(g._data.inner._data.T, transposed).T, None))
    return inverse.solve(numbers(g), transposed)


def _pulled(f: Callable, v: Tensor, u: Tensor) -> Any:
    """u df/dv, without conjugation."""
    placed = place(v, "implicit")
    with enable_grad():
        r = f(placed)
    if placed.node.__class__ is Leaf:
        placed.node.live = False
    cts, _ = pull_back({r.node: u}, [placed.node], True)
    return cts[placed.node] if placed.node in cts else 0 * u


def _tie(F: Callable, x: Any, method: str, symmetric: bool) -> Any:
    """The numbers x, tied to what F depends on."""
    kinds: dict[str, Any] = {"dense": Dense, "krylov": Krylov, "rows": Rows}
    if method == "auto":
        method = "dense" if sum(math.prod(_shape(v)) for v in tree.leaves(x)) <= 500 else "krylov"
    if method not in kinds:
        raise ValueError(f"implicit: method {method!r} is not one of 'auto', 'dense', 'krylov', 'rows'")
    flat, structure = tree.ravel(x)
    flat = flat.detach() if isinstance(flat, Tensor) else lift(flat, None)
    if flat.dtype.kind == "c" and method != "rows":
        flat, structure = _as_pairs(flat, structure)
    f = _vector(F, structure)
    residual = f(flat)
    if residual.shape != flat.shape:
        raise ValueError(f"implicit: {residual.size} equations for {flat.size} unknowns")
    if rides(residual):
        raise MissingDerivativeError(
            "implicit: the equations use a value of an outer streaming jvp that is not among the parameters: "
            "pass it as one (implicit.root(F, solve, value, ...))"
        )
    if not tracked([residual]):
        return x
    if isinstance(residual, Batched):
        _all_at_once(residual)
        return structure(_tied_batch(f, flat))
    with inside_of(flat._data):
        extra = _shape(x) if method == "rows" else symmetric
        return structure(_polished(f, flat._data, lambda v: kinds[method](f, lift(v, None), extra)))


def _polished(f: Callable, v: Any, inverse_at: Callable) -> Any:
    """The solution from the numbers of a solver, by Newton's method. Most often one step stays where it is; where the
    solver stopped early, the Jacobian is made again, because derivatives want that of the root."""
    with no_grad():
        inverse = inverse_at(v)
        for _ in range(STEPS):
            step = inverse.solve(numbers(f(lift(v, None))), False)
            v = v - step
            moved, size = (float(abs(a).max()) if a.size else 0.0 for a in (step, v))
            if not moved > AT_ROOT * eps(v) * size:
                break
            inverse = inverse_at(v)
        if moved > max(LOST * size, ROUNDING):
            raise ValueError(
                f"implicit: the solver's result is no solution: after {STEPS} of Newton's steps from there x still "
                f"moves by {moved:.2g}, where its largest element is {size:.2g}. Give the solver a better start or a "
                "tighter tolerance, and check that it solves these equations"
            )
    return _solution(f, v, inverse)


def _all_at_once(x: Any) -> None:
    """Raise if `x` is batched at a level whose examples are taken one by one: it would be all of them for each."""
    active = levels.get()
    while isinstance(x, Batched):
        if active[x._data.level] is None:
            raise surrounded("implicit: the equations")
        x = x._data.inner


def _tied_batch(f: Callable, flat: Tensor) -> Any:
    """The numbers `flat` inside vmap, where the equations use batched values: one system of all examples."""
    active = levels.get()
    flat = expand(flat, active)
    shape = innermost(flat).shape

    def of_all(v: Any) -> Any:
        token = levels.set(active)
        try:
            return innermost(expand(f(like(flat, v.reshape(shape))), active)).reshape(-1)
        finally:
            levels.reset(token)

    def inverse_at(v: Any) -> Blocks:
        token = levels.set(active)
        try:
            J = jacobian(f)(like(flat, lift(v.reshape(shape), None)))
            return Blocks(numbers(innermost(expand(X.asarray(J), active))))
        finally:
            levels.reset(token)

    token = levels.set((None,) * len(active))  # the one system is not batched itself
    try:
        return like(flat, _polished(of_all, numbers(innermost(flat)).reshape(-1), inverse_at).reshape(shape))
    finally:
        levels.reset(token)


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


def root(F: Callable, solve: Any, *params: Any, method: str = "auto") -> Any:
    """A root of F, differentiable with respect to everything that F depends on.

    Parameters
    ----------
    F : callable
        ``F(x, *params)``: as many equations as unknowns, zero at the solution. x may be a pytree, and complex (F need
        not be holomorphic). F may also depend on Tensors of its surroundings.
    solve : callable or array
        ``solve(*params)`` returns the solution (it is not differentiated and sees constants), or the solution itself.
    *params : arrays or pytrees
    method : {"auto", "dense", "krylov", "rows"}
        How the linear system of the derivative is solved: by a factorization, or by products only (auto: more than 500
        unknowns). "rows": x is one array (systems, unknowns), and row i of F depends on row i of x only.

    Returns
    -------
    x : like the solution

    Raises
    ------
    numpy.linalg.LinAlgError
        The Jacobian dF/dx is singular at the solution.
    ValueError
        What the solver returned is no solution: Newton's steps lead away from it.

    Notes
    -----
    dx/dtheta = -(dF/dx)^-1 dF/dtheta, of every order; a derivative costs one evaluation of F and one linear solve. The
    number of recorded nodes does not depend on the solver's iterations. The numbers of the solver are improved by up to
    three steps of Newton's method. All of it runs where x lives; a few numbers come over (`docs/gpu.md`).

    Examples
    --------
    >>> import difftensor as dif
    >>> from math import sqrt
    >>> f = lambda a: dif.implicit.root(lambda x, a: x * x - a, lambda a: dif.sqrt(a), a)
    >>> float(dif.grad(f)(4.0)), float(dif.grad(dif.grad(f))(4.0))
    (0.25, -0.03125)
    """
    return _each(
        lambda solve, *ps: _tie(lambda x: F(x, *ps), _solved(solve, ps), method, False), (solve, *params)
    )


def fixed_point(f: Callable, solve: Any, *params: Any, method: str = "auto") -> Any:
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
        lambda solve, *ps: _tie(lambda x: gap(x, ps), _solved(solve, ps), method, False), (solve, *params)
    )


def argmin(f: Callable, solve: Any, *params: Any, method: str = "auto") -> Any:
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
        lambda solve, *ps: _tie(lambda x: grad(f)(x, *ps), _solved(solve, ps), method, True), (solve, *params)
    )


def linear_solve(
    matvec: Callable, b: Any, solve: Any = None, *, symmetric: bool = False, method: str = "krylov"
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
    method
        As of `root`.

    Examples
    --------
    >>> import numpy as np, difftensor as dif
    >>> f = lambda k: dif.implicit.linear_solve(lambda x: k * x, np.array([2.0, 4.0])).sum()
    >>> round(float(dif.grad(f)(2.0)), 9)
    -1.5
    """
    return _each(lambda b: _linear(matvec, b, solve, symmetric, method), (b,))


def _linear(matvec: Callable, b: Any, solve: Any, symmetric: bool, method: str) -> Any:
    constant = tree.map(_constant, b)
    with no_grad():
        if solve is not None:
            x = tree.map(_constant, solve(matvec, constant))
        else:
            flat, structure = tree.ravel(constant)
            flat = flat if isinstance(flat, Tensor) else wrap(flat)
            inverse = Krylov(_vector(matvec, structure), 0 * flat, symmetric)
            x = structure(inverse.solve(flat._data, False))
            if any(isinstance(v, Tensor) for v in tree.leaves(b)):
                x = tree.map(wrap, x)
    return _tie(lambda u: tree.map(lambda p, q: p - q, matvec(u), b), x, method, symmetric)
