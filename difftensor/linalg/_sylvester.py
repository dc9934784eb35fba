"""The Sylvester equation a x + x b = q: the derivative of square roots, polar factors and projectors lives in it."""

from __future__ import annotations

from typing import Any

import numpy as np

from difftensor._backend import on_gpu
from difftensor._core import general
from difftensor.errors import not_there
from difftensor.linalg._algebra import each_matrix, eps_of, fitted, is_hermitian, mH, mT


def _forward(a: Any, b: Any, q: Any) -> Any:
    if is_hermitian(a) and is_hermitian(b):
        w, u = np.linalg.eigh(a)
        z, v = np.linalg.eigh(b)
        total = w[..., :, None] + z[..., None, :]
        scale = abs(w).sum(axis=-1)[..., None, None] + abs(z).sum(axis=-1)[..., None, None]
        if bool((abs(total) <= 4 * eps_of(np, w) * scale).any()):
            raise np.linalg.LinAlgError(
                "Sylvester equation: a and -b share an eigenvalue, so a x + x b = q has no unique solution"
            )
        return u @ ((mH(u) @ q @ v) / total) @ mH(v)
    if on_gpu(q):
        raise not_there("linalg.solve_sylvester of matrices that are not Hermitian", "Schur form")
    from scipy.linalg import solve_sylvester as solve

    x = each_matrix(solve, a, b, q)
    if not bool(np.isfinite(x).all()):
        raise np.linalg.LinAlgError(
            "Sylvester equation: a and -b share an eigenvalue, so a x + x b = q has no unique solution"
        )
    return x


def _pull(xp: Any, g: Any, y: Any, a: Any, b: Any, q: Any) -> tuple:
    """a dx + dx b = dq - da x - x db: with a^T z + z b^T = g, c_q = z, c_a = -z x^T, c_b = -x^T z."""
    z = solve_sylvester(mT(a), mT(b), g)
    xt = mT(y)
    return fitted(-(z @ xt), a), fitted(-(xt @ z), b), fitted(z, q)


def _push(xp: Any, ts: tuple, y: Any, a: Any, b: Any, q: Any) -> Any:
    ta, tb, tq = ts
    r = 0 if tq is None else tq
    if ta is not None:
        r = r - ta @ y
    if tb is not None:
        r = r - y @ tb
    return solve_sylvester(a, b, r)


solve_sylvester = general(
    "linalg.solve_sylvester", _forward, _pull, _push, saves="yabc", operands=3, numpy=None, batch="trailing"
)
solve_sylvester.__doc__ = """Solve the Sylvester equation ``a @ x + x @ b = q``.

Parameters
----------
a : (..., m, m) array
b : (..., n, n) array
q : (..., m, n) array

Returns
-------
(..., m, n) array

Raises
------
LinAlgError
    If a and -b share an eigenvalue.

Notes
-----
Differentiable in all three arguments, to any order. Hermitian a and b are diagonalized; others go through SciPy's
Schur form.

Examples
--------
>>> import numpy as np, difftensor as dif
>>> dif.linalg.solve_sylvester(np.diag([1.0, 2.0]), np.eye(2), np.ones((2, 2)))
array([[0.5       , 0.5       ],
       [0.33333333, 0.33333333]])
"""
