"""Elementwise mathematics: NumPy's ufuncs of real and complex arrays.

Rules are linear in g. Kinks take the subgradient 0 (abs, hypot, copysign at 0), ties of maximum and minimum share evenly.
"""

from __future__ import annotations

import operator

import numpy as np

from difftensor._core import binary, composition, unary
from difftensor._core.tensor import Tensor

# Arithmetic -----------------------------------------------------------------------------------------------------------

add = binary("add", operator.add, lambda xp, g, y, a, b: g, lambda xp, g, y, a, b: g, numpy=np.add)
subtract = binary("subtract", operator.sub, lambda xp, g, y, a, b: g, lambda xp, g, y, a, b: -g, numpy=np.subtract)
multiply = binary("multiply", operator.mul, lambda xp, g, y, a, b: g * b, lambda xp, g, y, a, b: g * a, saves="b|a", numpy=np.multiply)
divide = binary("divide", operator.truediv, lambda xp, g, y, a, b: g / b, lambda xp, g, y, a, b: -g * y / b, saves="b|yb", numpy=np.divide)
negative = unary("negative", operator.neg, lambda xp, g, y, x: -g, numpy=np.negative)
positive = unary("positive", operator.pos, lambda xp, g, y, x: g, numpy=np.positive, views=True)
reciprocal = unary("reciprocal", np.reciprocal, lambda xp, g, y, x: -g * y * y, saves="y", samples=[(0.5, 3.0)])
square = unary("square", np.square, lambda xp, g, y, x: 2 * g * x, saves="x")


def _power_base(xp, g, y, a, b):
    """b a^(b-1), and 0 for b = 0, where a^(b-1) may be infinite."""
    if b.__class__ in (int, float):
        if b == 2:
            return 2 * g * a
        return g * (b * a ** (b - 1)) if b else g * 0
    nought = b == 0
    return g * (b * a ** xp.where(nought, 1, b - 1))


def _power_exponent(xp, g, y, a, b):
    """a^b log a, and 0 at a = 0."""
    return g * (y * xp.log(xp.where(a == 0, 1, a)))


power = binary("power", operator.pow, _power_base, _power_exponent, saves="ab|ya", numpy=np.power, samples=[(0.5, 3.0), (-2.0, 2.0)])
remainder = binary("remainder", operator.mod, lambda xp, g, y, a, b: g, lambda xp, g, y, a, b: -g * xp.floor(a / b), saves="|ab", numpy=np.remainder,
                   kinks="multiples of b", samples=[(0.3, 4.0), (0.7, 1.9)], real=True)
fmod = binary("fmod", np.fmod, lambda xp, g, y, a, b: g, lambda xp, g, y, a, b: -g * xp.trunc(a / b), saves="|ab", kinks="multiples of b",
              samples=[(0.3, 4.0), (0.7, 1.9)], real=True)

# Exponentials and logarithms --------------------------------------------------------------------------------------------

exp = unary("exp", np.exp, lambda xp, g, y, x: g * y, saves="y")
exp2 = unary("exp2", np.exp2, lambda xp, g, y, x: g * y * _LN2, saves="y")
expm1 = unary("expm1", np.expm1, lambda xp, g, y, x: g * (y + 1), saves="y")
log = unary("log", np.log, lambda xp, g, y, x: g / x, saves="x", samples=[(0.2, 4.0)])
log2 = unary("log2", np.log2, lambda xp, g, y, x: g / (x * _LN2), saves="x", samples=[(0.2, 4.0)])
log10 = unary("log10", np.log10, lambda xp, g, y, x: g / (x * _LN10), saves="x", samples=[(0.2, 4.0)])
log1p = unary("log1p", np.log1p, lambda xp, g, y, x: g / (1 + x), saves="x", samples=[(-0.8, 4.0)])
sqrt = unary("sqrt", np.sqrt, lambda xp, g, y, x: 0.5 * g / y, saves="y", samples=[(0.2, 4.0)])
cbrt = unary("cbrt", np.cbrt, lambda xp, g, y, x: g / (3 * y * y), saves="y", samples=[(0.2, 4.0)], real=True)

