"""Padding in all of NumPy's modes, differentiable in the array and in the values that are put there.

NumPy pads axis by axis, the earlier axes first, so that the corners come out of the last axis.
"""

from __future__ import annotations

import numpy as np

from difftensor._backend import beside, namespace
from difftensor._core import Tensor, X, composition, holds_tensor, linear

_KEYWORDS = {
    "constant": {"constant_values"},
    "edge": set(),
    "linear_ramp": {"end_values"},
    "maximum": {"stat_length"},
    "mean": {"stat_length"},
    "median": {"stat_length"},
    "minimum": {"stat_length"},
    "reflect": {"reflect_type"},
    "symmetric": {"reflect_type"},
    "empty": set(),
    "wrap": set(),
}


def _inside(shape, widths):
    """The index of an array of `shape` in itself padded by `widths`, which belong to its last axes."""
    lead = len(shape) - len(widths)
    return (*(slice(None),) * lead, *(slice(b, b + n) for n, (b, _) in zip(shape[lead:], widths)))


def _among_zeros(x, widths):
    if x.ndim == 1 == len(widths) and x.__class__ is np.ndarray:
        ((before, after),) = widths
        n = len(x)
        y = np.zeros(before + n + after, x.dtype)
        y[before : before + n] = x
        return y
    lead = x.ndim - len(widths)
    shape = (*x.shape[:lead], *(n + b + a for n, (b, a) in zip(x.shape[lead:], widths)))
    y = namespace(x).zeros(shape, x.dtype)
    y[_inside(x.shape, widths)] = x
    return y


_pad_zeros = linear(
    "pad_zeros",
    _among_zeros,
    lambda xp, g, shape, widths: g[_inside(shape, widths)],
    public=False,
    batch="trailing",
)


@composition(np.pad)
def pad(array, pad_width, mode="constant", **kwargs):
    x = array if array.__class__ is Tensor else X.asarray(array)
    if mode == "constant" and not kwargs and pad_width.__class__ is int and pad_width >= 0 and x.dtype.kind in "fc":
        return _pad_zeros(x, ((pad_width, pad_width),) * x.ndim)
    if isinstance(pad_width, dict):
        pad_width = [_pair(pad_width.get(i, pad_width.get(i - x.ndim, 0))) for i in range(x.ndim)]
    widths = np.asarray(pad_width)
    if widths.dtype.kind not in "iu":
        raise TypeError("`pad_width` must be of integral type.")
    if (widths < 0).any():
        raise ValueError("index can't contain negative values")
    widths = np.broadcast_to(widths, (x.ndim, 2)).tolist()
    if callable(mode):
        return _by_function(x, widths, mode, kwargs)
    if mode not in _KEYWORDS:
        raise ValueError(f"mode '{mode}' is not supported")
    unknown = set(kwargs) - _KEYWORDS[mode]
    if unknown:
        raise ValueError(f"unsupported keyword arguments for mode '{mode}': {unknown}")
    if mode in ("constant", "empty"):
        value = kwargs.get("constant_values", 0)
        if value.__class__ is int and value == 0 and x.dtype.kind in "fc":
            return _pad_zeros(x, tuple(map(tuple, widths)))
        return _surround(x, widths, value)
    if mode == "linear_ramp":
        ends = _per_axis(kwargs.get("end_values", 0), x.ndim)
        for i, (before, after) in enumerate(widths):
            first, last = _edges(x, i)
            x = _join(i, _ramp(ends[i][0], first, before, i), x, _ramp(ends[i][1], last, after, i)[::-1], x.dtype)
        return x
    if mode in ("maximum", "minimum", "mean", "median"):
        lengths = kwargs.get("stat_length")
        lengths = [(None, None)] * x.ndim if lengths is None else np.broadcast_to(lengths, (x.ndim, 2)).tolist()
        for i, (before, after) in enumerate(widths):
            x = _statistic(x, i, before, after, mode, lengths[i])
        return x
    odd = kwargs.get("reflect_type", "even") == "odd"
    for i, (before, after) in enumerate(widths):
        if not before and not after:
            continue
        if not x.shape[i]:
            raise ValueError(f"can't extend empty axis {i} using modes other than 'constant' or 'empty'")
        x = _odd(x, i, before, after, mode) if odd and x.shape[i] > 1 else _mirrored(x, i, before, after, mode)
    return x


def _pair(v):
    return (v, v) if np.ndim(v) == 0 else tuple(v)


def _per_axis(values, n):
    """Values of (before, after) for each axis, broadcast as NumPy does; Tensors stay differentiable."""
    if not isinstance(values, Tensor) and not holds_tensor(values):
        return np.broadcast_to(values, (n, 2)).tolist()
    rows = X.broadcast_to(X.asarray(values), (n, 2))
    return [[rows[i, 0], rows[i, 1]] for i in range(n)]


