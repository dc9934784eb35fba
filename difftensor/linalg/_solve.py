"""Linear systems and inverses: solve, inv, tensorsolve, tensorinv."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from difftensor._core import Tensor, composition, general, operand
from difftensor.linalg import _factor, _lapack, _small
from difftensor.linalg._algebra import fitted, in_step, mT


def _solve_forward(a: Any, b: Any) -> Any:
    if a.shape[:-2] == b.shape[:-2] and a.dtype == b.dtype and _small.applies(a):
        return _small.solve(a, b)
    return np.linalg.solve(a, b)


def _solve_pull(xp: Any, g: Any, y: Any, a: Any, b: Any) -> tuple:
    """a x = b, da x + a dx = db: c_b = a^-T c_x and c_a = -c_b x^T."""
    cb = _solve(mT(a), g)
    return fitted(-cb @ mT(y), a), fitted(cb, b)


def _solve_push(xp: Any, ts: tuple, y: Any, a: Any, b: Any) -> Any:
    ta, tb = ts
    if ta is None:
        return _solve(a, tb)
    return _solve(a, -(ta @ y) if tb is None else tb - ta @ y)


_solve = general(
    "linalg._solve", _solve_forward, _solve_pull, _solve_push, saves="yab", operands=2, numpy=None, batch=in_step
)


def _vector_pull(xp: Any, g: Any, y: Any, a: Any, b: Any) -> tuple:
    cb = _solve_vector(mT(a), g)
    return fitted(cb[:, None] * -y, a), fitted(cb, b)


def _vector_push(xp: Any, ts: tuple, y: Any, a: Any, b: Any) -> Any:
    ta, tb = ts
    if ta is None:
        return _solve_vector(a, tb)
    return _solve_vector(a, -(ta @ y) if tb is None else tb - ta @ y)


def _vector_batch(call: Any, lanes: list, flags: list, size: int) -> Any:
    a, b = lanes
    return _solve(a, b[..., None])[..., 0]


_solve_vector = general(  # one matrix, one vector
    "linalg._solve_vector",
    np.linalg.solve,
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
    if b.ndim == 1:
        if a.ndim == 2 and not _factor.worthwhile(a):
            return _solve_vector(a, b)
        return solve(a, b[:, None])[..., 0]
    if (
        _factor.worthwhile(a)
        and b.__class__ in (Tensor, np.ndarray)
        and b.ndim == 2
        and 8 * b.shape[1] <= b.shape[0]
        and b.dtype.char == a.dtype.char
    ):
        if len(a) == len(b):
            return _factor.solve_factored(a, b, *_lapack.factors(a._data), False)
    return _solve(a, b)


def _inv_forward(a: Any) -> Any:
    return _small.inv(a) if _small.applies(a) else np.linalg.inv(a)


def _inv_pull(xp: Any, g: Any, y: Any, a: Any) -> Any:
    """dY = -Y dA Y."""
    yt = mT(y)
    return -(yt @ g @ yt)


def _inv_push(xp: Any, ts: tuple, y: Any, a: Any) -> Any:
    return -(y @ ts[0] @ y)


inv = general("linalg.inv", _inv_forward, _inv_pull, _inv_push, saves="y", numpy=np.linalg.inv, batch="trailing")


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
