"""Linear systems and inverses: solve, inv, tensorsolve, tensorinv."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from difftensor._core import composition, general, operand
from difftensor.linalg import _factor, _small
from difftensor.linalg._algebra import fitted, in_step, mT, noted, solve_stacks


def _solve_forward(a: Any, b: Any, keep: Any) -> Any:
    if _factor.serves(keep, a) and b.dtype == a.dtype and len(a) == len(b) and b.ndim <= 2:
        return keep.of(a).solve(b)
    if a.shape[:-2] == b.shape[:-2] and a.dtype == b.dtype and _small.applies(a):
        return (_small.Inverse(a) if keep is None else keep.of(a)).solve(b)
    return solve_stacks(a, b)


def _solve_pull(xp: Any, g: Any, y: Any, a: Any, b: Any, keep: Any) -> tuple:
    """a x = b, da x + a dx = db: c_b = a^-T c_x and c_a = -c_b x^T."""
    at = mT(a)
    cb = (_solve_forward if xp is np else _solve)(at, g, _factor.flipped(keep, a, at))
    # One column: an outer product, without BLAS.
    ca = -cb * mT(y) if y.shape[-1] == 1 else -cb @ mT(y)
    return fitted(ca, a), fitted(cb, b)


def _solve_push(xp: Any, ts: tuple, y: Any, a: Any, b: Any, keep: Any) -> Any:
    ta, tb = ts[:2]
    if ta is None:
        return _solve(a, tb, keep)
    return _solve(a, -(ta @ y) if tb is None else tb - ta @ y, keep)


_solve = general(
    "linalg._solve", _solve_forward, _solve_pull, _solve_push, saves="yab", operands=2, numpy=None, batch=in_step
)


def _vector_pull(xp: Any, g: Any, y: Any, a: Any, b: Any, keep: Any) -> tuple:
    at = mT(a)
    cb = (_solve_forward if xp is np else _solve_vector)(at, g, _factor.flipped(keep, a, at))
    return fitted(cb[:, None] * -y, a), fitted(cb, b)


def _vector_push(xp: Any, ts: tuple, y: Any, a: Any, b: Any, keep: Any) -> Any:
    ta, tb = ts
    if ta is None:
        return _solve_vector(a, tb, keep)
    return _solve_vector(a, -(ta @ y) if tb is None else tb - ta @ y, keep)


def _vector_batch(call: Any, lanes: list, flags: list, size: int, keep: Any) -> Any:
    a, b = lanes
    return _solve(a, b[..., None], None)[..., 0]


_solve_vector = general(  # one matrix, one vector
    "linalg._solve_vector",
    _solve_forward,
    _vector_pull,
    _vector_push,
    saves="yab",
    operands=2,
    numpy=None,
    batch=_vector_batch,
)


@composition(np.linalg.solve, name="linalg.solve")
def solve(a: Any, b: Any) -> Any:
    """Solve ``a @ x = b``; a one-dimensional `b` is one vector, as in NumPy."""
    a = operand(a, "linalg.solve")
    b = operand(b, "linalg.solve")
    keep = _factor.factors_for(a, stacks=True)
    if b.ndim == 1:
        if a.ndim == 2:
            return _solve_vector(a, b, keep)
        return _solve(a, b[:, None], keep)[..., 0]
    return _solve(a, b, keep)


def _inv_forward(a: Any) -> Any:
    if _small.applies(a):
        return _small.inv(a)
    return np.linalg.inv(a[None])[0] if a.ndim == 2 and noted(a) else np.linalg.inv(a)


def _inv_pull(xp: Any, g: Any, y: Any, a: Any) -> Any:
    """dY = -Y dA Y."""
    yt = mT(y)
    return -(yt @ g @ yt)


def _inv_push(xp: Any, ts: tuple, y: Any, a: Any) -> Any:
    return -(y @ ts[0] @ y)


inv = general("linalg.inv", _inv_forward, _inv_pull, _inv_push, saves="y", numpy=np.linalg.inv, batch="trailing")


def _transposed_forward(a: Any, keep: Any) -> Any:
    return keep.of(a).inverse_transposed() if _factor.serves(keep, a) else mT(np.linalg.inv(a))


def _transposed_pull(xp: Any, g: Any, y: Any, a: Any, keep: Any) -> Any:
    """Y = A^-T, dY = -Y dA^T Y, c_A = -Y c^T Y."""
    return -(y @ mT(g) @ y)


def _transposed_push(xp: Any, ts: tuple, y: Any, a: Any, keep: Any) -> Any:
    return -(y @ mT(ts[0]) @ y)


inverse_transposed = general(  # of a matrix that may have been factored
    "linalg._inverse_transposed",
    _transposed_forward,
    _transposed_pull,
    _transposed_push,
    saves="y",
    numpy=None,
    batch="trailing",
)


@composition(np.linalg.tensorsolve, name="linalg.tensorsolve")
def tensorsolve(a: Any, b: Any, axes: Any = None) -> Any:
    """Solve ``tensordot(a, x, x.ndim) = b`` for x."""
    a = operand(a, "linalg.tensorsolve")
    b = operand(b, "linalg.tensorsolve")
    if axes is not None:
        rest = [k for k in range(a.ndim) if k not in axes]
        a = np.transpose(a, (*rest, *axes))
    shape = a.shape[b.ndim :]
    n = math.prod(shape)
    if a.size != n * n:
        raise np.linalg.LinAlgError(
            "Input arrays must satisfy the requirement prod(a.shape[b.ndim:]) == prod(a.shape[:b.ndim])"
        )
    return solve(a.reshape(n, n), b.reshape(n)).reshape(shape)


@composition(np.linalg.tensorinv, name="linalg.tensorinv")
def tensorinv(a: Any, ind: int = 2) -> Any:
    """Inverse of `a` for tensordot over its first `ind` axes."""
    a = operand(a, "linalg.tensorinv")
    if ind <= 0:
        raise ValueError("Invalid ind argument.")
    n = math.prod(a.shape[ind:])
    return inv(a.reshape(n, -1)).reshape(a.shape[ind:] + a.shape[:ind])
