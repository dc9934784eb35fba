"""QR factorization in every mode."""

from __future__ import annotations

from typing import Any

import numpy as np

from difftensor._core import composition, general, operand
from difftensor.errors import DegenerateError, MissingDerivativeError
from difftensor.linalg import _lapack
from difftensor.linalg._algebra import diagonal, eps_of, identity, is_complex, lower_half, mH, mT
from difftensor.linalg._solve import inv
from difftensor.linalg._svd import _folded, _unfolded
from difftensor.linalg._triangular import solve_lower_or_upper

_SMALL = 64  # size up to which the inverse is faster than a triangular solve


_LARGE = 32  # size from which NumPy's copies cost more than the calls of LAPACK by hand


def _forward(a: Any, complete: bool) -> Any:
    if a.__class__ is np.ndarray and a.ndim == 2 and a.shape[0] >= a.shape[1] >= _LARGE and not complete:
        if _lapack.qr_available(a.dtype):
            return _lapack.qr(a)
    return np.linalg.qr(a, "complete" if complete else "reduced")


def _over_r(x: Any, r: Any) -> Any:
    """``x @ r^-H``, r upper triangular."""
    if x.__class__ is r.__class__ is np.ndarray and x.ndim == r.ndim == 2 and x.dtype == r.dtype and r.size:
        if _lapack.triangular_available(r.dtype):
            if len(r) <= _SMALL:
                return x @ mH(_lapack.triangular_inverse(r, False))
            return mH(_lapack.triangular_solve(r, mH(x), False))
    if r.shape[-1] <= _SMALL:
        return x @ mH(inv(r))
    return mH(solve_lower_or_upper(r, mH(x), False))


def _pull(xp: Any, g: tuple, y: tuple, a: Any, complete: bool) -> Any:
    """G_A = (G_Q + Q copyltu(R G_R^H - G_Q^H Q)) R^-H.

    copyltu(M) = tril(M,-1) + tril(M,-1)^H + Re diag(M), since R has a real diagonal.
    Walter, Lehmann, "Algorithmic differentiation of linear algebra functions with application in optimum experimental
    design", section 2.3 (2010), for the real case.
    """
    q, r = y
    gq, gr = g
    k = r.shape[-1]
    r1 = r[..., :k, :]
    # Only the lower triangle of m is used, and that takes nothing from below the diagonal of G_R.
    m: Any = 0 if gr is None else r1 @ mT(gr[..., :k, :])
    if gq is not None:
        q, gq = _folded(q, gq.conj(), k)
        m = m - mH(gq) @ q
    else:
        q = q[..., :k]
    low = lower_half(xp, m)
    inner = low + mH(low)
    total = q @ inner
    if gq is not None:
        total = total + gq
    return _over_r(total, r1).conj()


def _push(xp: Any, ts: tuple, y: tuple, a: Any, complete: bool) -> tuple:
    """With C = Q^H dA R^-1 and W = tril(C,-1) - tril(C,-1)^H + i Im diag(C):

    dQ = Q W + (1 - Q Q^H) dA R^-1 and dR = (C - W) R.
    """
    qf, rf = y
    k = rf.shape[-1]
    q, r = qf[..., :k], rf[..., :k, :]
    t = mH(solve_lower_or_upper(mH(r), mH(ts[0]), True))
    c = mH(q) @ t
    low = xp.tril(c, -1)
    w = low - mH(low)
    if is_complex(c):
        w = w + identity(xp, c) * (1j * diagonal(xp, c).imag)[..., None]
    dq = q @ w + (t - q @ c)
    dr = xp.triu((c - w) @ r)
    if rf.shape[-2] > k:
        dr = xp.concatenate((dr, rf[..., k:, :] * 0), axis=-2)
    return _unfolded(xp, qf, q, dq), dr


def _check(g: tuple | None, y: tuple, a: Any, complete: bool) -> None:
    q, r = y
    k, eps = r.shape[-1], eps_of(np, r)
    pivots = abs(diagonal(np, r))
    if k and bool((pivots.min(axis=-1) <= 8 * r.shape[-2] * eps * pivots.max(axis=-1)).any()):
        raise DegenerateError(
            "qr: the leading columns of the matrix are linearly dependent, so Q and R have no derivative. "
            "Use pinv, lstsq or svd, or reorder the columns."
        )
    if g is not None and g[0] is not None and q.shape[-1] > k:
        x, gx = q[..., k:], g[0][..., k:]
        turn = mH(x) @ gx.conj()
        if bool(
            (
                abs(turn - mH(turn)) > 1e3 * q.shape[-2] * eps * (abs(gx).sum(axis=(-2, -1))[..., None, None] + 1e-300)
            ).any()
        ):
            raise DegenerateError(
                "qr with mode='complete': the result depends on the choice of the extra columns of Q, which "
                "is arbitrary, so it has "
                "no derivative. Use mode='reduced', or a function of the space that they span (its projector)."
            )


_qr = general("linalg._qr", _forward, _pull, _push, saves="y", outputs=2, check=_check, numpy=None, batch="trailing")


@composition(np.linalg.qr, name="linalg.qr")
def qr(a: Any, mode: str = "reduced") -> Any:
    """QR factorization ``a = q @ r``, as NumPy's `qr`.

    Parameters
    ----------
    a : (..., m, n) array
    mode : {"reduced", "complete", "r", "raw"}
        As NumPy. "raw" (Householder vectors) has no derivative.

    Returns
    -------
    QRResult or array
        ``Q`` and ``R``; R alone for mode "r".

    Raises
    ------
    DegenerateError
        In the derivative, if the first min(m, n) columns are dependent, or if the result depends on the arbitrary
        choice of the extra columns in mode "complete".

    Notes
    -----
    For wide matrices ``a = [b c]`` with b square, Q and R_1 are those of b, and R = [R_1, Q^H c]. R has a real
    diagonal.
    """
    a = operand(a, "linalg.qr")
    if mode in ("raw", "r", "reduced", "complete"):
        pass
    else:
        raise ValueError(f"Unrecognized mode '{mode}'")
    if mode == "raw":
        if a.requires_grad:
            raise MissingDerivativeError(
                "qr: mode='raw' has no derivative; use mode='reduced', 'complete' or 'r', or a.detach()."
            )
        return np.linalg.qr(a.numpy(), "raw")
    m, n = a.shape[-2:]
    if n > m:
        q, r = _qr(a[..., :m], False)
        r = np.concatenate((r, mH(q) @ a[..., m:]), axis=-1)
    else:
        q, r = _qr(a, mode == "complete" and m > n)
    return r if mode == "r" else QRResult(q, r)


QRResult = type(np.linalg.qr(np.ones((1, 1))))
