"""Singular values and vectors."""

from __future__ import annotations

from typing import Any

import numpy as np

from difftensor._core import Tensor, composition, general, operand
from difftensor._core.sweeping import concrete
from difftensor.errors import DegenerateError
from difftensor.linalg import _degenerate
from difftensor.linalg._algebra import detached, diagonal, eps_of, identity, is_complex, mH, with_columns_scaled
from difftensor.linalg._eigh import eigh
from difftensor.linalg._triangles import as_read


def _forward(a: Any, full: bool, strict: bool) -> Any:
    return np.linalg.svd(a, full_matrices=full)


def _zero(s: Any, eps: float) -> Any:
    """Mask of the singular values that are zero to working precision."""
    return s <= 8 * eps * s.sum(axis=-1)[..., None]


def _folded(x: Any, gx: Any, k: int) -> tuple:
    """The first k columns of an orthogonal matrix and the cotangent G that reaches them.

    The others span the complement and turn with it, dX2 = -X1 dX1^H X2: their cotangent acts as -X2 G2^H X1 on the
    first.
    """
    if x.shape[-1] == k:
        return x, gx
    x1, x2 = x[..., :k], x[..., k:]
    return x1, gx[..., :k] - x2 @ (mH(gx[..., k:]) @ x1)


def _skew(x: Any) -> Any:
    return x - mH(x)


def _pull(xp: Any, g: tuple, y: tuple, a: Any, full: bool, strict: bool) -> Any:
    """A = U S V^H. With G = conj(c), E_ij = s_j^2 - s_i^2 and skew(X) = X - X^H:

    G_A = U [skew(U^H G_U)/E S + S skew(V^H G_V)/E + diag(G_S)] V^H
          + (1 - U U^H) G_U S^-1 V^H + U S^-1 G_V^H (1 - V V^H).
    A singular value of zero is a kink like that of abs: its derivative counts as 0.
    """
    u, s, vh = y
    gu, gs, gvh = g
    k = s.shape[-1]
    eps = eps_of(xp, s)
    zero = _zero(s, eps)
    inverse = xp.where(zero, 0, 1 / xp.where(zero, 1, s))
    v = mH(vh)
    m = 0
    ends: list[Any] = []
    if gu is not None or gvh is not None:
        # s_j^2 - s_i^2 = (s_j - s_i)(s_j + s_i) keeps its digits for close values.
        gap, same = _degenerate.gaps(xp, s, eps)
        e = gap * (s[..., None, :] + s[..., :, None])
        e = xp.where(same, 1, e)
    if gu is not None:
        u, gu = _folded(u, gu.conj(), k)
        overlap = mH(u) @ gu
        m = m + with_columns_scaled(_degenerate.outside(xp, same, _skew(overlap) / e, strict), s)
        if is_complex(u):
            m = m + identity(xp, overlap) * ((1j * diagonal(xp, overlap).imag) * inverse)[..., None]
        if u.shape[-2] > k:
            ends.append(with_columns_scaled(gu - u @ overlap, inverse) @ vh[..., :k, :])
    else:
        u = u[..., :k]
    if gvh is not None:
        v, gv = _folded(v, mH(gvh.conj()), k)
        overlap = mH(v) @ gv
        m = m + s[..., None] * _degenerate.outside(xp, same, _skew(overlap) / e, strict)
        if v.shape[-2] > k:
            ends.append(u @ mH(with_columns_scaled(gv - v @ overlap, inverse)))
    else:
        v = v[..., :k]
    if gs is not None:
        gs = xp.where(zero, 0, gs)
        if gu is None and gvh is None:
            return (with_columns_scaled(u, gs) @ mH(v)).conj()
        m = m + identity(xp, m) * gs[..., None]
    total = u @ m @ mH(v)
    for end in ends:
        total = total + end
    return total.conj()


def _push(xp: Any, ts: tuple, y: tuple, a: Any, full: bool, strict: bool) -> tuple:
    """dU = U (F * (dP S + S dP^H)) + (1 - U U^H) dA V S^-1 with dP = U^H dA V, F_ij = 1 / (s_j^2 - s_i^2); V alike."""
    uf, s, vhf = y
    t = ts[0]
    k = s.shape[-1]
    u, v = uf[..., :k], mH(vhf)[..., :k]
    eps = eps_of(xp, s)
    zero = _zero(s, eps)
    inverse = xp.where(zero, 0, 1 / xp.where(zero, 1, s))
    gap, same = _degenerate.gaps(xp, s, eps)
    e = xp.where(same, 1, gap * (s[..., None, :] + s[..., :, None]))
    p = mH(u) @ t @ v
    ps, sp = with_columns_scaled(p, s), s[..., None] * p
    ku = _degenerate.outside(xp, same, (ps + mH(ps)) / e, strict)
    if is_complex(p):
        ku = ku + identity(xp, p) * (1j * diagonal(xp, p).imag * inverse)[..., None]
    du = u @ ku
    dv = v @ _degenerate.outside(xp, same, (sp + mH(sp)) / e, strict)
    if u.shape[-2] > k:
        du = du + with_columns_scaled(t @ v - u @ p, inverse)
    if v.shape[-2] > k:
        dv = dv + with_columns_scaled(mH(t) @ u - v @ mH(p), inverse)
    ds = xp.where(zero, 0, diagonal(xp, p).real)
    tangents = _unfolded(xp, uf, u, du), ds, mH(_unfolded(xp, mH(vhf), v, dv))
    return _degenerate.guarded(tangents, 1, lambda: _forward_check(concrete(s), t.shape)) if strict else tangents


