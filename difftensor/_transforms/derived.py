"""Derived derivatives: jacobian, hessian, hvp."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

import numpy as np

from difftensor import tree
from difftensor._core import Tensor, X
from difftensor._transforms.forward import jvp, linearize
from difftensor._transforms.reverse import grad, vjp


def _basis(x: Any) -> list:
    """The unit vectors of the space of array `x`, in its shape and dtype (floats of integers)."""
    dtype = x.dtype if x.dtype.kind in "fc" else np.dtype(float)
    flat = np.eye(x.size, dtype=dtype).reshape(x.size, *x.shape)
    if isinstance(x, Tensor) and x.device.kind != "cpu":
        return [X.asarray(row).to_device(x.device) for row in flat]
    return list(flat)


def _only(args: tuple, argnums: int, f: Callable, kwargs: dict) -> tuple[Any, Callable]:
    def of_one(v: Any) -> Any:
        filled = list(args)
        filled[argnums] = v
        return f(*filled, **kwargs)

    return args[argnums], of_one


def jacobian(
    f: Callable, argnums: int | tuple[int, ...] = 0, mode: str = "auto", *, holomorphic: bool = False
) -> Callable:
    """The Jacobian function of `f`.

    Parameters
    ----------
    f : callable
        Of arrays (or pytrees), returning an array or a pytree of arrays.
    argnums : int or tuple of int
    mode : {"auto", "rev", "fwd"}
        Reverse mode costs one sweep for each element of the result, forward mode one for each element of the
        argument; "auto" takes the fewer.
    holomorphic : bool
        Complex argument and result: the derivative d y / d z. Real to complex is d y / d x without it, complex to
        real the gradient.

    Returns
    -------
    callable
        ``J(*args)`` of shape ``y.shape + x.shape``; for pytrees the tree of y with trees of x at its leaves.

    Raises
    ------
    TypeError
        Complex argument and complex result without ``holomorphic=True``.

    Examples
    --------
    >>> import numpy as np, difftensor as dif
    >>> dif.jacobian(lambda x: x**2)(np.array([1.0, 2.0])).tolist()
    [[2.0, 0.0], [0.0, 4.0]]
    """
    if mode not in ("auto", "rev", "fwd"):
        raise ValueError(f"jacobian: mode {mode!r} is not one of 'auto', 'rev', 'fwd'")

    @wraps(f)
    def jac(*args: Any, **kwargs: Any) -> Any:
        if not isinstance(argnums, int):
            parts = [jacobian(f, i, mode, holomorphic=holomorphic)(*args, **kwargs) for i in argnums]
            return tuple(parts)
        x, g = _only(args, argnums, f, kwargs)
        x = tree.map(
            lambda v: v if hasattr(v, "dtype") else np.float64(v) if isinstance(v, (int, float)) else np.asarray(v)[()],
            x,
        )
        xs, x_shape = tree.flatten(x)
        y, push = linearize(g, x)
        ys, y_shape = tree.flatten(y)
        complex_in = any(v.dtype.kind == "c" for v in xs)
        complex_out = any(
            np.asarray(v).dtype.kind == "c" if not isinstance(v, Tensor) else v.dtype.kind == "c" for v in ys
        )
        if complex_in and complex_out and not holomorphic:
            raise TypeError(
                "jacobian of a complex function of complex numbers: say holomorphic=True for dy/dz, or split real "
                "and imaginary parts"
            )
        n, m = sum(v.size for v in xs), sum(v.size for v in ys)
        forward = mode == "fwd" or (mode == "auto" and n <= m)
        if complex_out and not complex_in:
            forward = True  # a real argument: push real tangents, the result is dy/dx
        if complex_in and not complex_out:
            forward = False  # a real function of complex numbers: its gradient
        columns = _columns(push, xs, x_shape, ys) if forward else _rows(g, x, xs, ys, holomorphic)
        return tree.unflatten(y_shape, [tree.unflatten(x_shape, row) for row in columns])

    return jac


def _columns(push: Callable, xs: list, x_shape: Any, ys: list) -> list[list]:
    """blocks[i][j] = d ys[i] / d xs[j], a column at a time."""
    blocks: list[list] = [[] for _ in ys]
    zeros = [v * 0 if v.dtype.kind in "fc" else v * 0.0 for v in xs]
    for j, v in enumerate(xs):
        columns: list[list] = [[] for _ in ys]
        for e in _basis(v):
            e = e if v.shape else e[()]
            t = tree.unflatten(x_shape, [*zeros[:j], e, *zeros[j + 1 :]])
            for i, dy in enumerate(tree.leaves(push(t))):
                columns[i].append(dy)
        for i, y in enumerate(ys):
            if not columns[i]:
                blocks[i].append(np.zeros((*np.shape(y), *v.shape)))
                continue
            stacked = X.stack(columns[i], axis=-1)
            blocks[i].append(stacked.reshape(*np.shape(y), *v.shape))
    return blocks


def _rows(g: Callable, x: Any, xs: list, ys: list, holomorphic: bool) -> list[list]:
    """The same, a row at a time."""
    y, pull = vjp(g, x)
    y_leaves, y_shape = tree.flatten(y)
    zeros = [v * 0 for v in y_leaves]
    blocks = []
    for i, v in enumerate(y_leaves):
        rows: list[list] = [[] for _ in xs]
        for e in _basis(v if hasattr(v, "dtype") else np.asarray(v)):
            e = e if np.shape(v) else e[()]
            seed = tree.unflatten(y_shape, [*zeros[:i], e, *zeros[i + 1 :]])
            for j, row in enumerate(tree.leaves(pull(seed)[0])):
                rows[j].append(row.conj() if holomorphic else row)
        blocks.append(
            [
                X.stack(r, axis=0).reshape(*np.shape(v), *w.shape) if r else np.zeros((*np.shape(v), *w.shape))
                for r, w in zip(rows, xs, strict=True)
            ]
        )
    return blocks


def hessian(f: Callable, argnums: int | tuple[int, ...] = 0) -> Callable:
    """The Hessian function of `f`: forward mode over its gradient.

    Parameters
    ----------
    f : callable
        Of real arrays (or pytrees), returning one real number.
    argnums : int or tuple of int

    Returns
    -------
    callable
        ``H(*args)`` of shape ``x.shape + x.shape``; for pytrees a tree of trees, for a tuple of `argnums` a tuple of
        tuples.

    Raises
    ------
    TypeError
        A complex argument: a Hessian of complex numbers has no unique meaning; split real and imaginary parts.

    Examples
    --------
    >>> import numpy as np, difftensor as dif
    >>> dif.hessian(lambda x: x[0] ** 2 * x[1])(np.array([1.0, 2.0])).tolist()
    [[4.0, 2.0], [2.0, 0.0]]
    """

    @wraps(f)
    def hess(*args: Any, **kwargs: Any) -> Any:
        for i in (argnums,) if isinstance(argnums, int) else argnums:
            if any(
                getattr(v, "dtype", np.asarray(v).dtype if not isinstance(v, Tensor) else v.dtype).kind == "c"
                for v in tree.leaves(args[i])
            ):
                raise TypeError(
                    "hessian of a complex argument: differentiate with respect to its real and imaginary parts"
                )
        if isinstance(argnums, int):
            return jacobian(grad(f, argnums), argnums, "fwd")(*args, **kwargs)
        return tuple(jacobian(grad(f, i), tuple(argnums), "fwd")(*args, **kwargs) for i in argnums)

    return hess


def hvp(f: Callable, argnums: int = 0) -> Callable:
    """The Hessian-vector product of `f`, without forming the Hessian.

    Parameters
    ----------
    f : callable
        Of real arrays (or pytrees), returning one real number.
    argnums : int
        The argument to differentiate with respect to.

    Returns
    -------
    callable
        ``hvp(f)(*args, v) -> H v`` with v like ``args[argnums]``, the last positional argument.

    Notes
    -----
    Forward mode over the gradient: about three to five times the cost of the gradient's function.

    Examples
    --------
    >>> import numpy as np, difftensor as dif
    >>> dif.hvp(lambda x: np.sum(x**3))(np.array([1.0, 2.0]), np.array([1.0, 1.0])).tolist()
    [6.0, 12.0]
    """

    @wraps(f)
    def product(*args: Any, **kwargs: Any) -> Any:
        if len(args) < 2:
            raise TypeError("hvp(f)(*args, v) needs the arguments of f and the vector")
        *primals, v = args
        x, g = _only(tuple(primals), argnums, f, kwargs)
        return jvp(grad(g), (x,), (v,))[1]

    return product
