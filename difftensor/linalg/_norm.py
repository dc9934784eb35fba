"""Norms of vectors and matrices, condition numbers and ranks. The subgradient at kinks is 0."""

from __future__ import annotations

from typing import Any

import numpy as np

from difftensor._backend import on_gpu
from difftensor._core import Tensor, X, composition, general, operand
from difftensor._ops.roots import parent_of, squares
from difftensor.linalg._algebra import is_complex
from difftensor.linalg._solve import inv
from difftensor.linalg._svd import svdvals


def _squares(x: Any) -> Any:
    return (x * x.conj()).real if is_complex(x) else x * x


def _forward(x: Any, p: float, axes: tuple, keepdims: bool) -> Any:
    """(sum |x|^p)^(1/p)"""
    if p == 2:
        if len(axes) == x.ndim and not keepdims:
            v = x.ravel(order="K")
            return np.sqrt(v.real.dot(v.real) + v.imag.dot(v.imag) if is_complex(x) else v.dot(v))
        return np.sqrt(np.add.reduce(_squares(x), axes, keepdims=keepdims))
    s = np.abs(x)
    if p == 1:
        return np.add.reduce(s, axes, keepdims=keepdims)
    with np.errstate(divide="ignore"):  # |0|^p is infinite for p < 0 and the norm then 0, as in NumPy
        return np.add.reduce(s**p, axes, keepdims=keepdims) ** (1.0 / p)


