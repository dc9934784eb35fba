"""Running sums, products and extrema, differences; and the linear recurrence that their derivatives are made of."""

from __future__ import annotations

import numpy as np

from difftensor._backend import library, on_gpu
from difftensor._core import X, composition, general, linear
from difftensor._ops.reductions import axis_of, finish, prepared

# The recurrence -----------------------------------------------------------------------------------------------------
#
# y[k] = a[k] y[k-1] + b[k] along the last axis. Its derivatives are recurrences again:
#   push   t[k] = a[k] t[k-1] + (tb[k] + ta[k] y[k-1])
#   pull   c[k] = g[k] + a[k+1] c[k+1];  of b: c[k], of a: c[k] y[k-1]
# Nothing is divided by, so zeros are ordinary values, at every order.

_LANES = 16
_LONG = 256


def _recur(a, b):
    """Few lanes run as Python floats (50 ns a step) or, if they are long, in blocks; many lanes as rows of arrays."""
    dtype = np.result_type(a, b)
    n = b.shape[-1]
    lanes = b.size // n if n else 0
    if b.__class__ is np.ndarray and lanes <= _LANES and n > 4:
        rows = []
        for ra, rb in zip(np.broadcast_to(a, b.shape).reshape(-1, n), b.reshape(-1, n)):
            y = _in_blocks(ra, rb, dtype) if n > _LONG else None
            rows.append(_step_by_step(ra.tolist(), rb.tolist()) if y is None else y)
        return np.array(rows, dtype).reshape(b.shape)
    return _row_by_row(np.broadcast_to(a, b.shape), b.astype(dtype))


def _row_by_row(a, y):
    for k in range(1, y.shape[-1]):
        y[..., k] += a[..., k] * y[..., k - 1]
    return y


def _step_by_step(a, b):
    y = 0.0
    return [y := p * y + q if k else q for k, (p, q) in enumerate(zip(a, b))]


