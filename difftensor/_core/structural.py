"""Primitives whose Jacobian is not diagonal: linear, bilinear, general; and those without derivative."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from difftensor._core.fitting import Guard, constant, fit
from difftensor._core.operands import holds_tensor, operand, same_device, subclass_of
from difftensor._core.primitive import Primitive, declare
from difftensor._core.tape import Node, getframe, library, recording, tick, user_site
from difftensor._core.tensor import Tensor, wrap
from difftensor._core.writes import keep_raw, share_if_view
from difftensor.errors import explain


def linear(name: str, forward: Callable, pull: Callable, *, views: bool = False, numpy: Any = None, normalize: Callable | None = None,
           usual: tuple = (), public: bool = True, **facts: Any) -> Callable:
    """Declare ``y = forward(x, *params)``, linear in x, with ``pull(xp, g, shape, *params)``.

    `views`: the result may be a view of x. `normalize(params)` brings params of unusual classes (not in `usual`) into their static form.
    """
    op = Primitive(name, "linear", forward, **facts)
    op.views = views
    op.pull = lambda xp, g, n: (pull(xp, g, n.a, *n.params),)
    op.push = lambda xp, ts, n: op.call(ts[0], *n.params)

    def f(x: Any, *params: Any) -> Any:
        if normalize is not None and params[0].__class__ not in usual:
            params = normalize(params)
        if x.__class__ is not Tensor:
            return _unusual(op, f, (x,), params)
        xd = x._data
        try:
            yd = forward(xd, *params)
        except Exception as error:
            raise explain(name, (x,), error, params) from error
        y = Tensor()
        y._data = yd
        y.alias = None
        y.saved = False
        p = x.node
        if p is None or not recording():
            y.node = None
        else:
            n = y.node = Node()
            n.op = op
            n.p = p
            n.q = n.y = n.b = None
            n.a = xd.shape
            n.params = params
            n.seq = tick()
            frame = getframe(1)
            n.code = code = frame.f_code
            n.at = frame.f_lasti
            if library[code.co_filename]:
                n.code, n.at = user_site(frame)
        if views:
            share_if_view(x, y, op, params)
        return y

    return declare(op, f, numpy, public)


def bilinear(name: str, forward: Callable, pull_a: Callable, pull_b: Callable, *, numpy: Any = None, public: bool = True, **facts: Any) -> Callable:
    """Declare ``y = forward(a, b, *params)``, linear in each operand, with ``pull_a(xp, g, a, b, *params)`` and ``pull_b``.

    `pull_a` needs only b, `pull_b` only a: the tape saves what the tracked operands ask for.
    """
    op = Primitive(name, "bilinear", forward, operands=2, saves="b|a", **facts)

    def pull(xp: Any, g: Any, n: Any) -> tuple:
        fa, fb, params = n.params
        a, b = n.a, n.b
        ga = None if n.p is None else fit(pull_a(xp, g, a, b, *params), *fa)
        gb = None if n.q is None else fit(pull_b(xp, g, a, b, *params), *fb)
        return ga, gb

    def push(xp: Any, ts: tuple, n: Any) -> Any:
        ta, tb = ts
        params = n.params[2]
        t = None if ta is None else f(ta, n.b, *params)
        if tb is not None:
            s = f(n.a, tb, *params)
            t = s if t is None else t + s
        return t

    op.pull, op.push = _unguarded(pull), _unguarded(push)

    def f(a: Any, b: Any, *params: Any) -> Any:
        if a.__class__ is not Tensor or b.__class__ is not Tensor:
            return _unusual(op, f, (a, b), params)
        ad, bd = a._data, b._data
        try:
            yd = forward(ad, bd, *params)
        except Exception as error:
            same_device(name, (a, b))
            raise explain(name, (a, b), error, params) from error
        y = Tensor()
        y._data = yd
        y.alias = None
        y.saved = False
        p, q = a.node, b.node
        if (p is None and q is None) or not recording():
            y.node = None
            return y
        n = y.node = Node()
        n.op = op
        n.p = p
        n.q = q
        n.seq = tick()
        n.y = n.a = n.b = None
        n.params = ((ad.shape, ad.dtype), (bd.shape, bd.dtype), params)
        if p is not None:
            n.b = _kept(b)
        if q is not None:
            n.a = _kept(a)
        frame = getframe(1)
        n.code = code = frame.f_code
        n.at = frame.f_lasti
        if library[code.co_filename]:
            n.code, n.at = user_site(frame)
        return y

    return declare(op, f, numpy, public)


def general(name: str, forward: Callable, pull: Callable, push: Callable | None = None, *, saves: str = "", operands: int | None = 1,
            outputs: int = 1, check: Callable | None = None, numpy: Any = None, public: bool = True, **facts: Any) -> Callable:
    """Declare ``y = forward(*operands, *params)`` with ``pull(xp, g, y, *operands, *params)``, which returns one cotangent per operand.

    `operands=None`: the first argument is a sequence of any number of operands, which rules see as one tuple.
    A missing `push` is found by transposing `pull` (the engine does it).
    """
    op = Primitive(name, "general", forward, saves=saves, operands=operands, **facts)
    op.outputs, op.check = outputs, check

    def saved(n: Any) -> tuple:
        if operands is None:
            return (n.a,)
        return (n.a,) if operands == 1 else (n.a, n.b) if operands == 2 else n.a

    def pull_node(xp: Any, g: Any, n: Any) -> tuple:
        gs = pull(xp, g, n.y, *saved(n), *n.params)
        return gs if gs.__class__ is tuple else (gs,)

    op.pull = _unguarded(pull_node)
    if push is not None:
        op.push = _unguarded(lambda xp, ts, n: push(xp, ts, n.y, *saved(n), *n.params))
    if check is not None:
        op.check = _unguarded(lambda g, n: check(g, n.y, *saved(n), *n.params), position=1)

    def f(*args: Any, **keywords: Any) -> Any:
        if keywords:
            args = _bind(forward, args, keywords)
        k = 1 if operands is None else operands
        xs, params = (tuple(args[0]), args[1:]) if operands is None else (args[:k], args[k:])
        for x in xs:
            if x.__class__ is not Tensor:
                return _unusual(op, f, xs, params)
        return _run(op, xs, params)

    return declare(op, f, numpy, public)


def nondifferentiable(name: str, forward: Callable, *, operands: int = 1, numpy: Any = None, public: bool = True, **facts: Any) -> Callable:
    """Declare an operation that counts, compares or has integer values: a plain result without a tape."""
    op = Primitive(name, "nondifferentiable", forward, operands=operands, **facts)

    def f(*args: Any, **keywords: Any) -> Any:
        xs, params = args[:operands], args[operands:]
        if not keywords:
            for x in xs:
                if x.__class__ is not Tensor:
                    break
            else:
                return _run(op, xs, params)
        return _unusual(op, f, xs, params, keywords)

    return declare(op, f, numpy, public)


# Shared by the kinds above ---------------------------------------------------------------------------------------------


def _bind(forward: Callable, args: tuple, keywords: dict) -> tuple:
    bound = inspect.signature(forward).bind(*args, **keywords)
    bound.apply_defaults()
    return (*bound.args, *bound.kwargs.values())


def _kept(x: Any) -> Any:
    """Operand `x` as a non-elementwise node saves it: an array, or a Guard that the pull unwraps."""
    data, guard = keep_raw(x) if isinstance(x, Tensor) else constant(x)
    return data if guard is None else guard


def _unguarded(rule: Callable, position: int = 2) -> Callable:
    """`rule`, called with a node whose guarded constants have been checked and unwrapped."""

    def checked(*args: Any) -> Any:
        n = args[position]
        a, b = n.a, n.b
        if a.__class__ is Guard or b.__class__ is Guard or (a.__class__ is tuple and any(x.__class__ is Guard for x in a)):
            n = Unwrapped(n)
            args = (*args[:position], n)
        return rule(*args)

    return checked


class Unwrapped:
    """A node with its guards checked and taken off."""

    __slots__ = ("a", "b", "p", "params", "q", "y")

    def __init__(self, n: Any):
        self.p, self.q, self.y, self.params = n.p, n.q, n.y, n.params
        self.a = tuple(map(_open, n.a)) if n.a.__class__ is tuple else _open(n.a)
        self.b = _open(n.b)


def _open(a: Any) -> Any:
    return a.check() if a.__class__ is Guard else a


def _unusual(op: Primitive, f: Callable, xs: tuple, params: tuple, keywords: dict | None = None) -> Any:
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
    return _run(op, xs, params, keywords)


def _run(op: Primitive, xs: tuple, params: tuple, keywords: dict | None = None) -> Any:
    """Run and record an operation of any kind but elementwise."""
    data = tuple(x._data if x.__class__ is Tensor else x for x in xs)
    try:
        yd = op.forward(data, *params) if op.operands is None else op.forward(*data, *params, **(keywords or {}))
    except Exception as error:
        same_device(op.name, xs)
        raise explain(op.name, xs, error, params) from error
    nodes = tuple(x.node if x.__class__ is Tensor else None for x in xs)
    tape = op.kind != "nondifferentiable" and recording() and any(p is not None for p in nodes)
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


def _node(op: Primitive, xs: tuple, data: tuple, nodes: tuple, params: tuple, yd: Any) -> Node:
    n = Node()
    n.op = op
    n.seq = tick()
    n.y = n.a = n.b = None
    n.code, n.at = user_site(getframe(2))
    if op.kind == "linear":
        n.p, n.q = nodes[0], None
        n.a = data[0].shape
        n.params = params
        return n
    if op.kind == "bilinear":
        n.p, n.q = nodes
        n.params = (_like(data[0]), _like(data[1]), params)
        n.b = _kept(xs[1]) if n.p is not None else None
        n.a = _kept(xs[0]) if n.q is not None else None
        return n
    n.params = params
    n.y = (tuple(yd) if op.outputs > 1 else yd) if "y" in op.saves else None
    if op.operands is not None and op.operands <= 2:
        n.p, n.q = nodes[0], nodes[1] if op.operands == 2 else None
        n.a = _kept(xs[0]) if op.saves and ("x" if op.operands == 1 else "a") in op.saves else None
        n.b = _kept(xs[1]) if op.operands == 2 and "b" in op.saves else None
        return n
    n.p, n.q = None, nodes
    if op.operands is None:
        n.a = tuple(map(_kept, xs)) if "x" in op.saves else tuple(map(Like, data))
    else:
        n.a = tuple(_kept(x) if letter in op.saves else None for x, letter in zip(xs, "abcdefgh", strict=False))
    return n


class Like:
    """Shape and dtype of an operand that was not saved."""

    __slots__ = ("dtype", "shape")

    def __init__(self, x: Any):
        self.shape, self.dtype = getattr(x, "shape", ()), getattr(x, "dtype", float)

    @property
    def ndim(self) -> int:
        return len(self.shape)


def _like(x: Any) -> tuple:
    return getattr(x, "shape", ()), getattr(x, "dtype", None)


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
