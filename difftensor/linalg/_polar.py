"""Polar decomposition and spectral projectors: functions of groups of singular or eigenvectors that have
derivatives.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from difftensor._backend import beside
from difftensor._core import Tensor, composition, general, operand
from difftensor.errors import DegenerateError
from difftensor.linalg import _degenerate
from difftensor.linalg._algebra import detached, eps_of, hermitian_part, identity, mH
from difftensor.linalg._eigh import eigvalsh
from difftensor.linalg._sylvester import solve_sylvester
from difftensor.linalg._triangles import as_read


def _polar_forward(a: Any) -> tuple:
    w, s, vh = np.linalg.svd(a, full_matrices=False)
    return w @ vh, hermitian_part((mH(vh) * s[..., None, :]) @ vh)


def _over_p(x: Any, p: Any, xp: Any) -> Any:
    return mH(xp.linalg.solve(p, mH(x)))


def _polar_pull(xp: Any, g: tuple, y: tuple, a: Any) -> Any:
    """A = U P, m >= n. With G = conj(c) and syl(Q) the solution of P X + X P = Q:

    dU = U syl(U^H dA - dA^H U) + (1 - U U^H) dA P^-1 and dP = syl(P U^H dA + dA^H U P), so
    G_A = U (W - W^H) + (1 - U U^H) G_U P^-1 + U P (Z + Z^H) with W = syl(U^H G_U), Z = syl(G_P).
    """
    u, p = y
    gu, gp = g
    total: Any = 0
    if gu is not None:
        gu = gu.conj()
        overlap = mH(u) @ gu
        w = solve_sylvester(p, p, overlap)
        total = u @ (w - mH(w))
        if u.shape[-2] > u.shape[-1]:
            total = total + _over_p(gu - u @ overlap, p, xp)
    if gp is not None:
        z = solve_sylvester(p, p, gp.conj())
        total = total + u @ p @ (z + mH(z))
    return total.conj()


def _polar_push(xp: Any, ts: tuple, y: tuple, a: Any) -> tuple:
    u, p = y
    t = ts[0]
    m = mH(u) @ t
    du = u @ solve_sylvester(p, p, m - mH(m))
    if u.shape[-2] > u.shape[-1]:
        du = du + _over_p(t - u @ m, p, xp)
    pm = p @ m
    return du, solve_sylvester(p, p, pm + mH(pm))


_polar = general(
    "linalg._polar", _polar_forward, _polar_pull, _polar_push, saves="y", outputs=2, numpy=None, batch="trailing"
)


@composition(name="linalg.polar")
def polar(a: Any, side: str = "right") -> tuple:
    """Polar decomposition ``a = u @ p`` (side "right") or ``a = p @ u`` ("left").

    Parameters
    ----------
    a : (..., m, n) array
        Of full rank, for the derivative.
    side : {"right", "left"}

    Returns
    -------
    u : (..., m, n) array
        With orthonormal columns (m >= n) or rows (m < n).
    p : (..., n, n) or (..., m, m) array
        Hermitian, positive semidefinite.

    Raises
    ------
    LinAlgError
        In the derivative, if `a` does not have full rank.

    Notes
    -----
    The derivative solves a Sylvester equation with sums of singular values: equal ones do no harm.

    Examples
    --------
    >>> import numpy as np, difftensor as dif
    >>> u, p = dif.linalg.polar(np.array([[0.0, -2.0], [3.0, 0.0]]))
    >>> np.allclose(p, np.diag([3.0, 2.0])) and np.allclose(u, [[0, -1], [1, 0]])
    True
    """
    a = operand(a, "linalg.polar")
    if side not in ("right", "left"):
        raise ValueError("`side` must be either 'right' or 'left'")
    tall = a.shape[-2] >= a.shape[-1]
    u, p = _polar(a if tall else mH(a))
    if not tall:
        u = mH(u)
    if tall == (side == "right"):
        return u, p
    return u, (u @ p @ mH(u) if tall else mH(u) @ p @ u)


def _projector_forward(a: Any, selected: Any) -> Any:
    _, v = np.linalg.eigh(a)
    v = v * selected[..., None, :]
    return hermitian_part(v @ mH(v))


def _projector_solve(xp: Any, p: Any, a: Any, m: Any) -> Any:
    """X = P X Q with A X - X A = P M Q, Q = 1 - P, as a regular Sylvester equation.

    P A P + s Q and Q A Q - s P have disjoint spectra for s larger than any eigenvalue, if the group and the others
    have; that X lies between P and Q follows from the equation itself.
    """
    q = identity(xp, p) - p
    size = (a * a.conj()).real.sum(axis=(-2, -1)) ** 0.5
    s = 2 * xp.where(size == 0, 1, size)[..., None, None]
    left, right = hermitian_part(p @ a @ p + s * q), hermitian_part(q @ a @ q - s * p)
    return solve_sylvester(left, -right, p @ m @ q)


def _projector_pull(xp: Any, g: Any, y: Any, a: Any, selected: Any) -> tuple:
    """[A, P] = 0 gives dP = X + X^H with A X - X A = P dA Q. The map dA -> X is self-adjoint."""
    return hermitian_part(_projector_solve(xp, y, a, (g + mH(g)).conj())).conj(), None


def _projector_push(xp: Any, ts: tuple, y: Any, a: Any, selected: Any) -> Any:
    x = _projector_solve(xp, y, a, hermitian_part(ts[0]))
    return x + mH(x)


def _projector_check(g: Any, y: Any, a: Any, selected: Any) -> None:
    w = np.linalg.eigvalsh(a)
    split = selected[..., 1:] != selected[..., :-1]
    close = w[..., 1:] - w[..., :-1] <= _degenerate.tolerance(np, w, eps_of(np, w))[..., 0]
    if bool((split & close).any()):
        value = w[..., 1:][split & close][0]
        raise DegenerateError(
            f"spectral_projector: the selection splits a group of equal eigenvalues ({value:.6g}), so the projector "
            "has no derivative. Select the whole group."
        )


# The projector on the eigenvectors of a Hermitian matrix that are selected by a mask.
projector_on = general(
    "linalg._spectral_projector",
    _projector_forward,
    _projector_pull,
    _projector_push,
    saves="yab",
    operands=2,
    check=_projector_check,
    numpy=None,
    batch="trailing",
)


@composition(name="linalg.spectral_projector")
def spectral_projector(a: Any, subset_by_index: tuple | None = None, subset_by_value: tuple | None = None) -> Any:
    """Projector on the space of some eigenvectors of a Hermitian matrix: sum of v v^H over the selected ones.

    Parameters
    ----------
    a : (..., n, n) array
        Hermitian.
    subset_by_index : (lo, hi), optional
        Selects the eigenvalues lo to hi, both included, counted from 0 in ascending order (SciPy's `eigh` has the
        same keyword).
    subset_by_value : (lo, hi), optional
        Selects the eigenvalues in the half-open interval (lo, hi].

    Returns
    -------
    (..., n, n) array

    Raises
    ------
    DegenerateError
        In the derivative, if the selection splits a group of equal eigenvalues.

    Notes
    -----
    Only the gap between the selected eigenvalues and the others matters: inside of the group they may coincide. The
    density matrix of a closed shell is such a projector.

    Examples
    --------
    >>> import numpy as np, difftensor as dif
    >>> dif.linalg.spectral_projector(np.diag([3.0, 1.0, 1.0]), subset_by_index=(0, 1))
    array([[0., 0., 0.],
           [0., 1., 0.],
           [0., 0., 1.]])
    """
    a = operand(a, "linalg.spectral_projector")
    a = as_read(a) if isinstance(a, Tensor) else a
    if subset_by_index is not None and subset_by_value is None:
        lo, hi = subset_by_index
        n = a.shape[-1]
        if not (0 <= lo <= hi < n):
            raise ValueError(f"spectral_projector: subset_by_index={subset_by_index} is not within [0, {n - 1}]")
        k = np.arange(n)
        selected = np.broadcast_to((k >= lo) & (k <= hi), a.shape[:-1])
        return projector_on(a, beside(selected, a))
    if subset_by_value is not None and subset_by_index is None:
        w = eigvalsh(detached(a))
        return projector_on(a, (w > subset_by_value[0]) & (w <= subset_by_value[1]))
    raise ValueError("spectral_projector: give one of subset_by_index=(lo, hi) and subset_by_value=(lo, hi)")
