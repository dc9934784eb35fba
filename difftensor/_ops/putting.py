"""Putting: copyto, put, place, putmask, put_along_axis, fill_diagonal write into their argument."""

from __future__ import annotations

import numpy as np

from difftensor._backend import library
from difftensor._core import Tensor, X, composition, operand
from difftensor._ops.indexing import _as_mask, index_along, index_in_range, integers, setitem
from difftensor._ops.reductions import axes_of
from difftensor.errors import would_lose


def _target(x, name):
    """The Tensor that ``dif.name`` writes to; a plain array cannot hold a derivative."""
    if not isinstance(x, Tensor):
        raise TypeError(
            f"dif.{name}: a Tensor can only be written into a Tensor, found {type(x).__name__}; "
            f"make the target one with dif.asarray(x)"
        )
    return x


@composition(np.copyto, writes=True)
def copyto(dst, src, casting="same_kind", where=True):
    if not isinstance(dst, Tensor):
        if isinstance(src, Tensor) and src.node is not None:
            raise would_lose("copyto(ndarray, ...)", src)
        return np.copyto(
            dst,
            *(v.numpy() if isinstance(v, Tensor) else v for v in (src,)),
            casting=casting,
            where=where.numpy() if isinstance(where, Tensor) else where,
        )
    src = operand(src, "copyto")
    if not isinstance(src, (int, float, complex)) and not np.can_cast(src.dtype, dst.dtype, casting):
        raise TypeError(f"Cannot cast array data from {src.dtype!r} to {dst.dtype!r} according to the rule {casting!r}")
    if where is True:
        return setitem(dst, Ellipsis, src)
    setitem(dst, Ellipsis, X.where(where, X.astype(X.asarray(src), dst.dtype, copy=False), dst))
    return None


@composition(np.put, writes=True)
def put(a, ind, v, mode="raise"):
    a = _target(a, "put")
    index = index_in_range(integers(ind).reshape(-1), a.size, mode, "put")
    if index.size and not a.ndim:
        setitem(a, Ellipsis, _cycled(v, index.size)[-1])
    elif index.size:
        setitem(a, np.unravel_index(np.where(index < 0, index + a.size, index), a.shape), _cycled(v, index.size))


def _cycled(v, n):
    """The values of `v`, repeated until there are n."""
    v = X.ravel(X.asarray(v))
    if not v.size:
        raise ValueError("Cannot insert from an empty array!")
    return v if v.size == 1 else X.resize(v, (n,))


@composition(np.place, writes=True)
def place(arr, mask, vals):
    arr = _target(arr, "place")
    mask = _as_mask(mask)
    if mask.any():
        setitem(arr, np.nonzero(mask.reshape(arr.shape)), _cycled(vals, int(mask.sum())))


@composition(np.putmask, writes=True)
def putmask(a, mask, values):
    a = _target(a, "putmask")
    mask = _as_mask(mask)
    if mask.shape != a.shape:
        raise ValueError("putmask: mask and data must be the same size")
    values = X.resize(X.ravel(X.asarray(values)), a.shape)
    setitem(a, mask, values[mask])


@composition(np.put_along_axis, writes=True)
def put_along_axis(arr, indices, values, axis):
    arr = _target(arr, "put_along_axis")
    if axis is None:
        return put(arr, integers(indices), values)
    axis = axes_of(arr, axis)[0]
    return setitem(arr, index_along(arr.shape, indices, axis, "put_along_axis"), values)


@composition(np.fill_diagonal, writes=True)
def fill_diagonal(a, val, wrap=False):
    a = _target(a, "fill_diagonal")
    if a.ndim < 2:
        raise ValueError("array must be at least 2-d")
    if a.ndim > 2 and len(set(a.shape)) != 1:
        raise ValueError("All dimensions of input must be of equal length")
    n = min(a.shape)
    if a.ndim == 2 and wrap and a.shape[0] > a.shape[1]:
        places = library(a).arange(0, a.size, a.shape[1] + 1)
        index = np.unravel_index(places, a.shape)
    else:
        index = (library(a).arange(n),) * a.ndim
    setitem(a, index, _cycled(val, len(index[0])))
