"""Means, variances and standard deviations along axes.

`sum` is difftensor's here, not Python's.
"""

from __future__ import annotations

import warnings

import numpy as np

from difftensor._backend import on_gpu
from difftensor._core import Tensor, X, composition, general, linear, nondifferentiable, unary
from difftensor._ops.reductions import add_reduce, axes_of, count_of, finish, prepared, reduced, spread, sum, sum_over


def _mean_over(x, axes, keepdims, n):
    if n == 0 or x.dtype.itemsize == 2:  # NumPy's warning; NumPy's wider sum of float16
        return np.mean(x, axis=axes, keepdims=keepdims)
    y = add_reduce(x, axes, keepdims)
    if y.dtype.char == "F":
        return (y / np.float64(n)).astype(y.dtype)  # as NumPy divides
    return (y / n).astype(y.dtype) if y.dtype.itemsize < 8 else y / n


_mean = linear(
    "mean_over",
    _mean_over,
    lambda xp, g, shape, axes, keepdims, n: spread(xp, g / n, shape, axes, keepdims),
    public=False,
    samples="mean",
    batch="trailing",
)


def _inexact(a, dtype):
    """The dtype that means of `a` have."""
    return np.float64 if dtype is None and a.dtype.kind in "iub" else dtype


_in_integers = nondifferentiable(
    "moment_in_integers",
    lambda x, name, axes, keepdims, dtype, *ddof: getattr(np, name)(x, axes, dtype, None, *ddof, keepdims=keepdims),
    public=False,
    batch="trailing",
)


def _counts(a, name, axis, dtype, out, keepdims, where, *ddof):
    """`name` (mean, var, std) of `a` computed in integers, for which NumPy rounds at every stage: no derivative."""
    if where is not True:
        raise TypeError(f"{name}: dtype={np.dtype(dtype)} of a Tensor goes without where=; use dtype=float")
    y = _in_integers(X.asarray(a), name, axes_of(a, axis), bool(keepdims), np.dtype(dtype), *ddof)
    return finish(y, out, name)


def _integral(dtype):
    return np.dtype(dtype).kind in "iub"


@composition(np.mean)
def mean(a, axis=None, dtype=None, out=None, keepdims=False, *, where=True):
    a = X.asarray(a)
    if dtype is not None and _integral(dtype):
        return _counts(a, "mean", axis, dtype, out, keepdims, where)
    a = prepared(a, _inexact(a, dtype), True)
    axes = axes_of(a, axis) if where is True else reduced(a, axis)
    if where is True:
        y = _mean(a, axes, bool(keepdims), count_of(a, axes))
    else:
        y = quotient(
            sum(a, axes, keepdims=keepdims, where=where), count_of(a, axes, where, keepdims), "Mean of empty slice"
        )
    return finish(y, out, "mean")


def quotient(total, count, complaint):
    """``total / count`` in total's dtype; nan with NumPy's warning where there is nothing."""
    if isinstance(count, Tensor):
        return total / X.astype(count, total.dtype)
    if on_gpu(count):  # no warning: it would wait for the device
        return total / count.astype(total.dtype)
    if np.any(count <= 0):
        warnings.warn(complaint, RuntimeWarning, stacklevel=3)
    with np.errstate(invalid="ignore", divide="ignore"):
        return total / np.asarray(count).astype(total.dtype)[()]


def _pull_var(xp, g, y, x, axes, keepdims, ddof):
    d = x - _mean(x, axes, True, count_of(x, axes))
    if d.dtype.kind == "c":
        d = xp.conjugate(d)
    return spread(xp, g * (2 / _freedom(x, axes, ddof)), x.shape, axes, keepdims) * d


def _push_var(xp, ts, y, x, axes, keepdims, ddof):
    t, d = ts[0], x - _mean(x, axes, True, count_of(x, axes))
    td = t * xp.conjugate(d) if d.dtype.kind == "c" else t * d
    return (sum_over(td, axes, keepdims) * (2 / _freedom(x, axes, ddof))).real


def _freedom(x, axes, ddof):
    freedom = max(count_of(x, axes) - ddof, 0)
    return freedom if freedom else np.nan


def _var_over(x, axes, keepdims, ddof):
    n = count_of(x, axes)
    if n <= ddof or x.dtype.kind != "f" or x.dtype.itemsize < 4:  # NumPy's warnings; NumPy's wider sums of float16
        return np.var(x, axis=axes, keepdims=keepdims, ddof=ddof)
    d = x - add_reduce(x, axes, True) / n
    return add_reduce(d * d, axes, keepdims) / (n - ddof)


_var = general(
    "var_over",
    _var_over,
    _pull_var,
    _push_var,
    saves="x",
    public=False,
    samples="var",
    batch="trailing",
)


@composition(np.var)
def var(a, axis=None, dtype=None, out=None, ddof=0, keepdims=False, *, where=True, mean=None, correction=None):
    if correction is not None:
        if ddof != 0:
            raise ValueError("ddof and correction can't be provided simultaneously.")
        ddof = correction
    a = X.asarray(a)
    if dtype is not None and _integral(dtype):
        return _counts(a, "var", axis, dtype, out, keepdims, where, ddof)
    axes = axes_of(a, axis) if where is True else reduced(a, axis)
    if dtype is not None and a.dtype.kind == "c" and np.dtype(dtype).kind == "f" and mean is None:
        mean = quotient(sum(X.real(a), axes, dtype, keepdims=True, where=where), count_of(a, axes, where, True), "")
    if mean is None or a.dtype.kind != "c":
        a = prepared(a, _inexact(a, dtype), True)
    if where is True and mean is None:
        y = _var(a, axes, bool(keepdims), ddof)
    else:
        if mean is None:
            count = np.maximum(count_of(a, axes, where, True), 1)
            mean = quotient(sum(a, axes, keepdims=True, where=where), count, "")
        y = sum(norm2(a - mean), axes, keepdims=keepdims, where=where)
        freedom = np.maximum(count_of(a, axes, where, keepdims) - ddof, 0)
        y = quotient(y, freedom, "Degrees of freedom <= 0 for slice.")
    return finish(y if dtype is None else X.astype(y, dtype, copy=False), out, "var")


def norm2(d):
    """|d|^2."""
    return X.square(X.real(d)) + X.square(X.imag(d)) if d.dtype.kind == "c" else d * d


# The subgradient of a standard deviation or norm at 0 is 0.
root = unary(
    "root_or_zero",
    np.sqrt,
    lambda xp, g, y, x: xp.where(y == 0, 0, 0.5 * g / xp.where(y == 0, 1, y)),
    saves="y",
    numpy=None,
    kinks="0 at 0",
    samples=[(0.2, 4.0)],
)


@composition(np.std)
def std(a, axis=None, dtype=None, out=None, ddof=0, keepdims=False, *, where=True, mean=None, correction=None):
    if dtype is not None and _integral(dtype):
        return _counts(a, "std", axis, dtype, out, keepdims, where, ddof if correction is None else correction)
    y = root(var(a, axis, dtype, None, ddof, keepdims, where=where, mean=mean, correction=correction))
    return finish(y, out, "std")
