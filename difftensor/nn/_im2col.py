"""Convolution as one matrix product (im2col), on ndarrays in the memory order channel, space, batch.

With the batch innermost, the elements of a window that are neighbors for one example are rows of ``width * batch``
numbers in memory: gathering windows copies long runs, whatever the kernel, and the pullback adds long runs. Results
keep that order behind their shape ``(N, C, *space)``, so a chain of layers never rearranges anything.

Windows are gathered in pieces of about BLOCK bytes along the first axis of space, and gathered again in the pullback:
no more memory than the layer's own arrays, and what the product reads is still in the cache.
"""

from __future__ import annotations

from itertools import product
from math import prod
from typing import Any, NamedTuple

import numpy as np

BLOCK = 1 << 19  # bytes of windows at once; up to 8 MiB is no faster


class Geometry(NamedTuple):
    """How a kernel meets an array: one number per axis of space, padding as (before, after)."""

    stride: tuple
    padding: tuple
    dilation: tuple
    groups: int

    def out(self, space: tuple, kernel: tuple) -> tuple:
        """The shape of the result."""
        each = zip(space, kernel, self.stride, self.padding, self.dilation)
        found = tuple((n + sum(p) - d * (k - 1) - 1) // s + 1 for n, k, s, p, d in each)
        if min(found, default=1) < 1:
            raise ValueError(f"the kernel {kernel} with dilation {self.dilation} is larger than the padded input: "
                             f"space {space}, padding {self.padding}")  # fmt: skip
        return found


def batch_last(x: np.ndarray) -> np.ndarray:
    """``(N, C, *space)`` as a contiguous ``(C, *space, N)``; no copy where the memory is so already."""
    return np.ascontiguousarray(x.transpose(*range(1, x.ndim), 0))


def batch_first(y: np.ndarray) -> np.ndarray:
    """``(C, *space, N)`` seen as ``(N, C, *space)``."""
    return y.transpose(y.ndim - 1, *range(y.ndim - 1))


def padded(x: np.ndarray, geo: Geometry) -> np.ndarray:
    """`x` in batch-last order with its margins."""
    if not any(map(any, geo.padding)):
        return batch_last(x)
    n, c, *space = x.shape
    wide = np.zeros((c, *(s + sum(p) for s, p in zip(space, geo.padding)), n), x.dtype)
    inside = tuple(slice(p[0], p[0] + s) for s, p in zip(space, geo.padding))
    wide[(slice(None), *inside)] = x.transpose(*range(1, x.ndim), 0)
    return wide


def windows(x: np.ndarray, kernel: tuple, out: tuple, geo: Geometry) -> np.ndarray:
    """A view ``(C, *kernel, *out, N)`` of the padded array."""
    c, *space, n = x.strides
    strides = (c, *(s * d for s, d in zip(space, geo.dilation)), *(s * t for s, t in zip(space, geo.stride)), n)
    return np.ndarray((x.shape[0], *kernel, *out, x.shape[-1]), x.dtype, x, 0, strides)


def pieces(bytes_of_windows: int, rows: int, block: int) -> list[slice]:
    """Slices of the first axis of the result, so that each has about `block` bytes of windows."""
    step = max(1, rows * block // max(bytes_of_windows, 1))
    return [slice(r, min(r + step, rows)) for r in range(0, rows, step)]


def correlate(x: np.ndarray, w: np.ndarray, bias: np.ndarray | None, geo: Geometry) -> np.ndarray:
    """The result ``(N, O, *out)`` of ``x (N, C, *space)`` and ``w (O, C / groups, *kernel)``."""
    o, cg, *kernel = w.shape
    n, c, *space = x.shape
    out = geo.out(tuple(space), tuple(kernel))
    win = windows(padded(x, geo), tuple(kernel), out, geo)
    taps, ahead = prod(kernel), slice(None)
    w = np.ascontiguousarray(w).reshape(geo.groups, o // geo.groups, cg * taps)
    parts = pieces(win.size * x.itemsize, out[0], BLOCK)
    y: Any = np.empty((o, *out, n), np.result_type(x, w)) if len(parts) > 1 else None
    for rows in parts:
        at = (ahead,) * (1 + len(kernel)) + (rows,)
        part = w @ win[at].reshape(geo.groups, cg * taps, -1)
        part = part.reshape(o, -1)
        if bias is not None:
            part += bias[:, None]
        part = part.reshape(o, -1, *out[1:], n)
        if y is None:
            return batch_first(part)
        y[:, rows] = part
    return batch_first(y)


def scatter(g: np.ndarray, w: np.ndarray, space: tuple, geo: Geometry) -> np.ndarray:
    """The pullback of `correlate` to x, of shape ``(N, C, *space)``: what a transposed convolution computes."""
    o, cg, *kernel = w.shape
    n, out, c = g.shape[0], g.shape[2:], cg * geo.groups
    wide = np.zeros((c, *(s + sum(p) for s, p in zip(space, geo.padding)), n), np.result_type(g, w))
    g = batch_last(g).reshape(geo.groups, o // geo.groups, out[0], -1)
    w = np.ascontiguousarray(w).reshape(geo.groups, o // geo.groups, -1).transpose(0, 2, 1)
    # larger pieces here: each is added tap by tap
    for rows in pieces(c * prod(kernel) * prod(out) * n * g.itemsize, out[0], 2 * BLOCK):
        part = w @ g[:, :, rows].reshape(*g.shape[:2], -1)
        part = part.reshape(c, *kernel, -1, *out[1:], n)
        sizes = (part.shape[1 + len(kernel)], *out[1:])
        for tap in product(*map(range, kernel)):
            at = tuple(slice(first, first + s * (m - 1) + 1, s) for first, m, s in zip(
                (r * s + t * d for r, s, t, d in zip((rows.start, *[0] * len(out[1:])), geo.stride, tap, geo.dilation)),
                sizes, geo.stride))  # fmt: skip
            wide[(slice(None), *at)] += part[(slice(None), *tap)]
    inside = tuple(slice(p[0], p[0] + s) for s, p in zip(space, geo.padding))
    return batch_first(wide[(slice(None), *inside)])


def gather(g: np.ndarray, x: np.ndarray, kernel: tuple, geo: Geometry) -> np.ndarray:
    """The pullback of `correlate` to w."""
    o, c, out = g.shape[1], x.shape[1], g.shape[2:]
    win = windows(padded(x, geo), kernel, out, geo)
    g = batch_last(g).reshape(geo.groups, o // geo.groups, out[0], -1)
    total: Any = 0
    for rows in pieces(win.size * x.itemsize, out[0], BLOCK):
        at = (slice(None),) * (1 + len(kernel)) + (rows,)
        cols = win[at].reshape(geo.groups, c // geo.groups * prod(kernel), -1)
        total = total + g[:, :, rows].reshape(*g.shape[:2], -1) @ cols.transpose(0, 2, 1)
    return total.reshape(o, c // geo.groups, *kernel)
