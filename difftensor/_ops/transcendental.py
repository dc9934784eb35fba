"""Exponentials, logarithms, trigonometric and hyperbolic functions, sinc and the Bessel functions of NumPy."""

from __future__ import annotations

from math import factorial

import numpy as np

from difftensor._backend import on_gpu
from difftensor._backend.large import HEAVY
from difftensor._core import binary, unary
from difftensor._ops.elementwise import as_float, no_zeros, positive
from difftensor._ops.roots import parent_of, squares
from difftensor._ops.trigonometry import FAST, PAYS, cosine, sine

# fmt: off
# Exponentials and logarithms ------------------------------------------------------------------------------------------

exp = unary("exp", np.exp, lambda xp, g, y, x: g * y, saves="y", large=HEAVY)
exp2 = unary("exp2", np.exp2, lambda xp, g, y, x: g * y * _LN2, saves="y")
expm1 = unary("expm1", np.expm1, lambda xp, g, y, x: g * (y + 1), saves="y", large=HEAVY)
log = unary("log", np.log, lambda xp, g, y, x: g / x, saves="x", large=HEAVY, samples=[(0.2, 4.0)])
log2 = unary("log2", np.log2, lambda xp, g, y, x: g / (x * _LN2), saves="x", samples=[(0.2, 4.0)])
log10 = unary("log10", np.log10, lambda xp, g, y, x: g / (x * _LN10), saves="x", samples=[(0.2, 4.0)])
log1p = unary("log1p", np.log1p, lambda xp, g, y, x: g / (1 + x), saves="x", large=HEAVY, samples=[(-0.8, 4.0)])
sqrt = unary("sqrt", np.sqrt, lambda xp, g, y, x: 0.5 * g / y, saves="y", samples=[(0.2, 4.0)])
cbrt = unary("cbrt", np.cbrt, lambda xp, g, y, x: g / (3 * y * y), saves="y", samples=[(0.2, 4.0)], real=True)

_LN2, _LN10 = float(np.log(2.0)), float(np.log(10.0))


def _share(xp, a, y, base):
    """base^(a - y): the share of a in base^y = base^a + base^b; 0 where all is -inf, 1 for an infinite a."""
    return base(xp.fmin(a - y, 0)) * (y > -np.inf)  # fmin: inf - inf is NaN


def _logaddexp(a, b):
    """NumPy's formula with whole arrays, in a third of the time of its own loop."""
    for v in (a, b):
        if v.__class__ is not float and not (v.__class__ is np.ndarray and v.dtype == np.float64):
            return np.logaddexp(a, b)
    if max(np.size(a), np.size(b)) < 128:
        return np.logaddexp(a, b)
    if a.__class__ is float and a == 0.0:
        return _softplus(b)
    with np.errstate(invalid="ignore", over="ignore"):
        d = np.abs(a - b)  # NaN where both are infinite: there the sum is that infinity
    np.fmax(d, 0.0, d)
    np.negative(d, d)
    np.exp(d, d)
    np.log1p(d, d)
    d += np.maximum(a, b)
    return d


def _softplus(b):
    """log(1 + e^b), in which nothing can be inf - inf."""
    d = np.abs(b)
    np.negative(d, d)
    np.exp(d, d)
    np.log1p(d, d)
    d += np.maximum(b, 0.0)
    return d


logaddexp = binary(
    "logaddexp", _logaddexp,
    lambda xp, g, y, a, b: g * _share(xp, a, y, xp.exp),
    lambda xp, g, y, a, b: g * _share(xp, b, y, xp.exp), saves="ya|yb", real=True, numpy=np.logaddexp,
    plain=np.logaddexp,
)
logaddexp2 = binary(
    "logaddexp2", np.logaddexp2,
    lambda xp, g, y, a, b: g * _share(xp, a, y, xp.exp2),
    lambda xp, g, y, a, b: g * _share(xp, b, y, xp.exp2), saves="ya|yb", real=True,
)

# Trigonometric and hyperbolic -----------------------------------------------------------------------------------------

sin = unary(
    "sin", np.sin, lambda xp, g, y, x: g * (xp.cos(x) if y is None else cosine(xp, x, y)), saves="x",
    large=PAYS, also=FAST,
)
cos = unary(
    "cos", np.cos, lambda xp, g, y, x: -g * (xp.sin(x) if y is None else sine(xp, x, y)), saves="x",
    large=PAYS, also=FAST,
)
tan = unary("tan", np.tan, lambda xp, g, y, x: g * (1 + y * y), saves="y", samples=[(-1.2, 1.2)])


def _root(xp, x):
    """sqrt(1 - x^2) on the side of the branch cuts that the sign of a zero imaginary part says: 1 - x would lose it."""
    if x.dtype.kind != "c":
        return xp.sqrt((1 - x) * (1 + x))  # never -0, whose reciprocal would have the wrong sign
    return xp.sqrt(-(x - 1)) * xp.sqrt(x - -1)


