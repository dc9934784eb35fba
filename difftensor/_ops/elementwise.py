"""Elementwise mathematics: NumPy's ufuncs of real and complex arrays.

Rules are linear in g. Kinks take the subgradient 0 (abs, hypot, copysign at 0); ties of maximum and minimum share
evenly.
"""

from __future__ import annotations

import operator

import numpy as np

from difftensor._core import Tensor, X, binary, composition, nondifferentiable, unary, wrap, write_out
from difftensor._core.operands import in_loop
from difftensor._ops.counting import counting
from difftensor._ops.roots import parent_of, squares, undoing_roots

# fmt: off
# Arithmetic -----------------------------------------------------------------------------------------------------------

add = binary("add", operator.add, lambda xp, g, y, a, b: g, lambda xp, g, y, a, b: g, numpy=np.add)
subtract = binary("subtract", operator.sub, lambda xp, g, y, a, b: g, lambda xp, g, y, a, b: -g, numpy=np.subtract)
multiply = binary(
    "multiply", operator.mul,
    lambda xp, g, y, a, b: g * b,
    lambda xp, g, y, a, b: g * a, saves="b|a", numpy=np.multiply, twice=lambda xp, g, y, a: (r := g * a) + r,
)
divide = binary(
    "divide", operator.truediv,
    lambda xp, g, y, a, b: g / b,
    lambda xp, g, y, a, b: -g * y / b, saves="b|yb", numpy=np.divide,
)
negative = unary("negative", operator.neg, lambda xp, g, y, x: -g, numpy=np.negative)
positive = unary("positive", operator.pos, lambda xp, g, y, x: g, numpy=np.positive, views=True)
reciprocal = unary("reciprocal", np.reciprocal, lambda xp, g, y, x: -g * y * y, saves="y", samples=[(0.5, 3.0)])
square = undoing_roots(unary("square", np.square, lambda xp, g, y, x: (r := g * x) + r, saves="x"))


_FLOAT = np.dtype(float)
_NUMBERS = (int, float, complex, np.generic)


def as_float(v):
    """A constant operand in float64 if it is of integers: squares of small ones wrap around, logarithms are float16."""
    return v * 1.0 if getattr(v, "dtype", _FLOAT).kind in "iub" else v


def _power_base(xp, g, y, a, b):
    """b a^(b-1), and 0 for b = 0, where a^(b-1) may be infinite."""
    if b.__class__ in (int, float):
        if b == 2:
            return (r := g * a) + r  # which takes less than the product with a number
        if b == 3:
            return 3 * g * (a * a)  # NumPy's pow costs 30 products from the third power on
        if b == 4:
            return 4 * g * (a * a * a)
        return g * (b * a ** (b - 1)) if b else g * 0
    nought = b == 0
    return g * (b * a ** xp.where(nought, 1, b - 1))


def _power_exponent(xp, g, y, a, b):
    """a^b log a, and 0 at a = 0."""
    if isinstance(a, _NUMBERS):
        a = a or 1.0
    else:
        a = xp.where(a == 0, 1, a)
    a = as_float(a)
    return g * (y * xp.log(a + 0j if y.dtype.kind == "c" else a))  # a complex power of a negative number


power = undoing_roots(binary(
    "power", operator.pow, _power_base, _power_exponent, saves="ab|ya", numpy=np.power,
    samples=[(0.5, 3.0), (-2.0, 2.0)],
))
remainder = binary(
    "remainder", operator.mod,
    lambda xp, g, y, a, b: g,
    lambda xp, g, y, a, b: -g * xp.floor(a / b), saves="|ab", numpy=np.remainder, kinks="multiples of b",
    samples=[(0.3, 4.0), (0.7, 1.9)], real=True,
)
fmod = binary(
    "fmod", np.fmod,
    lambda xp, g, y, a, b: g,
    lambda xp, g, y, a, b: -g * xp.trunc(a / b), saves="|ab", kinks="multiples of b",
    samples=[(0.3, 4.0), (0.7, 1.9)], real=True,
)

