"""Ranges and grids: differentiable in their ends."""

from __future__ import annotations

import sys

import numpy as np

from difftensor._backend import as_device, made_on, move, on_gpu
from difftensor._core import Tensor, X, composition, general, holds_tensor, publish, wrap
from difftensor._core.fitting import fit
from difftensor._core.primitive import dress
from difftensor._ops.creation import _made, _placed
from difftensor._ops.plain import values
from difftensor._ops.sorting import tracked

# Ranges ---------------------------------------------------------------------------------------------------------------


def _weights(xp, num, endpoint, ndim, dtype):
    """The share of the stop in each of `num` samples, the samples along the first of ``ndim + 1`` axes."""
    w = xp.arange(num, dtype=dtype) / max(num - 1 if endpoint else num, 1)
    return w.reshape((-1,) + (1,) * ndim)


def _pull_linspace(xp, g, y, a, b, num, endpoint):
    w = _weights(xp, num, endpoint, g.ndim - 1, g.dtype.type(0).real.dtype)
    return fit(xp.sum((1 - w) * g, axis=0), a.shape, a.dtype), fit(xp.sum(w * g, axis=0), b.shape, b.dtype)


def _push_linspace(xp, ts, y, a, b, num, endpoint):
    shape = y.shape[1:]
    w = _weights(xp, num, endpoint, len(shape), y.dtype.type(0).real.dtype)
    ta, tb = ts
    t = 0 if ta is None else (1 - w) * xp.broadcast_to(ta, shape)
    return t if tb is None else t + w * xp.broadcast_to(tb, shape)


_linspace = general(
    "linspace_between",
    lambda a, b, num, endpoint: np.linspace(a, b, num, endpoint=endpoint),
    _pull_linspace,
    _push_linspace,
    saves="aby",
    operands=2,
    public=False,
    samples="range",
)


def linspace(start, stop, num=50, endpoint=True, retstep=False, dtype=None, axis=0, *, device=None):
    """`num` evenly spaced numbers from `start` to `stop`; differentiable in both."""
    if not holds_tensor(start) and not holds_tensor(stop):
        y = np.linspace(start, stop, num, endpoint=endpoint, retstep=retstep, dtype=dtype, axis=axis)
        if retstep:
            return _made(wrap(y[0]), device), y[1]
        return _made(wrap(y), device)
    num = num.__index__()
    if num < 0:
        raise ValueError(f"Number of samples, {num}, must be non-negative.")
    start, stop = X.asarray(start), X.asarray(stop)
    y = _linspace(_floating(start), _floating(stop), num, bool(endpoint))
    if dtype is not None and np.dtype(dtype) != y.dtype:
        y = X.astype(X.floor(y) if np.dtype(dtype).kind in "iu" else y, dtype, copy=False)
    y = _placed(y if axis == 0 else X.moveaxis(y, 0, axis), device)
    if not retstep:
        return y
    div = num - 1 if endpoint else num
    return y, (stop - start) / div if div > 0 else wrap(np.float64(np.nan))


def _floating(x):
    return x if x.dtype.kind in "fc" else X.astype(x, float)


def logspace(start, stop, num=50, endpoint=True, base=10.0, dtype=None, axis=0, *, device=None):
    """`num` numbers evenly spaced on a logarithmic scale; differentiable in start, stop and base."""
    if not any(map(holds_tensor, (start, stop, base))):
        return _made(wrap(np.logspace(start, stop, num, endpoint, base, dtype, axis)), device)
    if np.ndim(base) or getattr(base, "ndim", 0):
        shape = np.broadcast_shapes(np.shape(start), np.shape(stop), np.shape(base))
        start, stop = X.broadcast_to(X.asarray(start), shape), X.broadcast_to(X.asarray(stop), shape)
        base = X.expand_dims(X.broadcast_to(X.asarray(base), shape), axis)
    y = X.power(base, linspace(start, stop, num, endpoint, axis=axis))
    return _placed(y if dtype is None else X.astype(y, dtype, copy=False), device)


