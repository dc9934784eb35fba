"""Differences, integrals and interpolation of tabulated functions."""

from __future__ import annotations

import numpy as np

from difftensor._backend import several_devices
from difftensor._core import Tensor, X, composition, holds_tensor
from difftensor._ops.cumulative import diff
from difftensor._ops.plain import values
from difftensor._ops.reductions import axes_of, axis_of
from difftensor._ops.sorting import tracked

# Derivatives --------------------------------------------------------------------------------------------------------


def _at(f, axis, part):
    return f[(..., part, *(slice(None),) * (-axis - 1))]


def _spacings(f, varargs, axes):
    """One spacing for each axis: a number, or the differences of the coordinates as a Tensor."""
    if not varargs:
        return [1.0] * len(axes)
    if len(varargs) == 1 and np.ndim(varargs[0]) == 0:
        return list(varargs) * len(axes)
    if len(varargs) != len(axes):
        raise TypeError("invalid number of arguments")
    out = []
    for given, axis in zip(varargs, axes):
        if np.ndim(given) == 0:
            out.append(given)
            continue
        x = X.asarray(given)
        if x.ndim != 1:
            raise ValueError("distances must be either scalars or 1d")
        if x.shape[0] != f.shape[axis]:
            raise ValueError("when 1d, distances must match the length of the corresponding dimension")
        dx = diff(X.astype(x, float) if x.dtype.kind in "iu" else x)
        even = not tracked(dx) and bool((values(dx, "gradient") == values(dx[0], "gradient")).all())
        out.append(dx[0] if even else dx)
    return out


def _uneven(dx1, dx2, place):
    """Weights of three neighbors in the derivative at the first, the middle or the last of them (Lagrange)."""
    total = dx1 + dx2
    if place == 0:
        return -(2.0 * dx1 + dx2) / (dx1 * total), total / (dx1 * dx2), -dx1 / (dx2 * total)
    if place == 1:
        return -dx2 / (dx1 * total), (dx2 - dx1) / (dx1 * dx2), dx1 / (dx2 * total)
    return dx2 / (dx1 * total), -total / (dx1 * dx2), (2.0 * dx2 + dx1) / (dx2 * total)


def _derivative(f, dx, axis, edge_order):
    n = f.shape[axis]
    if n < edge_order + 1:
        raise ValueError(
            "Shape of array too small to calculate a numerical gradient, at least (edge_order + 1) elements are "
            "required."
        )
    even = np.ndim(dx) == 0

    def row(i):
        return _at(f, axis, slice(i, i + 1 or None))

    def spaced(v):
        return v.reshape((-1,) + (1,) * (-axis - 1))

    if even:
        inside = (_at(f, axis, slice(2, None)) - _at(f, axis, slice(None, -2))) / (2.0 * dx)
    else:
        a, b, c = map(spaced, _uneven(dx[:-1], dx[1:], 1))
        inside = a * _at(f, axis, slice(None, -2)) + b * _at(f, axis, slice(1, -1)) + c * _at(f, axis, slice(2, None))
    if edge_order == 1:
        first = (row(1) - row(0)) / (dx if even else dx[0])
        last = (row(-1) - row(-2)) / (dx if even else dx[-1])
    else:
        if even:
            w0, w1 = (-1.5 / dx, 2.0 / dx, -0.5 / dx), (0.5 / dx, -2.0 / dx, 1.5 / dx)
        else:
            w0, w1 = _uneven(dx[0], dx[1], 0), _uneven(dx[-2], dx[-1], 2)
        first = w0[0] * row(0) + w0[1] * row(1) + w0[2] * row(2)
        last = w1[0] * row(-3) + w1[1] * row(-2) + w1[2] * row(-1)
    return X.astype(X.concatenate([first, inside, last], axis=axis), f.dtype, copy=False)


@composition(np.gradient)
def gradient(f, *varargs, axis=None, edge_order=1):
    f = X.asarray(f)
    if f.dtype.kind in "iu":
        f = X.astype(f, float)
    axes = axes_of(f, axis if axis is None or np.ndim(axis) == 0 else tuple(axis))
    spacings = _spacings(f, varargs, axes)
    if edge_order > 2:
        raise ValueError("'edge_order' greater than 2 not supported")
    out = tuple(_derivative(f, dx, k, edge_order) for k, dx in zip(axes, spacings))
    return out[0] if len(out) == 1 else out


