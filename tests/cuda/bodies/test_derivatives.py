"""tests/linalg/test_derivatives.py on the device."""

from tests.linalg.test_derivatives import *  # noqa: F403

HOST = {
    "test_square[sqrtm": "CuPy has no Schur form",
    "test_square[logm": "CuPy has no Schur form",
    "test_sylvester": "CuPy has no Schur form",
    "test_eig": "sorted by NumPy",
    "test_polar": "beside SciPy",
    "test_generalized_eigh": "beside SciPy",
}
LONG = ("lead1", "lead2", "funm")  # what differs from the quick tier by the shape of the stack