# Absolute value, signs, extrema ---------------------------------------------------------------------------------------


def no_zeros(xp, r2):
    """`r2` with zeros replaced by ones: what it divides is zero there, so the quotient is the subgradient 0."""
    return xp.where(r2 == 0, 1, r2)


def _unit(xp, x):
    """conj(x) / |x|, 0 at 0. (NumPy's sign of complex numbers takes 100 ns each.)"""
    if x.dtype.kind != "c":
        return xp.sign(x)
    s = xp.absolute(x)
    zero = s == 0
    return xp.conj(x) * xp.where(zero, 0, 1 / xp.where(zero, 1, s))


def _push_absolute(xp, t, y, x):
    t = t * _unit(xp, x)
    return t.real if t.dtype.kind == "c" else t


absolute = unary(
    "absolute", abs,
    lambda xp, g, y, x: g * _unit(xp, x), saves="x", push=_push_absolute, numpy=np.absolute, kinks="0 at 0",
)
absolute_square = unary(
    "absolute_square", lambda x: np.absolute(x) ** 2, lambda xp, g, y, x: 2 * g * xp.conj(x), saves="x",
    push=lambda xp, t, y, x: r.real if (r := 2 * t * xp.conj(x)).dtype.kind == "c" else r, numpy=None,
)
squares(absolute, lambda n: parent_of(absolute_square, n))
fabs = unary("fabs", np.fabs, lambda xp, g, y, x: g * xp.sign(x), saves="x", kinks="0 at 0", real=True)


def _pull_sign(xp, g, y, x):
    """y = z/|z| turns only: dy = (dz - y Re(conj(y) dz)) / |z|, transposed."""
    return (g - (g * y).real * xp.conj(y)) / no_zeros(xp, xp.absolute(x))


def _push_sign(xp, t, y, x):
    return (t - (t * xp.conj(y)).real * y) / no_zeros(xp, xp.absolute(x))


_sign = counting("sign", np.sign)
_direction = unary("direction", np.sign, _pull_sign, saves="xy", push=_push_sign, numpy=None, samples="complex")


@composition(np.sign)
def sign(x, /, out=None, **keywords):
    """The sign of real numbers (no derivative); z/|z| of complex ones."""
    return (_direction if getattr(x, "dtype", None) is not None and x.dtype.kind == "c" else _sign)(x, out, **keywords)


def _chosen(xp, g, better, equal):
    """g where this operand was chosen, half of it at a tie."""
    return xp.where(better, g, xp.where(equal, 0.5 * g, 0))


_TIES = "ties share evenly"
maximum = binary("maximum", np.maximum, lambda xp, g, y, a, b: _chosen(xp, g, a > b, a == b),
                 lambda xp, g, y, a, b: _chosen(xp, g, b > a, a == b), saves="ab", kinks=_TIES, real=True)
minimum = binary("minimum", np.minimum, lambda xp, g, y, a, b: _chosen(xp, g, a < b, a == b),
                 lambda xp, g, y, a, b: _chosen(xp, g, b < a, a == b), saves="ab", kinks=_TIES, real=True)
fmax = binary("fmax", np.fmax, lambda xp, g, y, a, b: _chosen(xp, g, (a > b) | (b != b), a == b),
              lambda xp, g, y, a, b: _chosen(xp, g, (b > a) | (a != a), a == b), saves="ab", kinks=_TIES, real=True)
fmin = binary("fmin", np.fmin, lambda xp, g, y, a, b: _chosen(xp, g, (a < b) | (b != b), a == b),
              lambda xp, g, y, a, b: _chosen(xp, g, (b < a) | (a != a), a == b), saves="ab", kinks=_TIES, real=True)
copysign = binary("copysign", np.copysign, lambda xp, g, y, a, b: g * (xp.sign(a) * xp.copysign(1, b)),
                  lambda xp, g, y, a, b: g * 0, saves="ab|", kinks="0 at 0", real=True)


