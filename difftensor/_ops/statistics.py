"""Weighted means, covariances, histograms."""

from __future__ import annotations

import warnings

import numpy as np

from difftensor._backend import library, namespace, on_gpu
from difftensor._backend.scatter import weighted_counts
from difftensor._core import X, composition, general, wrap
from difftensor._ops.plain import values
from difftensor._ops.products import conjugated
from difftensor._ops.reductions import axes_of, constant
from difftensor._ops.sorting import tracked
from difftensor.errors import not_there

# Means and covariances ----------------------------------------------------------------------------------------------


@composition(np.average)
def average(a, axis=None, weights=None, returned=False, *, keepdims=False):
    a = X.asarray(a)
    axes = axes_of(a, axis)
    if weights is None:
        y = X.mean(a, axis=axes, keepdims=keepdims)
        total = wrap(y.dtype.type(a.size / y.size) if y.size else y.dtype.type(0))
    else:
        w = X.asarray(weights)
        if a.dtype.kind in "iub":
            dtype = np.result_type(a.dtype, w.dtype, "f8")
        else:
            dtype = np.result_type(a.dtype, w.dtype)
        if w.shape != a.shape:
            w = _along(w, a, axis, axes)
        total = X.sum(w, axis=axes, dtype=dtype, keepdims=keepdims)
        if np.any(values(total, "average") == 0.0):
            raise ZeroDivisionError("Weights sum to zero, can't be normalized")
        terms = X.astype(a, dtype, copy=False) * w
        y = X.sum(X.astype(terms, dtype, copy=False), axis=axes, keepdims=keepdims) / total
    return (y, X.copy(X.broadcast_to(total, y.shape))) if returned else y


def _along(w, a, axis, axes):
    """Weights given along `axes` only, with axes of length 1 in the other places."""
    if axis is None:
        raise TypeError("Axis must be specified when shapes of a and weights differ.")
    if w.shape != tuple(a.shape[k] for k in axes):
        raise ValueError("Shape of weights must be consistent with shape of a along specified axis.")
    shape = [1] * a.ndim
    for k in axes:
        shape[k] = a.shape[k]
    w = X.transpose(w, tuple(np.argsort(axes).tolist())).reshape(tuple(shape))
    return X.broadcast_to(w, a.shape)


def _rows(m, rowvar, dtype):
    """Variables in rows."""
    m = X.astype(m, dtype, copy=False)
    rows = m.reshape((1,) * (2 - m.ndim) + m.shape)
    return rows if rowvar or m.ndim == 1 else rows.T


def _weights(given, n, name):
    w = X.asarray(given)
    if w.ndim > 1:
        raise RuntimeError(f"cannot handle multidimensional {name}")
    if w.shape[0] != n:
        raise RuntimeError(f"incompatible numbers of samples and {name}")
    if bool((values(w, name) < 0).any()):
        raise ValueError(f"{name} cannot be negative")
    return w


@composition(np.cov)
def cov(m, y=None, rowvar=True, bias=False, ddof=None, fweights=None, aweights=None, *, dtype=None):
    if ddof is not None and ddof != int(ddof):
        raise ValueError("ddof must be integer")
    m = X.asarray(m)
    y = None if y is None else X.asarray(y)
    for v, name in ((m, "m"), (y, "y")):
        if v is not None and v.ndim > 2:
            raise ValueError(f"{name} has more than 2 dimensions")
    if dtype is None:
        dtype = np.result_type(*(v.dtype for v in (m, y) if v is not None), np.float64)
    x = _rows(m, rowvar, dtype)
    if x.shape[0] == 0:
        return wrap(library(m).zeros((0, 0)))
    if y is not None:
        x = X.concatenate([x, _rows(y, rowvar or y.ndim == 1, dtype)], axis=0)
    ddof = (0 if bias else 1) if ddof is None else ddof
    w = None
    if fweights is not None:
        f = _weights(fweights, x.shape[1], "fweights")
        if not np.array_equal(values(f, "fweights"), np.around(values(f, "fweights"))):
            raise TypeError("fweights must be integer")
        w = X.astype(f, float, copy=False)
    if aweights is not None:
        aweights = _weights(aweights, x.shape[1], "aweights")
        w = aweights if w is None else w * aweights
    mean, total = average(x, axis=1, weights=w, returned=True)
    total = total[0]
    if w is None:
        freedom = x.shape[1] - ddof
    elif ddof == 0:
        freedom = total
    elif aweights is None:
        freedom = total - ddof
    else:
        freedom = total - ddof * X.sum(w * aweights) / total
    if freedom <= 0:
        warnings.warn("Degrees of freedom <= 0 for slice", RuntimeWarning, stacklevel=3)
        freedom = 0.0
    d = x - mean[:, None]
    c = X.matmul(d, conjugated((d if w is None else d * w).T))
    with np.errstate(divide="ignore", invalid="ignore"):
        return X.squeeze(c * (np.float64(1) / freedom))


