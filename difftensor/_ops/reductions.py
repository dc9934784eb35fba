"""Sums, products, extrema, means and truth values along axes.

`sum`, `max`, `min`, `all`, `any` are NumPy's here, not Python's.
"""

from __future__ import annotations

import builtins
import warnings
from operator import index

import numpy as np

from difftensor._core import Tensor, X, composition, general, linear, nondifferentiable, unary, write_out

# What reductions share ----------------------------------------------------------------------------------------------


def axes_of(x, axis) -> tuple[int, ...]:
    """`axis` as a tuple of axes counted from the end; None: all of them."""
    n = x.ndim
    if axis is None:
        return _ALL[n] if n < 8 else tuple(range(-n, 0))
    if axis.__class__ is not tuple:
        axis = (axis,)
    out = []
    for a in axis:
        i = index(a)
        if not -n <= i < n:
            raise np.exceptions.AxisError(i, n)
        out.append(i - n if i >= 0 else i)
    if len(set(out)) != len(out):
        raise ValueError("duplicate value in 'axis'")
    return tuple(out)


_ALL = tuple(tuple(range(-n, 0)) for n in range(8))


def axis_of(x, axis) -> int:
    """One axis, counted from the end."""
    return axes_of(x, index(axis))[0]


def spread(xp, g, shape, axes, keepdims):
    """Cotangent g of a reduction, broadcast back over the axes that were reduced."""
    if not keepdims and len(axes) != len(shape):
        n = len(shape)
        gone = {a + n for a in axes}
        g = g.reshape(tuple(1 if i in gone else k for i, k in enumerate(shape)))
    if xp is not np:
        return xp.broadcast_to(g, shape)
    if not shape:
        return g
    size = 1
    for k in shape:
        size *= k
    if size > 4096:  # a stride-0 view is free to make and to read; below it costs more than the copy
        return np.broadcast_to(g, shape)
    r = np.empty(shape, g.dtype)
    r[...] = g
    return r


_SHORT = 4096  # elements from which a short last axis is worth its own loop


def _adding_slices(x, axes):
    """NumPy walks a short last axis element by element: adding whole slices is three to ten times faster (measured; bit for
    bit the same below 8, where NumPy's pairwise summation adds one by one)."""
    return x.size > _SHORT and axes == (-1,) and 0 < x.shape[-1] < 8 and x.dtype.kind in "fc" and x.dtype.itemsize > 2


def _slices(ufunc, x, keepdims):
    y = x[..., 0].copy() if x.shape[-1] == 1 else ufunc(x[..., 0], x[..., 1])
    for i in range(2, x.shape[-1]):
        ufunc(y, x[..., i], out=y)
    return y[..., None] if keepdims else y


def _add_reduce(x, axes, keepdims):
    if x.size > _SHORT and _adding_slices(x, axes):
        return _slices(np.add, x, keepdims)
    return np.add.reduce(x, axes, None, None, keepdims)


def prepared(x, dtype, where, fill=0):
    """`x` as a reduction reads it: cast, and with `fill` where it is not to be read."""
    if not isinstance(x, Tensor):
        x = X.asarray(x)
    if dtype is not None and x.dtype != dtype:
        x = X.astype(x, dtype)
    if where is not True:
        x = X.where(where, x, fill)
    return x


def finish(y, out, name):
    return y if out is None else write_out(name, y, out)


def _as(dtype, value):
    """`value`, an `initial`, as NumPy reads it: cast to the dtype of the result."""
    return X.astype(X.asarray(value), dtype, copy=False)


def count_of(a, axes, where=True, keepdims=False):
    """The number of elements behind each result: an int, or an array of them with `where`."""
    if where is True:
        n = 1
        for i in axes:
            n *= a.shape[i]
        return n
    mask = where._data if isinstance(where, Tensor) else np.asarray(where)
    return np.add.reduce(np.broadcast_to(mask, a.shape).astype(np.intp), axes, keepdims=bool(keepdims))


# Sums and products --------------------------------------------------------------------------------------------------

_sum = linear(
    "add.reduce",
    _add_reduce,
    lambda xp, g, shape, axes, keepdims: spread(xp, g, shape, axes, keepdims),
    public=False,
    samples="axes",
    batch="trailing",
)


