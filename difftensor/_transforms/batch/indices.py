"""Indices of batched Tensors, and the memory order of what they pick."""

from __future__ import annotations

from typing import Any

import numpy as np

from difftensor._backend import beside
from difftensor._core import Tensor, X, lift
from difftensor._transforms.batch.tensor import apart, innermost, level_of
from difftensor.errors import BatchedValueError


def physical_index(index: Any, size: int, level: int) -> Any:
    """The index of the physical array for logical `index`."""
    parts = index if isinstance(index, tuple) else (index,)
    if any(level_of(i) == level for i in parts):
        return _gather(parts, size, level)
    advanced = [k for k, i in enumerate(parts) if getattr(i, "ndim", None) is not None]
    if advanced and advanced[-1] - advanced[0] + 1 != len(advanced):
        raise BatchedValueError(
            "inside vmap, index arrays must stand side by side (x[i, j, :] rather than x[i, :, j]); move axes first"
        )
    return (slice(None), *parts)


def _gather(parts: tuple, size: int, level: int) -> tuple:
    """An index that differs from example to example: number the examples beside it."""
    whole = [i for i in parts if i is not Ellipsis]
    k = next((n for n, i in enumerate(whole) if i.__class__ is slice or i is None), len(whole))
    heads, tails = whole[:k], whole[k:]
    if any(i.__class__ is slice for i in heads) or any(i.__class__ is not slice or i != slice(None) for i in tails):
        raise BatchedValueError(
            "inside vmap, an index that differs between examples must come first (x[i] or x[i, j]); move axes first"
        )
    rank = max(i.ndim if isinstance(i, Tensor) else np.ndim(i) for i in whole[:k])
    of_examples = next(innermost(i) for i in whole[:k] if level_of(i) == level)
    numbers = beside(np.arange(size).reshape((size,) + (1,) * rank), of_examples)
    picked: list = [numbers]
    for i in whole[:k]:
        if level_of(i) == level:
            inner = innermost(i)
            if inner.dtype.kind == "b":
                raise BatchedValueError(
                    "a boolean index that differs between examples selects different numbers of elements: use dif.where"
                )
            a = inner._data
            picked.append(a.reshape((size,) + (1,) * (rank - (a.ndim - 1)) + a.shape[1:]))
        else:
            picked.append(i._data if isinstance(i, Tensor) else i)
    return tuple(picked)


def copied(y: Tensor, example: Any) -> Tensor:
    """A copy of `y`, the batch axis outermost and the others in the memory order of raw array `example`."""
    if example.ndim < 2 or example.flags.c_contiguous:
        return y.copy()
    order = (0, *(1 + i for i in sorted(range(example.ndim), key=lambda i: -abs(example.strides[i]))))
    back = [0] * len(order)
    for i, axis in enumerate(order):
        back[axis] = i
    return y.transpose(order).copy().transpose(back)


def laid_out_like(t: Any, y: Any) -> Any:
    """`t`, which has the shape of `y` and perhaps levels of its own, in memory in the order of `y`: a reshape is then a
    view of both or a copy of both, and a write through it reaches both or neither."""
    n = y.ndim
    yd, td = innermost(y)._data, innermost(t)._data
    if not n and yd.__class__ is np.ndarray and isinstance(td, np.generic):
        return lift(np.asarray(td), t.node)  # an array of no axes beside one, a number beside a number
    if not n and td.__class__ is np.ndarray and not td.ndim and isinstance(yd, np.generic):
        return lift(td[()], t.node)
    if n < 2 or not hasattr(yd, "strides") or not hasattr(td, "strides"):
        return t
    strides = yd.strides[-n:]
    if td.strides[-n:] == strides or (td.flags.c_contiguous and yd.flags.c_contiguous):
        return t
    if all(a * yd.itemsize == b * td.itemsize for k, a, b in zip(y.shape, td.strides[-n:], strides) if k > 1):
        return t
    order = sorted(range(n), key=lambda i: -abs(strides[i]))
    back = sorted(range(n), key=order.__getitem__)
    return apart(X.transpose(X.copy(X.transpose(t, order), "C"), back))