def _pull_geomspace(xp, g, y, a, b, num, endpoint):
    """y = a^(1-w) b^w, so that dy/da = (1-w) y/a and dy/db = w y/b."""
    w = _weights(xp, num, endpoint, g.ndim - 1, g.dtype.type(0).real.dtype)
    return (
        fit(xp.sum((1 - w) * g * y / a, axis=0), a.shape, a.dtype),
        fit(xp.sum(w * g * y / b, axis=0), b.shape, b.dtype),
    )


def _push_geomspace(xp, ts, y, a, b, num, endpoint):
    w = _weights(xp, num, endpoint, len(y.shape) - 1, y.dtype.type(0).real.dtype)
    ta, tb = ts
    t = 0 if ta is None else (1 - w) * y * (ta / a)
    return t if tb is None else t + w * y * (tb / b)


def _progression(a, b, num, endpoint):
    if not on_gpu(a) and not on_gpu(b):
        return np.geomspace(a, b, num, endpoint=endpoint)
    w = _weights(sys.modules["cupy"], num, endpoint, max(a.ndim, b.ndim), np.float64)
    a, b = (v.astype(np.result_type(v.dtype, np.float64)) for v in (a, b))
    y = a * (b / a) ** w  # the ratio of two negative ends is positive
    y[0] = a
    if endpoint and num > 1:
        y[-1] = b
    return y


_geomspace = general(
    "geomspace_between",
    _progression,
    _pull_geomspace,
    _push_geomspace,
    saves="aby",
    operands=2,
    public=False,
    samples="range",
    promotes=True,  # NumPy computes it in float64
)


def geomspace(start, stop, num=50, endpoint=True, dtype=None, axis=0, *, device=None):
    """`num` numbers in geometric progression; differentiable in both ends."""
    if not holds_tensor(start) and not holds_tensor(stop):
        return _made(wrap(np.geomspace(start, stop, num, endpoint, dtype, axis)), device)
    y = _geomspace(_floating(X.asarray(start)), _floating(X.asarray(stop)), num.__index__(), bool(endpoint))
    y = y if dtype is None else X.astype(y, dtype, copy=False)
    return _placed(y if axis == 0 else X.moveaxis(y, 0, axis), device)


def _arange(start, stop, step, dtype, device):
    """Differentiable in start and step; stop only says how many."""
    moving = [v for v in (start, stop, step) if isinstance(v, Tensor)]
    there = moving[0].device if moving and device is None else as_device(device)
    known = [v.item() if on_gpu(v) else v for v in values((start, stop, step), "arange")]  # how many there are
    if dtype is None and there.kind != "cpu":
        dtype = np.result_type(*known)  # CuPy makes float64 of every float
    if there.kind != "cpu" and np.dtype(dtype).kind == "c":  # CuPy has no complex ones
        y = move(np.arange(*known, dtype=dtype), there)
    else:
        y = made_on(there, "arange", *known, dtype=dtype)
    if y.dtype.kind != "f" or not tracked(*(v for v in moving if v is not stop)):
        return wrap(y)
    numbers = made_on(there, "arange", y.size, dtype=y.dtype)
    start, step = (X.asarray(v, dtype=y.dtype, device=there) for v in (start, step))
    moved = start + numbers * step
    return moved + (wrap(y) - moved.detach())  # NumPy's roundings


def arange(start_or_stop, /, stop=None, step=1, *, dtype=None, device=None, like=None):
    """Evenly spaced numbers, as ``np.arange``; differentiable in `start` and `step`."""
    start, stop = (0, start_or_stop) if stop is None else (start_or_stop, stop)
    return _arange(start, stop, step, dtype, device)


for _f in (arange, linspace, logspace, geomspace):
    _twin = getattr(np, _f.__name__)
    dress(_f, _f.__name__, _twin)
    publish(_f.__name__, _f, _twin)

# Grids ----------------------------------------------------------------------------------------------------------------


@composition(np.meshgrid)
def meshgrid(*xi, copy=True, sparse=False, indexing="xy"):
    if indexing not in ("xy", "ij"):
        raise ValueError("Valid values for `indexing` are 'xy' and 'ij'.")
    n = len(xi)
    rows = [X.asarray(x).reshape((1,) * i + (-1,) + (1,) * (n - i - 1)) for i, x in enumerate(xi)]
    if indexing == "xy" and n > 1:
        rows = [X.swapaxes(r, 0, 1) for r in rows]
    if not sparse:
        rows = X.broadcast_arrays(*rows)
    return tuple(X.copy(r, "C") if copy else r for r in rows)


