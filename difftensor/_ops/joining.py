"""Joining, repeating, inserting and deleting."""

from __future__ import annotations

import numpy as np

from difftensor._backend import beside, namespace, on_gpu, several_devices
from difftensor._core import (
    Tensor,
    X,
    composition,
    everywhere,
    general,
    holds_tensor,
    linear,
    operand,
    recording,
    wrap,
    write_out,
)
from difftensor._core.fitting import fit
from difftensor._core.operands import lists_placed
from difftensor._core.recording import NUMBER, Like, record_joined
from difftensor._ops.reductions import axes_of

# Joining --------------------------------------------------------------------------------------------------------------


def _pull_concatenate(xp, g, y, xs, axis):
    """Each operand gets its slice."""
    out, start = [], 0
    tail = (slice(None),) * (-axis - 1)
    first, dtype = axis == -len(g.shape), g.dtype
    for x in xs:
        stop = start + x.shape[axis]
        part = g[start:stop] if first else g[(..., slice(start, stop), *tail)]
        out.append(part if x.dtype == dtype else fit(part, x.shape, x.dtype))
        start = stop
    return tuple(out)


def _filled(xp, ts, xs):
    like = next(t for t in ts if t is not None)
    return [xp.zeros(x.shape, like.dtype) if t is None else t for t, x in zip(ts, xs)]


_concatenate = general(
    "concatenate_along",
    lambda xs, axis: np.concatenate(xs, axis=axis),
    _pull_concatenate,
    lambda xp, ts, y, xs, axis: xp.concatenate(_filled(xp, ts, xs), axis=axis),
    operands=None,
    public=False,
    samples="sequence",
    batch="trailing",
)


def _pull_parts(xp, g, y, xs, shape):
    """Element i of the flat result is operand i."""
    if xs.count(NUMBER) == len(xs):
        return tuple(g if len(shape) == 1 else g.reshape(-1))
    flat = g if len(shape) == 1 else g.reshape((len(xs), *g.shape[len(shape) :]))
    return tuple(fit(flat[i], x.shape, x.dtype) for i, x in enumerate(xs))


def _push_parts(xp, ts, y, xs, shape):
    inner = xs[0].shape
    like = next(t for t in ts if t is not None)
    return xp.stack([xp.zeros(inner, like.dtype) if t is None else t for t in ts]).reshape((*shape, *inner))


def _stack_parts(xs, shape):
    # np.array is three times faster than np.stack on small arrays, and does not know those of other devices.
    ours = all(x.__class__ is np.ndarray or isinstance(x, np.generic) for x in xs)
    y = np.array(xs) if ours else np.stack(_numbers_placed(xs))
    return y.reshape((*shape, *y.shape[1:])) if len(shape) != 1 else y


def _numbers_placed(xs):
    """`xs` with arrays on the GPU in place of numbers beside arrays there: CuPy stacks arrays only."""
    there = next((x for x in xs if on_gpu(x)), None)
    if there is None:
        return xs
    full = namespace(there).full
    return [x if on_gpu(x) else full((), np.asarray(x)[()], np.asarray(x).dtype) for x in xs]


def _batch_parts(call, lanes, flags, size, shape):
    y = call([v if flag else everywhere(v, size) for v, flag in zip(lanes, flags)], shape)
    return X.moveaxis(y, len(shape), 0)


# Arrays of one shape along new axes in front: also what dif.array makes of nested lists.
stack_parts = general(
    "array_of",
    _stack_parts,
    _pull_parts,
    _push_parts,
    operands=None,
    public=False,
    samples="parts",
    batch=_batch_parts,
)


# The two that loops are made of, dif.array([dx, dy]) and dif.concatenate([left, right]), without detours: each is one
# operation on Tensors of the CPU, or None.

_NUMBERS = frozenset((float, int, np.float64))


def array_of_numbers(xs):
    """`xs`, a list or one of lists, as one array, if it is of Tensors of one float64 number each, perhaps with numbers
    among them."""
    shape: tuple = (len(xs),)
    if xs[0].__class__ is list or xs[0].__class__ is tuple:
        rows, xs, n = xs, [], len(xs[0])
        for row in rows:
            if (row.__class__ is not list and row.__class__ is not tuple) or len(row) != n:
                return None
            xs.extend(row)
        shape = (*shape, n)
    data, nodes, tensors = [], [], False
    for x in xs:
        if x.__class__ is not Tensor:
            if x.__class__ not in _NUMBERS:
                return None
            data.append(x)
            nodes.append(None)
        else:
            d = x._data
            if d.__class__ is np.ndarray and not d.ndim:  # a leaf
                d = d[()]
            if d.__class__ is not np.float64:
                return None
            data.append(d)
            nodes.append(x.node)
            tensors = True
    a = np.array(data) if tensors else None
    if a is None or a.dtype != np.float64:  # objects, from large integers
        return None
    y = wrap(a if len(shape) == 1 else a.reshape(shape))
    if nodes.count(None) != len(nodes) and recording():
        y.node = record_joined(stack_parts.primitive, nodes, (NUMBER,) * len(nodes), (shape,))
    return y


