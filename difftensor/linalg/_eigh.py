"""Eigenvalues and eigenvectors of Hermitian matrices, ordinary and generalized."""

from __future__ import annotations

from typing import Any

import numpy as np

from difftensor._core import Tensor, composition, general, operand
from difftensor._core.sweeping import concrete
from difftensor.linalg import _degenerate
from difftensor.linalg._algebra import (
    diagonal,
    eps_of,
    hermitian_part,
    identity,
    is_complex,
    mH,
    mT,
    with_columns_scaled,
)
from difftensor.linalg._cholesky import cholesky
from difftensor.linalg._triangles import as_read
from difftensor.linalg._triangular import solve_lower_or_upper


def _forward(a: Any, uplo: str, strict: bool) -> Any:
    return np.linalg.eigh(a, uplo)


def _pull(xp: Any, g: tuple, y: tuple, a: Any, uplo: str, strict: bool) -> Any:
    """dw = diag(V^H dA V) and dV = V (F * V^H dA V) with F_ij = 1 / (w_j - w_i), zero inside a group.

    With G = conj(c): G_A = V (diag(G_w) + F * V^H G_V) V^H, made Hermitian.
    """
    w, v = y
    gw, gv = g
    if gv is None:
        return (with_columns_scaled(v.conj(), gw)) @ mT(v)
    gap, same = _degenerate.gaps(xp, w, eps_of(xp, w))
    inner = _degenerate.outside(xp, same, (mH(v) @ gv.conj()) / gap, strict)
    if gw is not None:
        inner = inner + identity(xp, inner) * gw[..., None]
    return (v @ hermitian_part(inner) @ mH(v)).conj()


def _push(xp: Any, ts: tuple, y: tuple, a: Any, uplo: str, strict: bool) -> tuple:
    w, v = y
    gap, same = _degenerate.gaps(xp, w, eps_of(xp, w))
    m = mH(v) @ hermitian_part(ts[0]) @ v
    tangents = diagonal(xp, m).real, v @ _degenerate.outside(xp, same, m / gap, strict)
    return _degenerate.guarded(tangents, 0, lambda: _distinct(concrete(w), None)) if strict else tangents


def _distinct(w: Any, gv: Any) -> None:
    eps = eps_of(np, w)
    if not _degenerate.apart(w, eps):
        _degenerate.vectors("eigh", w, gv, _degenerate.gaps(np, w, eps)[1])


def _check(g: tuple | None, y: tuple, a: Any, uplo: str, strict: bool) -> None:
    if g is None or g[1] is None or not strict:
        return
    (w, v), gv = y, g[1]
    _distinct(w, gv)
    if is_complex(v):
        _degenerate.phases("eigh", (v * gv).sum(axis=-2).imag, abs(gv).sum(axis=-2), eps_of(np, w))


_eigh = general(
    "linalg._eigh", _forward, _pull, _push, saves="y", outputs=2, check=_check, numpy=None, batch="trailing"
)


@composition(name="linalg.eigh", also=(np.linalg.eigh,))
def eigh(a: Any, UPLO: str = "L", *, b: Any = None, degenerate: str = "raise") -> Any:  # noqa: N803 - NumPy's name
    """Eigenvalues, ascending, and eigenvectors of a Hermitian matrix, or of the problem ``a v = w b v``.

    Parameters
    ----------
    a : (..., n, n) array
        Hermitian; NumPy reads the triangle `UPLO`. Derivatives are those of the function of Hermitian matrices; of an
        `a` that is not Hermitian only that triangle has a gradient.
    UPLO : {"L", "U"}
        The triangle that is read.
    b : (..., n, n) array, optional
        Hermitian and positive definite: the generalized problem, with eigenvectors normalized to v^H b v = 1.
    degenerate : {"raise", "zero"}
        What to do when a derivative of vectors inside a group of equal eigenvalues is asked for: raise, or leave
        the rotations inside the group out, which is right for first derivatives of functions of the group's projector;
        higher ones raise.

    Returns
    -------
    EighResult
        ``eigenvalues`` (..., n) and ``eigenvectors`` (..., n, n).

    Raises
    ------
    DegenerateError
        In the derivative, if it reaches the vectors of a degenerate group, or depends on the phases of complex vectors.

    Notes
    -----
    dw = diag(V^H dA V); dV = V (F * V^H dA V), F_ij = 1 / (w_j - w_i). Functions of the eigenvalues alone that treat
    equal ones alike are right at degenerate spectra too.

    Examples
    --------
    >>> import numpy as np, difftensor as dif
    >>> a = np.array([[2.0, 1.0], [1.0, 2.0]])
    >>> dif.grad(lambda a: np.linalg.eigh(a).eigenvalues[0])(a)
    array([[ 0.5, -0.5],
           [-0.5,  0.5]])
    """
    a = operand(a, "linalg.eigh")
    uplo = UPLO.upper()
    if uplo not in ("L", "U"):
        raise ValueError("UPLO argument must be 'L' or 'U'")
    strict = _degenerate.choice(degenerate)
    if b is None:
        return _eigh(as_read(a, uplo), uplo, strict) if isinstance(a, Tensor) else np.linalg.eigh(a, uplo)
    # b = L L^H turns a v = w b v into C z = w z with C = L^-1 a L^-H and v = L^-H z.
    if uplo == "U":
        a, b = mH(a), mH(b)
    low = cholesky(b)
    a = np.tril(a) + mH(np.tril(a, -1))
    c = solve_lower_or_upper(low, mH(solve_lower_or_upper(low, a, True)), True)
    w, z = _eigh(c, "L", strict)
    return EighResult(w, solve_lower_or_upper(mH(low), z, False))


@composition(name="linalg.eigvalsh", also=(np.linalg.eigvalsh,))
def eigvalsh(a: Any, UPLO: str = "L", *, b: Any = None) -> Any:  # noqa: N803 - NumPy's name
    """Eigenvalues of a Hermitian matrix, ascending; see `eigh`. Right at degenerate spectra for symmetric
    functions of them.

    Notes
    -----
    The third derivative of one eigenvalue asks for the vectors of all others, and raises where some of those coincide.
    ``trace(a @ spectral_projector(a, (k, k)))`` is the k-th eigenvalue with derivatives of every order there.
    """
    return eigh(a, UPLO, b=b)[0] if b is not None or isinstance(a, Tensor) else np.linalg.eigvalsh(a, UPLO)


EighResult = type(np.linalg.eigh(np.ones((1, 1))))
