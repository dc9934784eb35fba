"""Changing shapes: reshape, ravel, squeeze; views where NumPy makes views."""

from __future__ import annotations

from typing import Any

import numpy as np

from difftensor._core import Tensor, X, composition, linear
from difftensor._ops.axes import transpose_to
from difftensor._ops.broadcasting import as_shape
from difftensor._ops.copies import contiguous, copy_of, example, memory_order
from difftensor._ops.reductions import axes_of, reduced

# Reshaping ------------------------------------------------------------------------------------------------------------


def _batch_reshape(call, x, shape, order="C"):
    rows = x.shape[0]
    if -1 in shape:
        known = -int(np.prod(shape))
        shape = tuple(int(np.prod(x.shape[1:])) // known if k == -1 else k for k in shape)
    if order == "C":
        return call(x, (rows, *shape))
    # Fortran's order of the examples: reverse their axes, reshape, reverse again
    y = call(transpose_to(x, (-x.ndim, *range(-1, -x.ndim, -1))), (rows, *shape[::-1]))
    return transpose_to(y, (-y.ndim, *range(-1, -y.ndim, -1)))


_reshape = linear(
    "reshape_to",
    lambda x, shape, order="C": x.reshape(shape) if order == "C" else x.reshape(shape, order=order),
    lambda xp, g, old, shape, order="C": g.reshape(old) if order == "C" else g.reshape(old, order=order),
    views=True,
    public=False,
    batch=_batch_reshape,
)


def _as_in_memory(a: Any) -> Any:
    """`a` with its axes in the order in which they lie in memory, which ``order="K"`` asks for.

    Sorted by insertion from the last axis on, as NumPy's iterator does: an axis without a stride (broadcast, or of
    length 1) is passed over by others and passes none.
    """
    strides = getattr(example(a), "strides", (0,) * a.ndim)
    steps = [abs(s) if k > 1 else 0 for s, k in zip(strides, a.shape)]
    axes: list[int] = []  # the fastest first
    for i in reversed(range(a.ndim)):
        place = len(axes)
        for j in reversed(range(place)):
            faster = steps[axes[j]]
            if steps[i] and faster:
                if faster <= steps[i]:
                    break
                place = j
        axes.insert(place, i)
    axes.reverse()
    return a if axes == list(range(a.ndim)) else X.transpose(a, tuple(axes))


@composition(np.reshape)
def reshape(a, /, shape, order="C", *, copy=None):
    if a.__class__ is not Tensor:
        a = X.asarray(a)
    if order == "C" and copy is None:
        return _reshape(a, as_shape(shape))
    if order == "A":
        order = memory_order(a)
    if copy:
        a = copy_of(a)
    y = _reshape(a, as_shape(shape), order) if order != "C" else _reshape(a, as_shape(shape))
    if copy is False and y.size and not np.may_share_memory(y._data, a._data):
        raise ValueError("Unable to avoid creating a copy while reshaping.")
    return y


def reshape_method(a, *shape, order="C", copy=None):
    """As ``np.ndarray.reshape``: the shape may be given as several numbers."""
    return reshape.body(a, shape[0] if len(shape) == 1 else shape, order, copy=copy)


@composition(np.ravel)
def ravel(a, order="C"):
    a = X.asarray(a)
    if order == "K":
        order, a = "C", _as_in_memory(a)
    elif order == "A":
        order = memory_order(a)
    y = _reshape(a, (-1,), order) if order != "C" else _reshape(a, (-1,))
    return y if contiguous(y) else copy_of(y)  # unlike reshape, ravel never gives a strided view


@composition(np.expand_dims)
def expand_dims(a, axis):
    a = X.asarray(a)
    axis = axis if isinstance(axis, (tuple, list)) else (axis,)
    n = a.ndim + len(axis)
    new = set()
    for k in axis:
        if not -n <= k < n:
            raise np.exceptions.AxisError(k, n)
        new.add(k % n)
    if len(new) != len(axis):
        raise ValueError("repeated axis")
    old = iter(a.shape)
    return _reshape(a, tuple(1 if i in new else next(old) for i in range(n)))


@composition(np.squeeze)
def squeeze(a, axis=None):
    a = X.asarray(a)
    if axis is None:
        return _reshape(a, tuple(k for k in a.shape if k != 1))
    axes = reduced(a, axis)
    if any(a.shape[k] != 1 for k in axes):
        raise ValueError("cannot select an axis to squeeze out which has size not equal to one")
    return _reshape(a, tuple(k for i, k in enumerate(a.shape) if i - a.ndim not in axes))


def _at_least(n: int, place: tuple) -> Any:
    """``atleast_nd``: `place[ndim]` is the shape that an array of fewer axes gets, from its own."""

    def body(*arys):
        out = []
        for a in arys:
            a = X.asarray(a)
            out.append(a if a.ndim >= n else _reshape(a, place[a.ndim](*a.shape)))
        return out[0] if len(out) == 1 else tuple(out)

    return body


atleast_1d = composition(np.atleast_1d, name="atleast_1d")(_at_least(1, (lambda: (1,),)))
atleast_2d = composition(np.atleast_2d, name="atleast_2d")(_at_least(2, (lambda: (1, 1), lambda m: (1, m))))
atleast_3d = composition(np.atleast_3d, name="atleast_3d")(
    _at_least(3, (lambda: (1, 1, 1), lambda m: (1, m, 1), lambda m, n: (m, n, 1)))
)


@composition(np.resize)
def resize(a, new_shape):
    a, shape = ravel(a), as_shape(new_shape)
    if any(k < 0 for k in shape):
        raise ValueError("all elements of `new_shape` must be non-negative")
    size = int(np.prod(shape, dtype=np.int64))
    if not a.size or not size:
        return X.zeros_like(a, shape=shape)
    return X.tile(a, -(-size // a.size))[:size].reshape(shape)


@composition(np.trim_zeros)
def trim_zeros(filt, trim="fb", axis=None):
    x = X.asarray(filt)
    where = trim.lower()
    if where not in ("fb", "bf", "f", "b"):
        raise ValueError(f"unexpected character(s) in `trim`: {trim!r}")
    if not x.ndim:
        return x
    axes = axes_of(x, axis)
    rows = X.nonzero(x.detach())
    index: list = [slice(None)] * x.ndim
    for k in axes:
        kept = rows[k]
        if not kept.size:
            index[k] = slice(0, 0)
            continue
        index[k] = slice(int(kept.min()) if "f" in where else None, int(kept.max()) + 1 if "b" in where else None)
    return x[tuple(index)]
