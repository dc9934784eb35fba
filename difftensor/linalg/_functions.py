"""Functions of matrices whose derivative needs no eigenvectors, so that degenerate and defective matrices do no harm.

For an analytic f, f([[a, e], [0, a]]) = [[f(a), L(a, e)], [0, f(a)]] with L the derivative of f at a along e, and the
cotangent of a is L(a^T, c).

R. Mathias, "A chain rule for matrix functions and applications", SIAM J. Matrix Anal. Appl. 17 (1996) 610.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

from difftensor._backend import on_gpu
from difftensor._core import general
from difftensor.errors import not_there
from difftensor.linalg._algebra import (
    detached,
    each_matrix,
    eps_of,
    fitted,
    hermitian_part,
    identity,
    is_hermitian,
    mH,
    mT,
    raw,
)
from difftensor.linalg._funm import derivatives
from difftensor.linalg._sylvester import solve_sylvester


def _along(xp: Any, f: Callable, a: Any, e: Any) -> Any:
    """Derivative of f at a along e.

    It is linear in e, which is brought to the size of a, so that the block matrix is no worse than a.
    """
    n = a.shape[-1]
    size = _size(detached(a))
    scale = _size(detached(e)) / xp.where(size == 0, 1, size)
    scale = xp.where(scale == 0, 1, scale)
    top, bottom = xp.concatenate((a, e / scale), axis=-1), xp.concatenate((a * 0, a), axis=-1)
    return f(xp.concatenate((top, bottom), axis=-2))[..., :n, n:] * scale


def _size(x: Any) -> Any:
    return abs(x).sum(axis=(-2, -1))[..., None, None]


# Numerator and denominator of the [13/13] Pade approximant of exp, and the norm up to which it is accurate to 2^-53:
# N. J. Higham, "The scaling and squaring method for the matrix exponential revisited", SIAM Review 51 (2009) 747,
# table 2.1
# and algorithm 2.3.
_PADE = (
    64764752532480000, 32382376266240000, 7771770303897600, 1187353796428800, 129060195264000, 10559470521600,
    670442572800, 33522128640, 1323241920, 40840800, 960960, 16380, 182, 1,
)  # fmt: skip
_THETA = 5.371920351148152


def _expm_forward(a: Any) -> Any:
    if a.shape[-1] != a.shape[-2]:
        raise np.linalg.LinAlgError("Last 2 dimensions of the array must be square")
    if a.size == 0:
        return a.copy()
    shape = a.shape
    a = a.reshape(-1, *shape[-2:])
    norm = abs(a).sum(axis=-2).max(axis=-1)
    # A norm that is not finite gives NaN below, not an endless loop.
    halvings = np.ceil(np.log2(np.where(np.isfinite(norm) & (norm > _THETA), norm / _THETA, 1.0)))
    a = a * (0.5 ** halvings[:, None, None]).astype(a.real.dtype)
    b, one = _PADE, identity(np, a)
    a2 = a @ a
    a4 = a2 @ a2
    a6 = a4 @ a2
    u = a @ (a6 @ (b[13] * a6 + b[11] * a4 + b[9] * a2) + b[7] * a6 + b[5] * a4 + b[3] * a2 + b[1] * one)
    v = a6 @ (b[12] * a6 + b[10] * a4 + b[8] * a2) + b[6] * a6 + b[4] * a4 + b[2] * a2 + b[0] * one
    y = np.linalg.solve(v - u, v + u)
    for k in range(int(halvings.max())):
        more = halvings > k
        if bool(more.all()):
            y = y @ y
        else:
            y[more] = y[more] @ y[more]
    return y.reshape(shape)


def _expm_pull(xp: Any, g: Any, y: Any, a: Any) -> Any:
    return fitted(_along(xp, expm, mT(a), g), a)


def _expm_push(xp: Any, ts: tuple, y: Any, a: Any) -> Any:
    return _along(xp, expm, a, ts[0])


expm = general("linalg.expm", _expm_forward, _expm_pull, _expm_push, saves="x", numpy=None, batch="trailing")
expm.__doc__ = """Matrix exponential.

Parameters
----------
a : (..., n, n) array

Returns
-------
(..., n, n) array

Notes
-----
Scaling and squaring with the [13/13] Pade approximant. The derivative along e is the upper right block of
expm([[a, e], [0, a]]), at eight times the cost of the value; it is right for every matrix, degenerate or defective.

