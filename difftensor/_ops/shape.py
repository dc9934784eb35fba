"""Changing shapes: reshape, transpose, broadcast; views where NumPy makes views."""

from __future__ import annotations

import numpy as np

from difftensor._core import Tensor, X, composition, linear, unbroadcast
from difftensor._ops.reductions import axes_of

_reshape = linear("reshape_to", lambda x, shape, order="C": x.reshape(shape, order=order) if order != "C" else x.reshape(shape),
                  lambda xp, g, old, shape, order="C": g.reshape(old, order=order) if order != "C" else g.reshape(old), views=True, public=False)


def as_shape(shape) -> tuple:
    """`shape` as a tuple of Python ints."""
    if isinstance(shape, (tuple, list)):
        return tuple(k.__index__() for k in shape)
    if getattr(shape, "ndim", 0):
        return tuple(int(k) for k in shape.tolist())
    return (shape.__index__(),)


@composition(np.reshape)
def reshape(a, /, shape, order="C", *, copy=None):
    a = X.asarray(a)
    order = "F" if order == "A" and np.isfortran(np.asarray(a._data)) else "C" if order == "A" else order
    if copy:
        a = a.copy()
    y = _reshape(a, as_shape(shape), order) if order != "C" else _reshape(a, as_shape(shape))
    if copy is False and y.size and not np.may_share_memory(y._data, a._data):
        raise ValueError("Unable to avoid creating a copy while reshaping.")
    return y


def reshape_method(a, *shape, order="C", copy=None):
    return reshape(a, shape[0] if len(shape) == 1 else shape, order, copy=copy)


@composition(np.ravel)
def ravel(a, order="C"):
    a = X.asarray(a)
    if order in "AK":
        order = "F" if a._data.__class__ is np.ndarray and a._data.flags.f_contiguous and not a._data.flags.c_contiguous else "C"
    return _reshape(a, (-1,), order) if order != "C" else _reshape(a, (-1,))


def _inverse(axes):
    n = len(axes)
    out = [0] * n
    for i, a in enumerate(axes):
        out[a + n] = i - n
    return tuple(out)


_transpose = linear("transpose_to", lambda x, axes: x.transpose(axes), lambda xp, g, shape, axes: g.transpose(_inverse(axes)), views=True, public=False)


@composition(np.transpose)
def transpose(a, axes=None):
    a = X.asarray(a)
    n = a.ndim
    if axes is None:
        return _transpose(a, tuple(range(-1, -n - 1, -1)))
    axes = axes_of(a, tuple(axes))
    if len(axes) != n:
        raise ValueError("axes don't match array")
    return _transpose(a, axes)


def transpose_method(a, *axes):
    if len(axes) == 1 and (axes[0] is None or isinstance(axes[0], (tuple, list))):
        axes = axes[0]
    return transpose(a, axes if axes else None)


@composition(np.swapaxes)
def swapaxes(a, axis1, axis2):
    a = X.asarray(a)
    i, j = (axes_of(a, k)[0] for k in (axis1, axis2))
    axes = list(range(-a.ndim, 0))
    axes[i], axes[j] = axes[j], axes[i]
    return _transpose(a, tuple(axes))


@composition(np.moveaxis)
def moveaxis(a, source, destination):
    a = X.asarray(a)
    s = axes_of(a, tuple(source) if np.iterable(source) else source)
    d = axes_of(a, tuple(destination) if np.iterable(destination) else destination)
    if len(s) != len(d):
        raise ValueError("`source` and `destination` arguments must have the same number of elements")
    order = [k for k in range(-a.ndim, 0) if k not in s]
    for to, source_axis in sorted(zip((k + a.ndim for k in d), s, strict=True)):
        order.insert(to, source_axis)
    return _transpose(a, tuple(order))


@composition(np.matrix_transpose)
def matrix_transpose(x, /):
    x = X.asarray(x)
    if x.ndim < 2:
        raise ValueError(f"Input array must be at least 2-dimensional, but it is {x.ndim}")
    return swapaxes(x, -1, -2)


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
    axes = axes_of(a, axis)
    if any(a.shape[k] != 1 for k in axes):
        raise ValueError("cannot select an axis to squeeze out which has size not equal to one")
    return _reshape(a, tuple(k for i, k in enumerate(a.shape) if i - a.ndim not in axes))


_broadcast = linear("broadcast_to_shape", lambda x, shape: np.broadcast_to(x, shape), lambda xp, g, old, shape: unbroadcast(g, old), views=True, public=False)


@composition(np.broadcast_to)
def broadcast_to(array, shape, subok=False):
    return _broadcast(X.asarray(array), as_shape(shape))


@composition(np.astype, name="astype")
def astype(x, dtype, /, *, copy=True, device=None, casting="unsafe"):
    """Cast; differentiable between floating and complex dtypes."""
    dtype = np.dtype(dtype)
    if x.dtype == dtype:
        return x.copy() if copy else x
    if not np.can_cast(x.dtype, dtype, casting):
        raise TypeError(f"Cannot cast array data from {x.dtype!r} to {dtype!r} according to the rule {casting!r}")
    if dtype.kind not in "fc" or x.dtype.kind not in "fc":
        from difftensor._core import wrap

        return wrap(x._data.astype(dtype))
    if x.dtype.kind == "c" and dtype.kind == "f":
        x = X.real(x)
    return _cast(x, dtype, x.dtype)


_cast = linear("cast", lambda x, dtype, old: x.astype(dtype), lambda xp, g, shape, dtype, old: (g.real if g.dtype.kind == "c" and old.kind != "c" else g).astype(old), public=False)
copy_of = linear("copy_of", lambda x: x.copy(), lambda xp, g, shape: g, public=False)


@composition(np.copy, name="copy")
def copy(a, order="K", subok=False):
    return copy_of(a)


__all__ = ["Tensor"]
