"""Splitting arrays: views, all of them."""

from __future__ import annotations

import numpy as np

from difftensor._core import X, composition
from difftensor._ops.reductions import axes_of


@composition(np.array_split)
def array_split(ary, indices_or_sections, axis=0):
    ary = X.asarray(ary)
    axis = axes_of(ary, axis)[0]
    n = ary.shape[axis]
    if np.ndim(indices_or_sections):
        edges = [None, *(int(i) for i in indices_or_sections), None]
    else:
        sections = int(indices_or_sections)
        if sections <= 0:
            raise ValueError("number sections must be larger than 0.")
        each, extra = divmod(n, sections)
        edges = np.cumsum([0] + extra * [each + 1] + (sections - extra) * [each]).tolist()
    tail = (slice(None),) * (-axis - 1)
    return [ary[(..., slice(start, stop), *tail)] for start, stop in zip(edges, edges[1:])]


@composition(np.split)
def split(ary, indices_or_sections, axis=0):
    ary = X.asarray(ary)
    if not np.ndim(indices_or_sections) and ary.shape[axes_of(ary, axis)[0]] % int(indices_or_sections):
        raise ValueError("array split does not result in an equal division")
    return array_split(ary, indices_or_sections, axis)


def _split_along(name, least, axis):
    def body(ary, indices_or_sections):
        ary = X.asarray(ary)
        if ary.ndim < least:
            raise ValueError(f"{name} only works on arrays of {least} or more dimensions")
        return split(ary, indices_or_sections, 0 if ary.ndim == 1 else axis)

    return body


hsplit = composition(np.hsplit, name="hsplit")(_split_along("hsplit", 1, 1))
vsplit = composition(np.vsplit, name="vsplit")(_split_along("vsplit", 2, 0))
dsplit = composition(np.dsplit, name="dsplit")(_split_along("dsplit", 3, 2))


@composition(np.unstack)
def unstack(x, /, *, axis=0):
    x = X.asarray(x)
    if x.ndim == 0:
        raise ValueError("Input array must be at least 1-d.")
    return tuple(X.moveaxis(x, axis, 0))
