"""Cholesky factorization."""

from __future__ import annotations

from typing import Any

import numpy as np

from difftensor._core import composition, general, operand
from difftensor.linalg import _lapack, _small
from difftensor.linalg._algebra import hermitian_part, lower_half, mH, mT
from difftensor.linalg._solve import inv
from difftensor.linalg._triangular import solve_lower_or_upper

_LARGE = 100  # size from which NumPy's copies cost more than the call of LAPACK by hand
_SMALL = 64  # size up to which the inverse is faster than two triangular solves


def _forward(a: Any) -> Any:
    if _small.applies(a):
        return _small.cholesky(a)
    if a.__class__ is np.ndarray and a.ndim == 2 and len(a) >= _LARGE and a.shape[0] == a.shape[1]:
        if _lapack.triangular_available(a.dtype.char):
            return _lapack.cholesky(a)
    return np.linalg.cholesky(a)


def _pull(xp: Any, g: Any, y: Any, a: Any) -> Any:
    """A = L L^H gives dL = L Phi(L^-1 dA L^-H), Phi taking the lower triangle and half the diagonal.

    The gradient is Hermitian, as A is: it is the one of the function on Hermitian matrices, whichever triangle NumPy
    reads.
    """
    ut = mH(y)
    p = hermitian_part(lower_half(xp, ut @ g.conj()))
    if y.shape[-1] <= _SMALL:
        w = inv(y)
        return mT(mH(w) @ p @ w)
    # L^-H P L^-1 for Hermitian P: S = L^-H P, then (L^-H S^H)^H.
    s = solve_lower_or_upper(ut, p, False)
    return mT(solve_lower_or_upper(ut, mH(s), False))


def _push(xp: Any, ts: tuple, y: Any, a: Any) -> Any:
    s = solve_lower_or_upper(y, hermitian_part(ts[0]), True)
    return y @ lower_half(xp, solve_lower_or_upper(y, mH(s), True))


_lower = general("linalg._cholesky", _forward, _pull, _push, saves="y", numpy=None, batch="trailing")


@composition(np.linalg.cholesky, name="linalg.cholesky")
def cholesky(a: Any, /, *, upper: bool = False) -> Any:
    """Lower factor L of ``a = L @ L^H``, or with ``upper=True`` its conjugate transpose.

    NumPy reads one triangle of `a` only. The derivative is that of the function of Hermitian matrices: the gradient is
    Hermitian, and a tangent counts with its Hermitian part.
    """
    a = operand(a, "linalg.cholesky")
    if upper:
        return mH(_lower(mH(a)))
    return _lower(a)
