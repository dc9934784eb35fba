"""Primitives whose Jacobian is not diagonal: linear, bilinear, general; and those without derivative."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from difftensor._core.fitting import Guard, fit
from difftensor._core.operands import same_device
from difftensor._core.primitive import Primitive, declare
from difftensor._core.recording import kept, run, unusual
from difftensor._core.tape import Node, getframe, library, recording, tick, user_site
from difftensor._core.tensor import Tensor
from difftensor._core.views import share_if_view
from difftensor.errors import explain


def linear(
    name: str,
    forward: Callable,
    pull: Callable,
    *,
    views: bool | str = False,
    numpy: Any = None,
    normalize: Callable | None = None,
    usual: tuple = (),
    public: bool = True,
    **facts: Any,
) -> Callable:
    """Declare ``y = forward(x, *params)``, linear in x, with ``pull(xp, g, shape, *params)``.

    `views`: the result may be a view of x (``"repeats"``: that sees elements more than once). `normalize(x, params)` brings params of unusual classes (not in `usual`)
    into
    their static form.
    """
    op = Primitive(name, "linear", forward, **facts)
    op.views = views
    op.pull = lambda xp, g, n: (pull(xp, g, n.a, *n.params),)
    op.push = lambda xp, ts, n: op.call(ts[0], *n.params)

    def f(x: Any, *params: Any) -> Any:
        if normalize is not None and params[0].__class__ not in usual:
            x, params = normalize(x, params)
        if x.__class__ is not Tensor:
            return unusual(op, f, (x,), params)
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


def bilinear(
    name: str,
    forward: Callable,
    pull_a: Callable,
    pull_b: Callable,
    *,
    numpy: Any = None,
    public: bool = True,
    **facts: Any,
) -> Callable:
    """Declare ``y = forward(a, b, *params)``, linear in each operand, with ``pull_a(xp, g, a, b, *params)`` and
    ``pull_b``.

    `pull_a` needs only b, `pull_b` only a: the tape saves what the tracked operands ask for. An operand that was not saved
    reaches the rules as its shape.
    """
    op = Primitive(name, "bilinear", forward, operands=2, saves="b|a", **facts)

    def pull(xp: Any, g: Any, n: Any) -> tuple:
        fa, fb, params = n.params
        a = fa[0] if n.a is None else n.a
        b = fb[0] if n.b is None else n.b
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
            return unusual(op, f, (a, b), params)
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
            n.b = kept(b)
        if q is not None:
            n.a = kept(a)
        frame = getframe(1)
        n.code = code = frame.f_code
        n.at = frame.f_lasti
        if library[code.co_filename]:
            n.code, n.at = user_site(frame)
        return y

    return declare(op, f, numpy, public)


def general(
    name: str,
    forward: Callable,
    pull: Callable,
    push: Callable | None = None,
    *,
    saves: str = "",
    operands: int | None = 1,
    outputs: int = 1,
    check: Callable | None = None,
    numpy: Any = None,
    public: bool = True,
    **facts: Any,
) -> Callable:
    """Declare ``y = forward(*operands, *params)`` with ``pull(xp, g, y, *operands, *params)``, which returns one
    cotangent per operand.

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
                return unusual(op, f, xs, params)
        return run(op, xs, params)

    return declare(op, f, numpy, public)


def nondifferentiable(
    name: str, forward: Callable, *, operands: int = 1, numpy: Any = None, public: bool = True, **facts: Any
) -> Callable:
    """Declare an operation that counts, compares or has integer values: a plain result without a tape."""
    op = Primitive(name, "nondifferentiable", forward, operands=operands, **facts)

    def f(*args: Any, **keywords: Any) -> Any:
        xs, params = args[:operands], args[operands:]
        if not keywords:
            for x in xs:
                if x.__class__ is not Tensor:
                    break
            else:
                return run(op, xs, params)
        return unusual(op, f, xs, params, keywords)

    return declare(op, f, numpy, public)


def _bind(forward: Callable, args: tuple, keywords: dict) -> tuple:
    bound = inspect.signature(forward).bind(*args, **keywords)
    bound.apply_defaults()
    return (*bound.args, *bound.kwargs.values())


def _unguarded(rule: Callable, position: int = 2) -> Callable:
    """`rule`, called with a node whose guarded constants have been checked and unwrapped."""

    def checked(*args: Any) -> Any:
        n = args[position]
        a, b = n.a, n.b
        if (
            a.__class__ is Guard
            or b.__class__ is Guard
            or (a.__class__ is tuple and any(x.__class__ is Guard for x in a))
        ):
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