# Integrals ----------------------------------------------------------------------------------------------------------


@composition(np.trapezoid)
def trapezoid(y, x=None, dx=1.0, axis=-1):
    y = X.asarray(y)
    axis = axis_of(y, axis)
    if x is not None:
        x = X.asarray(x)
        dx = diff(x).reshape((-1,) + (1,) * (-axis - 1)) if x.ndim == 1 else diff(x, axis=axis)
    return X.sum(dx * (_at(y, axis, slice(1, None)) + _at(y, axis, slice(None, -1))) / 2.0, axis=axis)


# Interpolation ------------------------------------------------------------------------------------------------------


def _table(v):
    """Data points: a raw array where nobody differentiates by them, which spares their part of the tape."""
    raw = np.ndarray if several_devices() else (list, np.ndarray)  # a list is made where the others are
    return np.asarray(v) if isinstance(v, raw) and not holds_tensor(v) else X.asarray(v)


def _real(v):
    return v if v.dtype == float else X.astype(v, float) if isinstance(v, Tensor) else v.astype(float)


@composition(np.interp)
def interp(x, xp, fp, left=None, right=None, period=None):
    x, xp, fp = X.asarray(x), _table(xp), _table(fp)
    for v in (x, xp):
        if v.dtype.kind == "c":
            raise TypeError("interp: Cannot cast array data from complex to float64 according to the rule 'safe'")
    x, xp, fp = _real(x), _real(xp), fp if fp.dtype.kind == "c" else _real(fp)
    if xp.ndim != 1 or fp.ndim != 1:
        raise ValueError("Data points must be 1-D sequences")
    if xp.shape != fp.shape:
        raise ValueError("fp and xp are not of the same length.")
    if not xp.size:
        raise ValueError("array of sample points is empty")
    if period is not None:
        if period == 0:
            raise ValueError("period must be a non-zero value")
        period = X.absolute(X.asarray(period))
        x, xp = x % period, xp % period
        order = np.argsort(values(xp, "interp"))
        xp, fp = xp[order], fp[order]
        xp = X.concatenate([xp[-1:] - period, xp, xp[:1] + period])
        fp = X.concatenate([fp[-1:], fp, fp[:1]])
        left = right = None
    at, nodes = values(x, "interp"), values(xp, "interp")
    n = nodes.size
    k = np.searchsorted(nodes, at, side="right") - 1
    anchor, segment = np.clip(k, 0, n - 1), np.clip(k, 0, max(n - 2, 0))
    y = fp[anchor]
    if n > 1:
        slope = (fp[1:] - fp[:-1]) / (xp[1:] - xp[:-1]) if at.size >= n else None
        slope = (fp[segment + 1] - fp[segment]) / (xp[segment + 1] - xp[segment]) if slope is None else slope[segment]
        y = slope * (x - xp[anchor]) + y
    lost = np.isnan(values(y, "interp"))
    if lost.any() and n > 1:  # an infinite slope times zero: at a node its value counts, else the node at the other end
        other = slope * (x - xp[segment + 1]) + fp[segment + 1]
        y = X.where(lost & (at == nodes[anchor]), fp[anchor], X.where(lost, other, y))
        heights = values(fp, "interp")
        level = np.isnan(values(y, "interp")) & ~np.isnan(at) & (heights[segment] == heights[segment + 1])
        y = X.where(level, fp[segment], y)
    below, above = at < nodes[0], at > nodes[-1]
    if below.any():
        y = X.where(below, fp[0] if left is None else left, y)
    if above.any():
        y = X.where(above, fp[-1] if right is None else right, y)
    y = X.asarray(y)
    return y if y.ndim else y[()]


# Angles -------------------------------------------------------------------------------------------------------------


@composition(np.unwrap)
def unwrap(p, discont=None, axis=-1, *, period=2 * np.pi):
    p = X.asarray(p)
    axis = axis_of(p, axis)
    raw, span = values(p, "unwrap"), values(period, "unwrap")
    moved = np.unwrap(raw, values(discont, "unwrap"), axis, period=span)
    turns = np.around((moved - raw) / span)  # how many periods were added: constants
    dtype = np.result_type(raw.dtype, span) if raw.dtype.kind in "iub" else moved.dtype
    if dtype.kind in "iu":
        return X.asarray(moved)
    return X.astype(X.astype(p, dtype, copy=False) + period * turns.astype(dtype), dtype, copy=False)
