"""Indexing and assignment; taking and choosing elements."""

from __future__ import annotations

import math
import operator

import numpy as np

from difftensor._backend import beside, device_of, duplicate, is_array, move, namespace, on_gpu, several_devices
from difftensor._backend.rows import rows
from difftensor._core import (
    Scatter,
    Tensor,
    X,
    aligned,
    composition,
    everywhere,
    general,
    holds_tensor,
    lift,
    linear,
    operand,
    write,
    write_out,
)
from difftensor._core.fitting import COPY_LIMIT, fit
from difftensor._core.operands import lists_placed, subclass_of
from difftensor._ops.reductions import axes_of
from difftensor.errors import DeviceError, describe, explain

# x[index] -------------------------------------------------------------------------------------------------------------

_BASIC = frozenset((int, slice, type(None), type(Ellipsis)))
_BOUNDS = frozenset((int, type(None)))


def _plain(i):
    """One part of an index with raw arrays only. Index arrays are copied: the tape relies on them."""
    if i.__class__ is slice:
        if Tensor in (i.start.__class__, i.stop.__class__, i.step.__class__):
            return slice(*(k.__index__() if isinstance(k, Tensor) else k for k in (i.start, i.stop, i.step)))
        return i
    if i.__class__ in _BASIC:
        return i
    if isinstance(i, Tensor):
        if i.__class__ is not Tensor:
            return i
        if i.dtype.kind not in "iub":
            raise IndexError("arrays used as indices must be of integer (or boolean) type")
        d = i._data
        return d if isinstance(d, np.generic) else duplicate(d)
    if isinstance(i, np.ndarray) or on_gpu(i):
        return duplicate(i)
    if isinstance(i, (list, tuple)):
        a = np.asarray([_plain(k) for k in i] if holds_tensor(i) else i)
        return a.astype(np.intp) if a.size == 0 else a
    return np.asarray(i).copy() if hasattr(i, "__array__") and not is_array(i) else i


def static(index):
    """`index` with raw arrays only."""
    if index.__class__ is tuple:
        for i in index:
            if i.__class__ is not int and i.__class__ is not slice:
                return tuple(map(_plain, index))
        for i in index:
            if i.__class__ is slice:
                return tuple(map(_plain, index))
        return index
    return _plain(index)


def _placed(x, index, given):
    """`index`, which `static` made of `given`, on the device of `x`: lists go there, arrays must be there."""
    if index.__class__ is tuple:
        return tuple(_placed(x, i, g) for i, g in zip(index, given))
    if not is_array(index) or isinstance(index, np.generic):
        return index
    there = x.device if isinstance(x, Tensor) else device_of(x)
    if device_of(index) == there:
        return index
    if not index.ndim and there.kind != "cpu" and isinstance(index, np.ndarray):
        return index.item()
    if isinstance(given, (list, tuple)):
        return move(index, there)
    raise DeviceError(
        f"getitem: {describe(given)} is no index of {describe(x)}: nothing moves by itself. Use "
        f"dif.asarray(index, device='{there}')"
    )


def _repeats(index):
    """May `index` name an element twice?"""
    if index.__class__ in _BASIC:
        return False
    parts = index if index.__class__ is tuple else (index,)
    return any(i.__class__ not in _BASIC and getattr(i, "ndim", 0) and i.dtype.kind in "iu" for i in parts)


def _prepared(x, params):
    """`x`, its static index, and whether it is of integers and slices only.

    An index of a Tensor class of its own (batched) has its say first.
    """
    index = params[0]
    if index.__class__ is slice:
        if index.start.__class__ in _BOUNDS and index.stop.__class__ in _BOUNDS and index.step.__class__ in _BOUNDS:
            return x, params, True
    for i in index if index.__class__ is tuple else (index,):
        if i.__class__ is slice:
            if not (i.start.__class__ in _BOUNDS and i.stop.__class__ in _BOUNDS and i.step.__class__ in _BOUNDS):
                break
        elif i.__class__ not in _BASIC:
            break
    else:
        return x, params, True
    given, index = index, static(index)
    if several_devices():
        index = _placed(x, index, given)
    for i in index if index.__class__ is tuple else (index,):
        if isinstance(i, Tensor):
            index = index if index.__class__ is tuple else (index,)
            return i.__dif_index__(x, index), (index,), False
    return x, (index,), False


