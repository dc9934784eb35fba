"""cuBLAS and cuSOLVER by NumPy and SciPy, on addresses of the host: columns of matrices are contiguous.

CuPy's Python code calls functions of `cublas` and `cusolver` by name, and finds these; its compiled code calls the
functions of the libraries, whose stubs (build.py) call these too.
"""

from __future__ import annotations

import ctypes
import inspect
import traceback
from collections.abc import Callable
from typing import Any

import numpy as np
import scipy.linalg
from scipy.linalg.lapack import get_lapack_funcs

from tests.emulator.build import BUILT

DTYPES = {"s": np.float32, "d": np.float64, "c": np.complex64, "z": np.complex128}
OF_CUDA = {0: np.float32, 1: np.float64, 2: np.float16, 4: np.complex64, 5: np.complex128}  # cudaDataType


def vector(p: int, dtype: Any, n: int = 1, step: int = 1) -> np.ndarray:
    dtype = np.dtype(dtype)
    if not n:
        return np.empty(0, dtype)
    memory = (ctypes.c_char * (((n - 1) * step + 1) * dtype.itemsize)).from_address(p)
    return np.ndarray(n, dtype, memory, strides=(step * dtype.itemsize,))


def matrix(p: int, dtype: Any, m: int, n: int, ld: int) -> np.ndarray:
    dtype = np.dtype(dtype)
    if not m * n:
        return np.empty((m, n), dtype)
    memory = (ctypes.c_char * (((n - 1) * ld + m) * dtype.itemsize)).from_address(p)
    return np.ndarray((m, n), dtype, memory, strides=(dtype.itemsize, ld * dtype.itemsize))


def turned(how: int, a: np.ndarray) -> np.ndarray:
    return a if how == 0 else a.T if how == 1 else a.conj().T


def addresses(p: int, count: int) -> list[int]:
    return vector(p, np.uintp, count).tolist()


def report(p: int, value: int, at: int = 0) -> None:
    vector(p + 4 * at, np.int32)[0] = value


# Products ---------------------------------------------------------------------------------------------------------


def product(ta, tb, m, n, k, alpha, a, a_type, lda, b, b_type, ldb, beta, c, c_type, ldc):
    wide = np.float32 if c_type is np.float16 else c_type
    x = turned(ta, matrix(a, a_type, *((m, k) if ta == 0 else (k, m)), lda)).astype(wide)
    y = turned(tb, matrix(b, b_type, *((k, n) if tb == 0 else (n, k)), ldb)).astype(wide)
    found, old = vector(alpha, wide)[0] * (x @ y), vector(beta, wide)[0]
    z = matrix(c, c_type, m, n, ldc)
    z[...] = found if old == 0 else found + old * z


def gemmEx(handle, ta, tb, m, n, k, al, a, at, lda, b, bt, ldb, be, c, ct, ldc, compute, algorithm):
    product(ta, tb, m, n, k, al, a, OF_CUDA[at], lda, b, OF_CUDA[bt], ldb, be, c, OF_CUDA[ct], ldc)


def gemmStridedBatchedEx(
    handle, ta, tb, m, n, k, al, a, at, lda, sa, b, bt, ldb, sb, be, c, ct, ldc, sc, count, compute, algorithm
):
    steps = [s * np.dtype(OF_CUDA[t]).itemsize for s, t in ((sa, at), (sb, bt), (sc, ct))]
    for i in range(count):
        p, q, r = (address + i * step for address, step in zip((a, b, c), steps))
        gemmEx(handle, ta, tb, m, n, k, al, p, at, lda, q, bt, ldb, be, r, ct, ldc, compute, algorithm)


