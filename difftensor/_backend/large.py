"""Elementwise functions and sums of large arrays: chunk by chunk, on all cores.

Every value is NumPy's, bit for bit: elementwise ones do not depend on where an array is cut, and sums are cut where
NumPy's pairwise summation cuts them.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from inspect import unwrap
from math import prod
from typing import Any

import numpy as np

from difftensor._backend.threads import CHUNK, helpers, share

HEAVY = 1 << 20  # bytes from which waking a worker pays, for functions of several ns an element
LIGHT = 6 << 20  # for products and other functions that wait for memory
SUM = 1 << 24  # and for sums
LONG = 1 << 17  # elements of a chunk of light work: after each, threads may have to wait for the interpreter's lock

# A ufunc writes into the result, where an operator makes an array first; `**` looks at its exponent.
_UFUNCS: dict[Callable, Callable] = {
    operator.add: np.add,
    operator.sub: np.subtract,
    operator.mul: np.multiply,
    operator.truediv: np.divide,
    operator.neg: np.negative,
    abs: np.absolute,
}
_NUMBERS = frozenset((float, int, np.float64))
_KNOWN = frozenset((np.ufunc, type(operator.pow)))  # what may be called for parts of an array, on any thread


def matches(x: Any, like: Any) -> bool:
    """Whether `x` is an ndarray that goes along with array `like`, row by row."""
    if x.__class__ is not np.ndarray or x.shape != like.shape or x.dtype != like.dtype:
        return False
    return x.strides[-1] in (0, x.itemsize)


def in_row(x: Any) -> bool:
    """Whether the elements of ndarray `x` lie in a row, in C order, or are all one; numbers go along."""
    return x.__class__ is not np.ndarray or x.flags.c_contiguous or not any(x.strides)


def flat(x: Any) -> Any:
    """The elements of `x`, which are in a row, as a vector; a number is itself."""
    if x.__class__ is not np.ndarray:
        return x
    return x.reshape(-1) if x.flags.c_contiguous else np.broadcast_to(x[(0,) * x.ndim], (x.size,))


def share_parts(call: Callable, x: Any, chunk: int) -> None:
    """``call(part)`` for slices of the first axis of `x`, of some `chunk` elements; on all cores if `x` is large."""
    rows = max(1, chunk * len(x) // x.size)
    parts = [slice(i, i + rows) for i in range(0, len(x), rows)]
    if x.nbytes < HEAVY:
        for part in parts:
            call(part)
    else:
        share(lambda i: call(parts[i]), len(parts))


def spread(f: Callable, *xs: Any) -> Any:
    """f(*xs) of arrays at least one of which is large; other functions than ufuncs and operators are just called."""
    x = xs[0] if xs[0].__class__ is np.ndarray else xs[-1]
    if x.__class__ is not np.ndarray or x.dtype != np.float64 or (len(xs) == 1 and x.nbytes < HEAVY):
        return f(*xs)
    g = unwrap(f)  # from what looks for arrays on GPUs
    if g.__class__ not in _KNOWN:
        return f(*xs)
    g = _UFUNCS.get(g, g)
    for v in xs:
        if v.__class__ is not np.ndarray:
            if v.__class__ not in _NUMBERS:  # complex ones make the result complex
                return f(*xs)
        elif v.shape != x.shape:
            return _broadcast(f, g, *xs)
        elif not (v.flags.c_contiguous and v.dtype == x.dtype):
            return f(*xs)
    if x.nbytes < HEAVY or not helpers():
        return f(*xs)
    y = np.empty(x.shape)
    _fill(g, y.reshape(-1), [flat(v) for v in xs])
    return y


def _fill(f: Callable, y: Any, xs: list) -> None:
    """y = f(*xs), chunk by chunk along the first axis; what has one element there goes to every chunk."""
    writes = f.__class__ is np.ufunc

    def piece(part: slice) -> None:
        values = [v[part] if v.__class__ is np.ndarray and len(v) > 1 else v for v in xs]
        if writes:
            f(*values, out=y[part])
        else:
            y[part] = f(*values)

    share_parts(piece, y, CHUNK if y.nbytes < LIGHT else LONG)


def _broadcast(f: Callable, ufunc: Callable, a: Any, b: Any) -> Any:
    """f(a, b) of ndarrays whose result may be large though they are not."""
    if a.__class__ is not np.ndarray or b.__class__ is not np.ndarray or a.dtype != b.dtype:
        return f(a, b)
    try:
        shape = np.broadcast_shapes(a.shape, b.shape)
    except ValueError:
        return f(a, b)  # NumPy's error
    if 8 * prod(shape) < LIGHT:
        return f(a, b)
    y = rows = np.empty(shape)
    a, b = (v.reshape((1,) * (y.ndim - v.ndim) + v.shape) for v in (a, b))
    if y.ndim > 1 and shape[-1] <= _SHORT:
        rows, a, b = _long_rows(y, a, b)
    _fill(ufunc, rows, [a, b])
    return y


_SHORT, _ROW = 16, 256  # elements


def _long_rows(y: Any, a: Any, b: Any) -> tuple:
    """The same work in longer rows, where one operand repeats a short one: NumPy takes 6 ns for the start of each."""
    n, m = y.shape[-2:]
    k = next((k for k in range(_ROW // m, 3, -1) if n % k == 0), 0)
    if not k or (a.shape[-2:], b.shape[-2:]) not in (((1, m), (n, m)), ((n, m), (1, m))):
        return y, a, b

    def longer(v: Any) -> Any:
        return np.tile(v, k) if v.shape[-2] == 1 else v.reshape(*v.shape[:-2], n // k, k * m)

    return longer(y), longer(a), longer(b)


def sum_all(x: Any) -> Any:
    """np.add.reduce over all axes of an array."""
    if x.nbytes < SUM or x.__class__ is not np.ndarray or x.dtype.char not in "fd" or not x.flags.c_contiguous:
        return np.add.reduce(x, None)
    row, sizes = x.reshape(-1), [x.size]
    while sizes[-1] > LONG:  # NumPy sums halves, of a multiple of 8 elements
        halves = [n // 2 - n // 2 % 8 for n in sizes]
        sizes = [part for n, half in zip(sizes, halves, strict=True) for part in (half, n - half)]
    ends = np.cumsum(sizes).tolist()
    sums = np.empty(len(sizes), x.dtype)

    def piece(i: int) -> None:
        sums[i] = np.add.reduce(row[ends[i] - sizes[i] : ends[i]])

    share(piece, len(sizes))
    while sums.size > 1:
        sums = sums[::2] + sums[1::2]
    return sums[0]
