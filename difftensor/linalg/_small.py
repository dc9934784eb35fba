"""Closed forms for stacks of 1x1, 2x2 and 3x3 matrices on raw arrays.

LAPACK spends 0.1 to 0.2 us on calling itself for each matrix of a stack; Cramer's rule on whole columns of the stack is
three to ten times faster. Cramer's rule loses digits on ill-conditioned matrices, so whatever has a determinant
much smaller than Hadamard's bound goes to LAPACK after all, which also raises for singular matrices. To see whether
there are such matrices waits for a GPU, which cannot be done while it notes a graph down: there cuBLAS factorizes.
"""

from __future__ import annotations

from functools import wraps
from typing import Any

import numpy as np

from difftensor._backend.capture import making
from difftensor._backend.device import check_solvers

LARGEST = 3
_WORTH_IT = 4  # matrices in the stack from which the closed forms win
_ILL = 1e-3  # |det| over Hadamard's bound, below which LAPACK takes over: at most three digits are lost above


def applies(a: Any, looks: bool = True) -> bool:
    """True for a stack of floating-point square matrices that the closed forms serve; `looks`: which look at values."""
    return (
        a.ndim > 2
        and 0 < a.shape[-1] <= LARGEST
        and a.shape[-1] == a.shape[-2]
        and a.dtype.kind in "fc"
        and a.size >= _WORTH_IT * a.shape[-1] ** 2
        and (a.__class__ is np.ndarray or not looks or not making.get())
    )


def entries(a: Any) -> Any:
    """The stack ``(..., m, n)`` as ``(m, n, N)``: every entry of the matrices is one contiguous column."""
    m, n = a.shape[-2:]
    return a.reshape(-1, m * n).T.copy().reshape(m, n, -1)


def stack(e: Any, shape: tuple[int, ...]) -> Any:
    """Entries ``(m, n, N)`` back as a stack of `shape`."""
    return e.reshape(e.shape[0] * e.shape[1], -1).T.copy().reshape(shape)


def cofactors(e: Any) -> Any:
    """Cofactor matrices: the derivative of det with respect to each entry. Row i of a 3x3 is a cross product."""
    c = np.empty_like(e)
    n = len(e)
    if n == 1:
        c[...] = 1
    elif n == 2:
        c[0, 0], c[0, 1] = e[1, 1], -e[1, 0]
        c[1, 0], c[1, 1] = -e[0, 1], e[0, 0]
    else:
        for i in range(3):
            p, q = e[(i + 1) % 3], e[(i + 2) % 3]
            for j in range(3):
                k, m = (j + 1) % 3, (j + 2) % 3
                c[i, j] = p[k] * q[m] - p[m] * q[k]
    return c


def cofactors_along(e: Any, t: Any) -> Any:
    """Derivative of the cofactors of `e` along `t`: they are quadratic in the entries for n = 3."""
    if len(e) == 1:
        return np.zeros_like(e)
    if len(e) == 2:
        return cofactors(t)
    return cofactors(e + t) - cofactors(e) - cofactors(t)


def expand(e: Any, c: Any) -> Any:
    """det by Laplace's expansion along the first row."""
    d = e[0, 0] * c[0, 0]
    for j in range(1, len(e)):
        d += e[0, j] * c[0, j]
    return d


def quiet(f: Any) -> Any:
    """`f` without warnings: what overflows here is computed again by LAPACK."""

    @wraps(f)
    def silent(*args: Any) -> Any:
        with np.errstate(all="ignore"):
            return f(*args)

    return silent


@quiet
def determinants(e: Any) -> tuple:
    """Cofactors, determinants, and the mask of the matrices to be left to LAPACK."""
    c = cofactors(e)
    d = expand(e, c)
    return c, d, ill_conditioned(e, d)


def ill_conditioned(e: Any, d: Any) -> Any:
    """Mask of the matrices whose determinant is far below Hadamard's bound (or not finite); None if there are none."""
    squares = (e.real**2 + e.imag**2 if e.dtype.kind == "c" else e * e).sum(axis=1)
    bound = squares[0]
    for row in squares[1:]:
        bound = bound * row
    good = abs(d) > _ILL * np.sqrt(bound)
    return None if bool(good.all()) else ~good