def _forward_check(s: Any, shape: tuple) -> None:
    eps = eps_of(np, s)
    if not _degenerate.apart(s, eps):
        _degenerate.vectors("svd", s, None, _degenerate.gaps(np, s, eps)[1])
    if shape[-1] != shape[-2]:
        _no_null_vectors(_zero(s, eps))


def _no_null_vectors(reached: Any) -> None:
    if bool(reached.any()):
        raise DegenerateError(
            "svd: the derivative of the vectors of a singular value zero of a rectangular matrix does not exist. "
            f"Use a function that is differentiable there: {_degenerate.RIGHT_THERE} of difftensor.linalg."
        )


def _unfolded(xp: Any, full: Any, x: Any, dx: Any) -> Any:
    k = x.shape[-1]
    if full.shape[-1] == k:
        return dx
    return xp.concatenate((dx, -(x @ (mH(dx) @ full[..., k:]))), axis=-1)


def _check(g: tuple | None, y: tuple, a: Any, full: bool, strict: bool) -> None:
    u, s, vh = y
    gu, _, gvh = g or (None, None, None)
    if (gu is None and gvh is None) or not strict:
        return
    k, eps = s.shape[-1], eps_of(np, s)
    same = None if _degenerate.apart(s, eps) else _degenerate.gaps(np, s, eps)[1]
    zero = _zero(s, eps)
    phase = 0
    scale = 0
    for x, gx in ((u, gu), (mH(vh), None if gvh is None else mH(gvh))):
        if gx is None:
            continue
        if same is not None:
            _degenerate.vectors("svd", s, gx[..., :k], same)
        if x.shape[-2] > k:
            _no_null_vectors(zero & (gx[..., :k] != 0).any(axis=-2))
        if x.shape[-1] > k:
            _complement(x[..., k:], gx[..., k:], eps)
        phase = phase + (x[..., :k] * gx[..., :k]).sum(axis=-2).imag
        scale = scale + abs(gx[..., :k]).sum(axis=-2)
    if is_complex(u):
        _degenerate.phases("svd", phase, scale, eps)


def _complement(x: Any, g: Any, eps: float) -> None:
    """Raise if the function depends on the choice of the extra columns inside the space that they span."""
    turn = mH(x) @ g.conj()
    turn = turn - mH(turn)
    if bool((abs(turn) > 1e3 * x.shape[-2] * eps * (abs(g).sum(axis=(-2, -1))[..., None, None] + 1e-300)).any()):
        raise DegenerateError(
            "svd with full_matrices=True: the result depends on the choice of the extra columns, which is "
            "arbitrary, so it has no "
            "derivative. Use full_matrices=False, or a function of the space that they span (its projector)."
        )


_svd = general("linalg._svd", _forward, _pull, _push, saves="y", outputs=3, check=_check, numpy=None, batch="trailing")


@composition(name="linalg.svd", also=(np.linalg.svd,))
def svd(
    a: Any, full_matrices: bool = True, compute_uv: bool = True, hermitian: bool = False, *, degenerate: str = "raise"
) -> Any:
    """Singular value decomposition ``a = u @ diag(s) @ vh``, as NumPy's `svd`.

    Parameters
    ----------
    a : (..., m, n) array
    full_matrices : bool
        Square u and vh. Their extra columns span the complement; a function of that space has a derivative, one of the
        columns themselves raises.
    compute_uv : bool
        False: only the singular values.
    hermitian : bool
        `a` is Hermitian: computed from `eigh`.
    degenerate : {"raise", "zero"}
        As for `eigh`.

    Returns
    -------
    SVDResult or array
        ``U``, ``S`` (descending), ``Vh``; or the singular values.

    Raises
    ------
    DegenerateError
        In the derivative: of vectors of equal singular values, of a zero one of a rectangular matrix, or of a
        function that depends on the arbitrary phases of complex vectors.

    Notes
    -----
    dS = Re diag(U^H dA V). A singular value of zero is a kink, with derivative 0. Symmetric functions of the singular
    values are right where values coincide.
    """
    a = operand(a, "linalg.svd")
    strict = _degenerate.choice(degenerate)
    if not isinstance(a, Tensor):
        return np.linalg.svd(a, full_matrices, compute_uv, hermitian)
    if hermitian:
        if a.__class__ is Tensor:
            return _hermitian(a, compute_uv, degenerate)
        a = as_read(a)  # inside of vmap the general algorithm serves
    if not compute_uv:
        return _svd(a, False, strict)[1]
    return _svd(a, bool(full_matrices), strict)


def _hermitian(a: Any, compute_uv: bool, degenerate: str) -> Any:
    """From a = V diag(w) V^H: s = |w| descending, u = V, vh = sign(w) V^H."""
    w, v = eigh(a, degenerate=degenerate)
    values = detached(w)
    order = np.argsort(-abs(values), axis=-1)
    s = np.take_along_axis(abs(w), order, axis=-1)
    if not compute_uv:
        return s
    u = np.take_along_axis(v, order[..., None, :], axis=-1)
    sign = np.take_along_axis(np.where(values < 0, -1.0, 1.0).astype(values.dtype), order, axis=-1)
    return SVDResult(u, s, mH(u * sign[..., None, :]))


@composition(np.linalg.svdvals, name="linalg.svdvals")
def svdvals(x: Any, /) -> Any:
    """Singular values, descending. Right where they coincide, for symmetric functions of them; 0 is a kink."""
    x = operand(x, "linalg.svdvals")
    return _svd(x, False, True)[1]


SVDResult = type(np.linalg.svd(np.ones((1, 1))))