getitem = linear(
    "getitem",
    rows,
    lambda xp, g, shape, index: Scatter(g, index, shape, _repeats(index)),
    views=True,
    public=False,
    normalize=_prepared,
    usual=(int,),
    quick=operator.getitem,
    scatters=True,
)


def _scattered(gs, indices, shape):
    xp = namespace(gs[0])
    buffer = xp.zeros(shape, np.result_type(*(g.dtype for g in gs)))
    for g, index in zip(gs, indices):
        buffer = Scatter(g, index, shape, _repeats(index)).into(xp, buffer)
    return buffer


def _batch_scattered(call, lanes, flags, size, indices, shape):
    lanes = [v if flag else everywhere(v, size) for v, flag in zip(lanes, flags)]
    parts = [i if i.__class__ is tuple else (i,) for i in indices]
    if all(i.__class__ in _BASIC for index in parts for i in index):
        return call(lanes, tuple((slice(None), *index) for index in parts), (size, *shape))
    # Arrays among the indices may come to stand in front: the elements by their numbers instead.
    xp = namespace(next(i for index in parts for i in index if i.__class__ not in _BASIC))
    numbers = xp.arange(size * math.prod(shape)).reshape((size, -1))
    places = [xp.arange(numbers.shape[1]).reshape(shape)[index] for index in indices]
    every = tuple(numbers[:, place.ravel()].ravel() for place in places)
    return call([v.reshape(-1) for v in lanes], every, (numbers.size,)).reshape((size, *shape))


# What getitem pulls back, from all indices of one array together.
scattered = general(
    "scattered",
    _scattered,
    lambda xp, g, y, gs, indices, shape: tuple(fit(g[i], x.shape, x.dtype) for x, i in zip(gs, indices)),
    lambda xp, ts, y, gs, indices, shape: scattered(
        [t for t in ts if t is not None], tuple(i for t, i in zip(ts, indices) if t is not None), shape
    ),
    operands=None,
    samples="scattered",
    batch=_batch_scattered,
)


def setitem(x, index, value):
    """``x[index] = value``."""
    value = operand(lists_placed((x, value))[1] if several_devices() else value, "setitem")
    given, index = index, static(index)
    if several_devices():
        index = _placed(x, index, given)
    cls = subclass_of((x, value, *index) if index.__class__ is tuple else (x, value, index))
    if cls is not None:
        return cls.__dif_write__(x, index, value)
    try:
        write(x, index, value)
    except (IndexError, ValueError, TypeError) as error:
        raise explain("setitem", (x, value), error, (index,)) from error


# where, choose, select ------------------------------------------------------------------------------------------------


def _pull_where(xp, g, y, c, a, b, fa, fb):
    ga = gb = None
    if fa is not None:
        ga = xp.where(c, g, 0)
        if ga.shape != fa[0] or ga.dtype != fa[1]:
            ga = fit(ga, *fa)
    if fb is not None:
        gb = xp.where(c, 0, g)
        if gb.shape != fb[0] or gb.dtype != fb[1]:
            gb = fit(gb, *fb)
    return None, ga, gb


def _push_where(xp, ts, y, c, a, b, fa, fb):
    _, ta, tb = ts
    return xp.where(c, 0 if ta is None else ta, 0 if tb is None else tb)


_where = general(
    "where_else",
    lambda c, a, b, fa, fb: np.where(c, a, b),
    _pull_where,
    _push_where,
    saves="a",
    operands=3,
    public=False,
    fuses=True,
    samples="where",
    batch=lambda call, lanes, flags, size, fa, fb: X.where(*aligned(lanes, flags)),
)


