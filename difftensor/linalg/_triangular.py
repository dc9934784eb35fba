"""Solving with triangular matrices by blocks: nearly all of the work is matrix products, on stacks and on every
device.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from difftensor._core import composition, general, operand
from difftensor.linalg import _lapack
from difftensor.linalg._algebra import fitted, in_step, mT, solve_stacks

_BLOCK = 64


def _substitute(a: Any, b: Any, lower: bool) -> Any:
    """``a @ x = b`` for raw triangular `a` of any size."""
    n = a.shape[-1]
    if a.ndim == b.ndim == 2 and a.__class__ is np.ndarray and a.dtype == b.dtype:
        if _lapack.triangular_available(a.dtype):
            return _lapack.triangular_solve(a, b, lower)
    if n > _BLOCK:
        h = (n // 2 + _BLOCK - 1) // _BLOCK * _BLOCK
        top, bottom = slice(0, h), slice(h, n)
        first, then = (top, bottom) if lower else (bottom, top)
        shape = np.broadcast_shapes(a.shape[:-2], b.shape[:-2]) + b.shape[-2:]
        x = np.empty_like(b, dtype=np.result_type(a, b), shape=shape)
        x[..., first, :] = y = _substitute(a[..., first, first], b[..., first, :], lower)
        x[..., then, :] = _substitute(a[..., then, then], b[..., then, :] - a[..., then, first] @ y, lower)
        return x
    if a.ndim > 2 and n <= 8:  # large stacks of small matrices: rows one after the other, whole stack at once
        rows: list[Any] = [None] * n
        order = range(n) if lower else range(n - 1, -1, -1)
        done: list[int] = []
        for i in order:
            s = b[..., i, :]
            for j in done:
                s = s - a[..., i, j, None] * rows[j]
            rows[i] = s / a[..., i, i, None]
            done.append(i)
        return np.stack(rows, axis=-2)
    return solve_stacks(np.tril(a) if lower else np.triu(a), b)


def _forward(a: Any, b: Any, lower: bool) -> Any:
    if a.shape[-1] == 0 or b.size == 0:
        return np.zeros_like(
            b, shape=np.broadcast_shapes(a.shape[:-2], b.shape[:-2]) + b.shape[-2:], dtype=np.result_type(a, b)
        )
    return _substitute(a, b, lower)


def _pull(xp: Any, g: Any, y: Any, a: Any, b: Any, lower: bool) -> tuple:
    """a x = b: c_b = a^-T c_x and c_a = -c_b x^T inside the triangle."""
    cb = solve_lower_or_upper(mT(a), g, not lower)
    if xp is np and cb.__class__ is np.ndarray and cb.ndim == 2 == y.ndim:
        ca = _triangle_of_product(-cb, mT(y), lower)
    else:
        ca = -(cb @ mT(y))
        ca = xp.tril(ca) if lower else xp.triu(ca)
    return fitted(ca, a), fitted(cb, b)


def _triangle_of_product(u: Any, v: Any, lower: bool) -> Any:
    """A triangle of ``u @ v`` for raw matrices, with zeros in the other; by blocks of rows, so that little is computed
    in vain.
    """
    n = len(u)
    c = np.zeros((n, n), np.result_type(u, v))
    multiply = np.multiply if u.shape[1] == 1 else np.matmul  # an outer product needs no BLAS
    for i in range(0, n, 2 * _BLOCK):
        rows = slice(i, i + 2 * _BLOCK)
        columns = slice(0, i + 2 * _BLOCK) if lower else slice(i, n)
        multiply(u[rows], v[:, columns], out=c[rows, columns])
        _lapack.clear_above(c[rows, rows] if lower else c[rows, rows].T)
    return c


def _push(xp: Any, ts: tuple, y: Any, a: Any, b: Any, lower: bool) -> Any:
    ta, tb = ts
    if ta is None:
        return solve_lower_or_upper(a, tb, lower)
    r = -((xp.tril(ta) if lower else xp.triu(ta)) @ y)
    return solve_lower_or_upper(a, r if tb is None else r + tb, lower)


solve_lower_or_upper = general(
    "linalg._solve_triangular", _forward, _pull, _push, saves="yab", operands=2, numpy=None, batch=in_step
)


@composition(name="linalg.solve_triangular")
def solve_triangular(a: Any, b: Any, trans: int | str = 0, lower: bool = False, unit_diagonal: bool = False) -> Any:
    """Solution of ``a @ x = b`` for triangular `a`, as ``scipy.linalg.solve_triangular``.

    Parameters
    ----------
    a : array, shape (..., n, n)
        Only the triangle that `lower` names is read.
    b : array, shape (n,) or (..., n, k)
    trans : {0, 1, 2, "N", "T", "C"}
        Solve with `a`, with its transpose, or with its conjugate transpose.
    lower : bool
    unit_diagonal : bool
        The diagonal is taken to be ones and not read.

    Returns
    -------
    x : array, shape of `b`

    Raises
    ------
    LinAlgError
        An element of the diagonal is zero.

    Notes
    -----
    c_b = a^-T c_x and c_a = -c_b x^T inside the triangle. Cost n^2 for each column, forward and backward.

    Examples
    --------
    >>> import numpy as np, difftensor as dif
    >>> L = np.array([[2.0, 0.0], [1.0, 4.0]])
    >>> dif.linalg.solve_triangular(L, np.array([2.0, 9.0]), lower=True).tolist()
    [1.0, 2.0]
    """
    a, b = operand(a, "linalg.solve_triangular"), operand(b, "linalg.solve_triangular")
    if a.ndim < 2 or a.shape[-1] != a.shape[-2]:
        raise ValueError(f"linalg.solve_triangular: expected a square matrix, found shape {a.shape}")
    vector = b.ndim == 1
    if b.ndim == 0 or b.shape[0 if vector else -2] != a.shape[-1]:
        raise ValueError(f"linalg.solve_triangular: shapes {a.shape} and {b.shape} do not fit")
    if trans in (1, 2, "T", "C"):
        a, lower = (mT(a) if trans in (1, "T") else mT(a).conj()), not lower
    elif trans not in (0, "N"):
        raise ValueError(f"linalg.solve_triangular: trans must be 0, 1, 2, 'N', 'T' or 'C', found {trans!r}")
    if unit_diagonal:
        n = a.shape[-1]
        a = a * (1 - np.eye(n, dtype=a.dtype)) + np.eye(n, dtype=a.dtype)
    x = solve_lower_or_upper(a, b[:, None] if vector else b, bool(lower))
    return x[..., 0] if vector else x
