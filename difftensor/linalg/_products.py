"""Products and powers of matrices."""

from __future__ import annotations

import operator
from typing import Any

import numpy as np

from difftensor._core import composition, operand, wrap
from difftensor.linalg._algebra import identity
from difftensor.linalg._solve import inv


@composition(np.linalg.matrix_power, name="linalg.matrix_power")
def matrix_power(a: Any, n: int) -> Any:
    """`a` to the integer power `n` by repeated squaring; negative powers through the inverse."""
    a = operand(a, "linalg.matrix_power")
    n = operator.index(n)
    if a.ndim < 2 or a.shape[-1] != a.shape[-2]:
        raise np.linalg.LinAlgError("Last 2 dimensions of the array must be square")
    if n == 0:
        return wrap(np.broadcast_to(identity(np, a), a.shape).copy())
    if n < 0:
        a, n = inv(a), -n
    result = None
    while n:
        n, odd = divmod(n, 2)
        if odd:
            result = a if result is None else result @ a
        if n:
            a = a @ a
    return result


def _best_split(sizes: list[int]) -> list[list[int]]:
    """Where to split each product of a chain so that the multiplications are fewest.

    Matrix i is sizes[i] x sizes[i+1]. T. H. Cormen et al., "Introduction to Algorithms", section 15.2.
    """
    n = len(sizes) - 1
    cost = [[0] * n for _ in range(n)]
    split = [[0] * n for _ in range(n)]
    for length in range(1, n):
        for i in range(n - length):
            j = i + length
            cost[i][j], split[i][j] = min(
                (cost[i][k] + cost[k + 1][j] + sizes[i] * sizes[k + 1] * sizes[j + 1], k) for k in range(i, j)
            )
    return split


@composition(np.linalg.multi_dot, name="linalg.multi_dot")
def multi_dot(arrays: Any, *, out: Any = None) -> Any:
    """Product of a chain of matrices in the cheapest order; the first and the last may be vectors."""
    arrays = [operand(x, "linalg.multi_dot") for x in arrays]
    n = len(arrays)
    if n < 2:
        raise ValueError("Expecting at least two arrays.")
    if out is not None:
        raise TypeError("multi_dot: out= is not supported for Tensors; assign the result instead")
    first, last = arrays[0].ndim == 1, arrays[-1].ndim == 1
    if first:
        arrays[0] = arrays[0][None, :]
    if last:
        arrays[-1] = arrays[-1][:, None]
    for x in arrays:
        if x.ndim != 2:
            raise np.linalg.LinAlgError(f"{x.ndim}-dimensional array given. Array must be two-dimensional")
    split = _best_split([x.shape[0] for x in arrays] + [arrays[-1].shape[1]])

    def product(i: int, j: int) -> Any:
        return arrays[i] if i == j else product(i, split[i][j]) @ product(split[i][j] + 1, j)

    y = product(0, n - 1)
    return y[0, 0] if first and last else y.ravel() if first or last else y


# The array API's twins of functions of the main namespace.


@composition(np.linalg.matmul, name="linalg.matmul")
def matmul(x1: Any, x2: Any, /) -> Any:
    """Matrix product."""
    return np.matmul(x1, x2)


@composition(np.linalg.matrix_transpose, name="linalg.matrix_transpose")
def matrix_transpose(x: Any, /) -> Any:
    """Transposes of the matrices in the last two axes."""
    return np.matrix_transpose(x)


@composition(np.linalg.tensordot, name="linalg.tensordot")
def tensordot(x1: Any, x2: Any, /, *, axes: Any = 2) -> Any:
    """Sum of products over the given axes."""
    return np.tensordot(x1, x2, axes=axes)


@composition(np.linalg.vecdot, name="linalg.vecdot")
def vecdot(x1: Any, x2: Any, /, *, axis: int = -1) -> Any:
    """Scalar products of vectors, the first one conjugated."""
    return np.vecdot(x1, x2, axis=axis)


@composition(np.linalg.outer, name="linalg.outer")
def outer(x1: Any, x2: Any, /) -> Any:
    """Products of all pairs of entries of two vectors."""
    x1, x2 = operand(x1, "linalg.outer"), operand(x2, "linalg.outer")
    if x1.ndim != 1 or x2.ndim != 1:
        raise ValueError(f"Input arrays must be one-dimensional, but they are x1.ndim={x1.ndim} and x2.ndim={x2.ndim}.")
    return np.outer(x1, x2)


@composition(np.linalg.cross, name="linalg.cross")
def cross(x1: Any, x2: Any, /, *, axis: int = -1) -> Any:
    """Cross products of vectors of three components."""
    x1, x2 = operand(x1, "linalg.cross"), operand(x2, "linalg.cross")
    if x1.shape[axis] != 3 or x2.shape[axis] != 3:
        raise ValueError(
            f"Both input arrays must be (arrays of) 3-dimensional vectors, but they are {x1.shape[axis]} and "
            f"{x2.shape[axis]} "
            "dimensional instead."
        )
    return np.cross(x1, x2, axis=axis)


@composition(np.linalg.diagonal, name="linalg.diagonal")
def diagonal(x: Any, /, *, offset: int = 0) -> Any:
    """Diagonals of the matrices in the last two axes."""
    return np.diagonal(x, offset, axis1=-2, axis2=-1)


@composition(np.linalg.trace, name="linalg.trace")
def trace(x: Any, /, *, offset: int = 0, dtype: Any = None) -> Any:
    """Traces of the matrices in the last two axes."""
    return np.trace(x, offset, axis1=-2, axis2=-1, dtype=dtype)
