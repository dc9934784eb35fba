"""The matrix algebra that the rules of this package are written in.

Cotangents are plain transposes: c of z satisfies dL = Re(sum(c dz)). Rules of functions that are not holomorphic
(Cholesky, QR, eigh, svd ...) are easier to derive for G = conj(c), the gradient of dL = Re tr(G^H dz); they conjugate
when they start and when they end.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np

from difftensor._backend import namespace, on_gpu
from difftensor._backend.capture import making
from difftensor._core import Tensor
from difftensor._core.fitting import fit
from difftensor._core.lanes import aligned
from difftensor._core.sweeping import concrete

_CACHED = 128  # size up to which constant matrices are kept


def mT(x: Any) -> Any:
    """Transposes of a stack of matrices."""
    return x.swapaxes(-1, -2)


def mH(x: Any) -> Any:
    """Conjugate transposes of a stack of matrices."""
    return x.swapaxes(-1, -2).conj()


def is_complex(x: Any) -> bool:
    return x.dtype.kind == "c"


def fitted(g: Any, x: Any) -> Any:
    """Cotangent `g` in shape and dtype of operand `x`: unbroadcast, real for a real one; None for integers."""
    return fit(g, x.shape, x.dtype) if x.dtype.kind in "fc" else None


def eps_of(xp: Any, x: Any) -> float:
    """Rounding unit of the real numbers in `x`."""
    return 1.1920929e-07 if x.dtype.itemsize // (2 if x.dtype.kind == "c" else 1) == 4 else 2.220446049250313e-16


def hermitian_part(x: Any) -> Any:
    return (x + mH(x)) * 0.5


def diagonal(xp: Any, x: Any) -> Any:
    return xp.diagonal(x, axis1=-2, axis2=-1)


def identity(xp: Any, x: Any) -> Any:
    """Identity matrix of the size, dtype and device of the square matrices `x`: a plain array."""
    return _constant(_eye, x)


def lower_half(xp: Any, x: Any) -> Any:
    """Lower triangle with half the diagonal: Phi(S) + Phi(S)^H = S for Hermitian S."""
    return x * _constant(_half, x)


def _constant(make: Callable, x: Any) -> Any:
    data, n = concrete(x), x.shape[-1]
    if data.__class__ is np.ndarray and n <= _CACHED:
        return _cached(make, n, data.dtype.char)
    return make(n, data.dtype, data)


@lru_cache(maxsize=64)
def _cached(make: Callable, n: int, char: str) -> Any:
    m = make(n, char, None)
    m.flags.writeable = False
    return m


def _eye(n: int, dtype: Any, like: Any) -> Any:
    return namespace(like).eye(n, dtype=dtype)


def _half(n: int, dtype: Any, like: Any) -> Any:
    xp = namespace(like)
    return (xp.tri(n, dtype=dtype) + xp.tri(n, k=-1, dtype=dtype)) / 2


def with_columns_scaled(x: Any, d: Any) -> Any:
    """``x @ diag(d)``."""
    return x * d[..., None, :]


def detached(x: Any) -> Any:
    """`x` without its tape: for decisions that look at values."""
    return x.detach() if isinstance(x, Tensor) else x


def raw(x: Any) -> Any:
    """The array in `x`."""
    return x._data if isinstance(x, Tensor) else x


def is_hermitian(a: Any) -> bool:
    """True if every matrix of the raw stack `a` is exactly Hermitian."""
    return bool((a == mH(a)).all())


def each_matrix(f: Any, *stacks: Any) -> Any:
    """`f` of one matrix at a time (SciPy's functions), over raw stacks of equal leading shape."""
    lead = stacks[0].shape[:-2]
    if not lead:
        return f(*stacks)
    flat = [s.reshape(-1, *s.shape[-2:]) for s in stacks]
    made = [f(*matrices) for matrices in zip(*flat, strict=True)]
    if not made:
        xp = namespace(stacks[0])
        return xp.zeros(
            lead + f(*(xp.eye(s.shape[-1], dtype=s.dtype) for s in stacks)).shape, dtype=np.result_type(*stacks)
        )
    return np.stack(made).reshape(lead + made[0].shape)


def noted(a: Any) -> bool:
    """Is raw array `a` on a GPU that notes a graph down? There stacks are factorized, by cuBLAS, and no single matrix,
    by cuSOLVER.
    """
    return making.get() and on_gpu(a)


def solve_stacks(a: Any, b: Any) -> Any:
    """``np.linalg.solve`` of raw stacks: CuPy's takes stacks of equal shape only."""
    lead, rest = a.shape[:-2], b.shape[:-2]
    if not lead and noted(a):
        columns = b.reshape(b.shape[0], -1) if b.ndim < 3 else np.moveaxis(b, -2, 0).reshape(b.shape[-2], -1)
        x = np.linalg.solve(a[None], columns[None])[0]
        return x.reshape(b.shape) if b.ndim < 3 else np.moveaxis(x.reshape(b.shape[-2:-1] + rest + b.shape[-1:]), 0, -2)
    if not on_gpu(a) or b.ndim == 1 or lead == rest:
        return np.linalg.solve(a, b)
    if not lead:  # one matrix: all right-hand sides side by side
        columns = np.moveaxis(b, -2, 0)
        x = np.linalg.solve(a, columns.reshape(b.shape[-2], -1))
        return np.moveaxis(x.reshape(columns.shape), 0, -2)
    lead = np.broadcast_shapes(lead, rest)
    return np.linalg.solve(np.broadcast_to(a, lead + a.shape[-2:]), np.broadcast_to(b, lead + b.shape[-2:]))


def in_step(call: Callable, lanes: list, flags: list, size: int, *params: Any) -> Any:
    """Batch rule of operations whose operands are broadcast against each other."""
    return call(*aligned(lanes, flags, 2), *params)