@composition(np.corrcoef)
def corrcoef(x, y=None, rowvar=True, *, dtype=None):
    c = cov(x, y, rowvar, dtype=dtype)
    if c.ndim == 0:
        return c / c
    s = X.sqrt(X.real(X.diagonal(c)))
    c = c / s[:, None] / s[None, :]
    if c.dtype.kind == "c":
        return _within(X.real(c)) + 1j * _within(X.imag(c))
    return _within(c)


def _within(c):
    """Rounding cut off at -1 and 1, where correlations are smooth: their Hessian at 1 is not that of a kink."""
    fixed = constant(c)
    return c - (fixed - X.clip(fixed, -1, 1))


# Counting -----------------------------------------------------------------------------------------------------------

_weigh = general(
    "bincount_weighted",
    lambda w, x, n: weighted_counts(x, w, n).astype(w.dtype, copy=False),
    lambda xp, g, y, w, x, n: (g[x], None),
    lambda xp, ts, y, w, x, n: _weigh(ts[0], x, n),
    operands=2,
    saves="b",
    public=False,
    samples="bincount",
    real=True,
)


@composition(np.bincount)
def bincount(x, /, weights=None, minlength=0):
    x = constant(x)
    if weights is None or not tracked(X.asarray(weights)):
        return wrap(
            np.bincount(
                values(x, "bincount"), None if weights is None else values(X.asarray(weights), "bincount"), minlength
            )
        )
    weights = X.asarray(weights)
    if weights.shape != x.shape:
        raise ValueError("The weights and list don't have the same length.")
    return _weigh(X.astype(weights, float, copy=False), x, int(minlength))


def _edges(a, bins, range, weights=None):
    """The edges of the bins: they move with the extreme elements of `a`, or with what the caller gave."""
    raw = tuple(values(v, "histogram") for v in (a, bins, range, weights))
    edges = _edges_there(*raw) if on_gpu(raw[0]) else np.histogram_bin_edges(*raw)
    if np.ndim(raw[1]) == 1:
        return X.asarray(bins)
    if range is not None:
        first, last = (X.asarray(v) for v in range)
    elif a.size:
        first, last = X.min(a), X.max(a)
    else:
        return wrap(edges)
    if not tracked(first, last):
        return wrap(edges)
    if values(first, "histogram") == values(last, "histogram"):
        first, last = first - 0.5, last + 0.5
    return X.astype(X.linspace(first, last, edges.size), edges.dtype, copy=False)


def _bins_of(raw, edges):
    """The bin of each element, and which elements are inside; the last bin contains its right edge."""
    n = edges.size - 1
    k = np.searchsorted(edges, raw, side="right") - 1
    k[raw == edges[-1]] = n - 1
    return k, (k >= 0) & (k < n)


def _edges_there(a, bins, range, weights):
    """The edges of bins of an array on a GPU: CuPy has no such function, and NumPy's looks at the ends only."""
    if isinstance(bins, str):
        raise not_there(f"histogram with bins={bins!r}", "estimates of the width")
    if np.ndim(bins):
        return np.histogram_bin_edges(np.empty(0), bins.get() if on_gpu(bins) else bins)
    ends = (float(a.min()), float(a.max())) if range is None and a.size else range
    edges = np.histogram_bin_edges(np.empty(0), bins, None if ends is None else tuple(map(float, ends)))
    return namespace(a).asarray(edges.astype(np.histogram_bin_edges(np.empty(0, a.dtype), 1).dtype))


