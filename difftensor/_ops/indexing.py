"""Indexing and assignment."""

from __future__ import annotations

import operator

import numpy as np

from difftensor._core import Scatter, Tensor, X, linear, operand, write
from difftensor._core import composition, general, wrap
from difftensor._core.fitting import fit
from difftensor.errors import explain

_BASIC = (int, slice, type(None), type(Ellipsis))


def _plain(i):
    """One part of an index with raw arrays only. Index arrays are copied: the tape relies on them."""
    if i.__class__ in _BASIC:
        return i
    if isinstance(i, Tensor):
        if i.dtype.kind not in "iub":
            raise IndexError("arrays used as indices must be of integer (or boolean) type")
        d = i._data
        return d.copy() if isinstance(d, np.ndarray) else d
    if isinstance(i, np.ndarray):
        return i.copy()
    if isinstance(i, (list, tuple)):
        a = np.asarray([_plain(k) for k in i] if any(isinstance(k, Tensor) for k in i) else i)
        return a.astype(np.intp) if a.size == 0 else a
    if isinstance(i, slice):
        return i
    return i


def static(index):
    """`index` with raw arrays only."""
    if index.__class__ is tuple:
        for i in index:
            if i.__class__ not in _BASIC:
                return tuple(_bounds(_plain(k)) for k in index)
        return tuple(map(_bounds, index)) if _has_tensor_bounds(index) else index
    return _bounds(_plain(index))


def _has_tensor_bounds(index):
    return any(i.__class__ is slice and (isinstance(i.start, Tensor) or isinstance(i.stop, Tensor) or isinstance(i.step, Tensor)) for i in index)


def _bounds(i):
    if i.__class__ is slice and (isinstance(i.start, Tensor) or isinstance(i.stop, Tensor) or isinstance(i.step, Tensor)):
        return slice(*(k.__index__() if isinstance(k, Tensor) else k for k in (i.start, i.stop, i.step)))
    return i


def _repeats(index):
    """May `index` name an element twice?"""
    parts = index if index.__class__ is tuple else (index,)
    for i in parts:
        if i.__class__ not in _BASIC and getattr(i, "ndim", 0) and i.dtype.kind in "iu":
            return True
    return False


getitem = linear("getitem", operator.getitem, lambda xp, g, shape, index: Scatter(g, index, shape, _repeats(index)), views=True, public=False,
                 normalize=lambda params: (static(params[0]),), usual=(int,))


def setitem(x, index, value):
    """``x[index] = value``."""
    value = operand(value, "setitem")
    if not isinstance(value, Tensor) and isinstance(value, np.ndarray):
        value = value.copy() if value.nbytes <= 4096 else value
    index = static(index)
    try:
        write(x, index, value)
    except (IndexError, ValueError, TypeError) as error:
        raise explain("setitem", (x, value), error, (index,)) from error


# where ------------------------------------------------------------------------------------------------------------------


def _pull_where(xp, g, y, c, a, b, fa, fb):
    ga = None if fa is None else fit(xp.where(c, g, 0), *fa)
    gb = None if fb is None else fit(xp.where(c, 0, g), *fb)
    return None, ga, gb


def _push_where(xp, ts, y, c, a, b, fa, fb):
    _, ta, tb = ts
    return xp.where(c, 0 if ta is None else ta, 0 if tb is None else tb)


_where = general("where_else", lambda c, a, b, fa, fb: np.where(c, a, b), _pull_where, _push_where, saves="a", operands=3, public=False, samples="where")


def _like(x):
    return (x.shape, x.dtype) if isinstance(x, Tensor) and x.dtype.kind in "fc" else None


@composition(np.where)
def where(condition, x=None, y=None, /):
    if x is None and y is None:
        return X.nonzero(condition)
    if x is None or y is None:
        raise ValueError("either both or neither of x and y should be given")
    condition = operand(condition, "where")
    c = condition.detach() if isinstance(condition, Tensor) else wrap(np.asarray(condition, dtype=bool))
    x, y = operand(x, "where"), operand(y, "where")
    out = _where(c, x, y, _like(x), _like(y))
    shape = out.shape
    return out if out.node is None else _broadcast_tangent(out, shape)


def _broadcast_tangent(out, shape):
    return out


__all__ = ["getitem", "setitem", "static", "where"]