References
----------
N. J. Higham, "The scaling and squaring method for the matrix exponential revisited", SIAM Review 51 (2009) 747.

Examples
--------
>>> import numpy as np, difftensor as dif
>>> dif.linalg.expm(np.array([[0.0, 1.0], [0.0, 0.0]]))
array([[1., 1.],
       [0., 1.]])
"""


def _logm_forward(a: Any) -> Any:
    if is_hermitian(a):
        w, v = np.linalg.eigh(a)
        if bool((w > 0).all()):
            return hermitian_part((v * np.log(w)[..., None, :]) @ mH(v))
    if on_gpu(a):
        raise not_there("linalg.logm of a matrix that is not Hermitian and positive", "Schur form")
    return each_matrix(_scipy_logm, a)


def _scipy_logm(a: Any) -> Any:
    """SciPy's logm without its warning of errors around 1e4 rounding errors, which are this function's usual ones."""
    from scipy.linalg import logm as log

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        y = log(a)
    for w in caught:
        number = re.search(r"approximate err = (\S+)", str(w.message))
        if number is None or not float(number[1]) < 5e6 * eps_of(np, a):
            warnings.warn(w.message, w.category, stacklevel=2)
    if a.dtype in (np.float32, np.complex64):  # SciPy computes in double precision and leaves it so
        y = y.astype(np.complex64 if y.dtype.kind == "c" else np.float32)
    return y


def _logm_pull(xp: Any, g: Any, y: Any, a: Any) -> Any:
    return fitted(_logm_along(xp, mT(a), g), a)


def _logm_push(xp: Any, ts: tuple, y: Any, a: Any) -> Any:
    return _logm_along(xp, a, ts[0])


def _logm_along(xp: Any, a: Any, e: Any) -> Any:
    if on_gpu(raw(a)):  # Hermitian, for which the divided differences over the spectrum are as good as the block
        return derivatives((a, e), np.log)
    return _along(xp, logm, a, e)


logm = general("linalg.logm", _logm_forward, _logm_pull, _logm_push, saves="x", numpy=None, batch="trailing")
logm.__doc__ = """Principal logarithm of a matrix without eigenvalues on the closed negative real axis.

Parameters
----------
a : (..., n, n) array

Returns
-------
(..., n, n) array, complex where a real matrix has no real logarithm.

Notes
-----
The derivative along e is the upper right block of logm([[a, e], [0, a]]); right for degenerate and defective matrices.

Examples
--------
>>> import numpy as np, difftensor as dif
>>> dif.linalg.logm(np.diag([1.0, np.e]))
array([[0., 0.],
       [0., 1.]])
"""


def _sqrtm_forward(a: Any) -> Any:
    if is_hermitian(a):
        w, v = np.linalg.eigh(a)
        if bool((w >= 0).all()):
            return hermitian_part((v * np.sqrt(w)[..., None, :]) @ mH(v))
    if on_gpu(a):
        raise not_there("linalg.sqrtm of a matrix that is not Hermitian and positive", "Schur form")
    from scipy.linalg import sqrtm as root

    return each_matrix(root, a)


def _sqrtm_pull(xp: Any, g: Any, y: Any, a: Any) -> Any:
    """y dy + dy y = da: c_a solves y^T c_a + c_a y^T = g."""
    yt = mT(y)
    c = solve_sylvester(yt, yt, g)
    return fitted(c, a)


def _sqrtm_push(xp: Any, ts: tuple, y: Any, a: Any) -> Any:
    return solve_sylvester(y, y, ts[0])


sqrtm = general("linalg.sqrtm", _sqrtm_forward, _sqrtm_pull, _sqrtm_push, saves="yx", numpy=None, batch="trailing")
sqrtm.__doc__ = """Principal square root of a matrix.

Parameters
----------
a : (..., n, n) array

Returns
-------
(..., n, n) array, complex where a real matrix has no real root.

Raises
------
LinAlgError
    In the derivative, at singular matrices, where it is infinite.

Notes
-----
y dy + dy y = da, a Sylvester equation: degenerate eigenvalues do no harm.

Examples
--------
>>> import numpy as np, difftensor as dif
>>> dif.linalg.sqrtm(np.diag([4.0, 9.0]))
array([[2., 0.],
       [0., 3.]])
"""
