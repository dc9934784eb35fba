"""Functions that compare, count, round or have integer values: plain results without a tape."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import numpy as np

from difftensor._backend import on_gpu
from difftensor._core import binary, operands
from difftensor._core.primitive import Primitive, declare, publish
from difftensor._core.tensor import Tensor
from difftensor.errors import explain

_SCALARS = (float, int, bool)
_PLAIN = frozenset((np.ndarray, np.float64, np.int64))
_HOST = frozenset((np.ndarray, np.float64))


def counting(name: str, ufunc: Any, forward: Callable | None = None) -> Callable:
    """Declare a ufunc without derivative; `forward` is its operator, where there is one."""
    forward = forward or ufunc
    op = Primitive(name, "nondifferentiable", forward, arity=ufunc.nin, operands=ufunc.nin, plain=ufunc)
    if ufunc.nin == 1:

        def f(x: Any, out: Any = None, **keywords: Any) -> Any:
            if x.__class__ is not Tensor or out is not None or keywords:
                return operands.unusual(op, f, (x,), out, keywords)
            try:
                return _result(forward(x._data))
            except Exception as error:
                raise explain(op.name, (x,), error) from error
    else:
        f = _two(op, operands.unusual)
        f.operator = _two(op, operands.unusual_operator)  # type: ignore[attr-defined]
        f.reflected = _swapped(op)  # type: ignore[attr-defined]
    return declare(op, f, ufunc)


def _two(op: Primitive, unusual: Callable) -> Callable:
    forward = op.forward

    def f(a: Any, b: Any, out: Any = None, **keywords: Any) -> Any:
        if a.__class__ is not Tensor or out is not None or keywords:
            return unusual(op, f, (a, b), out, keywords)
        if b.__class__ is Tensor:
            bd = b._data
        elif b.__class__ in _SCALARS or (b.__class__ in _PLAIN and a._data.__class__ in _HOST):
            bd = b
        else:
            return unusual(op, f, (a, b), out, keywords)
        try:
            return _result(forward(a._data, bd))
        except Exception as error:
            raise operands.failure(op.name, (a, b), error) from error

    return f


def _swapped(op: Primitive) -> Callable:
    return lambda b, a: operands.unusual_operator(op, op.call, (a, b), None, None)


def _result(data: Any) -> Tensor:
    y = Tensor()
    y._data = data
    y.node = y.alias = None
    y.saved = False
    return y


equal = counting("equal", np.equal, operator.eq)
not_equal = counting("not_equal", np.not_equal, operator.ne)
less = counting("less", np.less, operator.lt)
less_equal = counting("less_equal", np.less_equal, operator.le)
greater = counting("greater", np.greater, operator.gt)
greater_equal = counting("greater_equal", np.greater_equal, operator.ge)



def _logical(name: str) -> Any:
    twin = getattr(np, name)

    def forward(a: Any, b: Any) -> Any:
        try:
            return twin(a, b)
        except TypeError:
            if on_gpu(a) or on_gpu(b):  # CuPy has no loops of complex numbers
                return twin(a != 0, b != 0)
            raise

    return counting(name, twin, forward)


logical_and, logical_or, logical_xor = map(_logical, ("logical_and", "logical_or", "logical_xor"))
logical_not = counting("logical_not", np.logical_not)
bitwise_and = counting("bitwise_and", np.bitwise_and, operator.and_)
bitwise_or = counting("bitwise_or", np.bitwise_or, operator.or_)
bitwise_xor = counting("bitwise_xor", np.bitwise_xor, operator.xor)
invert = counting("invert", np.invert, operator.invert)
left_shift = counting("left_shift", np.left_shift, operator.lshift)
right_shift = counting("right_shift", np.right_shift, operator.rshift)
bitwise_count = counting("bitwise_count", np.bitwise_count)
ldexp_of = counting("ldexp_of", np.ldexp)
gcd = counting("gcd", np.gcd)
lcm = counting("lcm", np.lcm)

isfinite = counting("isfinite", np.isfinite)
isinf = counting("isinf", np.isinf)
isnan = counting("isnan", np.isnan)
signbit = counting("signbit", np.signbit)
nextafter = counting("nextafter", np.nextafter)


def _spacing(x: Any) -> Any:
    if not on_gpu(x):
        return np.spacing(x)
    x = x.astype(np.result_type(x.dtype, np.float16))  # CuPy has no such function
    if x.dtype == np.float16:  # where NumPy's goes up, also from negative numbers
        return np.nextafter(x, np.inf) - x
    size = abs(x)
    return np.copysign(np.nextafter(size, np.inf) - size, x)


spacing = counting("spacing", np.spacing, _spacing)

floor = counting("floor", np.floor)
ceil = counting("ceil", np.ceil)
trunc = counting("trunc", np.trunc)
rint = counting("rint", np.rint)
floor_divide = counting("floor_divide", np.floor_divide, operator.floordiv)

_heaviside = binary(
    "heaviside_of",
    np.heaviside,
    lambda xp, g, y, a, b: g * 0,
    lambda xp, g, y, a, b: xp.where(a == 0, g, 0),
    saves="|a",
    numpy=None,
    real=True,
)


def heaviside(x1, x2, /, out=None, **keywords):
    """Constant in `x1`; where that is 0, the result is `x2`."""
    if keywords.keys() & {"dtype", "casting"}:
        x1, x2 = operands.in_loop(
            np.heaviside, (x1, x2), keywords.pop("dtype", None), keywords.get("casting", "same_kind")
        )
    tracked = isinstance(x1, Tensor) and x1.node is not None
    return _heaviside(x1.detach() if tracked else x1, x2, out, **keywords)


publish("heaviside", heaviside, np.heaviside)
