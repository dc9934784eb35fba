"""Reductions and running sums that pass over NaNs."""

from __future__ import annotations

import warnings

import numpy as np

from difftensor._core import Tensor, X, composition
from difftensor._ops.cumulative import cumprod, cumsum
from difftensor._ops.extrema import highest, lowest, max, min
from difftensor._ops.moments import mean, norm2, quotient, root, std, var
from difftensor._ops.reductions import all, constant, count_of, finish, prepared, prod, reduced, sum


def missing(a):
    """Where `a` is NaN: a constant mask, or None for dtypes that have no NaN."""
    return X.isnan(constant(a)) if a.dtype.kind in "fc" else None


def _filled(a, fill):
    a = X.asarray(a)
    mask = missing(a)
    return (a, None) if mask is None else (X.where(mask, fill, a), mask)


@composition(np.nansum)
def nansum(a, axis=None, dtype=None, out=None, keepdims=False, initial=0, where=True):
    return sum(_filled(a, 0)[0], axis, dtype, out, keepdims, initial, where)


@composition(np.nanprod)
def nanprod(a, axis=None, dtype=None, out=None, keepdims=False, initial=1, where=True):
    return prod(_filled(a, 1)[0], axis, dtype, out, keepdims, initial, where)


@composition(np.nancumsum)
def nancumsum(a, axis=None, dtype=None, out=None):
    return cumsum(_filled(a, 0)[0], axis, dtype, out)


@composition(np.nancumprod)
def nancumprod(a, axis=None, dtype=None, out=None):
    return cumprod(_filled(a, 1)[0], axis, dtype, out)


def _inexact(dtype):
    """`dtype`, in which means of floats are computed."""
    if dtype is not None and np.dtype(dtype).kind not in "fc":
        raise TypeError("If a is inexact, then dtype must be inexact")
    return dtype


def _present(mask, where):
    return ~mask if where is True else ~mask & X.asarray(where)


@composition(np.nanmean)
def nanmean(a, axis=None, dtype=None, out=None, keepdims=False, *, where=True):
    a, mask = _filled(a, 0)
    if mask is None:
        return mean(a, axis, dtype, out, keepdims, where=where)
    a = prepared(a, _inexact(dtype), True)
    axes = reduced(a, axis)
    count = count_of(a, axes, _present(mask, where), keepdims)
    return finish(
        quotient(sum(a, axes, None, None, keepdims, where=where), count, "Mean of empty slice"), out, "nanmean"
    )


@composition(np.nanvar)
def nanvar(a, axis=None, dtype=None, out=None, ddof=0, keepdims=False, *, where=True, mean=None, correction=None):
    if correction is not None:
        if ddof != 0:
            raise ValueError("ddof and correction can't be provided simultaneously.")
        ddof = correction
    a, mask = _filled(a, 0)
    if mask is None:
        return var(a, axis, dtype, out, ddof, keepdims, where=where, mean=mean)
    if mean is None and a.dtype.kind == "c" and _inexact(dtype) is not None and np.dtype(dtype).kind == "f":
        mean = nanmean(X.where(mask, np.nan, X.real(a)), axis, dtype, None, True, where=where)  # as NumPy casts sums
    else:
        a = prepared(a, _inexact(dtype), True)
    axes = reduced(a, axis)
    present = _present(mask, where)
    if mean is None:
        mean = quotient(sum(a, axes, keepdims=True, where=where), np.maximum(count_of(a, axes, present, True), 1), "")
    d = X.where(present, a - mean, 0)
    freedom = count_of(a, axes, present, keepdims) - ddof
    y = sum(norm2(d), axes, keepdims=keepdims)
    y = quotient(y, np.where(freedom > 0, freedom, 1), "")
    if isinstance(freedom, Tensor) or np.any(freedom <= 0):
        if not isinstance(freedom, Tensor):
            warnings.warn("Degrees of freedom <= 0 for slice.", RuntimeWarning, stacklevel=2)
        y = X.where(freedom <= 0, np.nan, y)
    return finish(y if dtype is None else X.astype(y, dtype, copy=False), out, "nanvar")


@composition(np.nanstd)
def nanstd(a, axis=None, dtype=None, out=None, ddof=0, keepdims=False, *, where=True, mean=None, correction=None):
    a = X.asarray(a)
    if a.dtype.kind in "iub":
        return std(a, axis, dtype, out, ddof, keepdims, where=where, mean=mean, correction=correction)
    v = nanvar(a, axis, dtype, None, ddof, keepdims, where=where, mean=mean, correction=correction)
    return finish(root(v), out, "nanstd")


def _nan_extremum(name, extremum, worst):
    def body(a, axis=None, out=None, keepdims=False, initial=None, where=True):
        a = X.asarray(a)
        b, mask = _filled(a, worst(a.dtype))
        y = extremum(b, axis, None, keepdims, initial, where)
        if mask is not None and initial is None:
            empty = all(mask, axis, keepdims=keepdims)
            if empty.__class__ is not Tensor or empty._data.any():
                if empty.__class__ is Tensor:
                    warnings.warn("All-NaN slice encountered", RuntimeWarning, stacklevel=2)
                y = X.where(empty, np.nan, y)
        return finish(y, out, name)

    return body


nanmax = composition(np.nanmax, name="nanmax")(_nan_extremum("nanmax", max, lowest))
nanmin = composition(np.nanmin, name="nanmin")(_nan_extremum("nanmin", min, highest))
