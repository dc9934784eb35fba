"""The gamma function's family.

Derivatives: DLMF 5.2.2 (digamma), 5.15.1 (polygamma), 25.11.17 (Hurwitz zeta).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.special

from difftensor._core import Tensor, X, composition, operand, write_out
from difftensor.errors import MissingDerivativeError
from difftensor.special._declare import missing, one, two

# Hurwitz' zeta(s, q) = sum (k + q)^-s; SciPy's zeta is a Python function around this ufunc.
hurwitz = two(
    "_zeta",
    missing("zeta", "x"),
    lambda xp, g, y, a, b: g * (-a * hurwitz(a + 1, b)),
    "|ab",
    ufunc=scipy.special._ufuncs._zeta,
    samples=[2.0, (0.5, 4.0)],
    real=True,
)


def _trigamma(x: Any) -> Any:
    if x.dtype.kind == "c":
        raise MissingDerivativeError(
            "the derivative of digamma of complex numbers, which gamma and loggamma need for their second, is "
            "zeta(2, z), which SciPy has for real z only. Use real numbers, or first derivatives of gamma and loggamma"
        )
    return hurwitz(2.0, x)


digamma = one("digamma", lambda xp, g, y, x: g * _trigamma(x), "x", samples=[(0.5, 4.0)], complex_order=0)
gamma = one("gamma", lambda xp, g, y, x: g * (y * digamma(x)), "yx", samples=[(0.5, 4.0)], complex_order=1)
gammaln = one("gammaln", lambda xp, g, y, x: g * digamma(x), "x", samples=[(0.5, 4.0)])
loggamma = one("loggamma", lambda xp, g, y, x: g * digamma(x), "x", samples=[(0.5, 4.0)], complex_order=1)

beta = two(
    "beta",
    lambda xp, g, y, a, b: g * (y * (digamma(a) - digamma(a + b))),
    lambda xp, g, y, a, b: g * (y * (digamma(b) - digamma(a + b))),
    "yab",
    samples=[(0.5, 3.0), (0.5, 3.0)],
)
betaln = two(
    "betaln",
    lambda xp, g, y, a, b: g * (digamma(a) - digamma(a + b)),
    lambda xp, g, y, a, b: g * (digamma(b) - digamma(a + b)),
    "ab",
    samples=[(0.5, 3.0), (0.5, 3.0)],
)
poch = two(
    "poch",
    lambda xp, g, y, a, b: g * (y * (digamma(a + b) - digamma(a))),
    lambda xp, g, y, a, b: g * (y * digamma(a + b)),
    "yab",
    samples=[(0.5, 3.0), (0.5, 3.0)],
)
binom = two(
    "binom",
    lambda xp, g, y, a, b: g * (y * (digamma(a + 1) - digamma(a - b + 1))),
    lambda xp, g, y, a, b: g * (y * (digamma(a - b + 1) - digamma(b + 1))),
    "yab",
    samples=[(3.0, 5.0), (0.5, 2.0)],
)


@composition(scipy.special.polygamma, name="special.polygamma")
def polygamma(n: Any, x: Any) -> Any:
    """Derivative of order n of the digamma function, as ``scipy.special.polygamma``; differentiable in x.

    Parameters
    ----------
    n : int or array of ints
    x : array

    Notes
    -----
    DLMF 5.15.1: (-1)^(n+1) n! zeta(n + 1, x).
    """
    if isinstance(n, Tensor):
        n = n.numpy() if not n.requires_grad else missing("polygamma", "n")()
    x = operand(x, "polygamma")
    n = np.asarray(n)
    higher = np.maximum(n, 1)  # zeta(1, x) is infinite: order 0 is chosen below
    y = ((-1.0) ** (higher + 1) * scipy.special.gamma(higher + 1.0)) * hurwitz(higher + 1.0, x)
    return y if n.all() else X.where(n == 0, digamma(x), y)


@composition(scipy.special.zeta, name="special.zeta")
def zeta(x: Any, q: Any = None, out: Any = None) -> Any:
    """Riemann's or Hurwitz' zeta function, as ``scipy.special.zeta``; differentiable in q.

    Parameters
    ----------
    x : array
        The exponent. Its derivative is not known: a tracked Tensor raises when it is asked for.
    q : array, optional
        1 by default, which is Riemann's function.
    out : array, optional
    """
    y = hurwitz(operand(x, "zeta"), 1.0 if q is None else operand(q, "zeta"))
    return y if out is None else write_out("zeta", y, out)