def _direction(xp: Any, y: Any, x: Any, p: float, axes: tuple, keepdims: bool) -> Any:
    """conj(dy/dx) = conj(x)/|x| (|x|/y)^(p-1), and 0 where y or x is 0.

    For even p it is conj(x) |x|^(p-2) / y^(p-1), smooth at x = 0, so that higher derivatives are right there too.
    """
    y = _spread(xp, y, x, axes, keepdims)
    y0 = y == 0
    y = xp.where(y0, 1, y)
    if p == 2:
        return x.conj() * xp.where(y0, 0, 1 / y)
    if p > 0 and p % 2 == 0:
        u = x.conj() / y
        return xp.where(y0, 0, u * _squares(u) ** (int(p) // 2 - 1))
    s = abs(x)
    zero = y0 | (s == 0)
    s = xp.where(zero, 1, s)
    u = xp.where(zero, 0, x.conj() / s)
    return u if p == 1 else u * (s / y) ** (p - 1)


def _spread(xp: Any, y: Any, x: Any, axes: tuple, keepdims: bool) -> Any:
    """Result `y` with the axes of x; a single number needs none."""
    return y if keepdims or len(axes) == x.ndim else xp.expand_dims(y, axes)


_NUMBERS = (np.float64, np.float32)


def _pull(xp: Any, g: Any, y: Any, x: Any, p: float, axes: tuple, keepdims: bool) -> Any:
    if p == 2 and xp is np and y.__class__ in _NUMBERS and y:
        return x.conj() * (g / y)
    return _spread(xp, g, x, axes, keepdims) * _direction(xp, y, x, p, axes, keepdims)


def _push(xp: Any, ts: tuple, y: Any, x: Any, p: float, axes: tuple, keepdims: bool) -> Any:
    return (ts[0] * _direction(xp, y, x, p, axes, keepdims)).real.sum(axis=axes, keepdims=keepdims)


_power_norm = general("linalg._power_norm", _forward, _pull, _push, saves="yx", numpy=None, batch="trailing")


_square_norm = general(
    "linalg._square_norm",
    lambda x, axes, keepdims: _forward(x, 2, axes, keepdims) ** 2,
    lambda xp, g, y, x, axes, keepdims: 2 * _spread(xp, g, x, axes, keepdims) * x.conj(),
    lambda xp, ts, y, x, axes, keepdims: 2 * (ts[0] * x.conj()).real.sum(axis=axes, keepdims=keepdims),
    saves="x",
    numpy=None,
    batch="trailing",
)
squares(_power_norm, lambda n: parent_of(_square_norm, n, n.params[1:]) if n.params[0] == 2 else None)


def _from_the_end(axes: Any, ndim: int) -> tuple:
    """Axes as a tuple counted from the end; None means all of them."""
    if axes is None:
        return tuple(range(-ndim, 0))
    axes = axes if isinstance(axes, (tuple, list)) else (axes,)
    out = tuple((int(k) if k < 0 else int(k) - ndim) for k in axes)
    for k, given in zip(out, axes, strict=True):
        if not -ndim <= k < 0:
            raise np.exceptions.AxisError(int(given), ndim)
    return out


def _inexact(x: Any) -> Any:
    return x if x.dtype.kind in "fc" else x.astype(float)


def _vector(x: Any, ord: Any, axes: tuple, keepdims: bool) -> Any:  # noqa: A002 - NumPy's name
    if ord is None or ord == 2:
        return _power_norm(x, 2, axes, keepdims)
    if ord == np.inf:
        return _largest(np.abs(x), axes, keepdims)
    if ord == -np.inf:
        return np.abs(x).min(axis=axes, keepdims=keepdims)
    if ord == 0:
        return (x != 0).astype(x.real.dtype).sum(axis=axes, keepdims=keepdims)
    if isinstance(ord, str):
        raise ValueError(f"Invalid norm order '{ord}' for vectors")
    return _power_norm(x, int(ord) if ord == int(ord) else float(ord), axes, keepdims)


def _largest(s: Any, axes: Any, keepdims: bool) -> Any:
    """The largest of `s`, none of them negative; 0 where there are none."""
    return s.max(axis=axes, keepdims=keepdims, initial=None if s.size else 0)


def _matrix(x: Any, ord: Any, axes: tuple, keepdims: bool) -> Any:  # noqa: A002 - NumPy's name
    row, col = axes
    if row == col:
        raise ValueError("Duplicate axes given.")
    if ord in (None, "fro", "f"):
        return _power_norm(x, 2, axes, keepdims)
    if ord in (1, -1, np.inf, -np.inf):
        first, second = (row, col) if abs(ord) == 1 else (col, row)
        s = np.abs(x).sum(axis=first, keepdims=True)
        y = _largest(s, second, True) if ord > 0 else s.min(axis=second, keepdims=True)
        return y if keepdims else y.squeeze(axis=axes)
    if ord in (2, -2, "nuc"):
        s = svdvals(np.moveaxis(x, axes, (-2, -1)))
        y = s.sum(axis=-1) if ord == "nuc" else _largest(s, -1, False) if ord == 2 else s.min(axis=-1)
        return np.expand_dims(y, axes) if keepdims else y
    raise ValueError("Invalid norm order for matrices.")


@composition(np.linalg.norm, name="linalg.norm")
def norm(x: Any, ord: Any = None, axis: Any = None, keepdims: bool = False) -> Any:  # noqa: A002 - NumPy's name
    """Norm of vectors or matrices, as NumPy's `norm`.

    Parameters
    ----------
    x : array
    ord : {None, number, inf, -inf, "fro", "nuc"}
        Order of the norm.
    axis : int or pair of ints, optional
        One axis: vectors; two: matrices; None: all of `x` (for `ord` None any number of dimensions).
    keepdims : bool

    Notes
    -----
    The derivative of the 2-norm is x / norm(x), and 0 at x = 0; likewise 0 at the kinks of the others: entries 0
    (p-norms), singular values 0 (nuclear norm). Ties of the largest or smallest share evenly. `ord=0` counts: no
    derivative.
    """
    x = operand(x, "linalg.norm")
    x = _inexact(x)
    if axis is None:
        if ord is None or (ord == 2 and x.ndim == 1) or (ord in ("f", "fro") and x.ndim == 2):
            return _power_norm(x, 2, _from_the_end(None, x.ndim), bool(keepdims))
        axes = _from_the_end(None, x.ndim)
    else:
        axes = _from_the_end(axis, x.ndim)
    if len(axes) == 1:
        return _vector(x, ord, axes, bool(keepdims))
    if len(axes) == 2:
        return _matrix(x, ord, axes, bool(keepdims))
    raise ValueError("Improper number of dimensions to norm.")


@composition(np.linalg.vector_norm, name="linalg.vector_norm")
def vector_norm(x: Any, /, *, axis: Any = None, keepdims: bool = False, ord: Any = 2) -> Any:  # noqa: A002 - NumPy's name
    """Norm of vectors along one, several or all axes; see `norm` for its derivative."""
    x = operand(x, "linalg.vector_norm")
    x = _inexact(x)
    return _vector(x, ord, _from_the_end(axis, x.ndim), bool(keepdims))


@composition(np.linalg.matrix_norm, name="linalg.matrix_norm")
def matrix_norm(x: Any, /, *, keepdims: bool = False, ord: Any = "fro") -> Any:  # noqa: A002 - NumPy's name
    """Norm of the matrices in the last two axes; see `norm` for its derivative."""
    x = operand(x, "linalg.matrix_norm")
    return _matrix(_inexact(x), ord, (-2, -1), bool(keepdims))


@composition(np.linalg.cond, name="linalg.cond")
def cond(x: Any, p: Any = None) -> Any:
    """Condition number in the norm `p` (None: 2-norm), as NumPy's `cond`."""
    x = operand(x, "linalg.cond")
    if 0 in x.shape[-2:]:
        raise np.linalg.LinAlgError("cond is not defined on empty arrays")
    x = _inexact(x)
    if p is None or p in (2, -2):
        s = svdvals(x)
        return s[..., -1] / s[..., 0] if p == -2 else s[..., 0] / s[..., -1]
    return _matrix(x, p, (-2, -1), False) * _matrix(inv(x), p, (-2, -1), False)


@composition(np.linalg.matrix_rank, name="linalg.matrix_rank")
def matrix_rank(A: Any, tol: Any = None, hermitian: bool = False, *, rtol: Any = None) -> Any:  # noqa: N803 - NumPy's name
    """Number of singular values above the threshold: an integer, without derivative."""
    tol, rtol = (v._data if isinstance(v, Tensor) else v for v in (tol, rtol))
    a = X.asarray(A)
    if not on_gpu(a._data):
        return X.asarray(np.linalg.matrix_rank(a._data, tol, hermitian, rtol=rtol))
    if a.ndim < 2:
        return X.astype(X.any(a != 0), np.int64)
    s = svdvals(_inexact(a.detach()))
    if not s.shape[-1]:
        return X.zeros(s.shape[:-1], np.int64)
    if tol is None:
        tol = X.max(s, axis=-1, keepdims=True) * (max(a.shape[-2:]) * np.finfo(s.dtype).eps if rtol is None else rtol)
    return X.count_nonzero(s > tol, axis=-1)