def _join(axis, before, x, after, dtype):
    """`x` between pieces whose first axis runs along `axis`."""
    parts = [X.moveaxis(before, 0, axis), x, X.moveaxis(after, 0, axis)]
    parts = [X.astype(p, dtype, copy=False) for p in parts if p.shape[axis]]
    return X.concatenate(parts, axis) if len(parts) > 1 else x


def _edges(x, axis):
    if not x.shape[axis]:
        raise ValueError(f"can't extend empty axis {axis} using modes other than 'constant' or 'empty'")
    rows = X.moveaxis(x, axis, 0)
    return rows[0], rows[-1]


def _surround(x, widths, values):
    """Constants around: one write into a larger array, if all are the same number."""
    dtype = x.dtype
    if not isinstance(values, Tensor) and not holds_tensor(values) and np.all(np.ravel(values)[0] == values):
        shape = tuple(b + n + a for n, (b, a) in zip(x.shape, widths))
        big = X.full(shape, np.ravel(values)[0], dtype, device=x.device)
        big[tuple(slice(b, b + n) for n, (b, a) in zip(x.shape, widths))] = x
        return big
    for i, ((before, after), (low, high)) in enumerate(zip(widths, _per_axis(values, x.ndim))):
        rest = x.shape[:i] + x.shape[i + 1 :]
        pieces = [X.broadcast_to(_beside(v, x), (w, *rest)) for v, w in ((low, before), (high, after))]
        x = _join(i, pieces[0], x, pieces[1], dtype)
    return x


def _beside(v, x):
    return v if isinstance(v, Tensor) else X.asarray(v, device=x.device)


def _ramp(end, edge, width, axis):
    """From `end` towards `edge`, which itself is not repeated."""
    edge_float = X.astype(edge, float) if edge.dtype.kind in "iub" else edge
    ramp = X.linspace(end, edge_float, width, endpoint=False)
    return X.floor(ramp) if edge.dtype.kind in "iu" else ramp


def _statistic(x, axis, before, after, mode, lengths):
    n = x.shape[axis]
    if (before or after) and not n:
        raise ValueError(f"can't extend empty axis {axis} using modes other than 'constant' or 'empty'")
    if not before and not after:
        return x
    f = {"maximum": X.max, "minimum": X.min, "mean": X.mean, "median": X.median}[mode]
    rows = X.moveaxis(x, axis, 0)
    pieces = []
    for width, length, from_start in ((before, lengths[0], True), (after, lengths[1], False)):
        k = n if length is None else min(int(length), n)
        if k <= 0:
            if mode in ("maximum", "minimum"):
                raise ValueError("stat_length of 0 yields no value for padding")
            k = 0
        v = f(rows[:k] if from_start else rows[n - k :], axis=0, keepdims=True)
        if x.dtype.kind in "iu" and v.dtype.kind == "f":
            v = X.rint(v)
        pieces.append(X.broadcast_to(v, (width, *v.shape[1:])))
    return _join(axis, pieces[0], x, pieces[1], x.dtype)


def _mirrored(x, axis, before, after, mode):
    """Modes that repeat elements: NumPy tells which, on an array of their numbers."""
    return X.take(x, beside(np.pad(np.arange(x.shape[axis]), (before, after), mode), x), axis)


def _odd(x, axis, before, after, mode):
    """Point reflection about the edge values.

    About the first sample (``reflect``) f(-k) = 2 f(0) - f(k), about half a step before it (``symmetric``)
    f(-1 - k) = 2 f(0) - f(k); likewise at the end, so that f gains 2 (f(n-1) - f(0)) over each period.
    """
    n = x.shape[axis]
    k = np.arange(-before, n + after)
    period = 2 * (n - 1) if mode == "reflect" else 2 * n
    turns, place = np.divmod(k, period)
    mirrored = place >= n
    index = np.where(mirrored, period - place - (mode == "symmetric"), place)
    rows = X.moveaxis(x, axis, 0)
    column = (-1,) + (1,) * (x.ndim - 1)
    kind = x.dtype.type
    weights = np.where(mirrored, -1, 1), np.where(mirrored, 2, 0), 2 * turns
    sign, at_end, gain = (beside(v.reshape(column).astype(kind), x) for v in weights)
    # weights of 0 are no terms: edges may be infinite
    end = X.where(at_end != 0, at_end * rows[-1:], 0)
    gained = X.where(gain != 0, gain * (rows[-1:] - rows[:1]), 0)
    return X.moveaxis(sign * rows[beside(index, x)] + end + gained, 0, axis)


def _by_function(x, widths, function, keywords):
    """``function(vector, widths, axis, keywords)`` writes into each row, which is padded with zeros."""
    x = _surround(x, widths, 0)
    for i, pair in enumerate(widths):
        rows = X.moveaxis(x, i, -1)
        out = []
        for index in np.ndindex(rows.shape[:-1]):
            row = X.copy(rows[index])
            function(row, tuple(pair), i, keywords)
            out.append(row)
        if out:
            x = X.moveaxis(X.stack(out).reshape(rows.shape), -1, i)
    return x
