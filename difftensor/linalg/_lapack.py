"""Routines of the LAPACK that NumPy itself is linked to.

NumPy factors a matrix to solve or invert, and throws the factors away. SciPy returns them, but brings a BLAS with
threads of its own, and two pools of threads that take turns slow each other down many times. So the routines are
called where NumPy has them; where they cannot be found (other builds, other systems), `available` is False and
nothing is lost but a factorization.
"""

from __future__ import annotations

import ctypes
import sys
from ctypes import byref, c_char, c_char_p, c_int64, c_size_t, c_void_p
from functools import cache, lru_cache
from typing import Any

import numpy as np

_PREFIX = {"f": "s", "d": "d", "F": "c", "D": "z"}
_SYMBOLS = ("scipy_{}_64_", "{}_64_", "scipy_{}_", "{}_")  # of NumPy's wheels; of other builds


@cache
def _routine(name: str, char: str) -> Any:
    try:
        library = ctypes.CDLL(np.linalg._umath_linalg.__file__)  # its symbols, and those of what it is linked to
    except (AttributeError, OSError):
        return None
    for symbol in _SYMBOLS:
        f = getattr(library, symbol.format(_PREFIX[char] + name), None)
        if f is not None:
            f.restype = None
            return f
    return None


def _call(name: str, char: str, *args: Any) -> None:
    """Fortran's call: everything by reference."""
    _routine(name, char)(*[_PASS.get(a.__class__, _memory)(a) for a in args], *_LENGTHS)


def _call_info(name: str, char: str, *args: Any) -> int:
    """`_call` of a routine that reports in its last argument."""
    info = c_int64(0)
    _call(name, char, *args, info)
    return info.value


def _memory(a: Any) -> Any:
    """Where the array begins. Its buffer is the quickest to ask, but views and constants have none."""
    try:
        return byref(c_char.from_buffer(a))
    except (BufferError, TypeError, ValueError):
        return c_void_p(a.ctypes.data)


@lru_cache(maxsize=1024)
def _integer(n: int) -> Any:
    """Integers have 64 bits here; a routine that reads 32 finds them in the lower half."""
    return byref(c_int64(n))


_PASS: dict[type, Any] = {int: _integer, bytes: c_char_p, c_int64: byref}
_LENGTHS = (c_size_t(1),) * 4  # hidden arguments: of the letters, of which there are four at most