def array_of_rows(xs):
    """Tensors of one shape, one below the other."""
    for x in xs:
        if x.__class__ is not Tensor or x.shape != xs[0].shape:
            return None
    return stack_parts(xs, (len(xs),))


def _end_to_end(xs, axis):
    data, nodes, tensors = [], [], False
    for x in xs:
        if x.__class__ is Tensor:
            d = x._data
            nodes.append(x.node)
            tensors = True
        else:
            d = np.array(x) if x.__class__ is list and not holds_tensor(x) else x
            nodes.append(None)
        if d.__class__ is not np.ndarray:
            return None
        data.append(d)
    if not tensors:
        return None
    try:
        yd = np.concatenate(data, axis)
    except Exception:  # noqa: BLE001 - the usual way explains it
        return None
    if yd.dtype.kind not in "biufc":
        return None
    y = wrap(yd)
    if nodes.count(None) != len(nodes) and recording():
        if axis >= 0:
            axis -= yd.ndim
        y.node = record_joined(_concatenate.primitive, nodes, tuple(map(Like, data)), (axis,))
    return y


def _parts(arrays, name):
    """The operands of a joining function: the rows of a Tensor, or the members of a sequence."""
    if isinstance(arrays, Tensor):
        return list(arrays)
    arrays = lists_placed(tuple(arrays)) if several_devices() else arrays
    return [v if v.__class__ is Tensor else X.asarray(operand(v, name)) for v in arrays]


@composition(np.concatenate)
def concatenate(arrays, /, axis=0, out=None, *, dtype=None, casting="same_kind"):
    if arrays.__class__ in (list, tuple) and axis.__class__ is int and out is None and dtype is None:
        y = _end_to_end(arrays, axis)
        if y is not None:
            return y
    xs = _parts(arrays, "concatenate")
    if not xs:
        raise ValueError("need at least one array to concatenate")
    if axis is None:
        xs = [X.ravel(v) for v in xs]
        axis = 0
    y = _concatenate(xs, axes_of(xs[0], axis)[0])
    if dtype is not None:
        y = X.astype(y, dtype, copy=False, casting=casting)
    return y if out is None else write_out("concatenate", y, out, casting)


@composition(np.stack)
def stack(arrays, axis=0, out=None, *, dtype=None, casting="same_kind"):
    xs = _parts(arrays, "stack")
    if not xs:
        raise ValueError("need at least one array to stack")
    shapes = {v.shape for v in xs}
    if len(shapes) != 1:
        raise ValueError(f"all input arrays must have the same shape, found {sorted(shapes)}")
    n = xs[0].ndim + 1
    if not -n <= axis < n:
        raise np.exceptions.AxisError(axis, n)
    y = stack_parts(xs, (len(xs),))
    if axis not in (0, -n):
        y = X.copy(X.moveaxis(y, 0, axis), "C")  # as NumPy's: a later reshape is a view
    if dtype is not None:
        y = X.astype(y, dtype, copy=False, casting=casting)
    return y if out is None else write_out("stack", y, out, casting)


def _stacked(name, at_least, axis):
    """``vstack``, ``hstack``, ``dstack``: concatenation of parts that have at least so many axes."""

    def body(tup, *, dtype=None, casting="same_kind"):
        parts = [at_least(v) for v in _parts(tup, name)]
        along = 0 if name == "hstack" and parts and parts[0].ndim == 1 else axis
        return concatenate(parts, along, dtype=dtype, casting=casting)

    return body


vstack = composition(np.vstack, name="vstack")(_stacked("vstack", X.atleast_2d, 0))
hstack = composition(np.hstack, name="hstack")(_stacked("hstack", X.atleast_1d, 1))


@composition(np.dstack)
def dstack(tup):
    return concatenate([X.atleast_3d(v) for v in _parts(tup, "dstack")], 2)


@composition(getattr(np, "row_stack", None))  # deprecated by NumPy, gone with its version 2.5
def row_stack(tup, *, dtype=None, casting="same_kind"):
    """`vstack` by its old name."""
    return vstack(tup, dtype=dtype, casting=casting)


@composition(np.column_stack)
def column_stack(tup):
    return concatenate([v if v.ndim >= 2 else X.atleast_2d(v).T for v in _parts(tup, "column_stack")], 1)


@composition(np.block)
def block(arrays):
    depth = _depth(arrays)
    leaves = []

    def collect(v):
        if isinstance(v, list):
            for w in v:
                collect(w)
        else:
            leaves.append(X.asarray(operand(v, "block")))

    collect(arrays)
    n = max([depth, *(v.ndim for v in leaves)])
    rest = iter(leaves)

    def join(v, level):
        if isinstance(v, list):
            return concatenate([join(w, level + 1) for w in v], axis=level - depth)
        x = next(rest)
        return x.reshape((1,) * (n - x.ndim) + x.shape)

    return join(arrays, 0) if depth else X.copy(join(arrays, 0))