@composition(np.sum)
def sum(a, axis=None, dtype=None, out=None, keepdims=False, initial=0, where=True):
    if a.__class__ is not Tensor or dtype is not None or where is not True:
        a = prepared(a, dtype, where)
    n = a._data.ndim if a.__class__ is Tensor else a.ndim
    if axis is None:
        axes = _ALL[n] if n < 8 else axes_of(a, None)
    else:
        axes = axes_of(a, axis)
    y = _sum(a, axes, keepdims is True or bool(keepdims))
    if dtype is not None and y.dtype != dtype:  # NumPy widens the sum of small integers
        y = X.astype(y, dtype)
    if initial is not None and not (initial.__class__ is int and initial == 0):
        y = y + _as(y.dtype, initial)
    return y if out is None else write_out("sum", y, out)


def flat_last(x, axes):
    """`x` with `axes` moved to the end and made one, and the function that undoes it."""
    if axes == (-1,):
        return x, lambda y: y
    n = x.ndim
    if axes == tuple(range(-n, 0)):
        return x.reshape((-1,)), lambda y: y.reshape(x.shape)
    kept = tuple(i for i in range(-n, 0) if i not in axes)
    order = (*kept, *axes)
    turned = x.transpose(order)
    flat = turned.reshape((*(x.shape[i] for i in kept), count_of(x, axes)))
    back = [0] * n
    for to, a in enumerate(order):
        back[a + n] = to
    return flat, lambda y: y.reshape(turned.shape).transpose(tuple(back))


def _others(xp, x, axes):
    """Product of all elements but each one: from the left times from the right, without a division."""
    flat, back = flat_last(x, axes)
    one = xp.ones((*flat.shape[:-1], 1), flat.dtype)
    before = xp.concatenate([one, xp.cumprod(flat[..., :-1], axis=-1)], axis=-1)
    after = xp.concatenate([xp.cumprod(flat[..., :0:-1], axis=-1)[..., ::-1], one], axis=-1)
    return back((before * after)[..., : flat.shape[-1]])


def _pull_prod(xp, g, y, x, axes, keepdims):
    return spread(xp, g, x.shape, axes, keepdims) * _others(xp, x, axes)


def _push_prod(xp, ts, y, x, axes, keepdims):
    return xp.sum(ts[0] * _others(xp, x, axes), axis=axes, keepdims=keepdims)


_prod = general(
    "multiply.reduce",
    lambda x, axes, keepdims: np.multiply.reduce(x, axes, None, None, keepdims),
    _pull_prod,
    _push_prod,
    saves="x",
    public=False,
    samples="axes",
    batch="trailing",
)


@composition(np.prod)
def prod(a, axis=None, dtype=None, out=None, keepdims=False, initial=1, where=True):
    a = prepared(a, dtype, where, fill=1)
    y = _prod(a, axes_of(a, axis), bool(keepdims))
    if dtype is not None and y.dtype != dtype:
        y = X.astype(y, dtype)
    if initial is not None and not (initial.__class__ is int and initial == 1):
        y = y * _as(y.dtype, initial)
    return finish(y, out, "prod")


# Means and spreads --------------------------------------------------------------------------------------------------


def _mean_over(x, axes, keepdims, n):
    if n == 0 or x.dtype.itemsize == 2:  # NumPy's warning; NumPy's wider sum of float16
        return np.mean(x, axis=axes, keepdims=keepdims)
    y = _add_reduce(x, axes, keepdims)
    return (y / n).astype(y.dtype) if y.dtype.itemsize < 8 else y / n


_mean = linear(
    "mean_over",
    _mean_over,
    lambda xp, g, shape, axes, keepdims, n: spread(xp, g / n, shape, axes, keepdims),
    public=False,
    samples="mean",
    batch="trailing",
)


def _inexact(a, dtype):
    """The dtype that means of `a` have."""
    return np.float64 if dtype is None and a.dtype.kind in "iub" else dtype


@composition(np.mean)
def mean(a, axis=None, dtype=None, out=None, keepdims=False, *, where=True):
    a = X.asarray(a)
    a = prepared(a, _inexact(a, dtype), True)
    axes = axes_of(a, axis)
    if where is True:
        y = _mean(a, axes, bool(keepdims), count_of(a, axes))
    else:
        y = _quotient(
            sum(a, axes, keepdims=keepdims, where=where), count_of(a, axes, where, keepdims), "Mean of empty slice"
        )
    return finish(y, out, "mean")


