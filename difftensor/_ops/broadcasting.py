"""Broadcasting, as an operation: the gradient is a sum."""

from __future__ import annotations

from typing import Any

import numpy as np

from difftensor._backend import is_array
from difftensor._core import Tensor, X, aligned, composition, holds_tensor, linear, unbroadcast


def as_shape(shape: Any) -> tuple:
    """`shape` as a tuple of Python ints."""
    if isinstance(shape, (tuple, list)):
        return tuple([k if k.__class__ is int else k.__index__() for k in shape])
    if getattr(shape, "ndim", 0):
        return tuple(int(k) for k in shape.tolist())
    return (shape.__index__(),)


def _stretched(x, shape):
    if isinstance(x, np.generic):  # the cotangent of a sum; np.broadcast_to takes six times as long
        return np.ndarray(shape, x.dtype, x, 0, (0,) * len(shape))
    return np.broadcast_to(x, shape)


_broadcast = linear(
    "broadcast_to_shape",
    _stretched,
    lambda xp, g, old, shape: unbroadcast(g, old),
    views="repeats",
    public=False,
    batch=lambda call, x, shape: call(*aligned([x], [True], len(shape)), (x.shape[0], *shape)),
)


@composition(np.broadcast_to)
def broadcast_to(array, shape, subok=False):
    return _broadcast(X.asarray(array), as_shape(shape))


@composition(np.broadcast_arrays)
def broadcast_arrays(*args, subok=False):
    args = tuple(map(_of_any_kind, args))
    shape = np.broadcast_shapes(*(a.shape for a in args))
    return tuple(
        a if a.shape == shape else _broadcast(a, shape) if isinstance(a, Tensor) else np.broadcast_to(a, shape)
        for a in args
    )


def _of_any_kind(a):
    """`a` as a Tensor; objects and strings, which broadcast like numbers (matplotlib's bars), as an ndarray."""
    raw = a if is_array(a) or holds_tensor(a) else np.asarray(a)
    if is_array(raw) and raw.dtype.kind not in "biufc":
        return raw
    return X.asarray(a)
