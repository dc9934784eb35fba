"""Streaming forward mode: values and tangents side by side, nothing remembered.

A `Dual` Tensor holds a value and its tangent. Each operation runs on the values at fresh places of a tape of its own,
the tangents are pushed through that, and the tape is forgotten: memory does not grow with the number of steps.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from difftensor import tree
from difftensor._backend import duplicate, namespace
from difftensor._backend.arrays import on_gpu, used
from difftensor._core import Leaf, Node, Primitive, Tensor, X, enable_grad, lift, recording, wrap
from difftensor._core.operands import _with_keywords, operand
from difftensor._core.sweeping import repaired, trace
from difftensor._core.tape import _site, tick
from difftensor._core.tensor import snapshot
from difftensor._transforms.batch import Batched, apart, behind, innermost, is_scalar, laid_out_like, levels, like
from difftensor._transforms.sweep import ALIAS, _finite, _forward, beside_result, streaming, zeros_like
from difftensor.errors import InPlaceError, MissingDerivativeError


class Pair:
    """What a Dual Tensor holds: value and tangent (Tensors), and the level of the transformation it belongs to."""

    __slots__ = ("level", "tangent", "value")

    def __init__(self, value: Tensor, tangent: Tensor, level: int):
        self.value, self.tangent, self.level = value, tangent, level


class Dual(Tensor):
    """A value with its tangent. No slots of its own: a Tensor can become one in place."""

    __slots__ = ()

    node = property(lambda x: x._data.value.node)  # type: ignore[assignment]
    shape = property(lambda x: x._data.value.shape)
    dtype = property(lambda x: x._data.value.dtype)
    ndim = property(lambda x: x._data.value.ndim)
    size = property(lambda x: x._data.value.size)
    itemsize = property(lambda x: x._data.value.itemsize)
    nbytes = property(lambda x: x._data.value.nbytes)
    device = property(lambda x: x._data.value.device)

    def __bool__(self) -> bool:
        return bool(self._data.value)

    def __len__(self) -> int:
        return len(self._data.value)

    def __index__(self) -> int:
        return self._data.value.__index__()

    def __iter__(self) -> Any:
        if not self.ndim:
            raise TypeError("iteration over a 0-d Tensor")
        return (self[i] for i in range(self.shape[0]))

    def item(self, *args: int) -> Any:
        return self._data.value.item(*args)

    def tolist(self) -> Any:
        return self._data.value.tolist()

    def detach(self) -> Tensor:
        return self._data.value.detach()

    def numpy(self, *, copy: bool = False) -> Any:
        return lift(np.zeros(()), Leaf(user=False)).numpy()  # says what a tracked Tensor says

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Any:
        return lift(np.zeros(self.shape), Leaf(user=False)).__array__()

    def _number(self, kind: type) -> Any:
        return lift(np.zeros(()), Leaf(user=False))._number(kind)

    def __repr__(self) -> str:
        return f"Dual({self._data.value!r}, {self._data.tangent!r})"

    __str__ = __repr__

    def __format__(self, spec: str) -> str:
        return format(self._data.value, spec)

    @staticmethod
    def __dif_dispatch__(op: Primitive, f: Callable, xs: tuple, params: tuple, keywords: dict) -> Any:
        return dispatch(op, f, xs, params, keywords)

    @staticmethod
    def __dif_write__(x: Tensor, index: Any, value: Any) -> None:
        write(x, index, value)

    @staticmethod
    def __dif_in_place__(x: Tensor, t: Tensor) -> Tensor:
        if isinstance(x, Dual) and is_scalar(x._data.value):
            return t
        write(x, Ellipsis, t)
        return x

    @staticmethod
    def __dif_index__(x: Tensor, index: tuple) -> Tensor:
        raise IndexError("arrays used as indices must be of integer (or boolean) type")


def dual(value: Tensor, tangent: Tensor, level: int) -> Dual:
    t = Dual()
    t._data = Pair(value, tangent, level)
    t.alias = None
    t.saved = False
    return t


def _level(x: Any) -> int:
    return x._data.level if isinstance(x, Dual) else -1


def _other(x: Tensor, level: int) -> bool:
    """Does another streaming jvp (or Taylor series) ride on `x`?"""
    return getattr(innermost(x)._data, "level", level) != level


def _placed(x: Tensor) -> Tensor:
    """The value of a Dual at a fresh place: an alias of where it is, if somebody outside is watching."""
    inner = x
    if isinstance(inner, Batched):
        return like(inner, _placed(innermost(inner)))
    if inner.node is None:
        return lift(inner._data, Leaf(user=False))
    n = Node()
    n.op, n.p, n.q = ALIAS, inner.node, None
    n.y = n.a = n.b = n.code = n.at = None
    n.params = ()
    n.seq = tick()
    return lift(snapshot(inner), n)


def dispatch(op: Primitive, f: Callable, xs: tuple, params: tuple, keywords: dict) -> Any:
    """Operation `op` on operands some of which are dual."""
    if keywords and op.arity:
        return _with_keywords(op, f, xs, **{"out": None, **keywords})
    level = max(map(_level, xs))
    if any(x.__class__ is not Tensor and isinstance(x, Tensor) and _other(x, level) for x in xs):
        raise streaming("jvp")  # a streaming jvp inside of a streaming jvp whose variable it uses
    if op.arity and op.kind == "elementwise" and not op.views:
        y = _elementwise(op, xs, level)
        if y is not None:
            return y
    values = [x._data.value if _level(x) == level else x for x in xs]
    if op.kind == "linear" or op.views:  # value and tangent alike, and views stay views
        pair = xs[0]._data
        return dual(op.call(pair.value, *params), op.call(pair.tangent, *params), level)
    if op.kind == "nondifferentiable":
        return _run(op, values, params, keywords)
    placed, tangents = [], {}
    for x, v in zip(xs, values):
        if _level(x) == level and v.dtype.kind in "fc":
            v = _placed(v)
            tangents[v.node] = behind(v, x._data.tangent)
        placed.append(v)
    with enable_grad():
        y = _run(op, placed, params, keywords)
    for n in tangents:
        if n.__class__ is Leaf:
            n.live = False
    many = isinstance(y, tuple)
    around = {v.node for v in placed if isinstance(v, Tensor) and v.node is not None} - tangents.keys()
    results = [_with_tangent(v, tangents, level, around) for v in (y if many else (y,))]
    if not many:
        return results[0]
    return type(y)(*results) if hasattr(y, "_fields") else tuple(results)


def carried(f: Callable, leaves: list, level: int) -> list:
    """The results of f, a function that stands on the tape as one node, for leaves some of which are dual."""
    placed, tangents = [], {}
    for x in leaves:
        if isinstance(x, Tensor) and hasattr(x._data, "known"):
            raise MissingDerivativeError(
                "a function with a rule of its own (custom_vjp, custom_jvp, checkpoint, implicit ...) inside "
                "dif.taylor: its higher coefficients are not known. Use nested dif.jvp, which differentiates the rule"
            )
        v = x
        if _level(x) == level:
            v = x._data.value
            if v.dtype.kind in "fc":
                v = _placed(v)
                tangents[v.node] = behind(v, x._data.tangent)
        placed.append(v)
    with enable_grad():
        found = f(placed)
    for n in tangents:
        if n.__class__ is Leaf:
            n.live = False
    return [_with_both(v, tangents, level) for v in found]


def _with_both(v: Any, tangents: dict, level: int) -> Any:
    """Result `v` with the tangent of the arguments and, where f uses a dual of its surroundings, that of it too."""
    if _level(v) != level:
        return _with_tangent(v, tangents, level)
    y = _with_tangent(v._data.value, tangents, level)
    if _level(y) != level:
        return v
    value = y._data.value
    return dual(value, laid_out_like(y._data.tangent + v._data.tangent, value), level)


def _elementwise(op: Primitive, xs: tuple, level: int) -> Tensor | None:
    """An elementwise operation nobody outside is watching, on raw arrays; None if it is not so simple."""
    data, slopes, tangents = [], [], []
    for x in xs:
        t = None
        if x.__class__ is Dual and x._data.level == level:
            t, x = x._data.tangent, x._data.value
            if t.__class__ is not Tensor or t.node is not None:
                return None
            tangents.append(t)
            t = t._data
        if x.__class__ is Tensor:
            if x.node is not None:
                return None
            x = x._data
        elif isinstance(x, Tensor):
            return None
        data.append(x)
        slopes.append(t)
    xp = namespace(data[0])
    yd = op.forward(*data)
    if yd.__class__ is complex:  # Python's answer to 1j * np.float64(2)
        yd = np.complex128(yd)
    total: Any = None
    with np.errstate(all="ignore"):
        for t, rule in zip(slopes, (op.rule_a, op.rule_b)):
            if t is None:
                continue
            if t.shape != yd.shape:
                t = xp.broadcast_to(t, yd.shape)
            r = op.push(xp, t, yd, *data) if op.push is not None else rule(xp, t, yd, *data)
            if not _finite((r,)):
                r = repaired(xp, t, r)
            total = r if total is None else total + r
    if total.dtype != yd.dtype:
        total = total.astype(yd.dtype)
    y = wrap(yd)
    return dual(y, laid_out_like(_beside(total, tangents), y), level)


def _beside(t: Any, tangents: Iterable[Tensor]) -> Tensor:
    """A Tensor over the array `t`, which a rule may have made as a view of one of the `tangents`, or returned as it is:
    writes to either do not reach the other."""
    if t.base is None and all(t is not s._data for s in tangents):
        return wrap(t)
    for s in tangents:
        snapshot(s)
    return lift(t, None)


def _run(op: Primitive, values: list, params: tuple, keywords: dict) -> Any:
    return op.call(values, *params, **keywords) if op.operands is None else op.call(*values, *params, **keywords)


def _with_tangent(y: Tensor, tangents: dict, level: int, around: Iterable[Node] = ()) -> Tensor:
    """Result `y` of one operation with its tangent; its own place is forgotten unless somebody outside is watching.

    `around`: the nodes of its tracked operands that are not dual; the walk over the tape ends there.
    """
    if not isinstance(y, Tensor) or y.node is None:
        return y
    order, leaves = trace([y.node], (*tangents, *around))
    watched = recording() and (
        bool(around) or any(n.__class__ is not Leaf for n in tangents) or any(leaf.live for leaf in leaves)
    )
    lifted = watched or any(t.__class__ is not Tensor or t.node is not None for t in tangents.values())
    ts = {n: t if lifted else t._data for n, t in tangents.items()}
    with np.errstate(all="ignore"):
        site = _site.get()
        try:
            out = _forward(order, dict(ts), lifted, [y.node], repair=True).get(y.node)
        finally:
            _site.set(site)
    if out is None:
        return y if watched else lift(y._data, None)
    out = like(y, apart(out) if isinstance(out, Tensor) else _beside(out, tangents.values()))
    value = y if watched or y.__class__ is not Tensor else lift(y._data, None)
    return dual(value, laid_out_like(out, value), level)


def write(x: Tensor, index: Any, value: Any) -> None:
    """``x[index] = value`` where either is dual: x becomes dual in place, value and tangent are written."""
    level = max(_level(x), _level(value))
    if _level(x) < level:
        if x.dtype.kind not in "fc":
            raise InPlaceError(
                f"writing a dual value into a Tensor of dtype {x.dtype} would lose its derivative: make the target "
                "floating, for instance with dif.zeros(n) or x.astype(float)"
            )
        _become_dual(x, level)
    pair = x._data
    if _level(value) == level:
        pair.value[index] = value._data.value
        pair.tangent[index] = value._data.tangent
    else:
        pair.value[index] = value
        pair.tangent[index] = 0


def _become_dual(x: Tensor, level: int) -> None:
    """Turn `x`, and whatever shares its memory, into Dual Tensors, in place."""
    storage = None if isinstance(x, (Dual, Batched)) else x.alias
    if storage is None:
        root, members = x, [x]
        twin = _twin(x)
    else:
        members = storage.live()
        twin = wrap(storage.data, storage.node)
        root = None
    zeros = wrap(zeros_like(twin)) if twin.__class__ is Tensor else twin * 0
    whole = dual(twin, laid_out_like(zeros, twin), level)
    for m in members:
        seen: Any = whole._data
        if root is None:
            v, t = seen.value, seen.tangent
            for op, params in m.path:
                v, t = op.call(v, *params), op.call(t, *params)
            seen = Pair(v, t, level)
        _turn(m, seen)


def _twin(x: Tensor) -> Tensor:
    if x.__class__ is Tensor:
        t = wrap(x._data, x.node)
        t.saved = x.saved
        return t
    t = x.__class__()
    t._data = x._data
    t.alias = None
    t.saved = False
    return t


def _turn(x: Tensor, pair: Pair) -> None:
    if x.__class__ is Tensor:
        x.node = None
    x.__class__ = Dual
    x._data = pair
    x.alias = None
    x.saved = False


def _own(x: Any, dtype: Any = None) -> Tensor:
    """Argument `x` as a Tensor with memory of its own, if it is an array."""
    x = operand(x, "jvp")
    if isinstance(x, Tensor):
        return x
    x = duplicate(x, "K") if on_gpu(x) else np.array(x) if isinstance(x, np.ndarray) else np.array(x)[()]
    return wrap(x if dtype is None or x.dtype == dtype else x.astype(dtype))


def streamed(f: Callable, primals: tuple, tangents: tuple, tensors: bool) -> tuple[list, list, Any]:
    """Run f on dual arguments; returns value leaves, tangent leaves and the structure of the result."""
    active = levels.get()
    token = levels.set((*active, None))
    try:
        level = len(active)
        args = []
        for p, t in zip(primals, tangents):
            ps, shape = tree.flatten(p)
            ts, t_shape = tree.flatten(t)
            if t_shape != shape:
                raise ValueError(f"jvp: the tangent has structure {t_shape}, the primal {shape}")
            pairs = []
            for x, v in zip(ps, ts):
                if isinstance(x, Tensor) and hasattr(innermost(x)._data, "level"):
                    raise streaming("jvp")
                x = _own(x)
                x = x if x.dtype.kind in "fc" else X.astype(x, float)
                v = operand(v, "jvp: tangent")
                v = beside_result(v, x, "jvp: tangent", not hasattr(v, "dtype")) if used else v
                if not isinstance(v, Tensor):
                    v = _own(v, np.result_type(getattr(v, "dtype", v), x.dtype))
                if v.shape != x.shape:
                    raise ValueError(f"jvp: tangent: expected shape {x.shape}, found {v.shape}")
                if v.dtype.kind == "c" and x.dtype.kind != "c":
                    raise TypeError(f"jvp: tangent: expected a real array, as the primal is {x.dtype}, found {v.dtype}")
                pairs.append(dual(apart(x), laid_out_like(apart(v), x), level))
            args.append(tree.unflatten(shape, pairs))
        found, shape = tree.flatten(f(*args))
    finally:
        levels.reset(token)
    values = [v._data.value if _level(v) == level else v for v in found]
    slopes = [v._data.tangent if _level(v) == level else None for v in found]
    return values, slopes, shape


__all__ = ["Dual", "dual", "streamed"]