def _in_blocks(a, b, dtype):
    """All blocks side by side, each from 0; then what each inherits from the one before, times the products so far.

    These products may overflow where the steps themselves do not: then None, and the steps decide.
    """
    n = b.size
    width = int(np.sqrt(n))
    count = -(-n // width)
    coefficients, y = np.zeros(count * width, dtype), np.zeros(count * width, dtype)
    coefficients[:n], y[:n] = a, b
    coefficients, y = coefficients.reshape(count, width), y.reshape(count, width)
    with np.errstate(all="ignore"):
        carried = np.multiply.accumulate(coefficients, axis=1)
        y = np.ascontiguousarray(_row_by_row(coefficients.T.copy().T, y.T.copy().T))
        last, start = y[:, -1].tolist(), [0.0]
        for p, q in zip(carried[:-1, -1].tolist(), last[:-1]):
            start.append(p * start[-1] + q)
        carried[0] = 0
        y += carried * np.array(start, dtype)[:, None]
    y = y.reshape(-1)[:n]
    return y if np.isfinite(y).all() else None


def shifted(xp, y, by=1):
    """y[k - 1] (or y[k + 1] for ``by=-1``) at place k along the last axis, 0 at the open end."""
    zero = xp.zeros((*y.shape[:-1], min(1, y.shape[-1])), y.dtype)
    return xp.concatenate([zero, y[..., :-1]], axis=-1) if by > 0 else xp.concatenate([y[..., 1:], zero], axis=-1)


def _pull_recurrence(xp, g, y, a, b):
    c = recurrence(shifted(xp, a, -1)[..., ::-1], g[..., ::-1])[..., ::-1]
    return c * shifted(xp, y), c


def _push_recurrence(xp, ts, y, a, b):
    ta, tb = ts
    t = xp.zeros(y.shape, y.dtype) if tb is None else tb
    return recurrence(a, t if ta is None else t + ta * shifted(xp, y))


recurrence = general(
    "linear_recurrence",
    _recur,
    _pull_recurrence,
    _push_recurrence,
    saves="ay",
    operands=2,
    public=False,
    samples="recurrence",
    batch="trailing",
)

# Running sums and products ------------------------------------------------------------------------------------------


def _reverse(g, axis):
    return g[(..., slice(None, None, -1), *(slice(None),) * (-axis - 1))]


_cumsum = linear(
    "add.accumulate",
    lambda x, axis: np.add.accumulate(x, axis),
    lambda xp, g, shape, axis: _reverse(xp.cumsum(_reverse(g, axis), axis=axis), axis),
    public=False,
    samples="axis",
    batch="trailing",
)


def _last(x, axis):
    return x if axis == -1 else x.swapaxes(axis, -1)


def _pull_cumprod(xp, g, y, x, axis):
    x, y, g = (_last(v, axis) for v in (x, y, g))
    c = recurrence(shifted(xp, x, -1)[..., ::-1], g[..., ::-1])[..., ::-1]
    return _last(c * _before(xp, y), axis)


def _push_cumprod(xp, ts, y, x, axis):
    x, y, t = (_last(v, axis) for v in (x, y, ts[0]))
    return _last(recurrence(x, t * _before(xp, y)), axis)


def _before(xp, y):
    """The running product up to the element before: 1 at the start."""
    one = xp.ones((*y.shape[:-1], min(1, y.shape[-1])), y.dtype)
    return xp.concatenate([one, y[..., :-1]], axis=-1)


_cumprod = general(
    "multiply.accumulate",
    lambda x, axis: np.multiply.accumulate(x, axis),
    _pull_cumprod,
    _push_cumprod,
    saves="xy",
    public=False,
    samples="axis",
    batch="trailing",
)


def _along(a, axis):
    """`a`, flattened if `axis` is None, and the axis counted from the end."""
    if axis is None:
        return a.ravel(), -1
    a = a if a.ndim else a.reshape((1,))
    return a, axis_of(a, axis)


@composition(np.cumsum)
def cumsum(a, axis=None, dtype=None, out=None):
    return finish(_narrowed(_cumsum(*_along(prepared(a, dtype, True), axis)), dtype), out, "cumsum")


@composition(np.cumprod)
def cumprod(a, axis=None, dtype=None, out=None):
    return finish(_narrowed(_cumprod(*_along(prepared(a, dtype, True), axis)), dtype), out, "cumprod")


def _narrowed(y, dtype):
    """NumPy widens the running sums of small integers, unless a dtype is asked for."""
    return y if dtype is None or y.dtype == dtype else X.astype(y, dtype)


def _standard(x, axis, dtype, out, include_initial, function, start, name):
    """The array API's form: axis is needed for more than one dimension, and the empty result may be included."""
    x = X.atleast_1d(X.asarray(x))
    if axis is None:
        if x.ndim > 1:
            raise ValueError("For arrays which have more than one dimension ``axis`` argument is required.")
        axis = 0
    axis = axis_of(x, axis)
    y = function(x, axis, dtype)
    if include_initial:
        first = library(x).full([1 if k - x.ndim == axis else n for k, n in enumerate(x.shape)], start, y.dtype)
        y = X.concatenate([first, y], axis=axis)
    return finish(y, out, name)


@composition(np.cumulative_sum)
def cumulative_sum(x, /, *, axis=None, dtype=None, out=None, include_initial=False):
    return _standard(x, axis, dtype, out, include_initial, cumsum, 0, "cumulative_sum")


@composition(np.cumulative_prod)
def cumulative_prod(x, /, *, axis=None, dtype=None, out=None, include_initial=False):
    return _standard(x, axis, dtype, out, include_initial, cumprod, 1, "cumulative_prod")


# Running extrema ----------------------------------------------------------------------------------------------------
#
# y keeps its value over a run, until a new extreme arrives. Where x equals y inside a run, x is one of the ties; they
# share evenly, so y[k] is the mean of the ties met so far in its run. Sums that start anew with each run are
# recurrences with coefficients 1 (same run) and 0 (a new one).


def _runs(xp, x, y):
    same = xp.astype(shifted(xp, y) == y, x.dtype)
    tie = xp.astype((x == y) | (x != x), x.dtype)
    return same, tie, recurrence(same, tie)


def _pull_running(xp, g, y, x, axis):
    x, y, g = (_last(v, axis) for v in (x, y, g))
    same, tie, count = _runs(xp, x, y)
    return _last(tie * recurrence(shifted(xp, same, -1)[..., ::-1], (g / count)[..., ::-1])[..., ::-1], axis)


def _push_running(xp, ts, y, x, axis):
    x, y, t = (_last(v, axis) for v in (x, y, ts[0]))
    same, tie, count = _runs(xp, x, y)
    return _last(recurrence(same, tie * t) / count, axis)


def _scan(x, axis, ufunc):
    """All running extrema in log2(n) steps, for CuPy, whose ufuncs do not accumulate."""
    y = x.copy().swapaxes(axis, -1)
    step = 1
    while step < y.shape[-1]:
        y[..., step:] = ufunc(y[..., step:], y[..., :-step].copy())
        step *= 2
    return y.swapaxes(axis, -1)


def _running(ufunc):
    return general(
        f"{ufunc.__name__}.accumulate",
        lambda x, axis: _scan(x, axis, ufunc) if on_gpu(x) else ufunc.accumulate(x, axis),
        _pull_running,
        _push_running,
        saves="xy",
        public=False,
        samples="axis",
        batch="trailing",
        kinks="ties met so far share evenly",
        real=True,
    )


running_max, running_min = _running(np.maximum), _running(np.minimum)

# Differences --------------------------------------------------------------------------------------------------------


def _pull_diff(xp, g, shape, axis):
    edge = xp.zeros(tuple(1 if k - len(shape) == axis else n for k, n in enumerate(shape)), g.dtype)
    return -xp.diff(xp.concatenate([edge, g, edge], axis=axis), axis=axis)


_diff = linear(
    "diff_once", lambda x, axis: np.diff(x, axis=axis), _pull_diff, public=False, samples="axis", batch="trailing"
)
_NONE = np._NoValue


@composition(np.diff)
def diff(a, n=1, axis=-1, prepend=_NONE, append=_NONE):
    a = X.asarray(a)
    if n == 0:
        return a
    if n < 0:
        raise ValueError(f"order must be non-negative but got {n!r}")
    if a.ndim == 0:
        raise ValueError("diff requires input that is at least one dimensional")
    axis = axis_of(a, axis)
    ends = [_border(v, a.shape, axis) for v in (prepend, append)]
    if ends != [None, None]:
        a = X.concatenate([v for v in (ends[0], a, ends[1]) if v is not None], axis=axis)
    for _ in range(n):
        a = _diff(a, axis) if a.shape[axis] > 0 else a
    return a


def _border(value, shape, axis):
    if value is _NONE:
        return None
    value = X.asarray(value)
    if value.ndim == 0:
        return X.broadcast_to(value, tuple(1 if k - len(shape) == axis else n for k, n in enumerate(shape)))
    return value


@composition(np.ediff1d)
def ediff1d(ary, to_end=None, to_begin=None):
    x = X.asarray(ary).ravel()
    parts = [x[1:] - x[:-1]]
    for value, name in ((to_begin, "to_begin"), (to_end, "to_end")):
        if value is not None:
            value = X.asarray(value).ravel()
            if not np.can_cast(value.dtype, x.dtype, casting="same_kind"):
                raise TypeError(f"dtype of `{name}` must be compatible with input `ary` under the `same_kind` rule.")
            value = X.astype(value, x.dtype, copy=False)
            parts = [value, *parts] if name == "to_begin" else [*parts, value]
    return X.concatenate(parts) if len(parts) > 1 else parts[0]