def blas(t: Any) -> dict[str, Callable]:
    """cuBLAS's functions of dtype `t`."""

    def gemm(handle, ta, tb, m, n, k, al, a, lda, b, ldb, be, c, ldc):
        product(ta, tb, m, n, k, al, a, t, lda, b, t, ldb, be, c, t, ldc)

    def gemmBatched(handle, ta, tb, m, n, k, al, a, lda, b, ldb, be, c, ldc, count):
        for p, q, r in zip(addresses(a, count), addresses(b, count), addresses(c, count)):
            gemm(handle, ta, tb, m, n, k, al, p, lda, q, ldb, be, r, ldc)

    def geam(handle, ta, tb, m, n, al, a, lda, be, b, ldb, c, ldc):
        found = vector(al, t)[0] * turned(ta, matrix(a, t, *((m, n) if ta == 0 else (n, m)), lda))
        if vector(be, t)[0]:
            found = found + vector(be, t)[0] * turned(tb, matrix(b, t, *((m, n) if tb == 0 else (n, m)), ldb))
        matrix(c, t, m, n, ldc)[...] = found

    def trsm(handle, side, uplo, trans, diag, m, n, al, a, lda, b, ldb):
        size = m if side == 0 else n
        full = matrix(a, t, size, size, lda)
        half = np.tril(full) if uplo == 0 else np.triu(full)
        if diag:
            np.fill_diagonal(half, 1)
        x = matrix(b, t, m, n, ldb)
        half, right = (half, x) if side == 0 else (turned(trans, half).T, x.T)
        try:
            y = scipy.linalg.solve_triangular(
                half, vector(al, t)[0] * right, trans=trans if side == 0 else 0,
                lower=(uplo == 0) == (side == 0 or trans != 0), check_finite=False,
            )  # fmt: skip
        except np.linalg.LinAlgError:
            y = np.full_like(right, np.inf)
        x[...] = y if side == 0 else y.T

    def trsmBatched(handle, side, uplo, trans, diag, m, n, al, a, lda, b, ldb, count):
        for p, q in zip(addresses(a, count), addresses(b, count)):
            trsm(handle, side, uplo, trans, diag, m, n, al, p, lda, q, ldb)

    def getrfBatched(handle, n, a, lda, pivots, info, count):
        for i, p in enumerate(addresses(a, count)):
            x = matrix(p, t, n, n, lda)
            x[...], order, failed = get_lapack_funcs("getrf", (x,))(x)
            if pivots:
                vector(pivots, np.int32, n * count)[i * n : (i + 1) * n] = order + 1
            report(info, failed, i)

    def getrsBatched(handle, trans, n, nrhs, a, lda, pivots, b, ldb, info, count):
        for i, (p, q) in enumerate(zip(addresses(a, count), addresses(b, count))):
            x, y = matrix(p, t, n, n, lda), matrix(q, t, n, nrhs, ldb)
            order = vector(pivots, np.int32, n * count)[i * n : (i + 1) * n] - 1
            y[...] = get_lapack_funcs("getrs", (x,))(x, order, y, trans=trans)[0]
        report(info, 0)

    def getriBatched(handle, n, a, lda, pivots, c, ldc, info, count):
        for i, (p, q) in enumerate(zip(addresses(a, count), addresses(c, count))):
            x = matrix(p, t, n, n, lda)
            order = vector(pivots, np.int32, n * count)[i * n : (i + 1) * n] - 1
            matrix(q, t, n, n, ldc)[...], failed = get_lapack_funcs("getri", (x,))(x, order)
            report(info, failed, i)

    def gemv(handle, trans, m, n, al, a, lda, x, incx, be, y, incy):
        f = turned(trans, matrix(a, t, m, n, lda))
        z, old = vector(y, t, f.shape[0], incy), vector(be, t)[0]
        found = vector(al, t)[0] * (f @ vector(x, t, f.shape[1], incx))
        z[...] = found if old == 0 else found + old * z

    return {name: f for name, f in locals().items() if callable(f) and name != "t"}


# Factorizations ---------------------------------------------------------------------------------------------------


