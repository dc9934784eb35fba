"""Sums, products, extrema, means along axes."""

from __future__ import annotations

import numpy as np

from difftensor._core import Tensor, X, composition, general, linear, nondifferentiable, write_out


def axes_of(x, axis) -> tuple[int, ...]:
    """`axis` as a tuple of axes counted from the end; None: all of them."""
    n = x.ndim
    if axis is None:
        return tuple(range(-n, 0))
    if axis.__class__ is not tuple:
        axis = (axis,)
    out = []
    for a in axis:
        i = a.__index__()
        if not -n <= i < n:
            raise np.exceptions.AxisError(i, n)
        out.append(i - n if i >= 0 else i)
    if len(set(out)) != len(out):
        raise ValueError("duplicate value in 'axis'")
    return tuple(out)


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


_sum = linear("add.reduce", lambda x, axes, keepdims: np.add.reduce(x, axes, None, None, keepdims), lambda xp, g, shape, axes, keepdims: spread(xp, g, shape, axes, keepdims),
              public=False, samples="axes")


def finish(y, out, keywords_name="reduction"):
    return y if out is None else write_out(keywords_name, y, out)


_NONE = object()


def prepared(x, dtype, where, initial=_NONE, fill=0):
    """`x` as a reduction reads it: cast, and with `fill` where it is not to be read."""
    if not isinstance(x, Tensor):
        x = X.asarray(x)
    if dtype is not None:
        x = X.astype(x, dtype)
    if where is not True:
        x = X.where(where, x, fill)
    return x


@composition(np.sum)
def sum(a, axis=None, dtype=None, out=None, keepdims=False, initial=0, where=True):
    if dtype is not None or where is not True or a.__class__ is not Tensor:
        a = prepared(a, dtype, where)
    n = a._data.ndim
    if axis is None:
        axes = _ALL[n] if n < 8 else axes_of(a, None)
    else:
        axes = axes_of(a, axis)
    y = _sum(a, axes, keepdims is True or bool(keepdims))
    if initial is not None and not (initial.__class__ is int and initial == 0):
        y = y + initial
    return y if out is None else write_out("sum", y, out)


_ALL = tuple(tuple(range(-n, 0)) for n in range(8))


def _count(x, axes, where):
    """How many elements each result is made of: an int, or an array of them with `where`."""
    if where is True:
        return int(np.prod([x.shape[i] for i in axes], dtype=np.int64))
    mask = where._data if isinstance(where, Tensor) else where
    return mask


def _mean_dtype(x, dtype):
    return np.float64 if dtype is None and x.dtype.kind in "iub" else dtype


@composition(np.mean)
def mean(a, axis=None, dtype=None, out=None, keepdims=False, *, where=True):
    a = prepared(a, _mean_dtype(a, dtype) if isinstance(a, Tensor) else dtype, True)
    axes = axes_of(a, axis)
    count = counted(a, axes, where, keepdims)
    y = sum(a, axes, keepdims=keepdims, where=where) / count
    if y.dtype != a.dtype:
        y = X.astype(y, a.dtype)
    return finish(y, out, "mean")


def counted(a, axes, where, keepdims):
    """The number of elements behind each result."""
    if where is True:
        return _count(a, axes, True)
    mask = where._data if isinstance(where, Tensor) else np.asarray(where)
    return np.add.reduce(np.broadcast_to(mask, a.shape).astype(np.intp), axes, keepdims=bool(keepdims))


@composition(np.var)
def var(a, axis=None, dtype=None, out=None, ddof=0, keepdims=False, *, where=True, mean=None, correction=None):
    if correction is not None:
        ddof = correction
    a = prepared(a, _mean_dtype(a, dtype) if isinstance(a, Tensor) else dtype, True)
    axes = axes_of(a, axis)
    count = counted(a, axes, where, keepdims)
    centre = sum(a, axes, keepdims=True, where=where) / counted(a, axes, where, True) if mean is None else mean
    d = a - centre
    squares = X.real(d) ** 2 + X.imag(d) ** 2 if d.dtype.kind == "c" else d * d
    freedom = count - ddof
    freedom = max(freedom, 0) if isinstance(freedom, (int, float)) else np.maximum(freedom, 0)
    if isinstance(freedom, (int, float)):
        freedom = np.float64(freedom) if squares.dtype == np.float64 else squares.dtype.type(freedom)
    return finish(sum(squares, axes, keepdims=keepdims, where=where) / freedom, out, "var")


