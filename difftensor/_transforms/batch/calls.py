"""Operations on batched Tensors: the batch rule of each, or example by example."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from difftensor._backend import duplicate
from difftensor._backend.arrays import used
from difftensor._backend.device import made_there
from difftensor._core import Primitive, Tensor, X, aligned, everywhere
from difftensor._core.operands import _with_keywords
from difftensor._transforms.batch.indices import copied, physical_index
from difftensor._transforms.batch.tensor import (
    Batched,
    batched,
    example_by_example,
    innermost,
    is_scalar,
    level_of,
    levels,
    surrounded,
)
from difftensor.errors import BatchedValueError


def dispatch(op: Primitive, f: Callable, xs: tuple, params: tuple, keywords: dict) -> Any:
    """Operation `op` on operands some of which are batched."""
    if used:  # numbers beside them become arrays there
        with made_there(next(x.device for x in xs if isinstance(x, Batched))):
            return _dispatched(op, f, xs, params, keywords)
    return _dispatched(op, f, xs, params, keywords)


def _dispatched(op: Primitive, f: Callable, xs: tuple, params: tuple, keywords: dict) -> Any:
    if keywords and op.arity:
        return _with_keywords(op, f, xs, **{"out": None, **keywords})
    level = max(map(level_of, xs))
    active = levels.get()
    if level < len(active) and active[level] is None:  # all examples, where they are taken one by one
        raise surrounded(op.name)
    flags = [level_of(x) == level for x in xs]
    lanes = [x._data.inner if flag else x for x, flag in zip(xs, flags)]
    size = next(x for x, flag in zip(lanes, flags) if flag).shape[0]
    rule = op.batch
    if op.name == "getitem":
        y = lanes[0][physical_index(params[0], size, level)]
        if size and lanes[0].__class__ is Tensor:
            y = _laid_out(y, lanes[0]._data, params[0])
    elif op.arity:
        y = op.call(*aligned(lanes, flags))
    elif rule is None:
        y = _loop(op, lanes, flags, size, params, keywords)
    elif rule == "trailing":
        y = _call(op, [v if flag else everywhere(v, size) for v, flag in zip(lanes, flags)], params, keywords)
    elif op.operands == 1:
        y = rule(op.call, lanes[0], *params)
    else:
        y = rule(op.call, lanes, flags, size, *params)
    found = _batch_result(y, level)
    if op.operands == 1 and found.__class__ is Batched and not found.ndim:
        found._data.scalar = _makes_scalars(op, xs[0], params)
        if op.name == "getitem" and found._data.scalar:
            return _taken_out(found)
    if op.views is True and found.__class__ is Batched and is_scalar(xs[0]) and not is_scalar(found):
        return batched(X.copy(y), level)  # an array made of a NumPy scalar has memory of its own
    return found


def _taken_out(x: Batched) -> Batched:
    """An element of every example with memory of its own, as NumPy scalars have it."""
    y = innermost(x)
    if y.__class__ is not Tensor:
        return X.copy(x)
    if y.alias is not None:
        y._data, y.alias = duplicate(y._data), None
    return x


def _makes_scalars(op: Primitive, x: Batched, params: tuple) -> bool:
    """Are the results of `op`, which have no axes, NumPy scalars?"""
    if op.name == "getitem":
        index = params[0] if isinstance(params[0], tuple) else (params[0],)
        return all(i is not Ellipsis for i in index)
    if op.name in _KEEPING:
        return x._data.scalar if not x.ndim else True
    return not op.views


_KEEPING = ("copy_of", "copy_kept", "cast", "real", "imag", "positive", "conjugate")  # 0-d arrays of 0-d arrays


def _laid_out(y: Tensor, examples: Any, index: Any) -> Tensor:
    """`y`, the result of an advanced index, with the memory order of its examples, which later views depend on."""
    parts = index if isinstance(index, tuple) else (index,)
    if not any(isinstance(i, np.ndarray) for i in parts) or y.ndim < 2:
        return y
    one = examples[0][index]
    return y if one.strides == y._data.strides[1:] else copied(y, one)


def _batch_result(y: Any, level: int) -> Any:
    if isinstance(y, tuple):
        parts = [batched(part, level) for part in y]
        return type(y)(*parts) if hasattr(y, "_fields") else tuple(parts)
    return batched(y, level)


def _call(op: Primitive, lanes: list, params: tuple, keywords: dict) -> Any:
    return op.call(lanes, *params, **keywords) if op.operands is None else op.call(*lanes, *params, **keywords)


def _loop(op: Primitive, lanes: list, flags: list, size: int, params: tuple, keywords: dict) -> Any:
    """No batch rule: one example after the other."""
    if not size:
        raise ValueError(
            f"vmap over an empty batch: {op.name} runs example by example and there is none to tell its shape"
        )
    rows = [_call(op, [v[i] if flag else v for v, flag in zip(lanes, flags)], params, keywords) for i in range(size)]
    if isinstance(rows[0], tuple):
        parts = [X.stack([row[k] for row in rows]) for k in range(len(rows[0]))]
        return type(rows[0])(*parts) if hasattr(rows[0], "_fields") else tuple(parts)
    shapes = {row.shape for row in rows}
    if len(shapes) > 1:
        raise BatchedValueError(
            f"{op.name} inside vmap: its results have different shapes {sorted(shapes)} for different examples. "
            "Use dif.vmap(f, fallback='loop') around a function whose result has one shape, or dif.where with a mask"
        )
    return X.stack(rows)


def one_by_one(f: Callable, args: tuple, kwargs: dict) -> Any:
    """A composition that needs values, one example after the other."""
    found: list = []
    _collect((args, kwargs), found)
    level = max(map(level_of, found))
    size = next(x for x in found if level_of(x) == level)._data.inner.shape[0]
    rows = []
    with example_by_example(level):
        for i in range(size):
            a, k = _taken((args, kwargs), level, i)
            rows.append(f(*a, **k))
    if not rows:
        raise ValueError("vmap over an empty batch: this function runs example by example, and none tells its shape")
    return joined(getattr(f, "__name__", str(f)), rows, level)


def joined(name: str, rows: list, level: int) -> Any:
    """The results of one function for all examples as one, batched."""
    first = rows[0]
    if isinstance(first, (tuple, list)):
        parts = [joined(name, list(column), level) for column in zip(*rows, strict=True)]
        return type(first)(*parts) if hasattr(first, "_fields") else type(first)(parts)
    column = [v if isinstance(v, Tensor) else X.asarray(v) for v in rows]
    if any(level_of(v) >= level for v in column):
        raise surrounded(name)
    if len({v.shape for v in column}) > 1:
        raise BatchedValueError(
            f"{name} inside vmap: its results have different shapes for different examples. Use "
            "dif.vmap(f, fallback='loop') around a function whose result has one shape, or dif.where with a mask"
        )
    return batched(X.stack(column), level)


def _collect(v: Any, found: list) -> None:
    if isinstance(v, Batched):
        found.append(v)
    elif isinstance(v, (tuple, list)):
        for w in v:
            _collect(w, found)
    elif isinstance(v, dict):
        _collect(list(v.values()), found)


def _taken(v: Any, level: int, i: int) -> Any:
    """`v` with example i in the place of what is batched at `level`."""
    if isinstance(v, Batched):
        return v._data.inner[i] if v._data.level == level else v
    if isinstance(v, (tuple, list)):
        return type(v)(_taken(w, level, i) for w in v)
    if isinstance(v, dict):
        return {k: _taken(w, level, i) for k, w in v.items()}
    return v


Batched.__dif_dispatch__ = staticmethod(dispatch)  # type: ignore[attr-defined]
Batched.__dif_loop__ = staticmethod(one_by_one)  # type: ignore[attr-defined]
