"""The order of the axes, and of the elements along them: transpose, flip, roll; views where NumPy makes views."""

from __future__ import annotations

import operator

import numpy as np

from difftensor._core import X, composition, linear, publish
from difftensor._ops.reductions import axes_of

# Order of the axes ----------------------------------------------------------------------------------------------------


def _inverse(axes: tuple) -> tuple:
    n = len(axes)
    out = [0] * n
    for i, a in enumerate(axes):
        out[a + n] = i - n
    return tuple(out)


transpose_to = linear(
    "transpose_to",
    lambda x, axes: x.transpose(axes),
    lambda xp, g, shape, axes: g.transpose(_inverse(axes)),
    views=True,
    public=False,
    batch=lambda call, x, axes: call(x, (-x.ndim, *axes)),
)


@composition(np.transpose)
def transpose(a, axes=None):
    a = X.asarray(a)
    n = a.ndim
    if axes is None:
        return transpose_to(a, tuple(range(-1, -n - 1, -1)))
    axes = axes_of(a, tuple(axes))
    if len(axes) != n:
        raise ValueError("axes don't match array")
    return transpose_to(a, axes)


permute_dims = transpose
publish("permute_dims", transpose)


def transpose_method(a, *axes):
    """As ``np.ndarray.transpose``: the axes may be given as several numbers."""
    if len(axes) == 1 and (axes[0] is None or isinstance(axes[0], (tuple, list))):
        axes = axes[0]
    return transpose(a, axes if axes else None)


@composition(np.swapaxes)
def swapaxes(a, axis1, axis2):
    a = X.asarray(a)
    i, j = (axes_of(a, k)[0] for k in (axis1, axis2))
    axes = list(range(-a.ndim, 0))
    axes[i], axes[j] = axes[j], axes[i]
    return transpose_to(a, tuple(axes))


@composition(np.moveaxis)
def moveaxis(a, source, destination):
    a = X.asarray(a)
    s = axes_of(a, tuple(source) if np.iterable(source) else source)
    d = axes_of(a, tuple(destination) if np.iterable(destination) else destination)
    if len(s) != len(d):
        raise ValueError("`source` and `destination` arguments must have the same number of elements")
    order = [k for k in range(-a.ndim, 0) if k not in s]
    for to, source_axis in sorted(zip((k + a.ndim for k in d), s)):
        order.insert(to, source_axis)
    return transpose_to(a, tuple(order))


@composition(np.rollaxis)
def rollaxis(a, axis, start=0):
    a = X.asarray(a)
    n = a.ndim
    axis = axes_of(a, axis)[0] + n
    if not -n <= start <= n:
        raise np.exceptions.AxisError(f"'start' arg requires {-n} <= start < {n + 1}, but {start} was passed in")
    start = start + n if start < 0 else start
    return moveaxis(a, axis, start - (axis < start))


@composition(np.matrix_transpose)
def matrix_transpose(x, /):
    x = X.asarray(x)
    if x.ndim < 2:
        raise ValueError(f"Input array must be at least 2-dimensional, but it is {x.ndim}")
    return swapaxes(x, -1, -2)


# Flipping and rolling -------------------------------------------------------------------------------------------------

_BACKWARDS = slice(None, None, -1)


@composition(np.flip)
def flip(m, axis=None):
    m = X.asarray(m)
    axes = axes_of(m, tuple(axis) if isinstance(axis, list) else axis)
    return m[tuple(_BACKWARDS if k in axes else slice(None) for k in range(-m.ndim, 0))]


@composition(np.fliplr)
def fliplr(m):
    m = X.asarray(m)
    if m.ndim < 2:
        raise ValueError("Input must be >= 2-d.")
    return m[:, ::-1]


@composition(np.flipud)
def flipud(m):
    m = X.asarray(m)
    if m.ndim < 1:
        raise ValueError("Input must be >= 1-d.")
    return m[::-1]


@composition(np.rot90)
def rot90(m, k=1, axes=(0, 1)):
    m = X.asarray(m)
    axes = tuple(axes)
    if len(axes) != 2:
        raise ValueError("len(axes) must be 2.")
    i, j = (axes_of(m, a)[0] for a in axes)
    if i == j:
        raise ValueError("Axes must be different.")
    k = operator.index(k) % 4
    if k == 0:
        return m[:]
    if k == 2:
        return flip(m, (i, j))
    return swapaxes(flip(m, j), i, j) if k == 1 else flip(swapaxes(m, i, j), j)


def _rolled(x, shift, axes):
    """`np.roll`, along one axis in a quarter of its time."""
    if len(axes) > 1 or x.__class__ is not np.ndarray or not x.size:
        return np.roll(x, shift, axes)
    n = x.shape[axes[0]]
    s = shift[0] % n
    every = (slice(None),) * (x.ndim + axes[0])
    y = np.empty_like(x)
    y[(*every, slice(s, None))] = x[(*every, slice(None, n - s))]
    y[(*every, slice(None, s))] = x[(*every, slice(n - s, None))]
    return y


def _pull_roll(xp, g, shape, shift, axes):
    back = tuple([-s for s in shift])
    return _rolled(g, back, axes) if xp is np else xp.roll(g, back, axes)


_roll = linear("roll_along", _rolled, _pull_roll, public=False, batch="trailing")


@composition(np.roll)
def roll(a, shift, axis=None):
    a = X.asarray(a)
    if axis is None:
        if a.ndim != 1:
            return roll(X.ravel(a), shift, -1).reshape(a.shape)
        axis = -1
    if shift.__class__ is int and axis.__class__ is int:
        return _roll(a, (shift,), axes_of(a, axis))
    # An axis may be named twice: the shifts add up.
    pairs = np.broadcast(*(np.asarray(v) for v in (shift, axis)))
    if pairs.ndim > 1:
        raise ValueError("'shift' and 'axis' should be scalars or 1D sequences")
    total: dict = {}
    for s, k in pairs:
        (k,) = axes_of(a, int(k))
        total[k] = total.get(k, 0) + int(s)
    return _roll(a, tuple(total.values()), tuple(total))
