"""Pseudo-inverses and linear least squares, with the derivative along matrices of constant rank.

G. H. Golub, V. Pereyra, "The differentiation of pseudo-inverses and nonlinear least squares problems whose variables
separate", SIAM J. Numer. Anal. 10 (1973) 413, equation (4.12).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from difftensor._backend import beside, on_gpu
from difftensor._core import Tensor, X, composition, general, operand, wrap
from difftensor.linalg._algebra import detached, eps_of, fitted, hermitian_part, mH, mT
from difftensor.linalg._polar import projector_on
from difftensor.linalg._svd import svd, svdvals
from difftensor.linalg._triangles import as_read

_NOISE = 1e-8  # cutoffs below it are for rounding: what they cut off would change derivatives by as little


def _kept_part(a: Any, kept: Any) -> Any:
    """`a` without the singular values that are not `kept`: the matrix of constant rank.

    With its large singular values alone its range and kernel turn as those of `a` do: A V V^H, where V V^H is twice
    a block of the projector on the largest eigenvalues of [[0, A], [A^H, 0]], which are the singular values and their
    negatives.
    """
    if kept.__class__ is Tensor and bool(X.all(kept)):  # inside vmap that is not known
        return a
    m, n = a.shape[-2:]
    upper = X.concatenate([X.zeros((*a.shape[:-2], m, m), a.dtype, device=a.device), a], axis=-1)
    lower = X.concatenate([mH(a), X.zeros((*a.shape[:-2], n, n), a.dtype, device=a.device)], axis=-1)
    rank = X.sum(kept, axis=-1, keepdims=True)
    selected = beside(np.arange(m + n), a) >= m + n - rank
    return 2 * a @ projector_on(X.concatenate([upper, lower], axis=-2), selected)[..., m:, m:]


def _cutoff(rtol: Any) -> Any:
    return rtol if rtol is None or np.isscalar(rtol) else np.reshape(rtol[0], rtol[1])


def _static(rtol: Any) -> Any:
    """A cutoff as a hashable parameter: None, a float, or (values, shape) of an array of them."""
    if rtol is None or np.ndim(rtol) == 0:
        return None if rtol is None else float(rtol)
    rtol = np.asarray(rtol)
    return tuple(rtol.ravel().tolist()), rtol.shape


def _pinv_forward(a: Any, rtol: Any, hermitian: bool) -> Any:
    if on_gpu(a):  # CuPy's goes by the singular values for every matrix, and reads all of it
        if hermitian:
            a = np.tril(a) + mH(np.tril(a, -1))
        cut = _cutoff(rtol)
        return np.linalg.pinv(a, cut if np.ndim(cut) == 0 else beside(cut, a))
    return np.linalg.pinv(a, _cutoff(rtol), hermitian)


def _pinv_pull(xp: Any, g: Any, y: Any, a: Any, rtol: Any, hermitian: bool) -> Any:
    """dP = -P dA P + P P^H dA^H (1 - A P) + (1 - P A) dA^H P^H P; with G = conj(c)

    G_A = -P^H G P^H + (1 - A P) G^H P P^H + P^H P G^H (1 - P A).
    """
    gh, ph = mT(g), mH(y)  # G^H = g^T
    first = ph @ mH(gh) @ ph
    second = (gh - a @ (y @ gh)) @ y @ ph
    third = ph @ y @ (gh - (gh @ y) @ a)
    total = second + third - first
    return (hermitian_part(total) if hermitian else total).conj()


def _pinv_push(xp: Any, ts: tuple, y: Any, a: Any, rtol: Any, hermitian: bool) -> Any:
    t = hermitian_part(ts[0]) if hermitian else ts[0]
    th, ph = mH(t), mH(y)
    w = th - (th @ a) @ y
    z = th - y @ (a @ th)
    return y @ (ph @ w) + (z @ ph) @ y - y @ t @ y


_pinv = general("linalg._pinv", _pinv_forward, _pinv_pull, _pinv_push, saves="yx", numpy=None, batch="trailing")


def _known_pull(xp: Any, g: Any, y: Any, a: Any, p: Any, rtol: float) -> tuple:
    return _pinv_pull(xp, g, y, a, rtol, False), None


def _known_push(xp: Any, ts: tuple, y: Any, a: Any, p: Any, rtol: float) -> Any:
    return _pinv_push(xp, ts, y, a, rtol, False)


# The pseudo-inverse of a where its value p is known already.
pinv_known = general(
    "linalg._pinv_known",
    lambda a, p, rtol: p,
    _known_pull,
    _known_push,
    saves="ya",
    operands=2,
    numpy=None,
    batch="trailing",
)


@composition(np.linalg.pinv, name="linalg.pinv")
def pinv(a: Any, rcond: Any = None, hermitian: bool = False, *, rtol: Any = np._NoValue) -> Any:
    """Moore-Penrose pseudo-inverse, as NumPy's `pinv`; its derivative is the one along matrices of the same rank.

    Parameters
    ----------
    a : (..., m, n) array
    rcond, rtol : float or (...) array, optional
        Singular values below this fraction of the largest count as zero.
    hermitian : bool
        `a` is Hermitian.

    Notes
    -----
    Where the rank changes the pseudo-inverse is not continuous. Degenerate singular values do no harm. A cutoff above
    1e-8 that cuts is taken as meant: the derivative is then that of the function with the cut, singular values that
    are cut off included, at the cost of a Hermitian eigenproblem of size m + n.
    """
    a = operand(a, "linalg.pinv")
    if rcond is not None and rtol is not np._NoValue:
        raise ValueError("`rtol` and `rcond` can't be both set.")
    if rtol is np._NoValue:
        rtol = 1e-15 if rcond is None else rcond  # NumPy's default, by tradition
    elif rtol is None:
        rtol = max(a.shape[-2:]) * eps_of(np, a)
    if isinstance(rtol, Tensor):
        rtol = np.asarray(rtol.detach().tolist())  # a parameter, wherever it lives
    if hermitian and isinstance(a, Tensor):
        a = as_read(a)
    if a.size and (np.ndim(rtol) or rtol > _NOISE) and isinstance(a, Tensor):
        values = svdvals(detached(a))
        a = _kept_part(a, values > beside(np.asarray(rtol), a)[..., None] * values[..., :1])
    return _pinv(a, _static(rtol), bool(hermitian))


def _lstsq_forward(a: Any, b: Any, p: Any, rcond: float) -> Any:
    return p @ b


def _lstsq_pull(xp: Any, g: Any, y: Any, a: Any, b: Any, p: Any, rcond: float) -> tuple:
    """x = P b, r = b - A x, dx = P (db - dA x) + P P^H dA^H r + (1 - P A) dA^H P^H x; with G = conj(c), h = P^H G

    G_b = h and G_A = -h x^H + r (P h)^H + P^H x (G - P A G)^H.
    """
    p = pinv_known(a, p, rcond)
    ph = mH(p)
    gx = g.conj()
    h = ph @ gx
    r = b - a @ y
    ga = r @ mH(p @ h) - h @ mH(y) + (ph @ y) @ mH(gx - p @ (a @ gx))
    return fitted(ga.conj(), a), fitted(h.conj(), b), None


def _lstsq_push(xp: Any, ts: tuple, y: Any, a: Any, b: Any, p: Any, rcond: float) -> Any:
    ta, tb = ts[:2]
    p = pinv_known(a, p, rcond)
    if ta is None:
        return p @ tb
    th, ph = mH(ta), mH(p)
    w = th @ (ph @ y)
    r = th @ (b - a @ y)
    d = p @ (ph @ r - ta @ y) + w - p @ (a @ w)
    return d if tb is None else d + p @ tb


_lstsq = general(
    "linalg._lstsq", _lstsq_forward, _lstsq_pull, _lstsq_push, saves="yabc", operands=3, numpy=None, batch="trailing"
)


@composition(np.linalg.lstsq, name="linalg.lstsq")
def lstsq(a: Any, b: Any, rcond: Any = None) -> tuple:
    """Least-squares solution of least norm of ``a @ x = b``, as NumPy's `lstsq`: (x, residuals, rank, singular values).

    Parameters
    ----------
    a : (m, n) array
    b : (m,) or (m, k) array
    rcond : float, optional
        Singular values below this fraction of the largest count as zero; by default the machine precision times
        max(m, n).

    Notes
    -----
    The derivative is the one along matrices of the same rank, as that of `pinv`. The residuals are differentiable, the
    rank is an integer.
    """
    a = operand(a, "linalg.lstsq")
    b = operand(b, "linalg.lstsq")
    if a.ndim != 2:
        raise np.linalg.LinAlgError(f"{a.ndim}-dimensional array given. Array must be two-dimensional")
    m, n = a.shape
    if rcond is None:
        rcond = eps_of(np, a) * max(m, n)
    vector = b.ndim == 1
    rhs = b[:, None] if vector else b
    u, s, vh = svd(a if isinstance(a, Tensor) else wrap(a), full_matrices=False)
    u, values, vh = detached(u), detached(s), detached(vh)
    kept = values > rcond * values[:1]
    if rcond > _NOISE and isinstance(a, Tensor) and a.size:
        a = _kept_part(a, kept)
    x = _lstsq(a, rhs, (mH(vh) * np.where(kept, 1 / np.where(kept, values, 1), 0)) @ mH(u), float(rcond))
    rank = kept.sum()
    if a.__class__ is Tensor or not isinstance(a, Tensor):
        rank = int(rank)
    r = rhs - a @ x
    # Inside of vmap the rank is not known; the residuals are then those of full rank.
    full = rank == n if isinstance(rank, int) else True
    residuals = (r * r.conj()).real.sum(axis=0) if full and m > n else s[:0]
    return (x[:, 0] if vector else x), residuals, rank, s
