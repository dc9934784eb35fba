"""Elementwise primitives: one closure per arity, so that a forward operation is one Python frame.

The Jacobian of an elementwise operation is diagonal: its rule, linear in g, pulls cotangents back and pushes tangents
forward. Everything unusual (plain arrays, keywords, batched Tensors, subclasses) hangs on one class test and costs
nothing when unused.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from numpy import bool_, complex128, dtype, float32, float64, int64, ndarray

from difftensor._backend.large import LIGHT, spread
from difftensor._core import operands
from difftensor._core.blocks import whole
from difftensor._core.fitting import COPY_LIMIT, Fits
from difftensor._core.primitive import Primitive, declare
from difftensor._core.tape import Node, getframe, library, recording, tick, user_site
from difftensor._core.tensor import Tensor
from difftensor._core.views import keep, keep_any, share_if_view
from difftensor.errors import explain


def unary(
    name: str,
    forward: Callable,
    rule: Callable,
    saves: str = "",
    *,
    push: Callable | None = None,
    numpy: Any = "forward",
    views: bool = False,
    large: int = LIGHT,
    also: bool = False,
    **facts: Any,
) -> Callable:
    """Declare ``y = forward(x)`` with ``rule(xp, g, y, x)``.

    `saves` names what the rule needs of ``"x"`` and ``"y"``. `push` is given only where pull and push differ:
    functions of complex numbers that are not holomorphic. `large`: bytes from which an array is worth detours: all
    cores, and `also`, a rule that has use for y too.
    """
    op = Primitive(name, "elementwise", forward, arity=1, saves=saves, **facts)
    op.rule_a, op.push, op.views = rule, push, views
    keeps_x, keeps_y = "x" in saves, "y" in saves
    plain = facts.get("plain", forward)

    def f(x: Any, out: Any = None, **keywords: Any) -> Any:
        if x.__class__ is not Tensor or out is not None or keywords:
            if x.__class__ is ndarray and out is None and not keywords:
                return plain(x)
            return operands.unusual(op, op.call, (x,), out, keywords)
        xd = x._data
        small = xd.nbytes < large
        try:
            yd = forward(xd) if small else spread(forward, xd)
        except Exception as error:
            raise explain(name, (x,), error) from error
        y = Tensor()
        y._data = yd
        y.alias = None
        y.saved = False
        p = x.node
        if p is None or not recording():
            y.node = None
            if views:
                share_if_view(x, y, op, ())
            return y
        n = y.node = Node()
        n.op = op
        n.p = p
        n.q = None
        n.seq = tick()
        n.params = None if small or yd.dtype != xd.dtype else whole(yd)
        if keeps_x:
            if x.alias is None:
                x.saved = True
                n.a = xd
            else:
                n.a = keep(x, n, "a")
        else:
            n.a = None
        if keeps_y or (also and not small):
            n.y = yd
            y.saved = True
        else:
            n.y = None
        frame = getframe(1)
        n.code = code = frame.f_code
        n.at = frame.f_lasti
        if library[code.co_filename]:
            n.code, n.at = user_site(frame)
        if views:
            share_if_view(x, y, op, ())
        return y

    return declare(op, f, forward if numpy == "forward" else numpy)


_SCALARS = (float, int)
# Other numbers, and the dtypes that they leave as they are; in double precision they are quick too. (On a GPU they
# take the long way.)
_DOUBLES = (dtype(float64), dtype(complex128))
_ALIKE = {
    **dict.fromkeys((float64, float32, int64, bool_, bool), _DOUBLES),
    **dict.fromkeys((complex128, complex), _DOUBLES[1:]),
}
_HOST: frozenset[Any] = frozenset((ndarray, float64, complex128))
_FEW = 8 * LIGHT  # product of the bytes of two operands whose broadcast result cannot be large


def binary(
    name: str,
    forward: Callable,
    rule_a: Callable,
    rule_b: Callable,
    saves: str = "",
    *,
    numpy: Any = "forward",
    twice: Callable | None = None,
    large: int = LIGHT,
    **facts: Any,
) -> Callable:
    """Declare ``y = forward(a, b)`` with ``rule(xp, g, y, a, b)`` for each operand.

    `twice`: the sum of both rules, ``twice(xp, g, y, a)``, where the operands are one Tensor.

    `saves`: what both rules need (``"ab"``), or what each needs (``"b|a"``: the rule of a needs b, the rule of b
    needs a).
    """
    op = Primitive(name, "elementwise", forward, arity=2, saves=saves, operands=2, **facts)
    op.rule_a, op.rule_b, op.rule_twice = rule_a, rule_b, twice
    f = _binary_function(op, operands.unusual, large)
    f.operator = _binary_function(op, operands.unusual_operator, large)  # type: ignore[attr-defined]
    f.reflected = _reflected(op, large)  # type: ignore[attr-defined]
    return declare(op, f, forward if numpy == "forward" else numpy)


def _wants(op: Primitive) -> tuple[bool, ...]:
    """Which of a, b, y the rule of a needs, then which the rule of b needs.

    ``"b|yb"``, or ``"ab"`` for both rules.
    """
    for_a, _, for_b = op.saves.partition("|")
    for_b = for_b if "|" in op.saves else for_a
    return tuple(letter in wanted for wanted in (for_a, for_b) for letter in "aby")


def _binary_function(op: Primitive, unusual: Callable, large: int) -> Callable:
    forward, name = op.forward, op.name
    plain = op.facts.get("plain", forward)
    a_for_a, b_for_a, y_for_a, a_for_b, b_for_b, y_for_b = _wants(op)

    def f(a: Any, b: Any, out: Any = None, **keywords: Any) -> Any:
        kind, other = a.__class__, b.__class__
        if kind is Tensor:
            ad = a._data
            p = a.node
            if other is Tensor:
                bd = b._data
                q = b.node
                both = True
            elif other in _SCALARS:
                bd = b
                q = None
                both = False
            elif other is ndarray:
                bd = b
                q = None
                both = True
            elif other in _ALIKE and ad.__class__ in _HOST and ad.dtype in _DOUBLES:
                both = ad.dtype not in _ALIKE[other]
                bd = complex128(b) if both else b
                q = None
            else:
                return unusual(op, op.call, (a, b), out, keywords)
        elif other is Tensor:
            bd = b._data
            ad = a
            if kind is ndarray:
                both = True
            elif kind in _SCALARS:
                both = False
            elif kind in _ALIKE and bd.__class__ in _HOST and bd.dtype in _DOUBLES:
                both = bd.dtype not in _ALIKE[kind]
                ad = complex128(a) if both else a
            else:
                return unusual(op, op.call, (a, b), out, keywords)
            p = None
            q = b.node
        elif kind is ndarray and out is None and not keywords and (other is ndarray or other in _SCALARS):
            return plain(a, b)
        else:
            return unusual(op, op.call, (a, b), out, keywords)
        if out is not None or keywords:
            return unusual(op, op.call, (a, b), out, keywords)
        fits = both and (p or q) and (ad.shape != bd.shape or ad.dtype is not bd.dtype)
        if fits:
            small = ad.nbytes * bd.nbytes < _FEW
        else:
            small = (ad if kind is Tensor else bd).nbytes < large
        try:
            yd = forward(ad, bd) if small else spread(forward, ad, bd)
        except Exception as error:
            y = operands.again(op, (a, b))
            if y is not None:
                return y
            raise operands.failure(name, (a, b), error) from error
        y = Tensor()
        y._data = yd
        y.alias = None
        y.saved = False
        if (p is None and q is None) or not recording():
            y.node = None
            return y
        n = y.node = Node()
        n.op = op
        n.p = p
        n.q = q
        n.seq = tick()
        if fits:
            n.params = Fits(ad, bd, yd)
        else:
            n.params = None if small else whole(yd)
        if (a_for_b and q is not None) or (a_for_a and p is not None):
            if a.__class__ is Tensor:
                if a.alias is None:
                    a.saved = True
                else:
                    ad = keep(a, n, "a")
            elif kind is ndarray:
                ad = a.copy() if a.nbytes <= COPY_LIMIT else keep_any(a, a, n, "a")
            n.a = ad
        else:
            n.a = None
        if (b_for_a and p is not None) or (b_for_b and q is not None):
            if b.__class__ is Tensor:
                if b.alias is None:
                    b.saved = True
                else:
                    bd = keep(b, n, "b")
            elif other is ndarray:
                bd = b.copy() if b.nbytes <= COPY_LIMIT else keep_any(b, b, n, "b")
            n.b = bd
        else:
            n.b = None
        if (y_for_a and p is not None) or (y_for_b and q is not None):
            n.y = yd
            y.saved = True
        else:
            n.y = None
        frame = getframe(1)
        n.code = code = frame.f_code
        n.at = frame.f_lasti
        if library[code.co_filename]:
            n.code, n.at = user_site(frame)
        return y

    return f


def _reflected(op: Primitive, large: int) -> Callable:
    """``b.__rop__(a)``, with a branch of its own for ``2.0 * x``: left scalars cost what right scalars cost."""
    forward, name = op.forward, op.name
    _, _, _, keeps_a, keeps_b, keeps_y = _wants(op)

    def r(b: Any, a: Any) -> Any:
        if a.__class__ not in _SCALARS or b.__class__ is not Tensor:
            if a.__class__ in _ALIKE:
                return op.call(a, b)
            return operands.unusual_operator(op, op.call, (a, b), None, None)
        bd = b._data
        small = bd.nbytes < large
        try:
            yd = forward(a, bd) if small else spread(forward, a, bd)
        except Exception as error:
            raise operands.failure(name, (a, b), error) from error
        y = Tensor()
        y._data = yd
        y.alias = None
        y.saved = False
        q = b.node
        if q is None or not recording():
            y.node = None
            return y
        n = y.node = Node()
        n.op = op
        n.p = None
        n.params = None if small else whole(yd)
        n.q = q
        n.seq = tick()
        n.a = a if keeps_a else None
        if keeps_b:
            if b.alias is None:
                b.saved = True
                n.b = bd
            else:
                n.b = keep(b, n, "b")
        else:
            n.b = None
        if keeps_y:
            n.y = yd
            y.saved = True
        else:
            n.y = None
        frame = getframe(1)
        n.code = code = frame.f_code
        n.at = frame.f_lasti
        if library[code.co_filename]:
            n.code, n.at = user_site(frame)
        return y

    return r


def record_elementwise(op: Primitive, args: tuple, data: tuple, y: Tensor) -> None:
    """Record an elementwise operation one of whose operands is unusual (a plain array, a NumPy scalar, a complex
    number)."""
    nodes = tuple(a.node if isinstance(a, Tensor) else None for a in args)
    n = y.node = Node()
    n.op = op
    n.seq = tick()
    n.p = nodes[0]
    n.q = nodes[1] if op.arity == 2 else None
    n.params = Fits(data[0], data[-1], y._data)
    if op.arity == 2:
        flags = _wants(op)
        wants = [
            any(f for f, p in zip((flags[i], flags[i + 3]), nodes, strict=True) if p is not None) for i in range(3)
        ]
    else:
        wants = ["x" in op.saves, False, "y" in op.saves]
    kept = [
        keep_any(a, d, n, slot) if want else None for a, d, want, slot in zip(args, data, wants, "ab", strict=False)
    ]
    n.a = kept[0]
    n.b = kept[1] if op.arity == 2 else None
    n.y = y._data if wants[2] else None
    y.saved = y.saved or wants[2]
    n.code, n.at = user_site(getframe(1))


__all__ = ["binary", "record_elementwise", "unary"]