def _like(x):
    if x.__class__ is Tensor:
        if x.node is None:
            return None
    elif not isinstance(x, Tensor):
        return None
    dtype = x.dtype
    return (x.shape, dtype) if dtype.kind in "fc" else None


@composition(np.where)
def where(condition, x=None, y=None, /):
    if x is None or y is None:
        if x is None and y is None:
            return X.nonzero(condition)
        raise ValueError("either both or neither of x and y should be given")
    c = condition
    if c.__class__ is np.ndarray:
        if c.nbytes <= COPY_LIMIT:  # as a Tensor it is spared the slow path, as the numbers below
            c = lift(c.copy(), None)
    else:
        c = operand(c, "where")
        if isinstance(c, Tensor):
            c = c.detach() if c.node is not None else c
        elif not is_array(c):
            c = np.asarray(c)
    x, y = operand(x, "where"), operand(y, "where")
    if x.__class__ in _REAL:
        x = _as_constant(x, y)
    elif y.__class__ in _REAL:
        y = _as_constant(y, x)
    return _where(c, x, y, _like(x), _like(y))


_REAL = (float, int)


def _as_constant(number, beside):
    """A Python number in the dtype that it takes `beside` a floating Tensor: a Tensor is spared the slow path."""
    if beside.__class__ is not Tensor or on_gpu(beside._data):
        return number
    dtype = beside._data.dtype
    return lift(dtype.type(number), None) if dtype.kind in "fc" else number


@composition(np.choose)
def choose(a, choices, out=None, mode="raise"):
    choices = X.broadcast_arrays(*(X.asarray(c) for c in choices))
    rows = X.stack(choices)
    index = index_in_range(integers(a), len(choices), mode, "choose")
    shape = np.broadcast_shapes(index.shape, rows.shape[1:])
    rows = rows.reshape((len(choices), *(1,) * (len(shape) + 1 - rows.ndim), *rows.shape[1:]))
    rows = X.broadcast_to(rows, (len(choices), *shape))
    grids = (beside(i, rows) for i in np.indices(shape, sparse=True))
    y = rows[(np.broadcast_to(index, shape), *grids)]
    return y if out is None else write_out("choose", y, out)


@composition(np.select)
def select(condlist, choicelist, default=0):
    if len(condlist) != len(choicelist):
        raise ValueError("list of cases must be same length as list of conditions")
    if not condlist:
        raise ValueError("select with an empty condition list is not possible")
    for i, c in enumerate(condlist):
        if getattr(c, "dtype", np.asarray(c).dtype if not isinstance(c, Tensor) else None) != np.dtype(bool):
            raise TypeError(f"invalid entry {i} in condlist: should be boolean ndarray")
    parts = [c if c.__class__ in (int, float, complex) else X.asarray(c) for c in (*choicelist, default)]
    dtype = X.result_type(*parts)
    y = parts.pop()
    for condition, choice in reversed(list(zip(condlist, parts))):
        y = X.where(condition, choice, y)
    return X.astype(y, dtype, copy=False)


@composition(np.piecewise)
def piecewise(x, condlist, funclist, *args, **kw):
    x = X.asarray(x)
    conditions = _piecewise_conditions(condlist, x)
    n = len(conditions)
    if len(funclist) == n + 1:
        conditions = np.concatenate([conditions, ~np.any(conditions, axis=0, keepdims=True)])
    elif len(funclist) != n:
        raise ValueError(f"with {n} condition(s), either {n} or {n + 1} functions are expected")
    y = X.zeros_like(x)
    for condition, function in zip(conditions, funclist):
        if not callable(function):
            y[condition] = function
        elif condition.any():
            y[condition] = function(x[condition], *args, **kw)
    return y


def _as_mask(condition, dtype=bool):
    """The raw array of a condition, where it is."""
    mask = _raw(condition)
    return mask if dtype is None or mask.dtype == dtype else mask.astype(dtype)