def _quotient(total, count, complaint):
    """``total / count`` in total's dtype; nan with NumPy's warning where there is nothing."""
    if np.any(count <= 0):
        warnings.warn(complaint, RuntimeWarning, stacklevel=3)
    with np.errstate(invalid="ignore", divide="ignore"):
        return total / np.asarray(count).astype(total.dtype)[()]


def _pull_var(xp, g, y, x, axes, keepdims, ddof):
    d = x - _mean(x, axes, True, count_of(x, axes))
    if d.dtype.kind == "c":
        d = xp.conjugate(d)
    return spread(xp, g * (2 / _freedom(x, axes, ddof)), x.shape, axes, keepdims) * d


def _push_var(xp, ts, y, x, axes, keepdims, ddof):
    t, d = ts[0], x - _mean(x, axes, True, count_of(x, axes))
    td = t * xp.conjugate(d) if d.dtype.kind == "c" else t * d
    return (_sum(td, axes, keepdims) * (2 / _freedom(x, axes, ddof))).real


def _freedom(x, axes, ddof):
    freedom = builtins.max(count_of(x, axes) - ddof, 0)
    return freedom if freedom else np.nan


def _var_over(x, axes, keepdims, ddof):
    n = count_of(x, axes)
    if n <= ddof or x.dtype.kind != "f" or x.dtype.itemsize < 4:  # NumPy's warnings; NumPy's wider sums of float16
        return np.var(x, axis=axes, keepdims=keepdims, ddof=ddof)
    d = x - _add_reduce(x, axes, True) / n
    return _add_reduce(d * d, axes, keepdims) / (n - ddof)


_var = general(
    "var_over",
    _var_over,
    _pull_var,
    _push_var,
    saves="x",
    public=False,
    samples="var",
    batch="trailing",
)


@composition(np.var)
def var(a, axis=None, dtype=None, out=None, ddof=0, keepdims=False, *, where=True, mean=None, correction=None):
    if correction is not None:
        if ddof != 0:
            raise ValueError("ddof and correction can't be provided simultaneously.")
        ddof = correction
    a = X.asarray(a)
    a = prepared(a, _inexact(a, dtype), True)
    axes = axes_of(a, axis)
    if where is True and mean is None:
        return finish(_var(a, axes, bool(keepdims), ddof), out, "var")
    if mean is None:
        mean = _quotient(sum(a, axes, keepdims=True, where=where), np.maximum(count_of(a, axes, where, True), 1), "")
    y = sum(_norm2(a - mean), axes, keepdims=keepdims, where=where)
    freedom = np.maximum(np.asarray(count_of(a, axes, where, keepdims)) - ddof, 0)
    return finish(_quotient(y, freedom, "Degrees of freedom <= 0 for slice."), out, "var")


def _norm2(d):
    """|d|^2."""
    return X.square(X.real(d)) + X.square(X.imag(d)) if d.dtype.kind == "c" else d * d


# The subgradient of a standard deviation or norm at 0 is 0.
root = unary(
    "root_or_zero",
    np.sqrt,
    lambda xp, g, y, x: xp.where(y == 0, 0, 0.5 * g / xp.where(y == 0, 1, y)),
    saves="y",
    numpy=None,
    kinks="0 at 0",
    samples=[(0.2, 4.0)],
)


@composition(np.std)
def std(a, axis=None, dtype=None, out=None, ddof=0, keepdims=False, *, where=True, mean=None, correction=None):
    return finish(
        root(var(a, axis, dtype, None, ddof, keepdims, where=where, mean=mean, correction=correction)), out, "std"
    )


# Extrema ------------------------------------------------------------------------------------------------------------


def _extreme(ufunc):
    def forward(x, axes, keepdims):
        if x.size > _SHORT and axes == (-1,) and 0 < x.shape[-1] <= 16:
            return _slices(ufunc, x, keepdims)
        return ufunc.reduce(x, axes, None, None, keepdims)

    return forward


def _hits(xp, y, x, axes, keepdims):
    """Where the extremum lies, all ties; a NaN is the extremum of its slice."""
    return (x == spread(xp, y, x.shape, axes, keepdims)) | (x != x)


def _pull_extremum(xp, g, y, x, axes, keepdims):
    """The cotangent goes to the extrema, in equal shares."""
    hit = _hits(xp, y, x, axes, keepdims)
    count = _sum(xp.astype(hit, y.dtype), axes, keepdims)
    return xp.where(hit, spread(xp, g / count, x.shape, axes, keepdims), 0)