@composition(np.histogram_bin_edges)
def histogram_bin_edges(a, bins=10, range=None, weights=None):
    return _edges(X.asarray(a).ravel(), bins, range, weights)


@composition(np.histogram)
def histogram(a, bins=10, range=None, density=None, weights=None):
    a = X.asarray(a)
    w = None if weights is None else X.asarray(weights)
    if w is not None and w.shape != a.shape:
        raise ValueError("weights should have the same shape as a.")
    a, w = a.ravel(), None if w is None else w.ravel()
    edges = _edges(a, bins, range, w)
    raw = values(a, "histogram")
    if w is not None and (tracked(w) or on_gpu(raw)):
        k, inside = _bins_of(raw, values(edges, "histogram"))
        counts = _counted(w, k, inside, edges.size - 1)
    else:
        flat = None if w is None else values(w, "histogram")
        counts = wrap(np.histogram(raw, values(bins, "histogram"), values(range, "histogram"), weights=flat)[0])
    if density:
        counts = counts / X.astype(X.diff(edges), float, copy=False) / X.sum(counts)
    return counts, edges


def _counted(w, k, inside, n):
    """Weights `w` added up in bins `k`, complex ones by their parts."""
    if w.dtype.kind == "c":
        return _counted(X.real(w), k, inside, n) + 1j * _counted(X.imag(w), k, inside, n)
    return X.astype(_weigh(X.astype(w[inside], float, copy=False), k[inside], n), w.dtype, copy=False)


def _several(bins):
    return isinstance(bins, (list, tuple)) or getattr(bins, "ndim", 0) > 0


@composition(np.histogramdd)
def histogramdd(sample, bins=10, range=None, density=None, weights=None):
    if isinstance(sample, (list, tuple)):
        sample = (
            X.stack([X.asarray(v).ravel() for v in sample], axis=1)
            if np.ndim(sample[0])
            else X.asarray(sample)[:, None]
        )
    sample = X.asarray(sample)
    sample = sample[:, None] if sample.ndim == 1 else sample
    d = sample.shape[1]
    bins = list(bins) if _several(bins) else [bins] * d
    if len(bins) != d:
        raise ValueError("The dimension of bins must be equal to the dimension of the sample x.")
    if range is not None and len(range) != d:
        raise ValueError("range argument must have one entry per dimension")
    w = None if weights is None else X.asarray(weights)
    raw = [values(v, "histogramdd") for v in (sample, bins, range)]
    plain, plain_edges = np.histogramdd(*raw, weights=None if w is None else values(w, "histogramdd"))
    edges = [
        X.asarray(b) if np.ndim(b) else _edges(sample[:, i], b, None if range is None else range[i])
        for i, b in enumerate(bins)
    ]
    if w is not None and tracked(w):
        found = [_bins_of(raw[0][:, i], e) for i, e in enumerate(plain_edges)]
        inside = np.logical_and.reduce([f[1] for f in found])
        k = np.ravel_multi_index([np.where(inside, f[0], 0) for f in found], plain.shape)
        counts = _counted(w, k, inside, plain.size).reshape(plain.shape)
    else:
        counts = wrap(plain)
    if density:
        total = X.sum(counts)
        for i, e in enumerate(edges):
            counts = counts / X.diff(e).reshape(tuple(-1 if j == i else 1 for j in np.arange(d)))
        counts = counts / total
    return counts, type(plain_edges)(edges)


@composition(np.histogram2d)
def histogram2d(x, y, bins=10, range=None, density=None, weights=None):
    x, y = X.asarray(x), X.asarray(y)
    if x.shape[0] != y.shape[0]:
        raise ValueError("x and y must have the same length.")
    if _several(bins) and len(bins) not in (1, 2):
        bins = [X.asarray(bins)] * 2
    counts, edges = histogramdd([x, y], bins, range, density, weights)
    return counts, edges[0], edges[1]