def _piecewise_conditions(condlist, x):
    """Rows of booleans, one for each condition."""
    if np.ndim(condlist if not isinstance(condlist, (list, tuple)) else condlist[0]) == 0 and (
        np.isscalar(condlist) or (x.ndim and not isinstance(condlist[0], (list, Tensor)) and np.ndim(condlist[0]) == 0)
    ):
        condlist = [condlist]
    rows = [_as_mask(c) for c in condlist]
    return np.stack([np.broadcast_to(r, x.shape) for r in rows])


# Taking ---------------------------------------------------------------------------------------------------------------


def _raw(v):
    """The raw array of `v`, where it is; of numbers, where the composition makes things."""
    if isinstance(v, Tensor) or is_array(v):
        return v._data if isinstance(v, Tensor) else v
    a = np.asarray(v)
    return beside(a, X.empty(())) if several_devices() and a.ndim else a


def integers(indices):
    """`indices` as an integer array."""
    a = _raw(indices)
    if a.size == 0 and not isinstance(indices, Tensor) and not is_array(indices):
        return a.astype(np.intp)
    if a.dtype.kind not in "iub":
        raise TypeError(
            f"Cannot cast array data from {a.dtype!r} to {np.dtype(np.intp)!r} according to the rule 'safe'"
        )
    return a.astype(np.intp) if a.dtype.kind == "b" else a


def index_in_range(index, n, mode, name):
    """`index` into an axis of n elements, by NumPy's ``mode``."""
    if mode == "wrap":
        return index % n if n else index
    if mode == "clip":
        return index.clip(0, max(n - 1, 0))
    if mode != "raise":
        raise ValueError(f"clipmode must be one of 'clip', 'raise', or 'wrap' (got {mode!r})")
    if name == "put" and index.size and not (-n <= index.min() and index.max() < n):
        worst = index.max() if index.max() >= n else index.min()
        raise IndexError(f"index {worst} is out of bounds for axis 0 with size {n}")
    if name == "choose" and index.size and not (0 <= index.min() and index.max() < n):
        raise ValueError("invalid entry in choice array")
    return index


@composition(np.take)
def take(a, indices, axis=None, out=None, mode="raise"):
    a = X.asarray(a)
    if axis is None or not a.ndim:
        a, axis = X.ravel(a), -1 if axis is None else axis
    axis = axes_of(a, axis)[0]
    index = index_in_range(integers(indices), a.shape[axis], mode, "take")
    y = a[(slice(None),) * (a.ndim + axis) + (index,)]
    if a.ndim + axis and np.ndim(index):  # an index array behind other axes lays them innermost
        y = X.copy(y, "C")
    return y if out is None else write_out("take", y, out)


def index_along(shape, indices, axis, name):
    """The index tuple of ``take_along_axis`` and ``put_along_axis``."""
    index = integers(indices)
    if index.ndim != len(shape):
        raise ValueError("`indices` and `arr` must have the same number of dimensions")
    n, grids = len(shape), []
    for i, k in enumerate(shape):
        grids.append(index if i - n == axis else namespace(index).arange(k).reshape((-1,) + (1,) * (n - i - 1)))
    return tuple(grids)


@composition(np.take_along_axis)
def take_along_axis(arr, indices, axis=-1):
    arr = X.asarray(arr)
    if axis is None:
        arr, axis = X.ravel(arr), 0
    axis = axes_of(arr, axis)[0]
    return arr[index_along(arr.shape, indices, axis, "take_along_axis")]


@composition(np.compress)
def compress(condition, a, axis=None, out=None):
    mask = _as_mask(condition, None)
    if mask.ndim != 1:
        raise ValueError("condition must be a 1-d array")
    return take(a, beside(np.flatnonzero(mask), a) if isinstance(a, Tensor) else np.flatnonzero(mask), axis, out)


@composition(np.extract)
def extract(condition, arr):
    mask = _as_mask(condition, None)
    return take(X.ravel(arr), np.flatnonzero(mask))


__all__ = ["getitem", "setitem", "static", "where"]