def _push_extremum(xp, ts, y, x, axes, keepdims):
    hit = _hits(xp, y, x, axes, keepdims)
    return _sum(xp.where(hit, ts[0], 0), axes, keepdims) / _sum(xp.astype(hit, y.dtype), axes, keepdims)


_TIES = "ties share evenly"
_max = general(
    "maximum.reduce",
    _extreme(np.maximum),
    _pull_extremum,
    _push_extremum,
    saves="xy",
    public=False,
    kinks=_TIES,
    samples="axes",
    real=True,
    batch="trailing",
)
_min = general(
    "minimum.reduce",
    _extreme(np.minimum),
    _pull_extremum,
    _push_extremum,
    saves="xy",
    public=False,
    kinks=_TIES,
    samples="axes",
    real=True,
    batch="trailing",
)


def _extremum(primitive, name, pairwise, worst):
    def body(a, axis=None, out=None, keepdims=False, initial=None, where=True):
        a = X.asarray(a)
        if where is not True:
            if initial is None:
                raise ValueError(
                    f"reduction operation '{name}imum' does not have an identity, so to use a where mask one has to specify 'initial'"
                )
            a = prepared(a, None, where, fill=worst(a.dtype))
        axes = axes_of(a, axis)
        if initial is None:
            return finish(primitive(a, axes, bool(keepdims)), out, name)
        initial = _as(a.dtype, initial)
        if count_of(a, axes) == 0:
            shape = tuple(
                1 if i in axes else k for i, k in zip(range(-a.ndim, 0), a.shape) if keepdims or i not in axes
            )
            return finish(X.broadcast_to(initial, shape), out, name)
        return finish(pairwise(primitive(a, axes, bool(keepdims)), initial), out, name)

    return body


def lowest(dtype):
    return -np.inf if dtype.kind in "fc" else np.iinfo(dtype).min if dtype.kind in "iu" else False


def highest(dtype):
    return np.inf if dtype.kind in "fc" else np.iinfo(dtype).max if dtype.kind in "iu" else True


max = composition(np.max, name="max", also=(np.amax,))(_extremum(_max, "max", X.maximum, lowest))
min = composition(np.min, name="min", also=(np.amin,))(_extremum(_min, "min", X.minimum, highest))


@composition(np.ptp)
def ptp(a, axis=None, out=None, keepdims=False):
    """The range of values (maximum minus minimum) along `axis`; ties share their derivative evenly."""
    return finish(max(a, axis, keepdims=keepdims) - min(a, axis, keepdims=keepdims), out, "ptp")


# Truth and counts ---------------------------------------------------------------------------------------------------

_all = nondifferentiable(
    "logical_and.reduce",
    lambda x, axes, keepdims: np.logical_and.reduce(x, axes, None, None, keepdims),
    public=False,
    batch="trailing",
)
_any = nondifferentiable(
    "logical_or.reduce",
    lambda x, axes, keepdims: np.logical_or.reduce(x, axes, None, None, keepdims),
    public=False,
    batch="trailing",
)
_count = nondifferentiable(
    "count_over",
    lambda x, axes, keepdims: np.count_nonzero(x, axis=axes, keepdims=keepdims),
    public=False,
    batch="trailing",
)


def constant(a):
    """`a` as a Tensor without a tape, for functions whose result has no derivative."""
    a = X.asarray(a)
    return a if a.node is None else a.detach()


@composition(np.all)
def all(a, axis=None, out=None, keepdims=False, *, where=True):
    a = prepared(X.astype(constant(a), bool, copy=False), None, where, fill=True)
    return finish(_all(a, axes_of(a, axis), bool(keepdims)), out, "all")


@composition(np.any)
def any(a, axis=None, out=None, keepdims=False, *, where=True):
    a = prepared(X.astype(constant(a), bool, copy=False), None, where, fill=False)
    return finish(_any(a, axes_of(a, axis), bool(keepdims)), out, "any")


@composition(np.count_nonzero)
def count_nonzero(a, axis=None, *, keepdims=False):
    a = constant(a)
    return _count(a, axes_of(a, axis), bool(keepdims))


