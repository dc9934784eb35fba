"""Linear algebra by NumPy's and SciPy's names, differentiable in both modes and to any order, on stacks of matrices."""

from numpy.linalg import LinAlgError

from difftensor.linalg._cholesky import cholesky
from difftensor.linalg._det import det, slogdet
from difftensor.linalg._eig import eig, eigvals
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
from difftensor.linalg._svd import svd, svdvals
from difftensor.linalg._sylvester import solve_sylvester
from difftensor.linalg._triangular import solve_triangular

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