def det(a: Any) -> Any:
    e = entries(a)
    _, d, bad = determinants(e)
    if bad is not None:
        d[bad] = np.linalg.det(a.reshape(-1, *a.shape[-2:])[bad])
    return d.reshape(a.shape[:-2])


def cofactor(a: Any) -> Any:
    if a.ndim == 2 and a.__class__ is np.ndarray:
        return _cofactor_of_one(a)
    return stack(cofactors(entries(a)), a.shape)


def _cofactor_of_one(a: Any) -> Any:
    """In Python's numbers, ten times faster than arrays of one element."""
    if len(a) == 1:
        return np.ones_like(a)
    if len(a) == 2:
        (p, q), (r, s) = a.tolist()
        return np.array([[s, -r], [-q, p]], a.dtype)
    (p, q, r), (s, t, u), (v, w, x) = a.tolist()
    return np.array(
        [
            [t * x - u * w, u * v - s * x, s * w - t * v],
            [w * r - x * q, x * p - v * r, v * q - w * p],
            [q * u - r * t, r * s - p * u, p * t - q * s],
        ],
        a.dtype,
    )


def cofactor_along(a: Any, t: Any) -> Any:
    return stack(cofactors_along(entries(a), entries(t)), a.shape)


class Inverse:
    """The inverses of a stack, to be used more than once; those that Cramer's rule serves badly are left to LAPACK."""

    __slots__ = ("_a", "_bad", "_entries")

    def __init__(self, a: Any):
        c, d, bad = determinants(entries(a))
        if bad is not None:
            d[bad] = 1
        c /= d
        self._a, self._bad, self._entries = a, bad, c.swapaxes(0, 1)

    def flipped(self) -> Inverse:
        """Of the transposes."""
        other: Inverse = object.__new__(Inverse)
        other._a, other._bad, other._entries = self._a.swapaxes(-1, -2), self._bad, self._entries.swapaxes(0, 1)
        return other

    def matrices(self) -> Any:
        y = stack(self._entries, self._a.shape)
        return y if self._bad is None else self._mended(y, np.linalg.inv)

    def solve(self, b: Any) -> Any:
        """``a @ x = b`` for a stack `b` with the leading shape and dtype of `a`."""
        e, r = self._entries, entries(b)
        x = np.empty_like(r)
        for i in range(len(e)):
            x[i] = e[i, 0] * r[0]
            for k in range(1, len(e)):
                x[i] += e[i, k] * r[k]
        y = stack(x, b.shape)
        return y if self._bad is None else self._mended(y, np.linalg.solve, b)

    def _mended(self, y: Any, f: Any, *rest: Any) -> Any:
        flat = y.reshape(-1, *y.shape[-2:])
        flat[self._bad] = f(*(x.reshape(-1, *x.shape[-2:])[self._bad] for x in (self._a, *rest)))
        return y


def inv(a: Any) -> Any:
    return Inverse(a).matrices()


def cholesky(a: Any) -> Any:
    """Lower Cholesky factors, read from the lower triangles; LAPACK raises if one is not positive definite."""
    e = entries(a)
    n = len(e)
    y = np.zeros_like(e)
    look = a.__class__ is np.ndarray or check_solvers.get()  # without it a root of a negative number is NaN
    positive = True
    for j in range(n):
        pivot = e[j, j].real.copy()
        for k in range(j):
            pivot -= y[j, k].real ** 2 + y[j, k].imag ** 2 if e.dtype.kind == "c" else y[j, k] ** 2
        positive = positive and (not look or bool((pivot > 0).all()))
        if not positive:
            return np.linalg.cholesky(a)
        pivot = np.sqrt(pivot)
        y[j, j] = pivot
        for i in range(j + 1, n):
            s = e[i, j]
            for k in range(j):
                s = s - y[i, k] * y[j, k].conj()
            y[i, j] = s / pivot
    return stack(y, a.shape)