def _pull_root(xp, g, y, x):
    """d sqrt(v) = g / (2 y); 0 where y = 0, the subgradient of a standard deviation or norm there."""
    return xp.where(y == 0, 0, 0.5 * g / xp.where(y == 0, 1, y))


root = None  # declared below, with the kinds at hand


@composition(np.std)
def std(a, axis=None, dtype=None, out=None, ddof=0, keepdims=False, *, where=True, mean=None, correction=None):
    v = var(a, axis, dtype, None, ddof, keepdims, where=where, mean=mean, correction=correction)
    return finish(root(v), out, "std")


def _declare_root():
    from difftensor._core import unary

    return unary("root_or_zero", np.sqrt, _pull_root, saves="y", numpy=None, kinks="0 at 0", samples=[(0.2, 4.0)])


root = _declare_root()


# Extrema -------------------------------------------------------------------------------------------------------------


def _pull_extremum(xp, g, y, x, axes, keepdims):
    """The cotangent goes to the extrema, in equal shares."""
    full = spread(xp, y, x.shape, axes, keepdims)
    hit = (x == full) | ((x != x) & (full != full))
    count = xp.sum(hit, axis=axes, keepdims=True)
    g = spread(xp, g, x.shape, axes, keepdims)
    return xp.where(hit, g / xp.astype(count, g.dtype), 0)


def _push_extremum(xp, ts, y, x, axes, keepdims):
    full = spread(xp, y, x.shape, axes, keepdims)
    hit = (x == full) | ((x != x) & (full != full))
    count = xp.astype(xp.sum(hit, axis=axes, keepdims=keepdims), y.dtype)
    return xp.sum(xp.where(hit, ts[0], 0), axis=axes, keepdims=keepdims) / count


_max = general("maximum.reduce", lambda x, axes, keepdims: np.maximum.reduce(x, axes, None, None, keepdims), _pull_extremum, _push_extremum, saves="xy", public=False,
               kinks="ties share evenly", samples="axes", real=True)
_min = general("minimum.reduce", lambda x, axes, keepdims: np.minimum.reduce(x, axes, None, None, keepdims), _pull_extremum, _push_extremum, saves="xy", public=False,
               kinks="ties share evenly", samples="axes", real=True)


def _extremum(primitive, twin, pairwise, worst):
    def body(a, axis=None, out=None, keepdims=False, initial=None, where=True):
        if where is not True and initial is None:
            raise ValueError(f"reduction operation '{twin.__name__}' does not have an identity, so to use a where mask one has to specify 'initial'")
        a = prepared(a, None, where, fill=worst(a.dtype) if where is not True else 0)
        if a.dtype.kind == "b":
            a = X.astype(a, bool)
        y = primitive(a, axes_of(a, axis), bool(keepdims))
        if initial is not None:
            y = pairwise(y, initial)
        return finish(y, out, twin.__name__)

    body.__name__ = twin.__name__
    return body


def _lowest(dtype):
    return -np.inf if dtype.kind == "f" else np.iinfo(dtype).min if dtype.kind in "iu" else False


def _highest(dtype):
    return np.inf if dtype.kind == "f" else np.iinfo(dtype).max if dtype.kind in "iu" else True


max = composition(np.max, name="max", also=(np.amax,))(_extremum(_max, np.max, X.maximum, _lowest))
min = composition(np.min, name="min", also=(np.amin,))(_extremum(_min, np.min, X.minimum, _highest))

# Truth ------------------------------------------------------------------------------------------------------------------

_all = nondifferentiable("logical_and.reduce", lambda x, axes, keepdims: np.logical_and.reduce(x, axes, None, None, keepdims), public=False)
_any = nondifferentiable("logical_or.reduce", lambda x, axes, keepdims: np.logical_or.reduce(x, axes, None, None, keepdims), public=False)


@composition(np.all)
def all(a, axis=None, out=None, keepdims=False, *, where=True):
    a = prepared(X.astype(X.asarray(a), bool), None, where, fill=True)
    return finish(_all(a, axes_of(a, axis), bool(keepdims)), out, "all")


@composition(np.any)
def any(a, axis=None, out=None, keepdims=False, *, where=True):
    a = prepared(X.astype(X.asarray(a), bool), None, where, fill=False)
    return finish(_any(a, axes_of(a, axis), bool(keepdims)), out, "any")
