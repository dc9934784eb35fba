"""Determinants. The derivative of det is the cofactor matrix, which exists for singular matrices too."""

from __future__ import annotations

from typing import Any

import numpy as np

from difftensor._core import composition, general, operand
from difftensor.errors import DegenerateError
from difftensor.linalg import _factor, _small
from difftensor.linalg._algebra import eps_of, fitted, identity, mH, mT
from difftensor.linalg._solve import inv, inverse_transposed

_SMALLEST = 32  # size from which one factorization pays: for value and inverse NumPy makes three


def _det_forward(a: Any, keep: Any) -> Any:
    if _factor.serves(keep, a):
        return keep.of(a).det
    return _small.det(a) if _small.applies(a) else np.linalg.det(a)


def _det_pull(xp: Any, g: Any, y: Any, a: Any, keep: Any) -> Any:
    return _scaled(g, _cofactors(a, keep, y) if xp is np else cofactor(a, keep))


def _det_push(xp: Any, ts: tuple, y: Any, a: Any, keep: Any) -> Any:
    return (cofactor(a, keep) * ts[0]).sum(axis=(-2, -1))


def _scaled(g: Any, x: Any) -> Any:
    return g[..., None, None] * x


_det = general("linalg._det", _det_forward, _det_pull, _det_push, saves="x", numpy=None, batch="trailing")


@composition(np.linalg.det, name="linalg.det")
def det(a: Any) -> Any:
    """Determinant. Its derivative, the matrix of cofactors, is right for singular matrices too, at second order
    as well.
    """
    a = operand(a, "linalg.det")
    return _det(a, _factor.factors_for(a, _SMALLEST))


def _singular_basis(a: Any) -> tuple:
    """a = U diag(s) V^H, with det(U V^H): then det(a + U E V^H) = det(U V^H) det(diag(s) + E)."""
    u, s, vh = np.linalg.svd(a)
    return u, s, vh, np.linalg.det(u) * np.linalg.det(vh)


def _without_one(s: Any) -> Any:
    """Products of all entries of the last axis but one: no division, so zeros do no harm."""
    one = np.ones_like(s[..., :1])
    before = np.concatenate((one, s[..., :-1]), axis=-1).cumprod(axis=-1)
    after = np.concatenate((one, s[..., :0:-1]), axis=-1).cumprod(axis=-1)[..., ::-1]
    return before * after


def _without_two(s: Any) -> Any:
    """Products of all entries of the last axis but two, in a symmetric matrix with zeros on its diagonal."""
    n = s.shape[-1]
    w = np.zeros_like(s, shape=(*s.shape, n))
    for i in range(n):
        rest = s.copy()
        rest[..., i] = 1
        w[..., i, :] = _without_one(rest)
        w[..., i, i] = 0
    return w


def _well_conditioned(a: Any) -> Any:
    """Inverses if every matrix of the stack is far from singular, else None."""
    try:
        b = np.linalg.inv(a)
    except np.linalg.LinAlgError:
        return None
    return b if _far_from_singular(a, b) else None


def _far_from_singular(a: Any, b: Any) -> bool:
    """Is the condition number below 1/sqrt(eps), so that the inverses `b` have half of their digits at least?"""
    if a.size == 0:
        return True
    if a.ndim == 2:  # Frobenius norms, one call each
        a, b = a.ravel(order="K"), b.ravel(order="K")
        bound = np.sqrt(np.vdot(a, a).real) * np.sqrt(np.vdot(b, b).real)
        return bool(bound * eps_of(np, a) ** 0.5 < 1)
    a, b = abs(a), abs(b)
    bound = (a * a).sum(axis=(-2, -1)) * (b * b).sum(axis=(-2, -1))
    return bool((bound * eps_of(np, a) < 1).all())


def _cofactor_forward(a: Any, keep: Any) -> Any:
    return _cofactors(a, keep, None)


def _cofactors(a: Any, keep: Any, d: Any) -> Any:
    """Matrices of cofactors; `d`: the determinants, if they are known."""
    if 0 < a.shape[-1] <= _small.LARGEST and a.dtype.kind in "fc":
        return _small.cofactor(a)
    if _factor.serves(keep, a):
        found = keep.of(a)
        if not found.singular():
            it = found.inverse_transposed()
            if _far_from_singular(a, mT(it)):
                return found.det * it
        return _by_singular_values(a)
    b = _well_conditioned(a)
    return _by_singular_values(a) if b is None else _scaled(np.linalg.det(a) if d is None else d, mT(b))


def _by_singular_values(a: Any) -> Any:
    u, s, vh, d = _singular_basis(a)
    w = _without_one(s)
    return d[..., None, None] * ((u.conj() * w[..., None, :]) @ vh.conj())


def _cofactor_pull(xp: Any, g: Any, y: Any, a: Any, keep: Any) -> Any:
    """The second derivative of det is symmetric, so pull and push are the same map."""
    return cofactor_along(a, g)


def _cofactor_push(xp: Any, ts: tuple, y: Any, a: Any, keep: Any) -> Any:
    return cofactor_along(a, ts[0])


cofactor = general(
    "linalg._cofactor", _cofactor_forward, _cofactor_pull, _cofactor_push, saves="x", numpy=None, batch="trailing"
)


