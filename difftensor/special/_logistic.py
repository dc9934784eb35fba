"""Logistic functions and logarithms of sums of exponentials."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.special

from difftensor._core import Tensor, X, composition, general, operand
from difftensor._ops.reductions import axes_of, spread
from difftensor.special._declare import one

expit = one("expit", lambda xp, g, y, x: g * (y * (1 - y)), "y")
logit = one("logit", lambda xp, g, y, x: g / (x * (1 - x)), "x", samples=[(0.1, 0.9)])
log_expit = one("log_expit", lambda xp, g, y, x: g * expit(-x), "x")


def _forward(x: Any, axes: tuple, keepdims: bool) -> Any:
    """log sum exp, shifted by the largest term; infinities as they are."""
    top = x.max(axis=axes, keepdims=True)
    top = np.where(np.isfinite(top), top, 0)
    with np.errstate(divide="ignore", over="ignore"):
        y = np.log(np.add.reduce(np.exp(x - top), axes, keepdims=True)) + top
    y = y.astype(x.dtype)
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
        Weights of the exponentials, of any sign.
    keepdims : bool
    return_sign : bool
        Return ``(log|sum|, sign)``.

    Notes
    -----
    The derivative is the softmax; where all terms are -inf it is 0, where one is inf it is 1 there.
    """
    a = operand(a, "logsumexp")
    a = a if isinstance(a, Tensor) else X.asarray(a)
    axes = axes_of(a, axis)
    if b is None and not return_sign and a.dtype.kind != "c":
        if a.dtype.kind != "f":
            a = a.astype(float)
        return _logsumexp(a, axes, bool(keepdims))
    top = a._data.real.max(axis=axes, keepdims=True)
    top = np.where(np.isfinite(top), top, 0)
    terms = X.exp(a - top)
    total = X.sum(terms if b is None else b * terms, axis=axes, keepdims=keepdims)
    shift = top if keepdims else top.reshape(total.shape)[()]
    if return_sign:
        return X.log(abs(total)) + shift, X.sign(total)
    return X.log(total) + shift


@composition(scipy.special.log_softmax, name="special.log_softmax")
def log_softmax(x: Any, axis: Any = None) -> Any:
    """Logarithm of the softmax, ``x - logsumexp(x)``."""
    x = operand(x, "log_softmax")
    return x - logsumexp(x, axis, keepdims=True)


@composition(scipy.special.softmax, name="special.softmax")
def softmax(x: Any, axis: Any = None) -> Any:
    """Exponentials divided by their sum along `axis` (all axes by default)."""
    x = operand(x, "softmax")
    e = X.exp(x - X.max(x.detach(), axis=axis, keepdims=True))
    return e / X.sum(e, axis=axis, keepdims=True)
