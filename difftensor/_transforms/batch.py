"""vmap: a Tensor subclass with a physical array and a level, handled where operations meet unusual operands.

A `Batched` Tensor shows its logical shape; behind it stands a Tensor with the batch axis in front. Operations send it
here
(`__dif_dispatch__`), the highest level goes first, and the operation's batch rule calls the same operation on the
physical
Tensors. The tape sees physical operations only, so derivatives need no rule of their own.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import numpy as np

from difftensor._core import Primitive, Tensor, X, lift, shares, snapshot, wrap
from difftensor._core.fitting import nought
from difftensor._core.lanes import aligned, everywhere
from difftensor._core.operands import _with_keywords
from difftensor.errors import BatchedValueError, describe

# the batch size of each active vmap (None: a streaming jvp, which shares the numbering)
levels: ContextVar[tuple[int | None, ...]] = ContextVar("difftensor.levels", default=())


class Physical:
    """What a Batched Tensor holds: the Tensor with the batch axis in front, and the level of the vmap it belongs to.

    scalar: its examples, if they have no axes, are NumPy scalars, as results of operations are, and not arrays.
    """

    __slots__ = ("inner", "level", "scalar")

    def __init__(self, inner: Tensor, level: int, scalar: bool = True):
        self.inner, self.level, self.scalar = inner, level, scalar

    def __getattr__(self, name: str) -> Any:
        """Reached by functions that read values: they run example by example (see composition)."""
        raise BatchedValueError(
            "this function reads the values of its argument, which differ between the examples of a vmap. Use "
            "dif.vmap(f, fallback='loop') to run the examples one by one"
        )

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Any:
        return self.__getattr__("__array__")

    def __array_ufunc__(self, *args: Any, **kwargs: Any) -> Any:
        return self.__getattr__("__array_ufunc__")

    def __getitem__(self, index: Any) -> Any:
        return self.__getattr__("__getitem__")


def _refuses(what: str) -> Callable:
    def method(self: Tensor, *args: Any, **kwargs: Any) -> Any:
        raise BatchedValueError(
            f"{what} inside vmap: the Tensor of shape {self.shape} stands for {self._data.inner.shape[0]} "
            f"examples at once, which "
            "have no common value. Use dif.where instead of `if`, or dif.vmap(f, fallback='loop') to run the "
            "examples one by one"
        )

    return method


class Batched(Tensor):
    """A Tensor inside ``vmap``: shows one example, holds them all.

    No slots of its own: a Tensor can become one in place.
    """

    __slots__ = ()

    node = property(lambda x: x._data.inner.node)  # type: ignore
    shape = property(lambda x: x._data.inner.shape[1:])
    dtype = property(lambda x: x._data.inner.dtype)
    ndim = property(lambda x: x._data.inner.ndim - 1)
    size = property(lambda x: int(np.prod(x._data.inner.shape[1:])))
    itemsize = property(lambda x: x._data.inner.itemsize)
    nbytes = property(lambda x: x.size * x.itemsize)
    device = property(lambda x: x._data.inner.device)

    __bool__ = _refuses("bool()")
    __float__ = _refuses("float()")
    __int__ = _refuses("int()")
    __complex__ = _refuses("complex()")
    __index__ = _refuses("using it as an index of a plain sequence")
    __array__ = _refuses("conversion to a NumPy array")
    numpy = _refuses("numpy()")
    item = _refuses("item()")
    tolist = _refuses("tolist()")
    __reduce__ = _refuses("pickling")

    def __len__(self) -> int:
        if not self.ndim:
            raise TypeError("len() of a 0-d Tensor")
        return self.shape[0]

    def __iter__(self) -> Any:
        if not self.ndim:
            raise TypeError("iteration over a 0-d Tensor")
        return (self[i] for i in range(self.shape[0]))

    def detach(self) -> Tensor:
        return batched(self._data.inner.detach(), self._data.level)

    def requires_grad_(self, value: bool = True) -> Tensor:
        raise BatchedValueError("requires_grad_() inside vmap: use dif.grad inside, or make the leaf outside")

    def __repr__(self) -> str:
        return f"Batched(level={self._data.level}, {self._data.inner!r})"

    __str__ = __repr__

    def __format__(self, spec: str) -> str:
        return repr(self)

    @staticmethod
    def __dif_dispatch__(op: Primitive, f: Callable, xs: tuple, params: tuple, keywords: dict) -> Any:
        return dispatch(op, f, xs, params, keywords)

    @staticmethod
    def __dif_loop__(f: Callable, args: tuple, kwargs: dict) -> Any:
        return one_by_one(f, args, kwargs)

    @staticmethod
    def __dif_write__(x: Tensor, index: Any, value: Any) -> None:
        write(x, index, value)

    @staticmethod
    def __dif_shares__(y: Tensor, x: Tensor) -> bool:
        return shares(innermost(y), innermost(x))

    @staticmethod
    def __dif_index__(x: Tensor, index: tuple) -> Tensor:
        """`x`, batched at the level of an index that is."""
        level = max(map(level_of, index))
        return x if level_of(x) >= level else _expand_level(x, level, levels.get()[level])

    @staticmethod
    def __dif_in_place__(x: Tensor, t: Tensor) -> Tensor:
        if is_scalar(x):
            return t
        write(x, Ellipsis, t)
        return x


def batched(inner: Tensor, level: int) -> Batched:
    """`inner`, whose first axis is the batch, as seen inside the vmap of `level`."""
    t = Batched()
    t._data = Physical(inner, level)
    t.alias = None
    t.saved = False
    return t


def is_scalar(x: Tensor) -> bool:
    """Is `x` (its examples) a NumPy scalar, which ``op=`` replaces, so that what it was taken from stays as it is?"""
    if isinstance(x, Batched):
        return x._data.scalar and not x.ndim
    return isinstance(x._data, np.generic)


def level_of(x: Any) -> int:
    return x._data.level if isinstance(x, Batched) else -1


@contextmanager
def example_by_example(level: int) -> Any:
    """Inside, the vmap of `level` batches nothing: its examples are run one after the other."""
    active = levels.get()
    token = levels.set((*active[:level], None, *active[level + 1 :]))
    try:
        yield
    finally:
        levels.reset(token)


def innermost(x: Any) -> Any:
    """The plain Tensor behind all levels of `x`."""
    while isinstance(x, Batched):
        x = x._data.inner
    return x


def like(x: Any, inner: Any) -> Any:
    """`inner`, a physical Tensor shaped as the one behind `x`, seen at the levels of `x`."""
    if not isinstance(x, Batched):
        return inner
    return batched(like(x._data.inner, inner), x._data.level)


def apart(x: Tensor) -> Tensor:
    """A Tensor of its own with the values and the place of `x`: writes to either do not reach the other."""
    if isinstance(x, Batched):
        return like(x, apart(innermost(x)))
    return lift(snapshot(x), x.node) if x.__class__ is Tensor else x


def expand(x: Tensor, active: tuple[int | None, ...]) -> Tensor:
    """`x` batched at all `active` levels; where it was not, every example sees the same values (stride 0)."""
    for level, size in enumerate(active):
        if size is not None:  # the level of a streaming jvp, which batches nothing
            x = _expand_level(x, level, size)
    return x


def _expand_level(x: Tensor, level: int, size: Any) -> Tensor:
    if level_of(x) > level:
        return batched(_expand_level(x._data.inner, level, size), x._data.level)
    if level_of(x) == level:
        return x
    return batched(X.broadcast_to(x, (size, *x.shape)), level)


def matched(x: Tensor, g: Any) -> Any:
    """Cotangent or tangent `g`, batched where `x` is."""
    return nought(x.detach()) + g if isinstance(x, Batched) else g


# Dispatch
# ----------------------------------------------------------------------------------------------------------------


def dispatch(op: Primitive, f: Callable, xs: tuple, params: tuple, keywords: dict) -> Any:
    """Operation `op` on operands some of which are batched."""
    if keywords and op.arity:
        return _with_keywords(op, f, xs, **{"out": None, **keywords})
    level = max(map(level_of, xs))
    flags = [level_of(x) == level for x in xs]
    lanes = [x._data.inner if flag else x for x, flag in zip(xs, flags)]
    size = next(x for x, flag in zip(lanes, flags) if flag).shape[0]
    rule = op.batch
    if op.name == "getitem":
        y = lanes[0][physical_index(params[0], size, level)]
        if size and lanes[0].__class__ is Tensor:
            y = _laid_out(y, lanes[0]._data[0], params[0])
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
    return found


def _makes_scalars(op: Primitive, x: Batched, params: tuple) -> bool:
    """Are the results of `op`, which have no axes, NumPy scalars?"""
    if op.name == "getitem":
        index = params[0] if isinstance(params[0], tuple) else (params[0],)
        return all(i is not Ellipsis for i in index)
    if op.name in _KEEPING:
        return x._data.scalar if not x.ndim else True
    return not op.views


_KEEPING = ("copy_of", "copy_kept", "cast", "real", "imag", "positive", "conjugate")  # 0-d arrays of 0-d arrays


def _laid_out(y: Tensor, example: Any, index: Any) -> Tensor:
    """`y`, the result of an advanced index, with the memory order of its examples, which later views depend on."""
    parts = index if isinstance(index, tuple) else (index,)
    if not any(isinstance(i, np.ndarray) for i in parts) or y.ndim < 2:
        return y
    one = example[index]
    return y if one.strides == y._data.strides[1:] else _copied(y, one)


def _copied(y: Tensor, example: Any) -> Tensor:
    """A copy of `y`, the batch axis outermost and the others in the memory order of raw array `example`."""
    if example.ndim < 2 or example.flags.c_contiguous:
        return y.copy()
    order = (0, *(1 + i for i in sorted(range(example.ndim), key=lambda i: -abs(example.strides[i]))))
    back = [0] * len(order)
    for i, axis in enumerate(order):
        back[axis] = i
    return y.transpose(order).copy().transpose(back)


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
    return _joined(getattr(f, "__name__", str(f)), rows, level)


def _joined(name: str, rows: list, level: int) -> Any:
    """The results of one function for all examples as one, batched."""
    first = rows[0]
    if isinstance(first, (tuple, list)):
        parts = [_joined(name, list(column), level) for column in zip(*rows, strict=True)]
        return type(first)(*parts) if hasattr(first, "_fields") else type(first)(parts)
    column = [v if isinstance(v, Tensor) else X.asarray(v) for v in rows]
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


# Writing
# -----------------------------------------------------------------------------------------------------------------


def write(x: Tensor, index: Any, value: Any) -> None:
    """``x[index] = value`` where x, the value or the index is batched; an unbatched x becomes batched in place."""
    parts = index if isinstance(index, tuple) else (index,)
    level = max(level_of(x), level_of(value), *(level_of(i) for i in parts))
    if level_of(x) < level:
        _become_batched(x, level, levels.get()[level])
    inner = x._data.inner
    if level_of(value) == level:
        value = value._data.inner
        rank = np.ndim(np.broadcast_to(0.0, inner.shape[1:])[_shadow(index)])
        if value.ndim - 1 < rank:
            value = value.reshape((value.shape[0],) + (1,) * (rank - value.ndim + 1) + value.shape[1:])
        elif value.ndim - 1 > rank:
            value = value.reshape((value.shape[0], *value.shape[value.ndim - rank :]))
    inner[physical_index(index, inner.shape[0], level)] = value


def _shadow(index: Any) -> Any:
    """`index` with batched parts replaced by zeros of their logical shape, to learn the shape of the region."""
    parts = index if isinstance(index, tuple) else (index,)
    return tuple(
        np.zeros(i.shape, np.intp) if isinstance(i, Batched) else i._data if isinstance(i, Tensor) else i for i in parts
    )


def _become_batched(x: Tensor, level: int, size: Any) -> None:
    """Turn `x`, and whatever shares its memory, into Batched Tensors of `level`, in place."""
    storage = x.alias if not isinstance(x, Batched) else None
    if storage is not None and storage.foreign:
        raise BatchedValueError(
            "a batched value cannot be written into an array that belongs to somebody else (dif.asarray(ndarray)): "
            "write into a Tensor of your own, e.g. dif.zeros(n) or x.copy()"
        )
    if storage is None:
        wide = X.broadcast_to(_twin(x), (size, *x.shape))
        _turn(x, wide.copy() if isinstance(x, Batched) else _copied(wide, x._data), level)
        return
    members = storage.live()
    root = wrap(storage.data, storage.node)
    root.saved = True
    whole = batched(_copied(X.broadcast_to(root, (size, *root.shape)), storage.data), level)
    for m in members:
        path = m.path
        seen: Any = whole
        for op, params in path:
            seen = op.call(seen, *params)
        if not shares(innermost(seen), innermost(whole)):
            raise BatchedValueError(
                f"a batched value cannot be written here: {describe(m)} views memory whose layout batching changes; "
                "write to a copy of it (x.copy())"
            )
        _turn(m, seen._data.inner, level)


def _twin(x: Tensor) -> Tensor:
    """A Tensor of its own at the place of `x`."""
    if isinstance(x, Batched):
        return batched(x._data.inner, x._data.level)
    t = wrap(x._data, x.node)
    t.saved = True
    return t


def _turn(x: Tensor, inner: Tensor, level: int) -> None:
    if x.__class__ is not Batched:
        Tensor.node.__set__(x, None)  # type: ignore[attr-defined]
        x.__class__ = Batched
    x._data = Physical(inner, level, scalar=False)
    x.alias = None
    x.saved = False


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
    numbers = np.arange(size).reshape((size,) + (1,) * rank)
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


__all__ = ["Batched", "batched", "expand", "innermost", "levels", "like", "matched"]