def solver(t: Any) -> dict[str, Callable]:
    """cuSOLVER's functions of dtype `t`."""
    real = np.zeros(0, t).real.dtype
    item = np.dtype(t).itemsize

    def potrf(handle, uplo, n, a, lda, work, size, info):
        x = matrix(a, t, n, n, lda)
        x[...], failed = get_lapack_funcs("potrf", (x,))(x, lower=uplo == 0, clean=False)
        report(info, failed)

    def potrfBatched(handle, uplo, n, a, lda, info, count):
        for i, p in enumerate(addresses(a, count)):
            potrf(handle, uplo, n, p, lda, 0, 0, info + 4 * i)

    def potrs(handle, uplo, n, nrhs, a, lda, b, ldb, info):
        x, y = matrix(a, t, n, n, lda), matrix(b, t, n, nrhs, ldb)
        y[...], failed = get_lapack_funcs("potrs", (x,))(x, y, lower=uplo == 0)
        report(info, failed)

    def potrsBatched(handle, uplo, n, nrhs, a, lda, b, ldb, info, count):
        for p, q in zip(addresses(a, count), addresses(b, count)):
            potrs(handle, uplo, n, nrhs, p, lda, q, ldb, info)

    def getrf(handle, m, n, a, lda, work, pivots, info):
        x = matrix(a, t, m, n, lda)
        x[...], order, failed = get_lapack_funcs("getrf", (x,))(x)
        if pivots:
            vector(pivots, np.int32, min(m, n))[...] = order + 1
        report(info, failed)

    def getrs(handle, trans, n, nrhs, a, lda, pivots, b, ldb, info):
        x, y = matrix(a, t, n, n, lda), matrix(b, t, n, nrhs, ldb)
        y[...], failed = get_lapack_funcs("getrs", (x,))(x, vector(pivots, np.int32, n) - 1, y, trans=trans)
        report(info, failed)

    def geqrf(handle, m, n, a, lda, tau, work, size, info):
        x = matrix(a, t, m, n, lda)
        x[...], vector(tau, t, min(m, n))[...], _, failed = get_lapack_funcs("geqrf", (x,))(x)
        report(info, failed)

    def orgqr(handle, m, n, k, a, lda, tau, work, size, info):
        x = matrix(a, t, m, n, lda)
        f = get_lapack_funcs("orgqr" if real == t else "ungqr", (x,))
        x[...], _, failed = f(np.array(x), vector(tau, t, k).copy())
        report(info, failed)

    def gesvd(handle, jobu, jobv, m, n, a, lda, s, u, ldu, v, ldv, work, size, rwork, info):
        assert m >= n, "cuSOLVER's gesvd takes no wide matrices"
        x = matrix(a, t, m, n, lda)
        jobu, jobv = chr(jobu), chr(jobv)
        if not np.isfinite(x).all():
            report(info, 1)
            return
        left, values, right = np.linalg.svd(np.array(x), full_matrices="A" in (jobu, jobv))
        vector(s, real, n)[...] = values
        if jobu in "AS":
            columns = m if jobu == "A" else n
            matrix(u, t, m, columns, ldu)[...] = left[:, :columns]
        if jobv in "AS":
            matrix(v, t, n, n, ldv)[...] = right
        if jobu == "O":
            x[...] = left[:, :n]
        if jobv == "O":
            x[:n] = right
        report(info, 0)

    def gesvdj(handle, jobz, economic, m, n, a, lda, s, u, ldu, v, ldv, work, size, info, params):
        left, values, right = np.linalg.svd(np.array(matrix(a, t, m, n, lda)), full_matrices=not economic)
        vector(s, real, min(m, n))[...] = values
        if jobz:
            matrix(u, t, *left.shape, ldu)[...] = left
            matrix(v, t, *right.T.shape, ldv)[...] = right.conj().T
        report(info, 0)

    def gesvdjBatched(handle, jobz, m, n, a, lda, s, u, ldu, v, ldv, work, size, info, params, count):
        for i in range(count):
            at = a + i * lda * n * item, s + i * min(m, n) * real.itemsize
            sides = u + i * ldu * m * item, v + i * ldv * n * item
            gesvdj(handle, jobz, 0, m, n, at[0], lda, at[1], sides[0], ldu, sides[1], ldv, 0, 0, info + 4 * i, params)

    def syevd(handle, jobz, uplo, n, a, lda, w, work, size, info, params=None):
        x = matrix(a, t, n, n, lda)
        vector(w, real, n)[...], vectors = np.linalg.eigh(x, "L" if uplo == 0 else "U")
        if jobz:
            x[...] = vectors
        report(info, 0)

    def syevjBatched(handle, jobz, uplo, n, a, lda, w, work, size, info, params, count):
        for i in range(count):
            at = a + i * lda * n * item, w + i * n * real.itemsize
            syevd(handle, jobz, uplo, n, at[0], lda, at[1], 0, 0, info + 4 * i)

    found = {name: f for name, f in locals().items() if callable(f) and name != "t"}
    return {**found, "ungqr": orgqr, "heevd": syevd, "syevj": syevd, "heevj": syevd, "heevjBatched": syevjBatched}


def xsyevd(handle, params, jobz, uplo, n, at, a, lda, wt, w, compute, work, size, own, own_size, info):
    x = matrix(a, OF_CUDA[at], n, n, lda)
    vector(w, OF_CUDA[wt], n)[...], vectors = np.linalg.eigh(x, "L" if uplo == 0 else "U")
    if jobz:
        x[...] = vectors
    report(info, 0)