def _arg(name, twin):
    primitive = nondifferentiable(
        f"{name}_along", lambda x, axis, keepdims: twin(x, axis=axis, keepdims=keepdims), public=False, batch="trailing"
    )

    def body(a, axis=None, out=None, *, keepdims=False):
        a = constant(a)
        if axis is None:
            y = primitive(a.ravel(), -1, False)
            y = y.reshape((1,) * a.ndim) if keepdims else y
        else:
            y = primitive(a, axis_of(a, axis), bool(keepdims))
        return finish(y, out, name)

    return composition(twin, name=name)(body)


argmax, argmin = _arg("argmax", np.argmax), _arg("argmin", np.argmin)
nanargmax, nanargmin = _arg("nanargmax", np.nanargmax), _arg("nanargmin", np.nanargmin)

# Without NaNs -------------------------------------------------------------------------------------------------------


def missing(a):
    """Where `a` is NaN: a constant mask, or None for dtypes that have no NaN."""
    return X.isnan(constant(a)) if a.dtype.kind in "fc" else None


def _filled(a, fill):
    a = X.asarray(a)
    mask = missing(a)
    return (a, None) if mask is None else (X.where(mask, fill, a), mask)


@composition(np.nansum)
def nansum(a, axis=None, dtype=None, out=None, keepdims=False, initial=0, where=True):
    return sum(_filled(a, 0)[0], axis, dtype, out, keepdims, initial, where)


@composition(np.nanprod)
def nanprod(a, axis=None, dtype=None, out=None, keepdims=False, initial=1, where=True):
    return prod(_filled(a, 1)[0], axis, dtype, out, keepdims, initial, where)


def _present(mask, where):
    return ~mask if where is True else ~mask & X.asarray(where)


@composition(np.nanmean)
def nanmean(a, axis=None, dtype=None, out=None, keepdims=False, *, where=True):
    a, mask = _filled(a, 0)
    if mask is None:
        return mean(a, axis, dtype, out, keepdims, where=where)
    a = prepared(a, dtype, True)
    axes = axes_of(a, axis)
    count = count_of(a, axes, _present(mask, where), keepdims)
    return finish(
        _quotient(sum(a, axes, None, None, keepdims, where=where), count, "Mean of empty slice"), out, "nanmean"
    )


@composition(np.nanvar)
def nanvar(a, axis=None, dtype=None, out=None, ddof=0, keepdims=False, *, where=True, mean=None, correction=None):
    if correction is not None:
        if ddof != 0:
            raise ValueError("ddof and correction can't be provided simultaneously.")
        ddof = correction
    a, mask = _filled(a, 0)
    if mask is None:
        return var(a, axis, dtype, out, ddof, keepdims, where=where, mean=mean)
    a = prepared(a, dtype, True)
    axes = axes_of(a, axis)
    present = _present(mask, where)
    if mean is None:
        mean = sum(a, axes, keepdims=True, where=where) / np.maximum(count_of(a, axes, present, True), 1).astype(
            a.dtype
        )
    d = X.where(present, a - mean, 0)
    freedom = count_of(a, axes, present, keepdims) - ddof
    y = sum(_norm2(d), axes, keepdims=keepdims)
    y = _quotient(y, np.where(freedom > 0, freedom, 1), "")
    if np.any(freedom <= 0):
        warnings.warn("Degrees of freedom <= 0 for slice.", RuntimeWarning, stacklevel=2)
        y = X.where(freedom <= 0, np.nan, y)
    return finish(y, out, "nanvar")


@composition(np.nanstd)
def nanstd(a, axis=None, dtype=None, out=None, ddof=0, keepdims=False, *, where=True, mean=None, correction=None):
    v = nanvar(a, axis, dtype, None, ddof, keepdims, where=where, mean=mean, correction=correction)
    return finish(root(v), out, "nanstd")


def _nan_extremum(name, extremum, worst):
    def body(a, axis=None, out=None, keepdims=False, initial=None, where=True):
        a = X.asarray(a)
        b, mask = _filled(a, worst(a.dtype))
        y = extremum(b, axis, None, keepdims, initial, where)
        if mask is not None and initial is None:
            empty = all(mask, axis, keepdims=keepdims)
            if empty._data.any():
                warnings.warn("All-NaN slice encountered", RuntimeWarning, stacklevel=2)
                y = X.where(empty, np.nan, y)
        return finish(y, out, name)

    return body


nanmax = composition(np.nanmax, name="nanmax")(_nan_extremum("nanmax", max, lowest))
nanmin = composition(np.nanmin, name="nanmin")(_nan_extremum("nanmin", min, highest))
