"""Routines of the LAPACK that NumPy itself is linked to.

NumPy factors a matrix to solve or invert, and throws the factors away. SciPy returns them, but brings a BLAS with
threads of its own, and two pools of threads that take turns slow each other down many times. So the routines are
called where NumPy has them; where they cannot be found (other builds, other systems), `available` is False and
nothing is lost but a factorization.
"""

from __future__ import annotations

import ctypes
import sys
from functools import cache
from typing import Any

import numpy as np

_PREFIX = {"f": "s", "d": "d", "F": "c", "D": "z"}
_SYMBOLS = ("scipy_{}_64_", "{}_64_", "scipy_{}_", "{}_")  # of NumPy's wheels; of other builds


@cache
def _routine(name: str) -> Any:
    try:
        library = ctypes.CDLL(np.linalg._umath_linalg.__file__)  # its symbols, and those of what it is linked to
    except (AttributeError, OSError):
        return None
    for symbol in _SYMBOLS:
        f = getattr(library, symbol.format(name), None)
        if f is not None:
            f.restype = None
            return f
    return None


def _call(name: str, char: str, *args: Any) -> int:
    """Fortran's call: everything by reference. Integers have 64 bits here; a routine that reads 32 finds them in
    the lower half.
    """
    info = ctypes.c_int64(0)
    passed: list[Any] = []
    for a in args:
        if isinstance(a, int):
            passed.append(ctypes.byref(ctypes.c_int64(a)))
        else:
            passed.append(ctypes.c_char_p(a) if isinstance(a, bytes) else ctypes.c_void_p(a.ctypes.data))
    letters = [ctypes.c_size_t(1)] * sum(isinstance(a, bytes) for a in args)  # Fortran's hidden lengths
    _routine(_PREFIX[char] + name)(*passed, ctypes.byref(info), *letters)
    return info.value


@cache
def available(char: str) -> bool:
    """Are the routines for this dtype there, and do they compute what they should?"""
    if char not in _PREFIX or sys.byteorder != "little":
        return False
    if any(_routine(_PREFIX[char] + name) is None for name in ("getrf", "getrs", "getri")):
        return False
    a = np.array([[0, 2], [4, 1]], char)
    lu, pivots = factors(a)
    x = solve(lu, pivots, np.array([[2], [9]], char), False)
    return bool(
        np.allclose(x, [[2], [1]])
        and np.allclose(inverse_transposed(lu, pivots) @ a.T, np.eye(2))
        and swaps(pivots) == 1
    )


@cache
def triangular_available(char: str) -> bool:
    """The same for the routines of triangular matrices."""
    if char not in _PREFIX or sys.byteorder != "little":
        return False
    if any(_routine(_PREFIX[char] + name) is None for name in ("trtrs", "potrf")):
        return False
    a = np.array([[2, 0], [6, 4]], char)
    b = np.array([[2, 4], [14, 20]], char)
    spd = np.array([[4, 12], [12, 52]], char)
    return bool(
        np.allclose(triangular_solve(a, b, True), [[1, 2], [2, 2]])
        and np.allclose(triangular_solve(a.T, np.array([[8], [4]], char), False), [[1], [1]])
        and np.allclose(cholesky(spd), a)
    )


def triangular_solve(a: Any, b: Any, lower: bool) -> Any:
    """Solution of ``a @ x = b`` for triangular `a`; the other triangle is not read."""
    transposed = not a.flags.f_contiguous  # LAPACK finds a.T in the memory of a C-ordered array
    m = np.ascontiguousarray(a) if transposed else a
    x = np.array(b.T, a.dtype, order="C")
    k, n = x.shape
    side = b"U" if lower == transposed else b"L"
    info = _call("trtrs", a.dtype.char, side, b"T" if transposed else b"N", b"N", n, k, m, n, x, n)
    if info > 0:
        raise np.linalg.LinAlgError("Singular matrix")
    return x.T


def cholesky(a: Any) -> Any:
    """The lower factor of `a`, whose lower triangle is read; NumPy's own routine without its copies."""
    y = np.array(a, order="C")
    n = len(y)
    if _call("potrf", y.dtype.char, b"U", n, y, n):
        raise np.linalg.LinAlgError("Matrix is not positive definite")
    for i in range(0, n, 64):  # LAPACK leaves the other triangle as it was
        block = y[i : i + 64, i : i + 64]
        block[...] = np.tril(block)
        y[i : i + 64, i + 64 :] = 0
    return y


def factors(a: Any) -> tuple[Any, Any]:
    """LU factors of the *transpose* of `a`, which is what LAPACK finds in the memory of `a`, and the pivots."""
    lu = np.array(a, order="C")
    n = len(lu)
    pivots = np.zeros(n, np.int64)
    _call("getrf", lu.dtype.char, n, n, lu, n, pivots)
    return lu, pivots


def solve(lu: Any, pivots: Any, b: Any, transposed: bool) -> Any:
    """Solution of ``a @ x = b`` or ``a.T @ x = b``, for the `a` of `factors`."""
    x = np.array(b.T, lu.dtype, order="C")
    k, n = x.shape
    _call("getrs", lu.dtype.char, b"N" if transposed else b"T", n, k, lu, n, pivots, x, n)
    return x.T


def inverse_transposed(lu: Any, pivots: Any) -> Any:
    """Inverse of ``a.T``, for the `a` of `factors`."""
    y = lu.copy()
    n = len(y)
    work = np.empty(64 * n, y.dtype)
    _call("getri", y.dtype.char, n, y, n, pivots, work, len(work))
    return y.T


def swaps(pivots: Any) -> int:
    """The number of exchanges of rows."""
    n = len(pivots)
    if n > 1 and pivots[0] > n:  # 32-bit integers, two in one
        pivots = pivots.view(np.int32)[:n]
    return int((pivots != np.arange(1, n + 1)).sum())
