"""What `eigh` and `cholesky` read: one triangle of a matrix that they take for Hermitian."""

from __future__ import annotations

from typing import Any

import numpy as np

from difftensor._backend import on_gpu
from difftensor._backend.device import check_solvers
from difftensor._core import Tensor, X
from difftensor._core.sweeping import concrete
from difftensor.linalg._algebra import eps_of, is_complex, mH

_SMALL = 32  # size up to which a comparison of bytes is faster than one of numbers
_WHOLE = 128  # size up to which all entries are compared: of larger matrices it would be seen beside the factorization


def as_read(a: Any, uplo: str = "L") -> Any:
    """The Hermitian matrix that is read from triangle `uplo` of Tensor `a`, whose derivatives are asked for.

    That is `a` itself if it is Hermitian: then the gradient is Hermitian too. If it is not, the other triangle has no
    part in the value, so that its gradient is zero and the one of the triangle that is read counts for both.
    """
    if (a.node is None and a.__class__ is Tensor) or _hermitian(concrete(a)):
        return a
    half, k = (X.tril, -1) if uplo == "L" else (X.triu, 1)
    return half(a) + mH(half(a, k))


def _hermitian(x: Any) -> bool:
    """Whether the matrices of raw stack `x` are Hermitian but for rounding; of large ones some rows and the diagonals.

    True for what has no triangles, which NumPy refuses; a GPU is not waited for where `dif.cuda.checked` is False.
    """
    n = x.shape[-1] if x.ndim else 0
    if x.ndim < 2 or n != x.shape[-2] or n < 2 or not x.size:
        return True
    if on_gpu(x):
        if not check_solvers.get():
            return True
    elif x.ndim == 2 and n <= _SMALL and not is_complex(x) and x.tobytes() == x.T.tobytes():
        return True
    if n <= _WHOLE:
        y = mH(x)
        return bool((x == y).all()) or _alike(x, y)
    rows = [0, n // 2, n - 1]
    above, below = (x.diagonal(k, -2, -1) for k in (1, -1))
    return _alike(x[..., rows, :], mH(x[..., :, rows])) and _alike(above, below.conj())


def _alike(x: Any, y: Any) -> bool:
    with np.errstate(all="ignore"):
        return bool((abs(x - y) <= eps_of(np, x) ** 0.5 * abs(x).max()).all())