def xgeev(
    handle, params, left, right, n, at, a, lda, wt, w, lt, l, ldl, rt, r, ldr, compute, work, size, own, own_size, info
):  # fmt: skip
    values, vectors = np.linalg.eig(np.array(matrix(a, OF_CUDA[at], n, n, lda)))
    vector(w, OF_CUDA[wt], n)[...] = values
    if right:
        y = matrix(r, OF_CUDA[rt], n, n, ldr)
        if y.dtype.kind == "c":
            y[...] = vectors
        else:  # real and imaginary parts of a pair stand beside each other
            k = 0
            while k < n:
                y[:, k] = vectors[:, k].real
                if values[k].imag:
                    y[:, k + 1] = vectors[:, k].imag
                k += 1 + bool(values[k].imag)
    report(info, 0)


# In CuPy's place --------------------------------------------------------------------------------------------------

CALLBACK = ctypes.CFUNCTYPE(ctypes.c_int, *[ctypes.c_int64] * 20)
kept: list = []
ADDRESSES = frozenset("handle a b c s u v w work rwork info pivots tau params al be x y".split())
WORK = {  # where a function that asks for the size of work space finds the place for the answer
    "geqrf": 5, "orgqr": 7, "ungqr": 7, "gesvd": 3, "gesvdj": 12, "gesvdjBatched": 11, "syevjBatched": 7,
    "heevjBatched": 7, "syevj": 7, "heevj": 7, "syevd": 7, "heevd": 7, "potrf": 5, "getrf": 5,
}  # fmt: skip


def put(library: Any, symbol: str, f: Callable) -> None:
    """Python's `f` behind the stub of a function of the library, if it has one."""

    def call(*args: int) -> int:
        try:
            f(*args)
        except Exception:  # noqa: BLE001 - it cannot pass through C
            traceback.print_exc()
            return 6  # an execution that failed
        return 0

    try:
        place = ctypes.c_void_p.in_dll(library, f"emu_{symbol}")
    except ValueError:
        return
    kept.append(CALLBACK(call))
    place.value = ctypes.cast(kept[-1], ctypes.c_void_p).value


def of_c(f: Callable) -> Callable:
    """`f`, given what C passes: an int is the lower half of its argument."""
    names = [n for n, p in inspect.signature(f).parameters.items() if p.default is p.empty]

    def lower(v: int) -> int:
        return ctypes.c_int32(v & 0xFFFFFFFF).value

    return lambda *args: f(*(v if n in ADDRESSES else lower(v) for n, v in zip(names, args)))


def install(cupy: Any) -> None:
    from cupy_backends.cuda.libs import cublas, cusolver

    def refusing(f: Callable, name: str, which: str) -> Callable:
        def call(*args: int) -> None:
            if cupy.cuda.get_current_stream().is_capturing():  # as CuPy's setStream
                raise NotImplementedError(f"calling {which} API during stream capture is currently unsupported")
            f(*args)

        call.__name__ = name
        return call

    for module, name, f in ((cublas, "gemmEx", gemmEx), (cublas, "gemmStridedBatchedEx", gemmStridedBatchedEx)):
        setattr(module, name, refusing(f, name, "cuBLAS"))
    for name, f in (("xsyevd", xsyevd), ("xgeev", xgeev)):
        setattr(cusolver, name, refusing(f, name, "cuSOLVER"))
        setattr(cusolver, f"{name}_bufferSize", lambda *_: (64, 64))
    library = ctypes.CDLL(str(BUILT / "lib" / "libcusolver.so.11"))
    for letter, t in DTYPES.items():
        for name, f in blas(t).items():
            setattr(cublas, letter + name, refusing(f, letter + name, "cuBLAS"))
        for name, f in solver(t).items():
            setattr(cusolver, letter + name, refusing(f, letter + name, "cuSOLVER"))
            put(library, f"cusolverDn{letter.upper()}{name}", of_c(f))
        for name, place in WORK.items():
            size = f"{letter}{name}_bufferSize"
            setattr(cusolver, size, lambda *_: 64)
            put(library, f"cusolverDn{letter.upper()}{name}_bufferSize", lambda *a, at=place: report(a[at], 64))
    put(library, "cusolverGetProperty", lambda which, p, *_: report(p, {0: 11, 1: 7}.get(which & 3, 5)))
