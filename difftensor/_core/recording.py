"""Running and recording operations of any kind but elementwise: the path that is general instead of fast."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from difftensor._backend import several_devices
from difftensor._backend.arrays import used
from difftensor._core.fitting import constant
from difftensor._core.operands import holds_tensor, lists_placed, operand, same_device, subclass_of
from difftensor._core.primitive import Primitive
from difftensor._core.tape import Node, getframe, recording, tick, user_site
from difftensor._core.tensor import Tensor, wrap
from difftensor._core.views import keep_raw, share_if_view
from difftensor.errors import explain


def kept(x: Any) -> Any:
    """Operand `x` as a non-elementwise node saves it: an array, or a Guard that the pull unwraps."""
    data, guard = keep_raw(x) if isinstance(x, Tensor) else constant(x)
    return data if guard is None else guard


def unusual(op: Primitive, f: Callable, xs: tuple, params: tuple, keywords: dict | None = None) -> Any:
    xs = lists_placed(xs) if used else xs
    cls = subclass_of(xs)
    if cls is not None:
        return cls.__dif_dispatch__(op, f, xs, params, keywords or {})
    keywords = keywords or {}
    if not any(map(holds_tensor, xs)):
        if op.operands is None:
            return op.forward(xs, *params, **keywords)
        return op.forward(*xs, *params, **keywords)
    xs = tuple(operand(x, op.name) for x in xs)
    same_device(op.name, xs)
    return run(op, xs, params, keywords)


def run(op: Primitive, xs: tuple, params: tuple, keywords: dict | None = None) -> Any:
    """Run and record an operation of any kind but elementwise."""
    data, nodes, tape = [], [], False
    for x in xs:
        if x.__class__ is Tensor:
            p = x.node
            data.append(x._data)
            nodes.append(p)
            tape = tape or p is not None
        else:
            data.append(x)
            nodes.append(None)
    if several_devices() and len(xs) > 1:
        same_device(op.name, xs)
    try:
        if op.operands is None:
            yd = op.forward(tuple(data), *params)
        else:
            yd = op.forward(*data, *params, **keywords) if keywords else op.forward(*data, *params)
    except Exception as error:
        same_device(op.name, xs)
        raise explain(op.name, xs, error, params) from error
    tape = tape and op.kind != "nondifferentiable" and recording()
    n = _node(op, xs, data, nodes, params, yd) if tape else None
    if op.outputs == 1:
        y = wrap(yd, n)
        y.saved = tape and "y" in op.saves
        if op.views:
            share_if_view(xs[0], y, op, params)
        return y
    ys = []
    for i, part in enumerate(yd):
        y = wrap(part, None if n is None or part.dtype.kind not in "fc" else pick(n, i))
        y.saved = tape
        ys.append(y)
    return type(yd)(*ys) if hasattr(yd, "_fields") else tuple(ys)


def _node(op: Primitive, xs: tuple, data: list, nodes: list, params: tuple, yd: Any) -> Node:
    n = Node()
    n.op = op
    n.seq = tick()
    n.y = n.a = n.b = None
    n.code, n.at = user_site(getframe(2))
    n.params = params
    kind = op.kind
    if kind == "linear":
        n.p, n.q = nodes[0], None
        n.a = data[0].shape
        return n
    if kind == "bilinear":
        n.p, n.q = nodes
        n.a = kept(xs[0]) if n.q is not None else Like(data[0])
        n.b = kept(xs[1]) if n.p is not None else Like(data[1])
        return n
    saves, operands = op.saves, op.operands
    if "y" in saves:
        n.y = tuple(yd) if op.outputs > 1 else yd
    if operands == 1:
        n.p, n.q = nodes[0], None
        if "x" in saves:
            n.a = kept(xs[0])
    elif operands == 2:
        n.p, n.q = nodes
        if "a" in saves:
            n.a = kept(xs[0])
        if "b" in saves:
            n.b = kept(xs[1])
    else:
        n.p, n.q = None, tuple(nodes)
        if operands is None:
            n.a = tuple(map(kept, xs)) if "x" in saves else tuple(map(like, data))
        else:
            n.a = tuple([kept(x) if letter in saves else None for x, letter in zip(xs, "abcdefgh", strict=False)])
    return n


def record_joined(op: Primitive, nodes: list, saved: tuple, params: tuple) -> Node:
    """The node of an operation on a sequence of operands."""
    n = Node()
    n.op = op
    n.p = n.y = n.b = None
    n.q = tuple(nodes)
    n.a = saved
    n.params = params
    n.seq = tick()
    n.code, n.at = user_site(getframe(2))
    return n


class Like:
    """Shape and dtype of an operand that was not saved."""

    __slots__ = ("dtype", "shape")

    def __init__(self, x: Any):
        try:
            self.shape, self.dtype = x.shape, x.dtype
        except AttributeError:  # a Python number in a list of Tensors
            self.shape, self.dtype = (), np.dtype(type(x))

    @property
    def ndim(self) -> int:
        return len(self.shape)


NUMBER = Like(np.float64(0))  # of every operand that is one float64 number: loops join these


def like(x: Any) -> Like:
    return NUMBER if x.__class__ is np.float64 else Like(x)


class Part:
    """The cotangent of one of several results."""

    __slots__ = ("g", "i")

    def __init__(self, i: int, g: Any):
        self.i, self.g = i, g


def pick(n: Node, i: int) -> Node:
    """The node of result `i` of a node with several results."""
    m = Node()
    m.op = PICK
    m.p, m.q = n, None
    m.y = m.a = m.b = None
    m.params = i
    m.seq = tick()
    m.code, m.at = n.code, n.at
    return m


PICK = Primitive("pick", "linear", lambda ys, i: ys[i])
PICK.pull = lambda xp, g, n: (Part(n.params, g),)
PICK.push = lambda xp, ts, n: ts[0][n.params]
