"""Declaring SciPy's ufuncs: what they compute is SciPy's, what is written here are their derivatives."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import scipy.special

from difftensor._backend import science, several_devices
from difftensor._core import binary, unary
from difftensor.errors import MissingDerivativeError, not_there
from difftensor.special._integer_order import SUBSTITUTES


def forward_of(name: str, ufunc: Any = None) -> Callable:
    """The ufunc on NumPy's arrays, its twin in cupyx.scipy.special on CuPy's."""
    ufunc = ufunc or getattr(scipy.special, name)

    def forward(*xs: Any) -> Any:
        if not several_devices():
            return ufunc(*xs)
        space = science(xs, "special")
        if space is scipy.special:
            return ufunc(*xs)
        twin = getattr(space, name.lstrip("_"), None) or SUBSTITUTES.get(name)
        if twin is None:
            raise not_there(f"special.{name}")
        return _as_scipys(ufunc, xs, twin(*xs))

    return forward


def _as_scipys(ufunc: Any, xs: tuple, y: Any) -> Any:
    """Result `y` of CuPy in the dtype that SciPy's ufunc gives it: the two have different loops."""
    if y.__class__ is tuple:
        return tuple(_as_scipys(ufunc, xs, v) for v in y)
    given = tuple(x.dtype if hasattr(x, "dtype") else type(x) for x in xs)
    return y.astype(ufunc.resolve_dtypes((*given, *(None,) * ufunc.nout))[-1], copy=False)


def _facts(ufunc: Any, facts: dict) -> dict:
    """A function without complex loops takes real operands only."""
    if not any(k in "FDG" for loop in ufunc.types for k in loop.partition("->")[0]):
        facts["real"] = True
    return {"plain": ufunc, **facts}


def one(name: str, rule: Callable, saves: str, **facts: Any) -> Callable:
    """A ufunc of one operand with ``rule(xp, g, y, x)``."""
    ufunc = getattr(scipy.special, name)
    return unary(f"special.{name}", forward_of(name, ufunc), rule, saves, numpy=ufunc, **_facts(ufunc, facts))


def two(name: str, rule_a: Callable, rule_b: Callable, saves: str, ufunc: Any = None, **facts: Any) -> Callable:
    """A ufunc of two operands with ``rule(xp, g, y, a, b)`` for each."""
    ufunc = ufunc or getattr(scipy.special, name)
    facts = {"numpy": ufunc, **_facts(ufunc, facts)}
    return binary(f"special.{name}", forward_of(name, ufunc), _in_floats(rule_a), _in_floats(rule_b), saves, **facts)


def _in_floats(rule: Callable) -> Callable:
    """`rule`, which reads constants of integers as floats: as an unsigned integer an order 0 has no order below."""

    def f(xp: Any, g: Any, y: Any, a: Any, b: Any) -> Any:
        return rule(xp, g, y, *(v * 1.0 if v is not None and np.result_type(v).kind in "iub" else v for v in (a, b)))

    if hasattr(rule, "missing"):
        f.missing = rule.missing  # type: ignore[attr-defined]
    return f


def missing(name: str, argument: str, why: str = "") -> Callable:
    """The rule of an argument whose derivative is not known: it raises when a derivative is asked for."""

    def rule(*_: Any) -> Any:
        raise MissingDerivativeError(
            f"{name}: the derivative with respect to {argument!r} is not known{why}. Pass a constant there "
            f"({argument}.detach())"
        )

    rule.missing = argument  # type: ignore[attr-defined]
    return rule