arcsin = unary("arcsin", np.arcsin, lambda xp, g, y, x: g / _root(xp, x), saves="x", samples=[(-0.9, 0.9)])
arccos = unary("arccos", np.arccos, lambda xp, g, y, x: -g / _root(xp, x), saves="x", samples=[(-0.9, 0.9)])
arctan = unary("arctan", np.arctan, lambda xp, g, y, x: g / (1 + x * x), saves="x", large=HEAVY)
sinh = unary("sinh", np.sinh, lambda xp, g, y, x: g * xp.cosh(x), saves="x")
cosh = unary("cosh", np.cosh, lambda xp, g, y, x: g * xp.sinh(x), saves="x")
tanh = unary("tanh", np.tanh, lambda xp, g, y, x: g * (1 - y * y), saves="y", large=HEAVY)
arcsinh = unary("arcsinh", np.arcsinh, lambda xp, g, y, x: g / xp.sqrt(x * x - -1), saves="x")
arccosh = unary(
    "arccosh", np.arccosh,
    lambda xp, g, y, x: g / (xp.sqrt(x - 1) * xp.sqrt(x - -1)), saves="x", samples=[(1.2, 4.0)],
)
arctanh = unary("arctanh", np.arctanh, lambda xp, g, y, x: g / ((1 - x) * (1 + x)), saves="x", samples=[(-0.9, 0.9)])


def _distance2(xp, a, b):
    """a^2 + b^2."""
    a, b = as_float(a), as_float(b)
    return no_zeros(xp, a * a + b * b)


arctan2 = binary(
    "arctan2", np.arctan2,
    lambda xp, g, y, a, b: g * b / _distance2(xp, a, b),
    lambda xp, g, y, a, b: -g * a / _distance2(xp, a, b), saves="ab", kinks="0 at the origin",
    samples=[(0.2, 2.0), (-2.0, 2.0)], real=True,
)
hypot = binary(
    "hypot", np.hypot,
    lambda xp, g, y, a, b: g * (a / no_zeros(xp, y)),
    lambda xp, g, y, a, b: g * (b / no_zeros(xp, y)), saves="ya|yb", kinks="0 at the origin", real=True,
)
_hypot_square = binary(
    "hypot_square", lambda a, b: np.hypot(a, b) ** 2, lambda xp, g, y, a, b: 2 * g * a,
    lambda xp, g, y, a, b: 2 * g * b, saves="a|b", numpy=None, real=True,
)
squares(hypot, lambda n: parent_of(_hypot_square, n))
squares(sqrt, lambda n: parent_of(positive, n))
deg2rad = unary("deg2rad", np.deg2rad, lambda xp, g, y, x: g * _DEGREE, real=True)
rad2deg = unary("rad2deg", np.rad2deg, lambda xp, g, y, x: g / _DEGREE, real=True)
radians = unary("radians", np.radians, lambda xp, g, y, x: g * _DEGREE, real=True)
degrees = unary("degrees", np.degrees, lambda xp, g, y, x: g / _DEGREE, real=True)

_DEGREE = float(np.pi / 180)

# sinc and the Bessel functions: quotients that are 0/0 at 0 -----------------------------------------------------------

# sin(u)/u = sum (-1)^k t^k / (2k+1)! with t = u^2; twelve terms reach double precision for t < 1, in all derivatives.
_SINC = [(-1) ** k / factorial(2 * k + 1) for k in range(12)]
# I1(x)/x = 1/2 sum (x/2)^(2k) / (k! (k+1)!), likewise with t = x^2.
_BESSEL = [0.5 * 0.25**k / (factorial(k) * factorial(k + 1)) for k in range(12)]


def _polynomial(t, coefficients):
    y = coefficients[-1]
    for c in coefficients[-2::-1]:
        y = y * t + c
    return y


def _rule_sinc(xp, g, y, x):
    """(cos(pi x) - sinc(x)) / x; near 0 the derivative of the series."""
    t = (np.pi * x) ** 2
    small = xp.absolute(t) < 1
    series = 2 * np.pi**2 * x * _polynomial(t, [k * c for k, c in enumerate(_SINC)][1:])
    safe = xp.where(small, 1, x)
    return g * xp.where(small, series, (xp.cos(np.pi * safe) - y) / safe)


def _of_floats(f):
    """NumPy's `f`, which makes float64 of integers; CuPy makes float16 of the short ones."""
    return lambda x: f(x.astype(np.float64) if on_gpu(x) and x.dtype.kind in "biu" else x)


sinc = unary("sinc", _of_floats(np.sinc), _rule_sinc, saves="xy", numpy=np.sinc, plain=np.sinc)


def _i1(x):
    from scipy.special import i1  # imported when it is needed: SciPy is large

    return i1(x)


def _rule_i1(xp, g, y, x):
    """I1' = I0 - I1/x."""
    t = x * x
    small = t < 1
    return g * (i0(x) - xp.where(small, _polynomial(t, _BESSEL), y / xp.where(small, 1, x)))


i0 = unary("i0", _of_floats(np.i0), lambda xp, g, y, x: g * i1(x), saves="x", numpy=np.i0, plain=np.i0, real=True)
i1 = unary("bessel_i1", _i1, _rule_i1, saves="xy", numpy=None, real=True)
