"""Diagonals, triangles and windows of arrays."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np

from difftensor._backend import library, namespace, on_gpu
from difftensor._core import X, composition, linear
from difftensor._ops.reductions import axes_of

# Diagonals: taking one and putting it back are each other's transpose ------------------------------------------------


def _take(x, offset, axis1, axis2):
    d = x.diagonal(offset, axis1, axis2)
    if isinstance(d, np.ndarray) and x.flags.writeable:  # CuPy's can be written to
        d.flags.writeable = (
            True  # NumPy's own is read-only for the sake of old programs; writes through ours are tracked
        )
    return d


def _embed(v, shape, offset, axis1, axis2):
    x = np.zeros_like(v, shape=shape)
    _take(x, offset, axis1, axis2)[...] = v
    return x


diagonal_of = linear(
    "diagonal_of",
    _take,
    lambda xp, g, shape, offset, axis1, axis2: diagonal_in(g, shape, offset, axis1, axis2),
    views=True,
    public=False,
    batch="trailing",
)
diagonal_in = linear(
    "diagonal_in",
    _embed,
    lambda xp, g, old, shape, offset, axis1, axis2: diagonal_of(g, offset, axis1, axis2),
    public=False,
    batch=lambda call, x, shape, *where: call(x, (x.shape[0], *shape), *where),
)


@composition(np.diagonal)
def diagonal(a, offset=0, axis1=0, axis2=1):
    """A view; unlike NumPy's it can be written to."""
    a = X.asarray(a)
    if a.ndim < 2:
        raise ValueError("diag requires an array of at least two dimensions")
    (i,), (j,) = axes_of(a, axis1), axes_of(a, axis2)
    if i == j:
        raise ValueError("axis1 and axis2 cannot be the same")
    return diagonal_of(a, int(offset), i, j)


@composition(np.diag)
def diag(v, k=0):
    v, k = X.asarray(v), int(k)
    if v.ndim == 1:
        n = v.shape[0] + abs(k)
        return diagonal_in(v, (n, n), k, -2, -1)
    if v.ndim == 2:
        return diagonal_of(v, k, -2, -1)
    raise ValueError("Input must be 1- or 2-d.")


@composition(np.diagflat)
def diagflat(v, k=0):
    return diag(X.ravel(v), k)


# Triangles ------------------------------------------------------------------------------------------------------------

_tril = linear(
    "lower_triangle",
    lambda x, k: np.tril(x, k),
    lambda xp, g, shape, k: xp.tril(g, k),
    public=False,
    samples="triangle",
    batch="trailing",
)
_triu = linear(
    "upper_triangle",
    lambda x, k: np.triu(x, k),
    lambda xp, g, shape, k: xp.triu(g, k),
    public=False,
    samples="triangle",
    batch="trailing",
)


def _triangle(primitive):
    def body(m, k=0):
        m = X.asarray(m)
        if m.ndim == 1:  # NumPy repeats the row
            m = X.broadcast_to(m, (m.size, m.size))
        return primitive(m, int(k))

    return body


tril = composition(np.tril, name="tril")(_triangle(_tril))
triu = composition(np.triu, name="triu")(_triangle(_triu))


@composition(np.vander)
def vander(x, N=None, increasing=False):
    x = X.asarray(x)
    if x.ndim != 1:
        raise ValueError("x must be a one-dimensional array or sequence.")
    powers = library(x).arange(x.size if N is None else N)
    return x[:, None] ** (powers if increasing else powers[::-1])


# Windows: reading them all, and adding them up where they came from, are each other's transpose -----------------------


def _add_windows(g, shape, sizes, axes):
    x = np.zeros_like(g, shape=shape)
    n, m = len(shape), len(sizes)
    for offset in np.ndindex(*sizes):
        place = [slice(None)] * n
        for k, o in zip(axes, offset):
            place[k] = slice(o, o + g.shape[k - m])
        x[tuple(place)] += g[(..., *offset)]
    return x


def _windows(x, sizes, axes):
    if not on_gpu(x):
        return np.lib.stride_tricks.sliding_window_view(x, sizes, axes)
    shape = list(x.shape)  # CuPy's own waits for the device to compare the sizes
    for k, size in zip(axes, sizes):
        shape[k] -= size - 1
        if size < 0 or shape[k] <= 0:
            raise ValueError("window shape cannot be larger than input array shape, nor negative")
    strides = x.strides
    return namespace(x).lib.stride_tricks.as_strided(x, (*shape, *sizes), (*strides, *(strides[k] for k in axes)))


windows_of = linear(
    "windows_of",
    _windows,
    lambda xp, g, shape, sizes, axes: windows_in(g, shape, sizes, axes),
    views="repeats",
    public=False,
    batch="trailing",
)
windows_in = linear(
    "windows_in",
    _add_windows,
    lambda xp, g, old, shape, sizes, axes: windows_of(g, sizes, axes),
    public=False,
    batch=lambda call, x, shape, *where: call(x, (x.shape[0], *shape), *where),
)


@composition(np.lib.stride_tricks.sliding_window_view, name="lib.stride_tricks.sliding_window_view")
def sliding_window_view(x, window_shape, axis=None, *, subok=False, writeable=False):
    """All windows of an array: a read-only view."""
    x = X.asarray(x)
    sizes = tuple(int(w) for w in window_shape) if np.iterable(window_shape) else (int(window_shape),)
    axes = axes_of(x, tuple(axis) if np.iterable(axis) else axis)
    if len(sizes) != len(axes):
        raise ValueError(
            f"Must provide matching length window_shape and axis; got {len(sizes)} window_shape elements and "
            f"{len(axes)} axes elements."
        )
    return windows_of(x, sizes, axes)


lib = SimpleNamespace(stride_tricks=SimpleNamespace(sliding_window_view=sliding_window_view))
lib.__doc__ = "NumPy's ``lib``: what is public nowhere else."