def _rows(a: Any) -> tuple[Any, int]:
    """`a` with contiguous rows, copied if it has none, and the distance of the rows in elements."""
    step, size = a.strides[0], a.itemsize
    if a.strides[1] != size or step % size or step < a.shape[1] * size:
        a = np.array(a, order="C")
    return a, max(a.strides[0] // size, a.shape[1], 1)


def _serves(dtype: Any, *names: str) -> bool:
    return (
        dtype.char in _PREFIX
        and dtype.isnative
        and sys.byteorder == "little"
        and all(_routine(name, dtype.char) is not None for name in names)
    )


@cache
def available(dtype: Any) -> bool:
    """Are the routines for this dtype there, and do they compute what they should?"""
    if not _serves(dtype, "getrf", "getrs", "getri", "trsm"):
        return False
    a = np.array([[0, 2], [4, 1]], dtype)
    lu, pivots = factors(a)
    return bool(
        np.allclose(solve(lu, pivots, np.array([2, 9], dtype), False), [2, 1])
        and np.allclose(solve(lu, pivots, np.array([[2, 4], [9, 6]], dtype), False), [[2, 1], [1, 2]])
        and np.allclose(inverse_transposed(lu, pivots) @ a.T, np.eye(2))
        and swaps(pivots) == 1
    )


@cache
def triangular_available(dtype: Any) -> bool:
    """The same for the routines of triangular matrices."""
    if not _serves(dtype, "trtrs", "trsm", "trtri", "potrf", "gemm"):
        return False
    a = np.array([[2, 0], [6, 4]], dtype)
    b = np.array([[2, 4], [14, 20]], dtype)
    spd = np.array([[4, 12], [12, 52]], dtype)
    return bool(
        np.allclose(triangular_solve(a, b, True), [[1, 2], [2, 2]])
        and np.allclose(triangular_solve(a.T, np.array([[8], [4]], dtype), False), [[1], [1]])
        and np.allclose(triangular_inverse(a, True) @ a, np.eye(2))
        and np.allclose(cholesky(spd), a)
        and np.allclose(_sum_and_product(a, b), a.T @ b - a)
    )


@cache
def qr_available(dtype: Any) -> bool:
    """The same for those of QR."""
    if not _serves(dtype, "geqrf", "ungqr" if dtype.kind == "c" else "orgqr"):
        return False
    a = np.array([[3, 1], [4, 1], [0, 1]], dtype)
    q, r = qr(a)
    return bool(np.allclose(q @ r, a) and np.allclose(q.T @ q, np.eye(2)))


def _sum_and_product(a: Any, b: Any) -> Any:
    c = -a
    add_product(c, 1, a, b, adjoint=True)
    return c


def _singular() -> Any:
    return np.linalg.LinAlgError("Singular matrix")


_FEW = 20_000  # elements up to which trtrs and getrs keep to one thread; trsm wakes the others for any size


def triangular_solve(a: Any, b: Any, lower: bool, overwrite: bool = False) -> Any:
    """Solution of ``a @ x = b`` for triangular `a`; the other triangle is not read.

    With `overwrite` it is in the place of `b`, for which b or b.T must have contiguous rows.
    """
    by_columns = b.strides[0] == b.itemsize and b.strides[1] != b.itemsize
    # LAPACK finds the transpose of what lies in rows.
    transposed = a.strides[0] != a.itemsize
    m, ld = _rows(a if transposed else a.T)
    which = b"U" if lower == transposed else b"L"
    if by_columns or b.size <= _FEW:
        trans = b"T" if transposed else b"N"
        x, width = _rows(b.T if by_columns and overwrite else np.array(b.T, a.dtype, order="C"))
        if _call_info("trtrs", a.dtype.char, which, trans, b"N", x.shape[1], len(x), m, ld, x, width):
            raise _singular()
        if not overwrite or by_columns:
            return x.T
        b[...] = x.T
        return b
    if not bool(a.diagonal().all()):
        raise _singular()
    x, width = _rows(b if overwrite else np.array(b, a.dtype, order="C"))
    trans, one = b"N" if transposed else b"T", np.ones(1, a.dtype)  # x^T a^T = b^T
    _call("trsm", a.dtype.char, b"R", which, trans, b"N", x.shape[1], len(x), one, m, ld, x, width)
    return x


def add_product(c: Any, factor: float, a: Any, b: Any, adjoint: bool = False) -> None:
    """``c += factor * a @ b``, or with ``a^H`` for a; all of them blocks of arrays in C order."""
    (m, n), char = c.shape, c.dtype.char
    (a, height), (b, width) = _rows(a), _rows(b)
    numbers = np.array([factor, 1], char)
    trans = b"C" if adjoint else b"N"  # what lies in rows is c^T += factor b^T a^T
    _call("gemm", char, b"N", trans, n, m, len(b), numbers[:1], b, width, a, height, numbers[1:], c, _rows(c)[1])


def triangular_inverse(a: Any, lower: bool) -> Any:
    """Inverse of a triangular matrix, whose other triangle must be zero."""
    y = np.array(a, order="C")
    n = len(y)
    if _call_info("trtri", y.dtype.char, b"U" if lower else b"L", b"N", n, y, n):
        raise _singular()
    return y


def cholesky(a: Any) -> Any:
    """The lower factor of `a`, whose lower triangle is read; NumPy's own routine without its copies."""
    y = np.array(a, order="C")
    n = len(y)
    if _call_info("potrf", y.dtype.char, b"U", n, y, n):
        raise np.linalg.LinAlgError("Matrix is not positive definite")
    clear_above(y)  # LAPACK leaves the other triangle as it was
    return y


def clear_above(y: Any) -> None:
    """Zeros above the diagonal, written by blocks."""
    n, size = len(y), 64
    for i in range(0, n, size):
        block = y[i : i + size, i : i + size]
        block[_above(len(block))] = 0
        y[i : i + size, i + size :] = 0


@cache
def _above(n: int) -> Any:
    return ~np.tri(n, dtype=bool)


def qr(a: Any) -> tuple[Any, Any]:
    """Q and R of an m x n matrix with m >= n; NumPy's own routines without its copies."""
    (m, n), dtype = a.shape, a.dtype
    y = np.array(a.T, order="C")
    tau, work = np.empty(n, dtype), np.empty(32 * n, dtype)
    _call_info("geqrf", dtype.char, m, n, y, m, tau, work, len(work))
    r = np.array(y[:, :n].T, order="C")
    clear_above(r.T)
    _call_info("ungqr" if dtype.kind == "c" else "orgqr", dtype.char, m, n, n, y, m, tau, work, len(work))
    return y.T, r


def factors(a: Any) -> tuple[Any, Any]:
    """LU factors of `a`, in the memory of a.T, and the pivots."""
    lu = np.array(a.T, order="C")
    n = len(lu)
    pivots = np.zeros(n, np.int64)
    _call_info("getrf", lu.dtype.char, n, n, lu, n, pivots)
    return lu, pivots


def solve(lu: Any, pivots: Any, b: Any, transposed: bool) -> Any:
    """Solution of ``a @ x = b`` or ``a.T @ x = b``, for the `a` of `factors`; b is a vector or a matrix."""
    n = len(lu)
    if b.ndim == 1 or b.size <= _FEW:
        x = np.array(b.T, order="C")
        _call_info("getrs", lu.dtype.char, b"T" if transposed else b"N", n, x.size // n, lu, n, pivots, x, n)
        return x.T
    # a = P L U. In rows lies x.T, to be multiplied from the right, so that nothing is transposed.
    order, k = _order(pivots), b.shape[1]
    x = np.array(b, order="C") if transposed else b.take(order, axis=0)
    steps = ((b"U", b"N", b"N"), (b"L", b"N", b"U")) if transposed else ((b"L", b"T", b"U"), (b"U", b"T", b"N"))
    for which, trans, diagonal in steps:
        _call("trsm", lu.dtype.char, b"R", which, trans, diagonal, k, n, np.ones(1, lu.dtype), lu, n, x, k)
    if transposed:
        w, x = x, np.empty_like(x)
        x[order] = w
    return x


def _order(pivots: Any) -> Any:
    """The permutation that the exchanges of rows make."""
    n = len(pivots)
    order = list(range(n))
    for i, k in enumerate(_narrow(pivots).tolist()):
        order[i], order[k - 1] = order[k - 1], order[i]
    return np.array(order, np.intp)


def _narrow(pivots: Any) -> Any:
    """The pivots, where they are 32-bit integers, two in one."""
    n = len(pivots)
    return pivots.view(np.int32)[:n] if n > 1 and not 1 <= pivots[0] <= n else pivots


def inverse_transposed(lu: Any, pivots: Any) -> Any:
    """Inverse of ``a.T``, for the `a` of `factors`."""
    y = lu.copy()
    n = len(y)
    work = np.empty(64 * n, y.dtype)
    _call_info("getri", y.dtype.char, n, y, n, pivots, work, len(work))
    return y


def swaps(pivots: Any) -> int:
    """The number of exchanges of rows."""
    return int((_narrow(pivots) != np.arange(1, len(pivots) + 1)).sum())
