"""Cholesky factorization."""

from __future__ import annotations

from typing import Any

import numpy as np

from difftensor._core import Tensor, composition, general, operand
from difftensor.linalg import _lapack, _small
from difftensor.linalg._algebra import hermitian_part, is_complex, lower_half, mH, mT
from difftensor.linalg._solve import inv
from difftensor.linalg._triangles import as_read
from difftensor.linalg._triangular import solve_lower_or_upper

_LARGE = 400  # size from which NumPy's copies cost more than the call of LAPACK by hand
_ROWS = 128
_ONE_BY_ONE = 24  # size from which the matrices of a stack are done one after the other
_SMALL = 64  # size up to which the inverse is faster than two triangular solves


def _forward(a: Any) -> Any:
    if _small.applies(a, looks=False):
        return _small.cholesky(a)
    if a.__class__ is np.ndarray and a.ndim == 2 and len(a) >= _LARGE and a.shape[0] == a.shape[1]:
        if _lapack.triangular_available(a.dtype):
            return _lapack.cholesky(a)
    return np.linalg.cholesky(a)


def _pull(xp: Any, g: Any, y: Any, a: Any) -> Any:
    """A = L L^H gives dL = L Phi(L^-1 dA L^-H), Phi taking the lower triangle and half the diagonal.

    The gradient is Hermitian, as A is: it is the one of the function on Hermitian matrices, whichever triangle NumPy
    reads.
    """
    n = y.shape[-1]
    if xp is np and y.__class__ is np.ndarray and g.dtype == y.dtype and (n >= _ONE_BY_ONE or y.ndim == 2 and n):
        if _lapack.triangular_available(y.dtype):
            c = np.conjugate(g, order="C")
            for y1, c1 in zip(y.reshape(-1, n, n), c.reshape(-1, n, n), strict=True):
                _pull_blocks(y1, c1)
            return np.conjugate(c, out=c) if is_complex(c) else c  # the transpose of Hermitian c, in C order
    ut = mH(y)
    p = hermitian_part(lower_half(xp, ut @ g.conj()))
    if y.shape[-1] <= _SMALL:
        w = inv(y)
        return mT(mH(w) @ p @ w)
    # L^-H P L^-1 for Hermitian P: S = L^-H P, then (L^-H S^H)^H.
    s = solve_lower_or_upper(ut, p, False)
    return mT(solve_lower_or_upper(ut, mH(s), False))


def _pull_blocks(y: Any, c: Any) -> None:
    """Overwrite `c`, in whose lower triangle lies the gradient in L, with the gradient in A.

    L22 = chol(A22 - L21 L21^H) and L21 = A21 L11^-H, run backward, with C22 the gradient of L22's matrix:
    X = (G21 - 2 C22 L21) L11^-1 is that of A21, which C, Hermitian, holds in two halves, and L11 is left with
    G11 - X^H L21. That is 2/3 to 5/6 n^3 operations, nearly all in large products, instead of the 4 n^3 of the formula;
    the idea of working by blocks is from I. Murray, "Differentiation of the Cholesky decomposition", arXiv:1602.07527.
    """
    n = len(y)
    if n <= _SMALL:
        w = _lapack.triangular_inverse(y, True)
        np.matmul(mH(w) @ hermitian_part(lower_half(np, mH(y) @ c)), w, out=c)
        return
    h = n // 2
    y11, y21, c11, c22, x = y[:h, :h], y[h:, :h], c[:h, :h], c[h:, h:], c[h:, :h]
    _pull_blocks(y[h:, h:], c22)
    _lapack.add_product(x, -2, c22, y21)
    _lapack.triangular_solve(mT(y11), mT(x), False, overwrite=True)
    for i in range(0, h, _ROWS):  # of the lower triangle
        j = i + _ROWS
        _lapack.add_product(c11[i:j, :j], -1, x[:, i:j], y21[:, :j], adjoint=True)
    _pull_blocks(y11, c11)
    x *= 0.5
    c[:h, h:] = mH(x)


def _push(xp: Any, ts: tuple, y: Any, a: Any) -> Any:
    s = solve_lower_or_upper(y, hermitian_part(ts[0]), True)
    return y @ lower_half(xp, solve_lower_or_upper(y, mH(s), True))


_lower = general("linalg._cholesky", _forward, _pull, _push, saves="y", numpy=None, batch="trailing")


@composition(np.linalg.cholesky, name="linalg.cholesky")
def cholesky(a: Any, /, *, upper: bool = False) -> Any:
    """Lower factor L of ``a = L @ L^H``, or with ``upper=True`` its conjugate transpose.

    NumPy reads one triangle of `a` only. The derivative is that of the function of Hermitian matrices: the gradient is
    Hermitian, and a tangent counts with its Hermitian part. Of an `a` that is not Hermitian only the triangle that is
    read has a gradient.
    """
    a = operand(a, "linalg.cholesky")
    if upper:
        a = mH(a)
    y = _lower(as_read(a) if isinstance(a, Tensor) else a)
    return mH(y) if upper else y
