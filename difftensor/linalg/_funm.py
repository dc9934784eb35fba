"""Functions of matrices given by a scalar function, by divided differences over the spectrum.

With A = V diag(w) V^-1 the k-th derivative of f(A) in the directions E_1 ... E_k is

    D_k = V [ sum over orders of the E and over i_1 .. i_(k-1) of f[w_i0, ..., w_ik] e_1 ... e_k ] V^-1,   e = V^-1 E V,

(Daleckii and Krein for k = 1). Divided differences exist where eigenvalues coincide, so degenerate spectra do no
harm. The D_k are one family of primitives: each is linear in its directions, and its derivative in A is the next one.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from difftensor._backend import namespace, on_gpu
from difftensor._core import Tensor, general
from difftensor._transforms.batch import levels
from difftensor._transforms.forward import jvp
from difftensor.errors import DegenerateError, MissingDerivativeError
from difftensor.linalg._algebra import eps_of, fitted, is_hermitian, mH, mT

_TERMS = 4  # of the Taylor series beyond the first


def _value(func: Callable, x: Any) -> Any:
    y = func(x)
    if isinstance(y, Tensor):
        if y.requires_grad:
            raise MissingDerivativeError(
                "funm: the scalar function depends on a tracked Tensor, whose derivative would be lost. Let "
                "the matrix carry it "
                "(funm(t * a, exp) instead of funm(a, lambda w: exp(t * w))), or detach it."
            )
        y = y._data
    return y if on_gpu(y) else np.asarray(y)


def _taylor(func: Callable, x: Any, order: int) -> list[Any]:
    """f(x), f'(x), f''(x)/2 ... up to `order`, each elementwise, of a plain array."""
    found = []
    f: Callable = func
    token = levels.set(())  # a vmap that may be going on around this computation is none of its business
    try:
        for m in range(order + 1):
            found.append(_value(f, x) / math.factorial(m))
            f = _derivative(f)
    finally:
        levels.reset(token)
    return found


def _derivative(f: Callable) -> Callable:
    return lambda x: jvp(f, (x,), (np.ones_like(x) if isinstance(x, np.ndarray) else x * 0 + 1,))[1]


def divided_difference(func: Callable, points: list[Any], eps: float) -> Any:
    """f[p_0, ..., p_k] of arrays of points, elementwise: by differences or by a Taylor series, whichever has the
    smaller bound.
    """
    return _divided(func, np.stack(np.broadcast_arrays(*points)), eps)[0]


def _divided(func: Callable, p: Any, eps: float) -> tuple[Any, Any]:
    """f[p_0, ..., p_k] along axis 0 and a bound of its error."""
    k = len(p) - 1
    if k == 0:
        y = _value(func, p[0])
        return y, eps * abs(y)
    p = _farthest_at_ends(p)
    (low, low_error), (high, high_error) = _divided(func, p[:-1], eps), _divided(func, p[1:], eps)
    gap = p[-1] - p[0]
    with np.errstate(all="ignore"):
        y = (high - low) / gap
        error = np.where(gap == 0, np.inf, (low_error + high_error) / abs(gap) + eps * abs(y))
        # Taylor: f[p] = sum_m f^(m)(c)/m! h_(m-k)(p - c), h the complete homogeneous symmetric polynomials.
        c = p.mean(axis=0)
        d = p - c
        coefficients = _taylor(func, c, k + _TERMS)
        h = [np.ones_like(c)] + [np.zeros_like(c) for _ in range(_TERMS)]
        for point in d:
            for j in range(1, _TERMS + 1):
                h[j] = h[j] + point * h[j - 1]
        series = sum(coefficients[k + j] * h[j] for j in range(_TERMS + 1))
        r = abs(d).max(axis=0)
        last = [abs(coefficients[k + j]) * math.comb(k + j, k) * r**j for j in (_TERMS - 1, _TERMS)]
        series_error = np.maximum(*last) + eps * abs(series)
        better = ~(error <= series_error) & np.isfinite(series)
    return np.where(better, series, y), np.where(better, series_error, error)


def _farthest_at_ends(p: Any) -> Any:
    """The points in an order, of its own for every element, whose first and last are the farthest apart."""
    if len(p) < 3:
        return p
    if p.dtype.kind != "c":
        return np.sort(p, axis=0)
    m = len(p)
    pairs = list(itertools.combinations(range(m), 2))
    best = np.stack([abs(p[i] - p[j]) for i, j in pairs]).argmax(axis=0)
    first, last = namespace(p).asarray(pairs).T
    number = namespace(p).arange(m).reshape((-1,) + (1,) * (p.ndim - 1))
    rank = 1 * (number == last[best]) - 1 * (number == first[best])
    return np.take_along_axis(p, rank.argsort(axis=0, kind="stable"), axis=0)


