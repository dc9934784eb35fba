"""Solving with the Jacobian of equations, and its transpose: by columns, by products, or system by system.

All have ``solve(v, transposed)`` on raw vectors, or on the columns of matrices, and stay where the unknowns are.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from difftensor._backend import is_array, made_on
from difftensor._core import Tensor, wrap
from difftensor._transforms.derived import jacobian
from difftensor._transforms.forward import linearize
from difftensor._transforms.reverse import vjp
from difftensor.linalg._factor import condition, factorized
from difftensor.linalg._iterative import conjugate_gradients, gmres

POWERS = 30  # enough for the size of a condition number


def eps(x: Any) -> float:
    """The rounding unit of an array."""
    return float(np.finfo(x.dtype).eps)


def numbers(x: Any) -> Any:
    """The raw array of `x`, where it lives; batched or dual ones have none, and say so."""
    a = x.detach()._data if isinstance(x, Tensor) else x
    return a if is_array(a) else np.asarray(a)


def equilibrated(J: Any) -> tuple[Any, Any, Any]:
    """``r J c``, r and c: rows, then columns, with largest elements of size one, by powers of two; (..., n, n)."""
    r = _powers(abs(J).max(axis=-1))
    J = J * r[..., :, None]
    c = _powers(abs(J).max(axis=-2))
    return J * c[..., None, :], r, c


def _powers(sizes: Any) -> Any:
    return np.exp2(-np.rint(np.log2(np.where(sizes > 0, sizes, 1.0)))).astype(sizes.dtype)


def least_condition(J: Any, inverse: Any) -> Any:
    """The condition of the matrices (..., n, n) in the units of equations and unknowns that suit them best.

    The spectral radius of ``|J^-1| |J|`` is the least condition, in the maximum norm, of all ``D J E`` with diagonal D
    and E (F. L. Bauer, Numer. Math. 5 (1963) 73-87), found by powers.
    """
    M = abs(inverse) @ abs(J)
    v, size = np.ones_like(M[..., :1]), M[..., 0, 0]
    for _ in range(POWERS):
        v = M @ v
        size = v.max(axis=(-2, -1))
        v = v / np.where(size > 0, size, 1.0)[..., None, None]
    return size


class Dense:
    """J by columns, factorized once."""

    def __init__(self, f: Callable, x: Tensor, symmetric: bool):
        J = numbers(jacobian(f)(x))
        factors = factorized(J) if J.size and bool(np.isfinite(J).all()) else None
        self.scales: Any = None
        if J.size and not (factors and condition(J, factors) < 1 / eps(J)):
            factors = self._in_other_units(J, x.device)
        self.factors: Any = (factors, factors and factors.flipped())

    def _in_other_units(self, J: Any, device: Any) -> Any:
        """The factors with equations and unknowns in units of their own, if J is singular in the given ones only."""
        if bool(np.isfinite(J).all()):
            S, *scales = equilibrated(J)
            try:
                factors = factorized(S)
                inverse = factors and factors.solve(made_on(device, "eye", len(S), dtype=S.dtype))
                if factors and bool(least_condition(S, inverse) < 1 / eps(J)):
                    self.scales = scales
                    return factors
            except np.linalg.LinAlgError:
                pass
        raise np.linalg.LinAlgError(
            "implicit: the Jacobian of the equations is singular at the solution (condition number above "
            "1/eps), so "
            "the solution is not a differentiable function there; add an equation, or a term that singles "
            "one solution out"
        )

    def solve(self, v: Any, transposed: bool) -> Any:
        if self.scales is None:
            return self.factors[transposed].solve(v) if v.size else v
        before, after = self.scales[::-1] if transposed else self.scales
        if v.ndim > 1:
            before, after = before[:, None], after[:, None]
        return after * self.factors[transposed].solve(before * v)


class Krylov:
    """J by its products only: conjugate gradients if symmetric positive definite, else GMRES, to 500 roundings."""

    def __init__(self, f: Callable, x: Tensor, symmetric: bool):
        self.symmetric = symmetric
        _, self.push = linearize(f, x)
        _, self.pull = vjp(f, x)

    def _product(self, u: Any) -> Any:
        return numbers(self.push(wrap(u)))

    def _transposed(self, u: Any) -> Any:
        return numbers(self.pull(wrap(u.conj()))[0]).conj()  # vjp is J^H

    def solve(self, v: Any, transposed: bool) -> Any:
        if v.ndim > 1:
            return np.stack([self.solve(column, transposed) for column in v.T], axis=1)
        product = self._transposed if transposed else self._product
        enough = 500 * eps(v)
        y = conjugate_gradients(product, v, enough) if self.symmetric else None
        y = gmres(product, v, enough) if y is None else y
        if not float(np.linalg.norm(product(y) - v)) <= max(1e-9, 1000 * eps(v)) * float(np.linalg.norm(v)):
            raise np.linalg.LinAlgError(
                "implicit: the linear system of the derivative did not converge; the Jacobian of the equations may be "
                "singular at the solution. Use method='dense' for a direct solve"
            )
        return y


class Blocks:
    """The Jacobians (..., n, n) of the examples of a batch."""

    def __init__(self, J: Any):
        self.scales: Any = None
        if J.size and not bool((np.linalg.cond(J) < 1 / eps(J)).all()):
            J = self._in_other_units(J)
        self.J = J

    def _in_other_units(self, J: Any) -> Any:
        """The matrices with equations and unknowns in units of their own."""
        if bool(np.isfinite(J).all()):
            S, *scales = equilibrated(J)
            try:
                if bool((least_condition(S, np.linalg.inv(S)) < 1 / eps(J)).all()):
                    self.scales = scales
                    return S
            except np.linalg.LinAlgError:
                pass
        raise np.linalg.LinAlgError("implicit: the Jacobian of the equations is singular for one of the examples")

    def solve(self, v: Any, transposed: bool) -> Any:
        J = self.J.swapaxes(-1, -2) if transposed else self.J
        b = v.reshape(J.shape[:-1] + (v.shape[1:] or (1,)))
        if self.scales is None:
            return np.linalg.solve(J, b).reshape(v.shape)
        before, after = self.scales[::-1] if transposed else self.scales
        return (after[..., None] * np.linalg.solve(J, before[..., None] * b)).reshape(v.shape)


class Rows(Blocks):
    """The Jacobians of systems that stand in the rows of one array, from as many products as a row has numbers."""

    def __init__(self, f: Callable, x: Tensor, shape: tuple):
        if len(shape) != 2:
            raise ValueError(f"implicit: method='rows' needs one array of shape (systems, unknowns), found {shape}")
        if x.dtype.kind == "c":
            raise TypeError("implicit: method='rows' takes real unknowns: split real and imaginary parts")
        rows, n = shape
        _, push = linearize(f, x)
        units = made_on(x.device, "eye", n, dtype=x.dtype)
        columns = [numbers(push(wrap(np.tile(unit, rows)))).reshape(rows, n) for unit in units]
        super().__init__(np.stack(columns, axis=-1) if n else made_on(x.device, "zeros", (rows, 0, 0)))
