"""Convolution as one matrix product (im2col), on arrays in the memory order channel, space, batch.

With the batch innermost, the elements of a window that are neighbors for one example are rows of ``width * batch``
numbers in memory: gathering windows copies long runs, whatever the kernel, and the pullback adds long runs. Results
keep that order behind their shape ``(N, C, *space)``, so a chain of layers never rearranges anything.

Windows are gathered in pieces along the first axis of space, and gathered again in the pullback: no more memory than
the layer's own arrays, and on a CPU what the product reads is still in the cache.
"""

from __future__ import annotations

from functools import lru_cache
from itertools import product
from math import prod
from typing import Any

import numpy as np

from ._geometry import Geometry

BLOCK, DEVICE_BLOCK = 1 << 19, 1 << 28  # bytes of windows at once; on a CPU up to 8 MiB is no faster, a GPU needs work

ADDING = 1.5  # adding products to where they belong costs about so many times as much as gathering windows


def _contiguous(x: Any) -> Any:
    return x if x.flags.c_contiguous else x.copy()


def _batch_last(x: Any) -> Any:
    """``(N, C, *space)`` as a contiguous ``(C, *space, N)``; no copy where the memory is so already."""
    return _contiguous(x.transpose(*range(1, x.ndim), 0))


def _batch_first(y: Any) -> Any:
    """``(C, *space, N)`` seen as ``(N, C, *space)``."""
    return y.transpose(y.ndim - 1, *range(y.ndim - 1))


def _windows(x: Any, kernel: tuple, geo: Geometry) -> Any:
    """A view ``(C, *kernel, *out, N)`` of `x` in batch-last order with its margins."""
    if any(map(any, geo.padding)):
        n, c, *space = x.shape
        wide = np.zeros_like(x, order="C", shape=(c, *geo.wide(space), n))
        wide[(slice(None), *geo.inside(space))] = x.transpose(*range(1, x.ndim), 0)
    else:
        wide = _batch_last(x)
    axes = tuple(range(1, len(kernel) + 1))
    reach = tuple(d * (k - 1) + 1 for k, d in zip(kernel, geo.dilation))
    view = np.lib.stride_tricks.sliding_window_view(wide, reach, axes)  # (C, *starts, N, *reach)
    skip = (slice(None), *(slice(None, None, s) for s in geo.stride), slice(None))
    view = view[(*skip, *(slice(None, None, d) for d in geo.dilation))]
    return view.transpose(0, *range(view.ndim - len(kernel), view.ndim), *axes, len(kernel) + 1)


def _pieces(like: Any, elements: int, rows: int, times: int = 1) -> list[slice]:
    """Slices of the first axis of the result, so that each has about `times` blocks of windows."""
    block = times * (BLOCK if isinstance(like, np.ndarray) else DEVICE_BLOCK)
    step = max(1, rows * block // max(elements * like.itemsize, 1))
    return [slice(r, min(r + step, rows)) for r in range(0, rows, step)]


def correlate(x: Any, w: Any, geo: Geometry) -> Any:
    """``(N, O, *out)`` of ``x (N, C, *space)`` and ``w (O, C / groups, *kernel)``."""
    (o, cg, *kernel), n, ahead = w.shape, x.shape[0], (slice(None),) * (w.ndim - 1)
    out, taps = geo.out(x.shape[2:], tuple(kernel)), prod(kernel)
    win = _windows(x, tuple(kernel), geo)
    w = _contiguous(w).reshape(geo.groups, o // geo.groups, cg * taps)
    parts = _pieces(x, win.size, out[0])
    y: Any = None
    for rows in parts:
        part = w @ win[(*ahead, rows)].reshape(geo.groups, cg * taps, -1)
        part = part.reshape(o, rows.stop - rows.start, *out[1:], n)
        if len(parts) == 1:
            return _batch_first(part)
        y = np.empty_like(part, order="C", shape=(o, *out, n)) if y is None else y
        y[:, rows] = part
    return _batch_first(y)


def _margins(kernel: tuple, geo: Geometry) -> tuple:
    """Of a cotangent at stride 1, so that its correlation with the kernel turned round has the size of the input."""
    return tuple(tuple(d * (k - 1) - p for p in ps) for k, d, ps in zip(kernel, geo.dilation, geo.padding))


def turns(w_shape: tuple, geo: Geometry) -> bool:
    """Is `scatter` a correlation with the kernel turned round, rather than products added to where they belong?"""
    few = w_shape[0] <= ADDING * w_shape[1] * geo.groups
    return few and set(geo.stride) == {1} and min(map(min, _margins(w_shape[2:], geo))) >= 0


@lru_cache(maxsize=256)
def _taps(kernel: tuple, sizes: tuple, stride: tuple, dilation: tuple) -> list[tuple]:
    """Each element of the kernel, and the elements that it meets in `sizes` windows; channels in front of both."""
    axes = lambda tap: zip(tap, sizes, stride, dilation)  # noqa: E731
    return [
        ((slice(None), *tap), (slice(None), *(slice(t * d, t * d + s * (m - 1) + 1, s) for t, m, s, d in axes(tap))))
        for tap in product(*map(range, kernel))
    ]


def scatter(g: Any, w: Any, space: tuple, geo: Geometry) -> Any:
    """The transpose in x: ``(N, C, *space)`` of ``g (N, O, *out)`` and w."""
    o, cg, *kernel = w.shape
    n, out, c = g.shape[0], g.shape[2:], cg * geo.groups
    if turns(w.shape, geo):
        turned = w.reshape(geo.groups, -1, *w.shape[1:])[(..., *(slice(None, None, -1),) * len(kernel))]
        margins = _margins(tuple(kernel), geo)
        return correlate(g, turned.swapaxes(1, 2).reshape(c, -1, *kernel), geo._replace(padding=margins))
    wide = np.zeros_like(g, order="C", dtype=np.result_type(g.dtype, w.dtype), shape=(c, *geo.wide(space), n))
    g = _batch_last(g).reshape(geo.groups, o // geo.groups, out[0], -1)
    w = _contiguous(w).reshape(geo.groups, o // geo.groups, -1).transpose(0, 2, 1)
    for rows in _pieces(g, c * prod(kernel) * prod(out) * n, out[0], 3):  # larger ones: each is added tap by tap
        sizes = (rows.stop - rows.start, *out[1:])
        part = (w @ g[:, :, rows].reshape(*g.shape[:2], -1)).reshape(c, *kernel, *sizes, n)
        below = wide[:, rows.start * geo.stride[0] :]
        for tap, at in _taps(tuple(kernel), sizes, geo.stride, geo.dilation):
            below[at] += part[tap]
    return _batch_first(wide[(slice(None), *geo.inside(space))])


def gather(g: Any, x: Any, kernel: tuple, geo: Geometry) -> Any:
    """The transpose in w: ``(O, C / groups, *kernel)`` of g and x."""
    o, cg, out, ahead = g.shape[1], x.shape[1] // geo.groups, g.shape[2:], (slice(None),) * (len(kernel) + 1)
    win = _windows(x, kernel, geo)
    g = _batch_last(g).reshape(geo.groups, o // geo.groups, out[0], -1)
    total: Any = 0
    for rows in _pieces(x, win.size, out[0]):
        cols = win[(*ahead, rows)].reshape(geo.groups, cg * prod(kernel), -1)
        total = total + g[:, :, rows].reshape(*g.shape[:2], -1) @ cols.transpose(0, 2, 1)
    return total.reshape(o, cg, *kernel)
