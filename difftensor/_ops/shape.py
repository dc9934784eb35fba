"""Changing shapes: reshape, transpose, broadcast, flip, roll; views where NumPy makes views."""

from __future__ import annotations

import operator
from typing import Any

import numpy as np

from difftensor._backend import is_array
from difftensor._core import (
    Tensor,
    X,
    aligned,
    composition,
    holds_tensor,
    linear,
    nondifferentiable,
    publish,
    unbroadcast,
)
from difftensor._ops.reductions import axes_of, reduced


def as_shape(shape: Any) -> tuple:
    """`shape` as a tuple of Python ints."""
    if isinstance(shape, (tuple, list)):
        return tuple([k if k.__class__ is int else k.__index__() for k in shape])
    if getattr(shape, "ndim", 0):
        return tuple(int(k) for k in shape.tolist())
    return (shape.__index__(),)


def _batch_reshape(call, x, shape, order="C"):
    rows = x.shape[0]
    if -1 in shape:
        known = -int(np.prod(shape))
        shape = tuple(int(np.prod(x.shape[1:])) // known if k == -1 else k for k in shape)
    if order == "C":
        return call(x, (rows, *shape))
    # Fortran's order of the examples: reverse their axes, reshape, reverse again
    y = call(_transpose(x, (-x.ndim, *range(-1, -x.ndim, -1))), (rows, *shape[::-1]))
    return _transpose(y, (-y.ndim, *range(-1, -y.ndim, -1)))


# Reshaping ------------------------------------------------------------------------------------------------------------

_reshape = linear(
    "reshape_to",
    lambda x, shape, order="C": x.reshape(shape) if order == "C" else x.reshape(shape, order=order),
    lambda xp, g, old, shape, order="C": g.reshape(old) if order == "C" else g.reshape(old, order=order),
    views=True,
    public=False,
    batch=_batch_reshape,
)


def _example(a: Any) -> Any:
    """The raw array of `a`: of a batch that of one example, of a dual that of its value; None where there is none."""
    d, levels = a._data, 0
    while not is_array(d):  # asked of the class: what stands for many values answers no questions
        if hasattr(type(d), "inner"):
            d, levels = d.inner._data, levels + 1
        elif hasattr(type(d), "value"):
            d = d.value._data
        else:
            return None
    return d[(0,) * levels] if levels and d.size else d


def _memory_order(a: Any) -> str:
    """What ``order="A"`` means for `a`."""
    flags = getattr(_example(a), "flags", None)
    return "F" if flags is not None and a.ndim > 1 and flags.f_contiguous and not flags.c_contiguous else "C"


def _as_in_memory(a: Any) -> Any:
    """`a` with its axes in the order in which they lie in memory, which ``order="K"`` asks for.

    Sorted by insertion from the last axis on, as NumPy's iterator does: an axis without a stride (broadcast, or of
    length 1) is passed over by others and passes none.
    """
    strides = getattr(_example(a), "strides", (0,) * a.ndim)
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


def _contiguous(a: Any) -> bool:
    """Does `a` lie in memory without gaps?"""
    d = _example(a)
    return d is None or not d.size or d.flags.c_contiguous


@composition(np.reshape)
def reshape(a, /, shape, order="C", *, copy=None):
    if a.__class__ is not Tensor:
        a = X.asarray(a)
    if order == "C" and copy is None:
        return _reshape(a, as_shape(shape))
    if order == "A":
        order = _memory_order(a)
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
        order = _memory_order(a)
    y = _reshape(a, (-1,), order) if order != "C" else _reshape(a, (-1,))
    return y if _contiguous(y) else copy_of(y)  # unlike reshape, ravel never gives a strided view


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
    rows = np.nonzero(np.asarray(x.detach()))
    index: list = [slice(None)] * x.ndim
    for k in axes:
        kept = rows[k]
        if not kept.size:
            index[k] = slice(0, 0)
            continue
        index[k] = slice(int(kept.min()) if "f" in where else None, int(kept.max()) + 1 if "b" in where else None)
    return x[tuple(index)]


# Order of the axes ----------------------------------------------------------------------------------------------------


def _inverse(axes: tuple) -> tuple:
    n = len(axes)
    out = [0] * n
    for i, a in enumerate(axes):
        out[a + n] = i - n
    return tuple(out)


_transpose = linear(
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
        return _transpose(a, tuple(range(-1, -n - 1, -1)))
    axes = axes_of(a, tuple(axes))
    if len(axes) != n:
        raise ValueError("axes don't match array")
    return _transpose(a, axes)


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
    return _transpose(a, tuple(axes))


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
    return _transpose(a, tuple(order))


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


# Broadcasting ---------------------------------------------------------------------------------------------------------

_broadcast = linear(
    "broadcast_to_shape",
    lambda x, shape: np.broadcast_to(x, shape),
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


def _pull_roll(xp, g, shape, shift, axes):
    return xp.roll(g, tuple(-s for s in shift), axes)


_roll = linear("roll_along", lambda x, shift, axes: np.roll(x, shift, axes), _pull_roll, public=False, batch="trailing")


@composition(np.roll)
def roll(a, shift, axis=None):
    a = X.asarray(a)
    if axis is None:
        return roll(ravel(a), shift, -1).reshape(a.shape)
    # An axis may be named twice: the shifts add up.
    pairs = np.broadcast(*(np.asarray(v) for v in (shift, axis)))
    if pairs.ndim > 1:
        raise ValueError("'shift' and 'axis' should be scalars or 1D sequences")
    total: dict = {}
    for s, k in pairs:
        (k,) = axes_of(a, int(k))
        total[k] = total.get(k, 0) + int(s)
    return _roll(a, tuple(total.values()), tuple(total))


# Copies and casts -----------------------------------------------------------------------------------------------------


def _pull_cast(xp, g, shape, dtype, old):
    return (g.real if g.dtype.kind == "c" and old.kind != "c" else g).astype(old)


_cast_plain = nondifferentiable("cast_plain", lambda x, dtype: x.astype(dtype), public=False, batch="trailing")
_cast = linear("cast", lambda x, dtype, old: x.astype(dtype), _pull_cast, public=False, batch="trailing", promotes=True)
copy_of = linear(
    "copy_of",
    lambda x: np.asarray(x) if isinstance(x, np.generic) else x.copy(),
    lambda xp, g, shape: g,
    public=False,
    batch="trailing",
)
_copy_kept = linear("copy_kept", lambda x: x.copy("K"), lambda xp, g, shape: g, public=False, batch="trailing")


@composition(np.astype, name="astype")
def astype(x, dtype, /, *, copy=True, device=None, casting="unsafe"):
    """Cast; differentiable between floating and complex dtypes.

    Complex to real keeps the real part. The derivative ends at integer and boolean dtypes.
    """
    dtype = np.dtype(dtype)
    if device is not None:
        x = X.to_device(x, device)
    if x.dtype == dtype:
        return copy_of(x) if copy else x
    if dtype.kind not in "biufc":
        raise TypeError(
            f"astype: dtype {dtype} is not supported; Tensors hold booleans, integers, floats and complex numbers"
        )
    if not np.can_cast(x.dtype, dtype, casting):
        raise TypeError(f"Cannot cast array data from {x.dtype!r} to {dtype!r} according to the rule {casting!r}")
    if dtype.kind not in "fc" or x.dtype.kind not in "fc":
        return _cast_plain(x, dtype)
    if x.dtype.kind == "c" and dtype.kind == "f":
        x = X.real(x)
    return _cast(x, dtype, x.dtype)


@composition(np.copy, name="copy")
def copy(a, order="K", subok=False):
    a = X.asarray(a)
    if order == "A":
        order = _memory_order(a)
    if order == "F":
        return transpose(copy_of(transpose(a)))
    return _copy_kept(a) if order == "K" and not _contiguous(a) else copy_of(a)


permute_dims = transpose
publish("permute_dims", transpose)