@composition(np.clip)
def clip(a, min=None, max=None, out=None, *, a_min=None, a_max=None, **keywords):
    """`a` between two bounds; differentiable in the bounds too. Where `a` meets a bound the two share evenly."""
    low, high = min if a_min is None else a_min, max if a_max is None else a_max
    y = X.asarray(a)
    if y.dtype.kind in "iu":  # Python integers beyond the range of the dtype are no bounds
        limits = np.iinfo(y.dtype)
        low = None if low.__class__ is int and low <= limits.min else low
        high = None if high.__class__ is int and high >= limits.max else high
    if y.dtype.kind in "iub" and low is not None and high is not None:  # a float bound makes room for the other
        y = X.astype(y, X.result_type(y, low, high), copy=False)
    if low is not None:
        y = maximum(y, low)
    if high is not None:
        y = minimum(y, high)
    if y is a:
        y = X.copy(y)
    if keywords.get("dtype") is not None:
        y = X.astype(y, keywords["dtype"], copy=False)
    return y if out is None else write_out("clip", y, out)


@composition(np.nan_to_num)
def nan_to_num(x, copy=True, nan=0.0, posinf=None, neginf=None):
    """NaN and infinities replaced by numbers, whose derivative is 0 there."""
    x = X.asarray(x)
    if x.dtype.kind == "c":
        parts = [nan_to_num(p, True, nan, posinf, neginf) for p in (real(x), imag(x))]
        y = parts[0] + 1j * parts[1]
    elif x.dtype.kind != "f":
        y = X.copy(x)
    else:
        limits = np.finfo(x.dtype)
        bad = ((X.isnan, nan), (X.isposinf, posinf), (X.isneginf, neginf))
        y = x
        for (is_bad, value), limit in zip(bad, (0.0, limits.max, limits.min)):
            value = limit if value is None else value
            constant = isinstance(value, (int, float, np.generic))  # which has no device of its own
            value = x.dtype.type(value) if constant else X.astype(X.asarray(value), x.dtype)
            y = X.where(is_bad(x), value, y)
    if not copy:
        X.copyto(x, y)
        return x
    return y if y.ndim else y[()]


# Rounding: steps, whose derivative is zero ----------------------------------------------------------------------------

_round = nondifferentiable("round_to", lambda x, decimals: np.round(x, decimals), public=False, batch="trailing")


@composition(np.round, also=(np.around,))
def round(a, decimals=0, out=None):
    y = _round(X.asarray(a), int(decimals))
    return y if out is None else write_out("round", y, out)


@composition(np.fix)
def fix(x, out=None):
    return X.trunc(x, out)


# Complex numbers ------------------------------------------------------------------------------------------------------

conjugate = unary(
    "conjugate", np.conjugate,
    lambda xp, g, y, x: xp.conjugate(g), push=lambda xp, t, y, x: xp.conjugate(t), views=True,
)

# c of z = x + iy pairs as Re(c dz): d Re z gives c = g, d Im z gives c = -i g.
_real = unary(
    "real", np.real,
    lambda xp, g, y, x: g * (1 + 0j), push=lambda xp, t, y, x: xp.real(t), views=True, numpy=None, samples="complex",
)
_imag = unary(
    "imag", np.imag,
    lambda xp, g, y, x: g * -1j, push=lambda xp, t, y, x: xp.imag(t), views=True, numpy=None, samples="complex",
)


@composition(np.real)
def real(val):
    """The real part: a view of a complex array, the array itself if it is real."""
    val = X.asarray(val)
    return _real(val) if val.dtype.kind == "c" else val


@composition(np.imag)
def imag(val):
    """The imaginary part: a view of a complex array, zeros of a real one."""
    val = X.asarray(val)
    if val.dtype.kind == "c":
        return _imag(val)
    if val.__class__ is not Tensor:  # batched or dual: a number is no answer to its shape
        return X.zeros_like(val)
    zeros = np.zeros_like(val._data)[()]
    if isinstance(zeros, np.ndarray):
        zeros.flags.writeable = False  # nobody would see what is written there
    return wrap(zeros)


