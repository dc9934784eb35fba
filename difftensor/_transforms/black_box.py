"""Black boxes on the tape: derivatives by differences, or a Jacobian by hand."""

from __future__ import annotations

from collections.abc import Callable
from functools import update_wrapper
from typing import Any

import numpy as np

from difftensor._core import Tensor, wrap
from difftensor._core.fitting import fit
from difftensor._transforms.custom import _raw
from difftensor._transforms.opaque import Rules, in_lanes, record, tracked
from difftensor.errors import MissingDerivativeError, MutatedConstantError

_METHODS = ("2-point", "3-point", "cs")


def from_function(f: Callable, jac: Callable | str = "3-point", *, rel_step: float | None = None) -> Callable:
    """Put a black box (C, Fortran, SciPy, a simulator) on the tape.

    Parameters
    ----------
    f : callable
        ``f(*arrays)`` of NumPy arrays, returning one NumPy array or number. It is never traced.
    jac : callable or {"2-point", "3-point", "cs"}
        ``jac(*arrays)`` returns the Jacobian, of shape ``y.shape + x.shape``, or a tuple of them for several
        arguments; sparse matrices of SciPy have shape ``(y.size, x.size)``. A name asks for forward differences,
        central differences, or the complex step (`f` must take complex arguments).
    rel_step : float, optional
        Step of the differences, relative to ``max(1, |x|)``; by default eps^(1/2), eps^(1/3) and 1e-40 (an absolute
        step: the complex step does not cancel).

    Returns
    -------
    callable
        The function, differentiable once in either mode.

    Raises
    ------
    MissingDerivativeError
        A second derivative was asked for.

    Notes
    -----
    Differences cost one (two) evaluations of `f` for each element of the arguments, in the backward pass; errors about
    1e-8 (1e-10) of the scale of f. The complex step is accurate to rounding.

    Examples
    --------
    >>> import numpy as np, difftensor as dif
    >>> from math import lgamma
    >>> g = dif.from_function(np.vectorize(lgamma), jac="3-point")
    >>> round(float(dif.grad(g)(3.0)), 6)
    0.922784
    """
    if not callable(jac) and jac not in _METHODS:
        raise ValueError(f"from_function: jac must be a callable or one of {_METHODS}, found {jac!r}")
    name = getattr(f, "__name__", "from_function")

    def jacobians(raws: list) -> list:
        if callable(jac):
            found = jac(*raws)
            found = list(found) if isinstance(found, tuple) else [found]
            if len(found) != len(raws):
                raise ValueError(f"{name}: jac returned {len(found)} Jacobian(s) for {len(raws)} argument(s)")
            return [J if _is_sparse(J) else np.asarray(J) for J in found]
        return [_differences(f, raws, i, jac, rel_step) for i in range(len(raws))]

    def black_box(*args: Any) -> Any:
        lanes = in_lanes(lambda parts: [black_box(*parts)], list(args))
        if lanes is not None:
            return lanes[0]
        raws = [x.detach().numpy() if isinstance(x, Tensor) else np.asarray(x) for x in args]
        y = f(*raws)
        where = tracked(list(args))
        if not where:
            return wrap(np.asarray(y)[()]) if any(isinstance(x, Tensor) for x in args) else y
        raw = _raw(y, name)
        raws = [x.copy() for x in raws]

        def once(create: bool) -> list:
            if create:
                raise MissingDerivativeError(
                    f"{name} is a black box: its second derivative is not known; use dif.custom_vjp, whose rule can be "
                    "differentiated"
                )
            if not callable(jac) and not np.allclose(f(*raws), raw, rtol=1e-6, equal_nan=True):
                raise MutatedConstantError(
                    f"{name} gave another value when it was evaluated again for its differences: a variable that it "
                    "reads has another value now, as in a loop, or it is random. Bind it, def f(x, t=t), or pass it"
                )
            return jacobians(raws)

        def pull(create: bool, gs: tuple, xs: tuple) -> list:
            Js = once(create)
            return [fit(_pulled(gs[0], Js[i], raw, raws[i], name), raws[i].shape, args[i].dtype) for i in where]

        def push(create: bool, ts: tuple, xs: tuple) -> list:
            Js = once(create)
            return [sum(_pushed(t, Js[i], raw, raws[i], name) for i, t in zip(where, ts) if t is not None)]

        return record(name, [args[i] for i in where], [raw], Rules(pull, push))[0]

    return update_wrapper(black_box, f) if hasattr(f, "__name__") else black_box


def _is_sparse(J: Any) -> bool:
    return hasattr(J, "tocsr")


def _pulled(g: Any, J: Any, y: Any, x: Any, name: str) -> Any:
    """The cotangent of x."""
    J = _shaped(J, y, x, name)
    return (J.T @ np.ravel(g)).reshape(x.shape) if _is_sparse(J) else np.tensordot(g, J, axes=np.ndim(y))


def _pushed(t: Any, J: Any, y: Any, x: Any, name: str) -> Any:
    """The tangent of y."""
    J = _shaped(J, y, x, name)
    return (J @ np.ravel(t)).reshape(np.shape(y)) if _is_sparse(J) else np.tensordot(J, t, axes=x.ndim)


def _shaped(J: Any, y: Any, x: Any, name: str) -> Any:
    wanted = (np.size(y), x.size) if _is_sparse(J) else (*np.shape(y), *x.shape)
    if J.shape != wanted:
        what = "a sparse matrix of shape (y.size, x.size)" if _is_sparse(J) else "y.shape + x.shape"
        raise ValueError(f"{name}: jac returned shape {J.shape}, expected {what} = {wanted}")
    return J


def _differences(f: Callable, raws: list, i: int, method: str, rel_step: float | None) -> Any:
    """The Jacobian of f in argument i by differences; steps after Nocedal and Wright, section 8.1."""
    x = np.asarray(raws[i], dtype=complex if method == "cs" else float)
    eps = np.finfo(float).eps
    columns = []

    def at(v: Any) -> Any:
        return np.asarray(f(*raws[:i], v.reshape(x.shape), *raws[i + 1 :]))

    flat = x.ravel()
    base = at(flat.copy()) if method == "2-point" else None
    for k in range(flat.size):
        if method == "cs":
            h = rel_step or 1e-40
            v = flat.copy()
            v[k] += 1j * h
            columns.append(at(v).imag / h)
            continue
        h = (rel_step or (eps**0.5 if method == "2-point" else eps ** (1 / 3))) * max(1.0, abs(flat[k]))
        up, down = flat.copy(), flat.copy()
        up[k] += h
        if method == "2-point":
            columns.append((at(up) - base) / (up[k] - flat[k]))
            continue
        down[k] -= h
        columns.append((at(up) - at(down)) / (up[k] - down[k]))
    return np.stack(columns, axis=-1).reshape((*columns[0].shape, *x.shape))