def _depth(arrays):
    """How deep the lists of ``block`` are nested, everywhere the same."""
    if isinstance(arrays, tuple):
        raise TypeError(
            "arrays is a tuple. Only lists can be used to arrange blocks, and np.block does not allow implicit "
            "conversion from tuple to ndarray."
        )
    if not isinstance(arrays, list):
        return 0
    if not arrays:
        raise ValueError("List at arrays cannot be empty")
    depths = {_depth(v) for v in arrays}
    if len(depths) > 1:
        raise ValueError(f"List depths are mismatched. Found depths {sorted(depths)} side by side.")
    return depths.pop() + 1


# Repeating ------------------------------------------------------------------------------------------------------------


@composition(np.tile)
def tile(A, reps):
    A = X.asarray(A)
    reps = tuple(int(r) for r in reps) if np.iterable(reps) else (int(reps),)
    n = max(A.ndim, len(reps))
    reps = (1,) * (n - len(reps)) + reps
    shape = (1,) * (n - A.ndim) + A.shape
    if all(r == 1 for r in reps):
        return X.copy(A).reshape(shape)
    # Broadcasting over new axes: the gradient is a plain sum.
    pairs = tuple(k for s in shape for k in (1, s))
    wide = tuple(k for r, s in zip(reps, shape) for k in (r, s))
    y = X.copy(X.broadcast_to(A.reshape(pairs), wide), "C")  # a view could not be written to
    return y.reshape(tuple(r * s for r, s in zip(reps, shape)))


def _pull_repeat(xp, g, shape, k, axis):
    i = len(shape) + axis
    return g.reshape((*shape[: i + 1], k, *shape[i + 1 :])).sum(axis=i + 1)


_repeat = linear("repeat_along", lambda x, k, axis: x.repeat(k, axis), _pull_repeat, public=False, batch="trailing")


@composition(np.repeat)
def repeat(a, repeats, axis=None):
    a = X.asarray(a)
    if axis is None or not a.ndim:
        a, axis = X.ravel(a), -1 if axis is None else axis
    axis = axes_of(a, axis)[0]
    n = a.shape[axis]
    counts = np.asarray(_indices(repeats))
    if counts.size == 1:
        k = int(counts.reshape(()))
        if k < 0:
            raise ValueError("repeats may not contain negative values.")
        return _repeat(a, k, axis)
    return X.take(a, beside(np.repeat(np.arange(n), counts), a), axis)


# Inserting and deleting: NumPy works out which elements go where, on an array of their numbers ------------------------


@composition(np.append)
def append(arr, values, axis=None):
    if axis is None:
        arr, values, axis = X.ravel(X.asarray(arr)), X.ravel(X.asarray(values)), 0
    return concatenate((arr, values), axis=axis)


@composition(np.delete)
def delete(arr, obj, axis=None):
    arr = X.asarray(arr)
    if axis is None:
        arr, axis = X.ravel(arr), -1
    axis = axes_of(arr, axis)[0]
    obj = _indices(obj)
    left = beside(np.delete(np.arange(arr.shape[axis]), obj), arr)
    if np.size(obj) != 1:  # NumPy's lies in memory as what an index array picks
        return arr[(slice(None),) * (arr.ndim + axis) + (left,)]
    return X.take(arr, left, axis)


@composition(np.insert)
def insert(arr, obj, values, axis=None):
    arr = X.asarray(arr)
    if axis is None:
        arr, axis = X.ravel(arr), -1
    axis = axes_of(arr, axis)[0]
    n = arr.shape[axis]
    obj = _indices(obj)
    where = np.arange(n)[obj] if isinstance(obj, slice) else np.asarray(obj)
    if where.dtype == bool:
        where = np.flatnonzero(where)
    values = X.array(values, copy=None, ndmin=arr.ndim, device=arr.device if np.isscalar(values) else None)
    if where.ndim == 0:  # a[i] inserts: the values' first axis runs along `axis`
        values = X.moveaxis(values, 0, axis)
    count = values.shape[axis] if where.size == 1 else where.size
    shape = list(arr.shape)
    shape[axis] = count
    values = X.astype(X.broadcast_to(values, shape), arr.dtype, copy=False)
    places = where if where.size == count else np.repeat(where.reshape(-1), count)
    order = np.insert(np.arange(n), places, np.arange(n, n + count))
    return X.take(concatenate((arr, values), axis), beside(order, arr), axis)


def _indices(obj):
    """`obj` of ``insert`` and ``delete`` without Tensors."""
    if isinstance(obj, (list, tuple)) and not obj:
        return np.asarray(obj, np.intp)
    return obj.detach().numpy() if isinstance(obj, Tensor) else obj