@composition(np.angle)
def angle(z, deg=False):
    """The argument of complex numbers; the derivative at 0 is taken as 0."""
    z = X.asarray(z)
    phi = X.arctan2(imag(z), real(z)) if z.dtype.kind == "c" else X.arctan2(0, z)
    return X.rad2deg(phi) if deg else phi


@composition(np.real_if_close)
def real_if_close(a, tol=100):
    """`a`, or its real part if the imaginary parts are all within `tol` (in machine epsilons, if > 1) of 0."""
    a = X.asarray(a)
    if a.dtype.kind != "c":
        return a
    limit = tol * np.finfo(a.dtype).eps if tol > 1 else tol
    return real(a) if bool((absolute(imag(a)) < limit).all()) else a


# Parts of numbers -----------------------------------------------------------------------------------------------------


@composition(np.modf)
def modf(x, /, out=None, *, where=True, dtype=None, casting="same_kind"):
    """Fractional and integral parts; the derivative of the first is 1."""
    (x,) = in_loop(np.modf, (X.asarray(x),), dtype, casting)
    whole = X.trunc(x)
    # inf - inf: the fraction of an infinity is a zero of its sign.
    fraction = X.where(X.isinf(whole), copysign(0.0, x), copysign(subtract(x, whole), x))
    return _several("modf", (fraction, whole), out, where)


@composition(np.frexp)
def frexp(x, /, out=None, *, where=True, dtype=None, casting="same_kind"):
    """Mantissa and exponent of two; the derivative of the mantissa is 2^-exponent."""
    (x,) = in_loop(np.frexp, (X.asarray(x),), dtype, casting)
    exponent = _exponent(x)
    return _several("frexp", (ldexp(x, -exponent), exponent), out, where)


_exponent = nondifferentiable("frexp_exponent", lambda x: np.frexp(x)[1], public=False, batch="trailing")


@composition(np.ldexp)
def ldexp(x1, x2, /, out=None, **keywords):
    """x1 * 2^x2 for integers x2; differentiable in x1."""
    x1, x2 = X.asarray(x1), X.asarray(x2)
    if x2.dtype.kind not in "iub":
        raise TypeError(f"ldexp: the exponent must be an integer, found dtype {x2.dtype}; use x1 * dif.exp2(x2)")
    if x1.dtype.kind in "iub":
        x1, _ = in_loop(np.ldexp, (x1, x2))
    # in three steps, so that 2^x2 itself may lie beyond the range: from the smallest number to the largest
    most = 3 * (np.finfo(x1.dtype).maxexp - 2)
    x2 = X.clip(X.astype(x2, np.int64), -most, most)
    first = x2 // 3
    second = (x2 - first) // 2
    one = x1.dtype.type(1)
    for k in (first, second):
        x1 = multiply(x1, X.ldexp_of(one, k))
    return multiply(x1, X.ldexp_of(one, x2 - first - second), out, **keywords)


@composition(np.divmod)
def divmod(x1, x2, /, out=None, *, where=True, dtype=None, casting="same_kind"):
    """Floor quotient and remainder."""
    if dtype is not None or casting != "same_kind":
        x1, x2 = in_loop(np.divmod, (x1, x2), dtype, casting)
    return _several("divmod", (X.floor_divide(x1, x2), remainder(x1, x2)), out, where)


def _several(name, ys, out, where):
    """The results of a ufunc with two of them."""
    out = (None,) * len(ys) if out is None else out
    if where is not True:
        ys = tuple(X.where(where, y, X.zeros_like(y) if o is None else X.asarray(o)) for y, o in zip(ys, out))
    return tuple(y if o is None else write_out(name, X.asarray(y), o) for y, o in zip(ys, out))


@composition(np.float_power)
def float_power(x1, x2, /, out=None, *, where=True, dtype=None, casting="same_kind"):
    """The power in at least float64."""
    x1, x2 = in_loop(np.float_power, (X.asarray(x1), X.asarray(x2)), dtype, casting)
    return power(x1, x2, out, where=where)


