"""Linear algebra by NumPy's and SciPy's names, differentiable in both modes and to any order, on stacks of matrices."""

from functools import wraps as _wraps

import numpy as _np
from numpy.linalg import LinAlgError

from difftensor._backend import on_gpu as _on_gpu
from difftensor._backend import several_devices as _several_devices
from difftensor._backend.device import solving as _solving
from difftensor._core import PRIMITIVES as _PRIMITIVES
from difftensor.linalg._cholesky import cholesky
from difftensor.linalg._det import SlogdetResult as _SlogdetResult
from difftensor.linalg._det import det, slogdet
from difftensor.linalg._eig import eig, eigvals
from difftensor.linalg._eigh import EighResult as _EighResult
from difftensor.linalg._eigh import eigh, eigvalsh
from difftensor.linalg._functions import expm, logm, sqrtm
from difftensor.linalg._funm import funm
from difftensor.linalg._lstsq import lstsq, pinv
from difftensor.linalg._norm import cond, matrix_norm, matrix_rank, norm, vector_norm
from difftensor.linalg._polar import polar, spectral_projector
from difftensor.linalg._products import (
    cross,
    diagonal,
    matmul,
    matrix_power,
    matrix_transpose,
    multi_dot,
    outer,
    tensordot,
    trace,
    vecdot,
)
from difftensor.linalg._qr import qr
from difftensor.linalg._solve import inv, solve, tensorinv, tensorsolve
from difftensor.linalg._svd import SVDResult as _SVDResult
from difftensor.linalg._svd import svd, svdvals
from difftensor.linalg._sylvester import solve_sylvester
from difftensor.linalg._triangular import solve_triangular


def _there(name, forward):
    """`forward`, which on a GPU too raises where a factorization fails, and names its results: CuPy does neither."""

    @_wraps(forward)
    def f(*operands):
        if _several_devices():
            for x in operands:
                if _on_gpu(x[0] if x.__class__ is tuple and x else x):
                    try:
                        with _solving():
                            y = forward(*operands)
                    except LinAlgError as error:
                        raise LinAlgError(f"{_FAILURES.get(name, 'The factorization failed')}: {error}") from error
                    return _RESULTS[name](*y) if y.__class__ is tuple and name in _RESULTS else y
        return forward(*operands)

    return f


_RESULTS = {
    "_eig": type(_np.linalg.eig(_np.ones((1, 1)))),
    "_eigh": _EighResult,
    "_svd": _SVDResult,
    "_slogdet": _SlogdetResult,
}
_FAILURES = dict.fromkeys(("_solve", "_solve_vector", "inv"), "Singular matrix")  # NumPy's words
_FAILURES |= {"_cholesky": "Matrix is not positive definite", "_svd": "SVD did not converge"}
_FAILURES |= dict.fromkeys(("_eig", "_eigh"), "Eigenvalues did not converge")
for _name, _op in _PRIMITIVES.items():
    if _name.startswith("linalg."):
        _op.forward = _there(_name.removeprefix("linalg."), _op.forward)

__all__ = [
    "LinAlgError",
    "cholesky",
    "cond",
    "cross",
    "det",
    "diagonal",
    "eig",
    "eigh",
    "eigvals",
    "eigvalsh",
    "expm",
    "funm",
    "inv",
    "logm",
    "lstsq",
    "matmul",
    "matrix_norm",
    "matrix_power",
    "matrix_rank",
    "matrix_transpose",
    "multi_dot",
    "norm",
    "outer",
    "pinv",
    "polar",
    "qr",
    "slogdet",
    "solve",
    "solve_sylvester",
    "solve_triangular",
    "spectral_projector",
    "sqrtm",
    "svd",
    "svdvals",
    "tensordot",
    "tensorinv",
    "tensorsolve",
    "trace",
    "vecdot",
    "vector_norm",
]
