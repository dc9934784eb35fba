"""Logistic functions and logarithms of sums of exponentials."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.special

from difftensor._backend import on_gpu
from difftensor._core import Tensor, X, composition, general, operand
from difftensor._ops.reductions import axes_of, constant, spread
from difftensor.special._declare import one

expit = one("expit", lambda xp, g, y, x: g * (y * (1 - y)), "y")
logit = one("logit", lambda xp, g, y, x: g / (x * (1 - x)), "x", samples=[(0.1, 0.9)])
log_expit = one("log_expit", lambda xp, g, y, x: g * expit(-x), "x")


def _forward(x: Any, axes: tuple, keepdims: bool) -> Any:
    """log sum exp, shifted by the largest term; infinities as they are.

    Where one term is much larger than the others, the logarithm is that of 1 plus them.
    """
    top = x.max(axis=axes, keepdims=True)
    top = np.where(np.isfinite(top), top, 0)
    with np.errstate(divide="ignore", over="ignore"):
        terms = np.exp(x - top)
        total = np.add.reduce(terms, axes, keepdims=True)
        y = np.log(total)
        one = (total >= 1) & (total < 1.5)
        if on_gpu(x) or one.any():
            y = np.where(one, np.log1p(np.add.reduce(np.where(x == top, 0, terms), axes, keepdims=True)), y)
    y = (y + top).astype(x.dtype)
    n = x.ndim
    return y if keepdims else y.reshape(tuple(k for i, k in enumerate(x.shape) if i - n not in axes))[()]


def _weights(xp: Any, y: Any, x: Any, axes: tuple, keepdims: bool) -> Any:
    """exp(x - y), the softmax; where the sum is infinite 1 for the infinite terms, where it is zero 0.

    Divided by their sum, which is 1 but for the rounding of y: that is y eps, and grows with y.
    """
    y = spread(xp, y, x.shape, axes, keepdims)
    finite = xp.isfinite(y)
    w = xp.where(finite, xp.exp(x - xp.where(finite, y, 0)), (x == y) & (y > 0))
    total = xp.sum(w, axis=axes, keepdims=True)
    return w / xp.where(finite, total, 1)


_logsumexp = general(
    "special._logsumexp", _forward,
    lambda xp, g, y, x, axes, keepdims: spread(xp, g, x.shape, axes, keepdims) * _weights(xp, y, x, axes, keepdims),
    lambda xp, ts, y, x, axes, keepdims: xp.sum(_weights(xp, y, x, axes, keepdims) * ts[0], axis=axes,
                                                keepdims=keepdims),
    saves="yx", public=False, samples="axes", real=True, batch="trailing",
)  # fmt: skip


@composition(scipy.special.logsumexp, name="special.logsumexp")
def logsumexp(a: Any, axis: Any = None, b: Any = None, keepdims: bool = False, return_sign: bool = False) -> Any:
    """Logarithm of the sum of exponentials, as ``scipy.special.logsumexp``.

    Parameters
    ----------
    a : array
    axis : int or tuple of int, optional
        All axes by default.
    b : array, optional
        Weights of the exponentials, of any sign; `a` and `b` are broadcast.
    keepdims : bool
    return_sign : bool
        Return ``(log|sum|, sign)``.

    Notes
    -----
    The derivative is the softmax; where all terms are -inf it is 0, where one is inf it is 1 there.
    """
    a = operand(a, "logsumexp")
    a = a if isinstance(a, Tensor) else X.asarray(a)
    if b is not None:
        a, b = X.broadcast_arrays(a, operand(b, "logsumexp"))
    dtype = a.dtype if b is None else np.result_type(a.dtype, b.dtype)
    a = a.astype(dtype if dtype.kind in "fc" else float, copy=False)
    axes = axes_of(a, axis)
    if a.size == 0:
        y = X.sum(a, axis=axes, keepdims=keepdims) - np.inf
        return (y, X.sign(constant(y))) if return_sign else y
    if b is not None or dtype.kind == "c":
        return _weighted(a, b, axes, keepdims, return_sign)
    y = _logsumexp(a, axes, bool(keepdims))
    if not return_sign:
        return y
    fixed = constant(y)
    return y, X.where(X.isnan(fixed), fixed, X.astype(fixed > -np.inf, y.dtype))


def _weighted(a: Any, b: Any, axes: tuple, keepdims: bool, return_sign: bool) -> Any:
    """`logsumexp` of complex numbers or with weights; a term with weight 0 adds nothing, however large it is."""
    shift = X.real(constant(a))
    if b is not None:
        shift = X.where(constant(b) == 0, -np.inf, shift)
    shift = X.max(shift, axis=axes, keepdims=True)
    shift = X.where(X.isfinite(shift), shift, 0)
    a = a - shift
    if b is not None:
        too_large = ~(X.real(constant(a)) <= np.log(np.finfo(a.dtype).max))
        a = X.where((constant(b) == 0) & too_large, -np.inf, a)
    total = X.exp(a) if b is None else b * X.exp(a)
    total = X.sum(total, axis=axes, keepdims=keepdims)
    shift = shift if keepdims else X.squeeze(shift, axes)
    if return_sign:
        return X.log(abs(total)) + shift, X.sign(total)
    return X.log(total) + shift


@composition(scipy.special.log_softmax, name="special.log_softmax")
def log_softmax(x: Any, axis: Any = None) -> Any:
    """Logarithm of the softmax, ``x - logsumexp(x)``, which does not change when a number is added to all of x."""
    x = operand(x, "log_softmax")
    top = X.max(constant(x), axis=axis, keepdims=True)
    x = x - X.where(X.isfinite(top), top, 0)
    return x - logsumexp(x, axis, keepdims=True)


@composition(scipy.special.softmax, name="special.softmax")
def softmax(x: Any, axis: Any = None) -> Any:
    """Exponentials divided by their sum along `axis` (all axes by default)."""
    x = operand(x, "softmax")
    e = X.exp(x - X.max(x.detach(), axis=axis, keepdims=True))
    return e / X.sum(e, axis=axis, keepdims=True)
