"""Derived derivatives: jacobian, hessian, hvp."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

import numpy as np

from difftensor import tree
from difftensor._backend import made_on
from difftensor._core import Tensor, X, wrap
from difftensor._core.fitting import nought
from difftensor._transforms.calls import checked
from difftensor._transforms.curvature import product as curvature
from difftensor._transforms.draws import steady
from difftensor._transforms.forward import linearize
from difftensor._transforms.reverse import differentiated, grad, vjp
from difftensor._transforms.vmap import vmap
from difftensor.errors import BatchedValueError, DegenerateError


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
    argnums = checked("jacobian", f, argnums)

    @wraps(f)
    def jac(*args: Any, **kwargs: Any) -> Any:
        if not isinstance(argnums, int):
            h = steady(f)
            parts = [jacobian(h, i, mode, holomorphic=holomorphic)(*args, **kwargs) for i in argnums]
            return tuple(parts)
        x, g = _only(args, argnums, steady(f), kwargs)
        x = tree.map(
            lambda v: v if hasattr(v, "dtype") else np.float64(v) if isinstance(v, (int, float)) else np.asarray(v)[()],
            x,
        )
        xs, x_shape = tree.flatten(x)
        y, push = linearize(g, x)
        ys, y_shape = tree.flatten(y)
        ys = [v if hasattr(v, "dtype") else np.asarray(v) for v in ys]
        complex_in = any(v.dtype.kind == "c" for v in xs)
        complex_out = any(v.dtype.kind == "c" for v in ys)
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
        columns = _columns(push, xs, x_shape, ys) if forward else _rows(g, x, xs, holomorphic)
        return tree.unflatten(y_shape, [tree.unflatten(x_shape, row) for row in columns])

    return jac


_FEW = 8  # up to so many directions one sweep each is cheaper than one batched sweep
_CHUNK = 256  # directions that one batched sweep carries at most: bounds its memory


def _directions(x: Any) -> Any:
    """The unit vectors of the space of array `x`, stacked; floats for integers."""
    dtype = x.dtype if x.dtype.kind in "fc" else np.dtype(float)
    if isinstance(x, Tensor) and x.device.kind != "cpu":
        return wrap(made_on(x.device, "eye", x.size, dtype=dtype)).reshape((x.size, *x.shape))
    return wrap(np.eye(x.size, dtype=dtype).reshape(x.size, *x.shape))


def _along(f: Callable, basis: Any, tensors: bool) -> list:
    """The leaves of f(e) for all e of `basis`, stacked in front."""
    n = basis.shape[0]
    if n > _FEW:
        try:
            chunks = [tree.leaves(vmap(f)(basis[i : i + _CHUNK])) for i in range(0, n, _CHUNK)]
        except BatchedValueError:  # a rule of the user's, or of an implicit function, wants numbers
            pass
        else:
            parts = [c[0] if len(c) == 1 else X.concatenate(list(c)) for c in zip(*chunks)]
            return parts if tensors else [_plain(p) for p in parts]
    rows = [tree.leaves(f(basis[i] if tensors else basis[i]._data)) for i in range(n)]
    return [X.stack(column) for column in zip(*rows)]


def _plain(p: Any) -> Any:
    """`p` as an ndarray, unless somebody outside is watching or batching."""
    return p.numpy(copy=True) if p.__class__ is Tensor and p.node is None else p


def _placed_in(structure: Any, zeros: list, j: int) -> Callable:
    """The function that makes a tree of `zeros` with e at leaf j."""
    return lambda e: tree.unflatten(structure, [*zeros[:j], e, *zeros[j + 1 :]])


def _zeros(leaves: list) -> list:
    return [nought(v if v.dtype.kind in "fc" else v.astype(float)) for v in leaves]


def _columns(push: Callable, xs: list, x_shape: Any, ys: list) -> list[list]:
    """blocks[i][j] = d ys[i] / d xs[j], by pushing the unit vectors of xs[j]."""
    tensors = any(isinstance(v, Tensor) for v in xs)
    blocks: list[list] = [[] for _ in ys]
    for j, v in enumerate(xs):
        fill = _placed_in(x_shape, _zeros(xs), j)
        if v.size:
            found = _along(lambda e, fill=fill: push(fill(e)), _directions(v), tensors)
        else:
            found = [np.zeros((0, *y.shape)) for y in ys]
        for block, y, d in zip(blocks, ys, found):
            block.append(X.moveaxis(d, 0, -1).reshape((*y.shape, *v.shape)))
    return blocks


def _rows(g: Callable, x: Any, xs: list, holomorphic: bool) -> list[list]:
    """The same, by pulling the unit vectors of ys[i]."""
    y, pull = vjp(g, x)
    ys, y_shape = tree.flatten(y)
    ys = [v if hasattr(v, "dtype") else np.asarray(v) for v in ys]
    tensors = any(isinstance(v, Tensor) for v in (*xs, *ys))
    blocks = []
    for i, v in enumerate(ys):
        fill = _placed_in(y_shape, _zeros(ys), i)
        if v.size:
            found = _along(lambda e, fill=fill: pull(fill(e))[0], _directions(v), tensors)
        else:
            found = [np.zeros((0, *w.shape)) for w in xs]
        found = [d.conj() if holomorphic else d for d in found]
        blocks.append([d.reshape((*v.shape, *w.shape)) for d, w in zip(found, xs)])
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

    argnums = checked("hessian", f, argnums)

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
        h = steady(f)
        if isinstance(argnums, int):
            return _of_gradient(grad(h, argnums), argnums, args, kwargs)
        return tuple(_of_gradient(grad(h, i), tuple(argnums), args, kwargs) for i in argnums)

    return hess


def _of_gradient(g: Callable, argnums: int | tuple[int, ...], args: tuple, kwargs: dict) -> Any:
    """The Jacobian of gradient `g`."""
    try:
        return jacobian(g, argnums, "fwd")(*args, **kwargs)
    except DegenerateError:  # tangents reach all vectors of a degenerate group, cotangents only those that are used
        return jacobian(g, argnums, "rev")(*args, **kwargs)


def _gradient(f: Callable) -> Callable:
    """The gradient function of f of one argument, without the dress of `grad`."""
    compute = differentiated("hvp", f, 0, False, False, False)
    return lambda x: compute((x,), {})[2]


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
    Forward mode over the gradient, in one reverse sweep whose cotangents carry their tangents: two to three times the
    cost of the gradient. Many products at one point: ``dif.linearize(dif.grad(f), x)[1]`` records the gradient once.

    Examples
    --------
    >>> import numpy as np, difftensor as dif
    >>> dif.hvp(lambda x: np.sum(x**3))(np.array([1.0, 2.0]), np.array([1.0, 1.0])).tolist()
    [6.0, 12.0]
    """

    argnums = checked("hvp", f, argnums)

    @wraps(f)
    def product(*args: Any, **kwargs: Any) -> Any:
        if len(args) < 2:
            raise TypeError("hvp(f)(*args, v) needs the arguments of f and the vector")
        *primals, v = args
        x, g = _only(tuple(primals), argnums, steady(f), kwargs)
        try:
            found = curvature(g, x, v)
            return linearize(_gradient(g), x)[1](v) if found is None else found
        except DegenerateError:  # as in `hessian`
            return vjp(_gradient(g), x)[1](v)[0]

    return product


def ggn_vp(f: Callable, loss: Callable) -> Callable:
    """The Gauss-Newton vector product of ``loss(f(x))``: J^T (Hessian of loss) J v, positive semidefinite for convex
    losses.

    Parameters
    ----------
    f : callable
        The model, ``f(x) -> y``, of arrays or pytrees.
    loss : callable
        ``loss(y)`` returns one real number.

    Returns
    -------
    callable
        ``ggn_vp(f, loss)(x, v)``, with v and the result like x.

    Examples
    --------
    >>> import numpy as np, difftensor as dif
    >>> product = dif.ggn_vp(lambda x: x**2, lambda y: np.sum(y**2) / 2)
    >>> product(np.array([1.0, 3.0]), np.array([1.0, 1.0])).tolist()
    [4.0, 36.0]
    """

    def product(x: Any, v: Any) -> Any:
        model = steady(f)  # both sweeps of one model, if it draws random numbers
        y, push = linearize(model, x)
        _, pull = vjp(model, x)
        return pull(hvp(loss)(y, push(v)))[0]

    return product