def _forward(xs: tuple, func: Callable) -> Any:
    a, *directions = xs
    eps = eps_of(np, a)
    real = all(x.dtype.kind != "c" for x in xs)
    if a.size == 0:
        return np.zeros_like(a)
    if is_hermitian(a):
        w, v = np.linalg.eigh(a)
        inverse = mH(v)
    else:
        w, v = np.linalg.eig(a)
        if bool((np.linalg.svd(v, compute_uv=False)[..., -1] < eps**0.5).any()):
            raise DegenerateError(
                "funm: the matrix is defective or nearly so (its eigenvectors do not span the space). "
                "expm, logm, sqrtm and matrix_power of difftensor.linalg are right there."
            )
        inverse = np.linalg.inv(v)
    y = v @ _core(func, w, [inverse @ e @ v for e in directions], eps) @ inverse
    if (
        real
        and y.dtype.kind == "c"
        and bool((abs(y.imag).max(axis=(-2, -1)) <= 1e3 * eps * abs(y).max(axis=(-2, -1))).all())
    ):
        y = y.real
    return y


def _core(func: Callable, w: Any, e: list[Any], eps: float) -> Any:
    """The bracket of D_k."""
    n, k = w.shape[-1], len(e)
    if k == 0:
        return _value(func, w)[..., None, :] * namespace(w).eye(n, dtype=w.dtype)
    left, right = w[..., :, None], w[..., None, :]
    if k == 1:
        return divided_difference(func, [left, right], eps) * e[0]
    total: Any = 0
    for middle in itertools.product(range(n), repeat=k - 1):
        between = [w[..., m, None, None] for m in middle]
        t = divided_difference(func, [left, *between, right], eps)
        for order in itertools.permutations(e):
            term = order[0][..., :, middle[0], None] * order[-1][..., None, middle[-1], :]
            for m, m_next, x in zip(middle, middle[1:], order[1:-1], strict=False):
                term = term * x[..., m, m_next, None, None]
            total = total + t * term
    return total


def _pull(xp: Any, g: Any, y: Any, xs: tuple, func: Callable) -> tuple:
    """tr(g^T D_k(A; E...)) is symmetric in g^T and the E, so every cotangent is a D of the transposes."""
    a, *directions = map(mT, xs)
    found = [derivatives((a, *directions, g), func)]
    for j in range(len(directions)):
        found.append(derivatives((a, *directions[:j], g, *directions[j + 1 :]), func))
    return tuple(fitted(c, x) for c, x in zip(found, xs, strict=True))


def _push(xp: Any, ts: tuple, y: Any, xs: tuple, func: Callable) -> Any:
    total: Any = None
    for j, t in enumerate(ts):
        if t is not None:
            part = derivatives((*xs, t) if j == 0 else (*xs[:j], t, *xs[j + 1 :]), func)
            total = part if total is None else total + part
    return total


derivatives = general("linalg._funm", _forward, _pull, _push, saves="x", operands=None, numpy=None, batch="trailing")


def funm(a: Any, func: Callable) -> Any:
    """Function of a diagonalizable matrix, given as a function of numbers.

    Parameters
    ----------
    a : (..., n, n) array
        Hermitian matrices are the well-conditioned case; others must be diagonalizable.
    func : callable
        Elementwise and analytic on the spectrum, written with NumPy or difftensor functions: its derivatives are
        taken by difftensor. It must not depend on tracked Tensors.

    Returns
    -------
    (..., n, n) array
        Real for a real matrix, if the imaginary part is rounding.

    Raises
    ------
    DegenerateError
        If `a` is defective.
    MissingDerivativeError
        If `func` depends on a tracked Tensor.

    Notes
    -----
    The derivative uses divided differences of `func` over the eigenvalues, by a Taylor series where they are close,
    so degenerate spectra do no harm, at any order. Cost: order k takes O(n^(k+2)).

    References
    ----------
    N. J. Higham, "Functions of Matrices" (SIAM, 2008), theorem 3.11 and section 3.2.

    Examples
    --------
    >>> import numpy as np, difftensor as dif
    >>> a = np.eye(2)
    >>> dif.grad(lambda a: np.trace(dif.linalg.funm(a, np.tanh)))(a).round(6)
    array([[0.419974, 0.      ],
           [0.      , 0.419974]])
    """
    return derivatives((a,), func)
