"""The matrix algebra that the rules of this package are written in.

Cotangents are plain transposes: c of z satisfies dL = Re(sum(c dz)). Rules of functions that are not holomorphic
(Cholesky, QR, eigh, svd ...) are easier to derive for G = conj(c), the gradient of dL = Re tr(G^H dz); they conjugate when they
start and when they end.
"""

from __future__ import annotations

from typing import Any

from difftensor._core import Tensor
from difftensor._core.fitting import fit


def mT(x: Any) -> Any:
    """Transposes of a stack of matrices."""
    return x.swapaxes(-1, -2)


def mH(x: Any) -> Any:
    """Conjugate transposes of a stack of matrices."""
    return x.swapaxes(-1, -2).conj()


def is_complex(x: Any) -> bool:
    return x.dtype.kind == "c"


def fitted(g: Any, x: Any) -> Any:
    """Cotangent `g` in shape and dtype of operand `x`: broadcasting undone, the real part for a real one; None for integers."""
    return fit(g, x.shape, x.dtype) if x.dtype.kind in "fc" else None


def eps_of(xp: Any, x: Any) -> float:
    """Rounding unit of the real numbers in `x`."""
    return 1.1920929e-07 if x.dtype.itemsize // (2 if x.dtype.kind == "c" else 1) == 4 else 2.220446049250313e-16


def hermitian_part(x: Any) -> Any:
    return (x + mH(x)) * 0.5


def diagonal(xp: Any, x: Any) -> Any:
    return xp.diagonal(x, axis1=-2, axis2=-1)


def identity(xp: Any, x: Any) -> Any:
    """Identity matrices of the shape, dtype and device of the stack `x` of square matrices."""
    return xp.tril(xp.triu(xp.ones_like(x)))


def lower_half(xp: Any, x: Any) -> Any:
    """Lower triangle with half the diagonal: Phi(S) + Phi(S)^H = S for Hermitian S."""
    return (xp.tril(x) + xp.tril(x, -1)) * 0.5


def with_columns_scaled(x: Any, d: Any) -> Any:
    """``x @ diag(d)``."""
    return x * d[..., None, :]


def detached(x: Any) -> Any:
    """`x` without its tape: for decisions that look at values."""
    return x.detach() if isinstance(x, Tensor) else x


def raw(x: Any) -> Any:
    """The array in `x`."""
    return x._data if isinstance(x, Tensor) else x
