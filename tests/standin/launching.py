"""What the stand-in counts and notes down: copies between host and device, kernels, and kernels that a stream captures.

While a stream captures, a kernel is noted down instead of run, and what it would have computed is not there: NaN or 0.
What would move data from or to the host raises (cupy/cuda/memory.pyx of CuPy 14.2).
"""

from __future__ import annotations

import threading
import types

import numpy as np

current = threading.local()


class Copies:
    """How often, and how many bytes, went from the device to the host and back; and who asked last."""

    def __init__(self):
        self.reset()

    def reset(self):
        self.to_host = self.to_device = self.bytes_to_host = 0

    def down(self, a):
        refuse_while_capturing("D2H transfers")
        self.to_host += 1
        self.bytes_to_host += a.nbytes

    def up(self, a):
        refuse_while_capturing("H2D transfers")
        self.to_device += 1


copies = Copies()


class CUDARuntimeError(RuntimeError):
    pass


class Launches:
    """How many kernels were launched: those of ufuncs, reductions and copies count, views and empty arrays do not."""

    count = 0


launches = Launches()


def capturing():
    """The kernels that the current stream has captured, None if it does not."""
    return getattr(current, "capture", None)


def allocator():
    return getattr(current, "allocator", None)


def refuse_while_capturing(what):
    if capturing() is not None:
        raise RuntimeError(f"the current stream is capturing, so {what} are disallowed")


def launch(compute, into=None):
    """What the kernel `compute` returns, or (`into`) writes into that array of the host."""
    steps = capturing()
    if into is not None:
        launches.count += bool(into.size)
        if steps is None:
            compute()
        else:
            steps.append(compute)
        return into
    y = compute()
    launches.count += any(getattr(v, "size", 0) for v in _parts(y))
    if steps is None:
        return y
    y = np.array(y) if isinstance(y, np.generic) else y
    made = [v if isinstance(v, np.ndarray) else None for v in _parts(y)]

    def again():
        for old, new in zip(made, _parts(compute())):
            if old is not None:
                old[...] = new

    steps.append(again)
    for v in made:
        if v is not None:
            v[...] = np.nan if v.dtype.kind in "fc" else 0
    return y


def _parts(y):
    return y if isinstance(y, (tuple, list)) else (y,)


# CUDA's libraries while a stream captures ---------------------------------------------------------------------------

# CuPy refuses to call cuBLAS and cuSOLVER while a stream captures (cublas.pyx and cusolver.pyx, setStream).
PRODUCTS = frozenset("matmul dot tensordot einsum inner".split())
SOLVERS = frozenset(
    "cholesky qr svd svdvals eig eigh eigvals eigvalsh solve inv det slogdet lstsq pinv matrix_rank tensorsolve "
    "tensorinv lu_factor lu_solve solve_triangular".split()
)
OF_STACKS = frozenset("solve inv det slogdet".split())  # which cuBLAS does


def refuse_libraries(name, first):
    """What is done by cuBLAS is refused unless somebody calls it by itself; what cuSOLVER does always is."""
    if capturing() is None or name not in PRODUCTS | SOLVERS:
        return
    library = name in PRODUCTS or (name in OF_STACKS and first.ndim > 2)
    if not library or blas.gemmEx is refused:
        which = "cuBLAS" if library else "cuSOLVER"
        raise NotImplementedError(f"calling {which} API during stream capture is currently unsupported")


def refused(*_):
    raise AssertionError("the stand-in computes by itself")


blas = types.ModuleType("cupy_backends.cuda.libs.cublas")
for _name in ("gemmEx", "gemmStridedBatchedEx"):
    setattr(blas, _name, refused)
for _letter in "sdcz":
    for _name in ("gemm", "gemmBatched", "geam", "trsm", "trsmBatched", "getrfBatched", "getrsBatched", "getriBatched"):
        setattr(blas, _letter + _name, refused)
