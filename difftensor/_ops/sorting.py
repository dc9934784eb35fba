"""Sorting, partitioning, searching: the order is constant, the values flow through it.

At ties NumPy's order decides which element a sorted value belongs to.
"""

from __future__ import annotations

from functools import wraps

import numpy as np

from difftensor._backend import namespace, on_gpu
from difftensor._core import Tensor, X, composition, general, nondifferentiable, recording, wrap
from difftensor._ops.plain import plain, values
from difftensor._ops.reductions import axis_of, constant

# Picking along an axis ----------------------------------------------------------------------------------------------
#
# Indices that name no element twice (an order, or a part of one): what is pulled back is put, not added.


def _places(index, n):
    """The flat places of `index` along the last axis of rows of length n."""
    rows = index.size // index.shape[-1] if index.size else 0
    return (index.reshape(rows, -1) + namespace(index).arange(0, rows * n, n)[:, None]).reshape(index.shape)


def _pick(x, index, axis, n):
    if x.ndim == 1:
        return x[index]
    return x.reshape(-1)[_places(index, n)] if axis == -1 and index.size else np.take_along_axis(x, index, axis)


def _put(g, index, axis, n):
    shape = tuple(n if k - g.ndim == axis else m for k, m in enumerate(g.shape))
    y = np.zeros_like(g, order="C", shape=shape)  # of which a reshape is a view
    if g.ndim == 1:
        y[index] = g
    elif axis == -1 and index.size:
        y.reshape(-1)[_places(index, n)] = g
    else:
        np.put_along_axis(y, index, g, axis)
    return y


pick_along = general(
    "pick_along",
    _pick,
    lambda xp, g, y, x, index, axis, n: (put_along(g, index, axis, n), None),
    lambda xp, ts, y, x, index, axis, n: pick_along(ts[0], index, axis, n),
    operands=2,
    saves="b",
    public=False,
    samples="pick_along",
    batch="trailing",
)
put_along = general(
    "put_along",
    _put,
    lambda xp, g, y, x, index, axis, n: (pick_along(g, index, axis, n), None),
    lambda xp, ts, y, x, index, axis, n: put_along(ts[0], index, axis, n),
    operands=2,
    saves="b",
    public=False,
    samples="put_along",
    batch="trailing",
)

# Orders -------------------------------------------------------------------------------------------------------------

_argsort = nondifferentiable(
    "argsort_along", lambda x, axis, kind: np.argsort(x, axis=axis, kind=kind), public=False, batch="trailing"
)
_argpartition = nondifferentiable(
    "argpartition_along", lambda x, kth, axis: np.argpartition(x, kth, axis=axis), public=False, batch="trailing"
)
_sorted = nondifferentiable(
    "sort_along", lambda x, axis, kind: np.sort(x, axis=axis, kind=kind), public=False, batch="trailing"
)
_partitioned = nondifferentiable(
    "partition_along", lambda x, kth, axis: np.partition(x, kth, axis=axis), public=False, batch="trailing"
)
_searchsorted = nondifferentiable(
    "searchsorted_in", lambda a, v, side: np.searchsorted(a, v, side), operands=2, public=False
)


def _arranged(a, axis):
    """`a`, flattened if `axis` is None, and the axis counted from the end."""
    a = X.asarray(a)
    return (a.ravel(), -1) if axis is None else (a, axis_of(a, axis))


def _kind(kind, order, stable):
    if order is not None:
        raise ValueError("Cannot specify order when the array has no fields.")
    if kind is not None and stable is not None:
        raise ValueError("`kind` and `stable` parameters can't be provided at the same time. Use only one of them.")
    return "stable" if stable else kind


def tracked(*xs):
    """Does anybody watch one of `xs`: a tape, or a Tensor of a class of its own (a dual carries its tangent along)?"""
    return any(x.__class__ is not Tensor or (x.node is not None and recording()) for x in xs)


def picked(a, index, axis):
    return pick_along(a, index, axis, a.shape[axis])


def _either_way(twin):
    """NumPy's `twin` with the array API's ``descending``, for plain arrays."""

    @wraps(twin, updated=())
    def f(a, axis=-1, kind=None, order=None, *, stable=None, descending=False):
        if not descending:
            return twin(a, axis, kind, order, stable=stable)
        return (
            getattr(X, twin.__name__)
            .body(X.asarray(a), axis, kind, order, stable=stable, descending=True)
            .numpy(copy=True)
        )

    return f


@composition(_either_way(np.argsort), also=(np.argsort,))
def argsort(a, axis=-1, kind=None, order=None, *, stable=None, descending=False):
    a = constant(a)
    a, axis = _arranged(a if a.ndim else a.ravel(), axis)  # NumPy orders a single number too
    kind = _kind(kind, order, stable) or "stable"  # so the array API standard wants it; kind="quicksort" is faster
    if descending:  # of what is turned round, so that a stable order keeps ties as they stand
        return a.shape[axis] - 1 - X.flip(_argsort(X.flip(a, axis), axis, kind), axis)
    return _argsort(a, axis, kind)


@composition(_either_way(np.sort), also=(np.sort,))
def sort(a, axis=-1, kind=None, order=None, *, stable=None, descending=False):
    a, axis = _arranged(a, axis)
    if descending:
        return picked(a, argsort(a, axis, kind, order, stable=stable, descending=True), axis)
    kind = _kind(kind, order, stable)
    return picked(a, _argsort(a, axis, kind), axis) if tracked(a) else _sorted(a, axis, kind)


@composition(np.sort_complex)
def sort_complex(a):
    a = X.asarray(a)
    if a.dtype.kind != "c":
        a = X.astype(a, np.sort_complex(np.zeros(1, a.dtype)).dtype)
    return sort(a)


def _positions(kth):
    return tuple(int(k) for k in kth) if np.iterable(kth) else kth.__index__()


@composition(np.argpartition)
def argpartition(a, kth, axis=-1, kind="introselect", order=None):
    a, axis = _arranged(constant(a), axis)
    _kind(None, order, None)
    return _argpartition(a, _positions(kth), axis)


@composition(np.partition)
def partition(a, kth, axis=-1, kind="introselect", order=None):
    a, axis = _arranged(a, axis)
    _kind(None, order, None)
    return (
        picked(a, _argpartition(a, _positions(kth), axis), axis)
        if tracked(a)
        else _partitioned(a, _positions(kth), axis)
    )


@composition(np.searchsorted)
def searchsorted(a, v, side="left", sorter=None):
    a, v = constant(a), constant(v)
    return _searchsorted(a if sorter is None else a[sorter], v, side)


@composition(np.lexsort)
def lexsort(keys, axis=-1):
    keys = values(keys, "lexsort")
    if not any(map(on_gpu, keys if isinstance(keys, (list, tuple)) else (keys,))):
        return wrap(np.lexsort(keys, axis))
    order = None  # CuPy's takes one array of keys and the last axis only: each key sorts what those before it arranged
    for key in (X.asarray(key)._data for key in keys):
        now = key if order is None else np.take_along_axis(key, order, axis)
        after = now.argsort(axis=axis, kind="stable")
        order = after if order is None else np.take_along_axis(order, after, axis)
    return wrap(order)


digitize = plain("digitize", operands=2)
