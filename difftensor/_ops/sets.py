"""Sets: which elements belong is constant, their values flow from the places where NumPy found them."""

from __future__ import annotations

import numpy as np

from difftensor._backend import namespace, on_gpu
from difftensor._core import X, composition, wrap
from difftensor._ops.plain import tensors, values
from difftensor._ops.sorting import tracked


@composition(np.unique)
def unique(
    ar, return_index=False, return_inverse=False, return_counts=False, axis=None, *, equal_nan=True, sorted=True
):
    ar = X.asarray(ar)
    raw = values(ar, "unique")
    if not tracked(ar):
        if on_gpu(raw):  # always sorted
            return tensors(np.unique(raw, return_index, return_inverse, return_counts, axis, equal_nan=equal_nan))
        return tensors(
            np.unique(raw, return_index, return_inverse, return_counts, axis, equal_nan=equal_nan, sorted=sorted)
        )
    found = np.unique(raw, True, return_inverse, return_counts, axis, equal_nan=equal_nan)
    index = found[1]
    # NumPy's unsorted order
    if not (on_gpu(raw) or sorted or return_index or return_inverse or return_counts or axis is not None):
        index = index[np.searchsorted(found[0], np.unique(raw, equal_nan=equal_nan, sorted=False))]
    kept = X.take(ar.ravel() if axis is None else ar, index, axis=0 if axis is None else axis)
    rest = [wrap(v) for v in (found[1:] if return_index else found[2:])]
    return (kept, *rest) if rest else kept


def _standard(twin, **wanted):
    """The array API's functions: always flat, NaNs distinct, named results."""

    def body(x, /):
        found = unique(x, equal_nan=False, **wanted)
        made = twin(np.zeros(0))
        if not isinstance(made, tuple):
            return found
        return type(made)(*found)

    return composition(twin, name=twin.__name__)(body)


unique_values = _standard(np.unique_values, sorted=False)
unique_counts = _standard(np.unique_counts, return_counts=True)
unique_inverse = _standard(np.unique_inverse, return_inverse=True)
unique_all = _standard(np.unique_all, return_index=True, return_inverse=True, return_counts=True)


def _flat(*arrays):
    return [X.asarray(a).ravel() for a in arrays]


@composition(np.union1d)
def union1d(ar1, ar2):
    return unique(X.concatenate(_flat(ar1, ar2)))


@composition(np.intersect1d)
def intersect1d(ar1, ar2, assume_unique=False, return_indices=False):
    """The common values, as those of `ar1` where both have them."""
    a, b = _flat(ar1, ar2)
    found, i, j = np.intersect1d(values(a, "intersect1d"), values(b, "intersect1d"), assume_unique, return_indices=True)
    y = X.astype(a[i], found.dtype, copy=False)
    return (y, wrap(i), wrap(j)) if return_indices else y


@composition(np.setdiff1d)
def setdiff1d(ar1, ar2, assume_unique=False):
    a, b = _flat(ar1, ar2)
    a = a if assume_unique else unique(a)
    return a[np.isin(values(a, "setdiff1d"), values(b, "setdiff1d"), assume_unique=True, invert=True)]


@composition(np.setxor1d)
def setxor1d(ar1, ar2, assume_unique=False):
    parts = _flat(ar1, ar2)
    both = X.concatenate(parts if assume_unique else [unique(v) for v in parts])
    raw = values(both, "setxor1d")
    order = np.argsort(raw, kind="stable")
    end = namespace(raw).ones(1, bool)
    edge = np.concatenate([end, raw[order][1:] != raw[order][:-1], end]) if raw.size else end[:0]
    return both[order[edge[1:] & edge[:-1]]]