_LN2, _LN10 = float(np.log(2.0)), float(np.log(10.0))


def _share(xp, a, y, base):
    """base^(a - y): the share of a in base^y = base^a + base^b; 0 where all is -inf, 1 for an infinite a."""
    return xp.where(xp.isfinite(y), base(a - y), (a == y) & (y > 0))


logaddexp = binary("logaddexp", np.logaddexp, lambda xp, g, y, a, b: g * _share(xp, a, y, xp.exp), lambda xp, g, y, a, b: g * _share(xp, b, y, xp.exp),
                   saves="ya|yb", real=True)
logaddexp2 = binary("logaddexp2", np.logaddexp2, lambda xp, g, y, a, b: g * _share(xp, a, y, xp.exp2), lambda xp, g, y, a, b: g * _share(xp, b, y, xp.exp2),
                    saves="ya|yb", real=True)

# Trigonometric and hyperbolic ---------------------------------------------------------------------------------------------

sin = unary("sin", np.sin, lambda xp, g, y, x: g * xp.cos(x), saves="x")
cos = unary("cos", np.cos, lambda xp, g, y, x: -g * xp.sin(x), saves="x")
tan = unary("tan", np.tan, lambda xp, g, y, x: g * (1 + y * y), saves="y", samples=[(-1.2, 1.2)])
arcsin = unary("arcsin", np.arcsin, lambda xp, g, y, x: g / (xp.sqrt(1 - x) * xp.sqrt(1 + x)), saves="x", samples=[(-0.9, 0.9)])
arccos = unary("arccos", np.arccos, lambda xp, g, y, x: -g / (xp.sqrt(1 - x) * xp.sqrt(1 + x)), saves="x", samples=[(-0.9, 0.9)])
arctan = unary("arctan", np.arctan, lambda xp, g, y, x: g / (1 + x * x), saves="x")
sinh = unary("sinh", np.sinh, lambda xp, g, y, x: g * xp.cosh(x), saves="x")
cosh = unary("cosh", np.cosh, lambda xp, g, y, x: g * xp.sinh(x), saves="x")
tanh = unary("tanh", np.tanh, lambda xp, g, y, x: g * (1 - y * y), saves="y")
arcsinh = unary("arcsinh", np.arcsinh, lambda xp, g, y, x: g / xp.sqrt(x * x + 1), saves="x")
arccosh = unary("arccosh", np.arccosh, lambda xp, g, y, x: g / (xp.sqrt(x - 1) * xp.sqrt(x + 1)), saves="x", samples=[(1.2, 4.0)])
arctanh = unary("arctanh", np.arctanh, lambda xp, g, y, x: g / ((1 - x) * (1 + x)), saves="x", samples=[(-0.9, 0.9)])


def _nonzero(xp, r2):
    """r2 with zeros replaced by ones: what it divides is zero there, so the quotient is the subgradient 0."""
    return xp.where(r2 == 0, 1, r2)


arctan2 = binary("arctan2", np.arctan2, lambda xp, g, y, a, b: g * b / _nonzero(xp, a * a + b * b), lambda xp, g, y, a, b: -g * a / _nonzero(xp, a * a + b * b),
                 saves="ab", kinks="0 at the origin", samples=[(0.2, 2.0), (-2.0, 2.0)], real=True)
hypot = binary("hypot", np.hypot, lambda xp, g, y, a, b: g * (a / _nonzero(xp, y)), lambda xp, g, y, a, b: g * (b / _nonzero(xp, y)),
               saves="ya|yb", kinks="0 at the origin", real=True)
deg2rad = unary("deg2rad", np.deg2rad, lambda xp, g, y, x: g * _DEGREE, real=True)
rad2deg = unary("rad2deg", np.rad2deg, lambda xp, g, y, x: g / _DEGREE, real=True)
radians = unary("radians", np.radians, lambda xp, g, y, x: g * _DEGREE, real=True)
degrees = unary("degrees", np.degrees, lambda xp, g, y, x: g / _DEGREE, real=True)

_DEGREE = float(np.pi / 180)

