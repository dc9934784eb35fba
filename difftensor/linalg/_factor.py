"""LU factors that the forward pass leaves for the backward pass, so that a large matrix is factored once.

The factors are plain arrays that travel beside the matrix they belong to: the operations below are functions of the
matrix, which is what is differentiated, and only compute with the factors.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from difftensor._core import Tensor, general, recording
from difftensor.linalg import _lapack
from difftensor.linalg._algebra import fitted, mT

_SMALLEST = 100  # below, NumPy's second factorization is cheaper than the calls


def worthwhile(a: Any) -> bool:
    """True for one large matrix on the CPU whose derivative will be asked for."""
    return (
        a.__class__ is Tensor
        and a.node is not None
        and a.ndim == 2
        and a.shape[0] == a.shape[1] >= _SMALLEST
        and a._data.__class__ is np.ndarray
        and recording()
        and _lapack.available(a._data.dtype)
    )


def is_singular(lu: Any) -> bool:
    return not bool(lu.diagonal().all())


def _solve_forward(a: Any, b: Any, lu: Any, pivots: Any, transposed: bool) -> Any:
    if is_singular(lu):
        raise np.linalg.LinAlgError("Singular matrix")
    return _lapack.solve(lu, pivots, b, transposed)


def _solve_pull(xp: Any, g: Any, y: Any, a: Any, b: Any, lu: Any, pivots: Any, transposed: bool) -> tuple:
    """As for solve; with the transpose, a^T x = b, c_a = -x c_b^T."""
    cb = solve_factored(a, g, lu, pivots, not transposed)
    left, right = (y, cb) if transposed else (cb, y)
    # One column: an outer product, without BLAS.
    ca = -left * mT(right) if left.shape[-1] == 1 else -(left @ mT(right))
    return fitted(ca, a), fitted(cb, b), None, None


def _solve_push(xp: Any, ts: tuple, y: Any, a: Any, b: Any, lu: Any, pivots: Any, transposed: bool) -> Any:
    ta, tb = ts[:2]
    r: Any = 0 if tb is None else tb
    if ta is not None:
        r = r - (mT(ta) if transposed else ta) @ y
    return solve_factored(a, r, lu, pivots, transposed)


solve_factored = general(
    "linalg._solve_factored", _solve_forward, _solve_pull, _solve_push, saves="yabcd", operands=4, numpy=None
)


def _inverse_forward(a: Any, lu: Any, pivots: Any) -> Any:
    if is_singular(lu):
        raise np.linalg.LinAlgError("Singular matrix")
    return _lapack.inverse_transposed(lu, pivots)


def _inverse_pull(xp: Any, g: Any, y: Any, a: Any, lu: Any, pivots: Any) -> tuple:
    """Y = A^-T, dY = -Y dA^T Y, c_A = -Y c^T Y."""
    return -(y @ mT(g) @ y), None, None


def _inverse_push(xp: Any, ts: tuple, y: Any, a: Any, lu: Any, pivots: Any) -> Any:
    return -(y @ mT(ts[0]) @ y)


inverse_transposed = general(
    "linalg._inverse_transposed",
    _inverse_forward,
    _inverse_pull,
    _inverse_push,
    saves="y",
    operands=3,
    numpy=None,
    samples="factored",
)


def sign_and_log(lu: Any, pivots: Any) -> tuple[Any, Any]:
    """Sign and logarithm of the absolute value of the determinant of the factored matrix."""
    d = lu.diagonal()
    size = abs(d)
    with np.errstate(divide="ignore"):
        log = np.log(size).sum()
    if not bool(size.all()):
        return lu.dtype.type(0), log
    return (d / size).prod() * lu.dtype.type(-1 if _lapack.swaps(pivots) % 2 else 1), log