def _along_forward(a: Any, t: Any) -> Any:
    """Second derivative of det.

    In the singular basis D_ii = sum_j w_ij E_jj and D_ij = -w_ij E_ji, with w_ij the product of the other s.
    """
    if 0 < a.shape[-1] <= _small.LARGEST and a.dtype == t.dtype and a.dtype.kind in "fc":
        return _small.cofactor_along(a, t)
    b = _well_conditioned(a)
    if b is not None:
        return _second(np, np.linalg.det(a), b, t)
    u, s, vh, d = _singular_basis(a)
    w = _without_two(s)
    e = mH(u) @ t @ mH(vh)
    m = -w * mT(e)
    diagonal = (w * np.diagonal(e, axis1=-2, axis2=-1)[..., None, :]).sum(axis=-1)
    m = m + diagonal[..., None] * identity(np, m)
    return d[..., None, None] * (u.conj() @ m @ vh.conj())


def _second(xp: Any, d: Any, b: Any, t: Any) -> Any:
    """det (tr(B t) B^T - (B t B)^T) with B the inverse."""
    bt = b @ t
    return _scaled(d, _scaled((b * mT(t)).sum(axis=(-2, -1)), mT(b)) - mT(bt @ b))


def _along_check(g: Any, y: Any, a: Any, t: Any) -> None:
    if a.shape[-1] > _small.LARGEST and _well_conditioned(a) is None:
        raise DegenerateError(
            "det: the third derivative at a matrix that is singular to working precision is not available for n > 3; "
            "the first and second are."
        )


def _along_pull(xp: Any, g: Any, y: Any, a: Any, t: Any) -> tuple:
    """Linear and symmetric in t; the third derivative in a is taken from the formula with the inverse."""
    return _third(xp, a, t, g), cofactor_along(a, g)


def _third(xp: Any, a: Any, t: Any, g: Any) -> Any:
    """Gradient in a of f = <g, second(a, t)> = det (p q - r) with p = tr(Bt), q = tr(Bg), r = tr(BtBg), B the inverse.

    d det = det tr(B da) and dB = -B da B give
    df = det tr([(p q - r) B - q B t B - p B g B + B t B g B + B g B t B] da).
    """
    if a.shape[-1] <= _small.LARGEST:
        return _third_small(xp, a, t, g)
    b = inv(a)
    bt, bg = b @ t, b @ g
    p, q, r = (b * mT(t)).sum(axis=(-2, -1)), (b * mT(g)).sum(axis=(-2, -1)), (bt * mT(bg)).sum(axis=(-2, -1))
    btb, bgb = bt @ b, bg @ b
    m = _scaled(p * q - r, b) - _scaled(q, btb) - _scaled(p, bgb) + bt @ bgb + bg @ btb
    return _scaled(det(a), mT(m))


def _third_small(xp: Any, a: Any, t: Any, g: Any) -> Any:
    """For n = 3 the third derivative of det does not depend on a: it is the cofactor derivative at t along g."""
    if a.shape[-1] < 3:
        return a * 0
    return cofactor_along(t, g)


def _along_push(xp: Any, ts: tuple, y: Any, a: Any, t: Any) -> Any:
    ta, tt = ts
    s = None if tt is None else cofactor_along(a, tt)
    if ta is None:
        return s
    d = _third(xp, a, t, ta)
    return d if s is None else s + d


cofactor_along = general(
    "linalg._cofactor_along",
    _along_forward,
    _along_pull,
    _along_push,
    saves="ab",
    operands=2,
    check=_along_check,
    numpy=None,
    batch="trailing",
)


def _slogdet_forward(a: Any, keep: Any) -> Any:
    return SlogdetResult(*keep.of(a).sign_and_log()) if _factor.serves(keep, a) else np.linalg.slogdet(a)


def _slogdet_pull(xp: Any, g: tuple, y: tuple, a: Any, keep: Any) -> Any:
    """With tau = tr(A^-1 dA): d log|det| = Re tau and, for complex matrices, d sign = i sign Im tau."""
    it = inverse_transposed(a, keep)
    gs, gl = g
    if it.dtype.kind != "c":
        return it * 0 if gl is None else _scaled(gl, it)
    z: Any = 0
    if gs is not None:
        z = (gs * y[0]).imag * 1j
    if gl is not None:
        z = gl + z
    return fitted(_scaled(z, it), a)


def _slogdet_push(xp: Any, ts: tuple, y: tuple, a: Any, keep: Any) -> tuple:
    it = inverse_transposed(a, keep)
    tau = (it * ts[0]).sum(axis=(-2, -1))
    if it.dtype.kind != "c":
        return tau * 0, tau
    return 1j * y[0] * tau.imag, tau.real


_slogdet = general(
    "linalg._slogdet",
    _slogdet_forward,
    _slogdet_pull,
    _slogdet_push,
    saves="yx",
    outputs=2,
    numpy=None,
    batch="trailing",
)


@composition(np.linalg.slogdet, name="linalg.slogdet")
def slogdet(a: Any) -> Any:
    """Sign and logarithm of the absolute value of the determinant."""
    a = operand(a, "linalg.slogdet")
    return _slogdet(a, _factor.factors_for(a, _SMALLEST))


SlogdetResult = type(np.linalg.slogdet(np.ones((1, 1))))