# Absolute value, extrema, signs -----------------------------------------------------------------------------------------


def _unit(xp, x):
    """conj(x) / |x|, 0 at 0."""
    s = xp.sign(x)
    return xp.conj(s) if s.dtype.kind == "c" else s


def _push_absolute(xp, t, y, x):
    t = t * _unit(xp, x)
    return t.real if t.dtype.kind == "c" else t


absolute = unary("absolute", abs, lambda xp, g, y, x: g * _unit(xp, x), saves="x", push=_push_absolute, numpy=np.absolute, kinks="0 at 0")
fabs = unary("fabs", np.fabs, lambda xp, g, y, x: g * xp.sign(x), saves="x", kinks="0 at 0", real=True)


def _chosen(xp, g, better, equal):
    """g where this operand was chosen, half of it at a tie."""
    return xp.where(better, g, xp.where(equal, 0.5 * g, 0))


_TIES = "ties share evenly"
maximum = binary("maximum", np.maximum, lambda xp, g, y, a, b: _chosen(xp, g, a > b, a == b), lambda xp, g, y, a, b: _chosen(xp, g, b > a, a == b), saves="ab",
                 kinks=_TIES, real=True)
minimum = binary("minimum", np.minimum, lambda xp, g, y, a, b: _chosen(xp, g, a < b, a == b), lambda xp, g, y, a, b: _chosen(xp, g, b < a, a == b), saves="ab",
                 kinks=_TIES, real=True)
fmax = binary("fmax", np.fmax, lambda xp, g, y, a, b: _chosen(xp, g, (a > b) | (b != b), a == b), lambda xp, g, y, a, b: _chosen(xp, g, (b > a) | (a != a), a == b),
              saves="ab", kinks=_TIES, real=True)
fmin = binary("fmin", np.fmin, lambda xp, g, y, a, b: _chosen(xp, g, (a < b) | (b != b), a == b), lambda xp, g, y, a, b: _chosen(xp, g, (b < a) | (a != a), a == b),
              saves="ab", kinks=_TIES, real=True)
copysign = binary("copysign", np.copysign, lambda xp, g, y, a, b: g * (xp.sign(a) * xp.copysign(1, b)), lambda xp, g, y, a, b: g * 0, saves="ab|", kinks="0 at 0",
                  real=True)

# Complex numbers ---------------------------------------------------------------------------------------------------------

conjugate = unary("conjugate", np.conjugate, lambda xp, g, y, x: xp.conjugate(g), push=lambda xp, t, y, x: xp.conjugate(t), views=True)

# c of z = x + iy pairs as Re(c dz): d Re z gives c = g, d Im z gives c = -i g.
_real = unary("real", np.real, lambda xp, g, y, x: g * (1 + 0j), push=lambda xp, t, y, x: xp.real(t), views=True, numpy=None, samples="complex")
_imag = unary("imag", np.imag, lambda xp, g, y, x: g * -1j, push=lambda xp, t, y, x: xp.imag(t), views=True, numpy=None, samples="complex")


@composition(np.real)
def real(val):
    """The real part: a view of a complex array, the array itself if it is real."""
    return _real(val) if val.dtype.kind == "c" else val


@composition(np.imag)
def imag(val):
    """The imaginary part: a view of a complex array, zeros of a real one."""
    return _imag(val) if val.dtype.kind == "c" else zeros_like_constant(val)


def zeros_like_constant(x):
    from difftensor._core import wrap

    return wrap(x._data * 0)


@composition(np.angle)
def angle(z, deg=False):
    """The argument of complex numbers; the derivative at 0 is taken as 0."""
    phi = arctan2(imag(z), real(z))
    return rad2deg(phi) if deg else phi


for _name, _f in {"abs": absolute, "pow": power, "acos": arccos, "acosh": arccosh, "asin": arcsin, "asinh": arcsinh, "atan": arctan, "atan2": arctan2,
                  "atanh": arctanh, "conj": conjugate, "mod": remainder, "true_divide": divide}.items():
    globals()[_name] = _f

__all__ = ["Tensor"]
