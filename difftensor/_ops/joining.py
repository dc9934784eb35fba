"""Joining and splitting arrays."""

from __future__ import annotations

import numpy as np

from difftensor._core import Tensor, X, composition, general, operand
from difftensor._core.fitting import fit
from difftensor._ops.reductions import axes_of


def _pull_concatenate(xp, g, y, xs, axis):
    """Each operand gets its slice."""
    out, start = [], 0
    tail = (slice(None),) * (-axis - 1)
    for x in xs:
        stop = start + x.shape[axis]
        out.append(fit(g[(..., slice(start, stop), *tail)], x.shape, x.dtype))
        start = stop
    return tuple(out)


def _filled(xp, ts, xs):
    like = next(t for t in ts if t is not None)
    return [xp.zeros(x.shape, like.dtype) if t is None else t for t, x in zip(ts, xs, strict=True)]


_concatenate = general("concatenate_along", lambda xs, axis: np.concatenate(xs, axis=axis), _pull_concatenate,
                       lambda xp, ts, y, xs, axis: xp.concatenate(_filled(xp, ts, xs), axis=axis), operands=None, public=False, samples="sequence")


def _parts(arrays, name):
    """The operands of a joining function: rows of a Tensor, or the members of a sequence."""
    if isinstance(arrays, Tensor):
        return [arrays[i] for i in range(arrays.shape[0])]
    return [v if isinstance(v, Tensor) or hasattr(v, "ndim") else X.asarray(operand(v, name)) for v in arrays]


@composition(np.concatenate, also=(getattr(np, "concat", np.concatenate),))
def concatenate(arrays, /, axis=0, out=None, *, dtype=None, casting="same_kind"):
    xs = _parts(arrays, "concatenate")
    if axis is None:
        xs = [X.ravel(X.asarray(v)) for v in xs]
        axis = 0
    y = _concatenate(xs, axes_of(xs[0], axis)[0])
    if dtype is not None:
        y = X.astype(y, dtype, casting=casting)
    return y if out is None else X.write_out("concatenate", y, out)


@composition(np.stack)
def stack(arrays, axis=0, out=None, *, dtype=None, casting="same_kind"):
    xs = _parts(arrays, "stack")
    if not xs:
        raise ValueError("need at least one array to stack")
    shapes = {v.shape for v in xs}
    if len(shapes) != 1:
        raise ValueError(f"all input arrays must have the same shape, found {sorted(shapes)}")
    n = xs[0].ndim + 1
    if not -n <= axis < n:
        raise np.exceptions.AxisError(axis, n)
    return concatenate([X.expand_dims(X.asarray(v), axis) for v in xs], axis=axis, out=out, dtype=dtype, casting=casting)