def indices(dimensions, dtype=int, sparse=False, *, device=None):
    """The indices of a grid, as ``np.indices``."""
    y = made_on(as_device(device), "indices", dimensions, dtype) if not sparse else np.indices(dimensions, dtype, True)
    return tuple(_made(wrap(v), device) for v in y) if sparse else wrap(y)


def fromfunction(function, shape, *, dtype=float, like=None, **kwargs):
    """``function(*indices)`` over a grid of `shape`; the function gets Tensors of the indices."""
    return function(*indices(shape, dtype), **kwargs)


class _Grid:
    """``mgrid`` and ``ogrid`` with Tensors as results."""

    def __init__(self, twin):
        self._twin = twin
        self.__doc__ = twin.__doc__

    def __getitem__(self, key):
        y = self._twin[key]
        return tuple(_made(wrap(v), None) for v in y) if isinstance(y, tuple) else _made(wrap(y), None)


def _parts(k):
    """What stands in one part of an index of ``r_``."""
    return (k.start, k.stop, k.step) if isinstance(k, slice) else k if isinstance(k, (list, tuple)) else (k,)


class _Concatenator:
    """``r_`` and ``c_`` for Tensors: slices become ranges, everything is joined along an axis."""

    def __init__(self, twin, columns):
        self._twin, self._columns = twin, columns
        self.__doc__ = twin.__doc__

    def __getitem__(self, key):
        if not isinstance(key, tuple):
            key = (key,)
        if not any(holds_tensor((k.start, k.stop, k.step) if isinstance(k, slice) else k) for k in key):
            y = self._twin[key]
            return y if any(isinstance(k, np.ndarray) for k in key) else wrap(y)
        axis, ndmin, place = (-1, 2, 0) if self._columns else (0, 1, -1)
        if isinstance(key[0], str):
            if key[0] in ("r", "c"):
                raise ValueError("matrices are not supported: use dif.column_stack or dif.vstack")
            numbers = [int(k) for k in key[0].split(",")]
            axis, ndmin, place = numbers + [axis, ndmin, place][len(numbers) :]
            key = key[1:]
        there = next((p.device for k in key for p in _parts(k) if isinstance(p, Tensor)), None)
        return X.concatenate([self._piece(k, ndmin, place, there) for k in key], axis)

    @staticmethod
    def _piece(k, ndmin, place, there):
        if isinstance(k, slice):
            step = 1 if k.step is None else k.step
            start = 0 if k.start is None else k.start
            if isinstance(step, complex):
                x = linspace(start, k.stop, int(abs(step)), device=there)
            else:
                x = arange(start, k.stop, step, device=there)
        else:
            x = X.asarray(k, device=there if np.isscalar(k) else None)
        old, missing = x.ndim, ndmin - x.ndim
        if missing <= 0:
            return x
        x = X.array(x, copy=None, ndmin=ndmin)
        if place == -1 or not old:
            return x
        # The array's own axes start at `place`, the new ones fill up around them.
        first = place if place >= 0 else place + missing + 1
        return X.moveaxis(x, tuple(range(missing, ndmin)), tuple(range(first, first + old)))


mgrid, ogrid = _Grid(np.mgrid), _Grid(np.ogrid)
r_, c_ = _Concatenator(np.r_, False), _Concatenator(np.c_, True)

for _name in ("indices", "fromfunction"):
    publish(_name, globals()[_name])


@composition(np.ix_)
def ix_(*args):
    parts = []
    for i, a in enumerate(args):
        a = X.asarray(a)
        if a.ndim != 1:
            raise ValueError("Cross index must be 1 dimensional")
        a = X.nonzero(a)[0] if a.dtype.kind == "b" else a if a.size else X.astype(a, np.intp)
        parts.append(a.reshape((1,) * i + (a.size,) + (1,) * (len(args) - i - 1)))
    return tuple(parts)
