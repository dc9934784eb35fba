"""What a process with a GPU pays for, and no other: forwards that look where their operands are.

The functions of the fast kinds hold their forward in a closure. When the first array on a GPU is met, the forwards of
all operations are exchanged for ones that

- refuse a number of a CPU Tensor beside an array on a GPU, which CuPy would take for a constant;
- refuse negative powers of integers, as NumPy does;
- run on the device of their operands, where there are several GPUs: CuPy works on its current device, warns, and would
  put the result there.

The elementwise rules are exchanged for ones that put their operations off, to be done by one kernel (_backend/fusing).
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import wraps
from typing import Any

import numpy as np

from difftensor._backend import arrays
from difftensor._backend.device import inside_of, many_gpus
from difftensor._backend.fusing import on_deferred
from difftensor._core.primitive import PRIMITIVES, Primitive


def watch(op: Primitive) -> None:
    """Exchange the forwards and the elementwise rules of `op`."""
    several = many_gpus()
    if op.name == "power":
        op.forward = _of_whole_numbers(op.forward)
    if several:
        op.forward = _there(op.forward)
    for f in (op.call, getattr(op.call, "operator", None), getattr(op.call, "reflected", None)):
        cell = _cell(f)
        if cell is None:
            continue
        forward = _of_whole_numbers(cell.cell_contents) if op.name == "power" else cell.cell_contents
        forward = _there(forward) if several else forward
        if op.operands == 2 and op.kind != "general":
            forward = _of_two(forward)
        cell.cell_contents = forward
    if op.arity:
        for name in ("rule_a", "rule_b", "rule_twice"):
            rule = getattr(op, name)
            if rule is not None:
                setattr(op, name, on_deferred(rule))


def _cell(f: Any) -> Any:
    """The place where function `f` holds its forward."""
    f = getattr(f, "__wrapped__", f)
    code = getattr(f, "__code__", None)
    if code is None or "forward" not in code.co_freevars:
        return None
    return f.__closure__[code.co_freevars.index("forward")]


def _of_two(forward: Callable) -> Callable:
    """`forward` of two operands, which come from Tensors if they are NumPy's: plain numbers take another way."""

    @wraps(forward)
    def f(a: Any, b: Any, *params: Any) -> Any:
        if a.__class__ is not b.__class__ and (isinstance(a, np.generic) or isinstance(b, np.generic)):
            if arrays.on_gpu(a) or arrays.on_gpu(b):
                raise TypeError("a Tensor on the CPU beside one on a GPU")
        return forward(a, b, *params)

    return f


def _of_whole_numbers(forward: Callable) -> Callable:
    """`forward` of power, for which CuPy says 0 where NumPy refuses a negative power of an integer."""

    @wraps(forward)
    def f(a: Any, b: Any, *params: Any) -> Any:
        whole = all(isinstance(v, int) or getattr(v, "dtype", _FLOAT).kind in "iu" for v in (a, b))
        if whole and (arrays.on_gpu(a) or arrays.on_gpu(b)):
            if (b < 0).any() if arrays.on_gpu(b) else np.min(b, initial=0) < 0:
                raise ValueError("Integers to negative integer powers are not allowed.")
        return forward(a, b, *params)

    return f


_FLOAT = np.dtype(float)


def _there(forward: Callable) -> Callable:
    """`forward`, run on the device of its first operand that is on a GPU."""

    @wraps(forward)  # its signature is asked for
    def f(*args: Any) -> Any:
        for a in args[0] if args and args[0].__class__ in (tuple, list) else args:
            if arrays.on_gpu(a):
                with inside_of(a):
                    return forward(*args)
        return forward(*args)

    return f


def _watch_all() -> None:
    for op in list(PRIMITIVES.values()):
        watch(op)


arrays.when_used.append(_watch_all)
if "cupy" in sys.modules and arrays.used:
    _watch_all()
