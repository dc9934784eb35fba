"""Three operations, each linear in two arrays, whose derivatives are each other.

    correlate   y[n, o, p] = sum over c, k of x[n, c, p stride + k dilation - before] w[o, c, k]
    scatter     its transpose in x: what a transposed convolution computes
    gather      its transpose in w

So derivatives of every order, in both modes, are as fast as the operations; each is computed with windows (`_im2col`)
or Fourier transforms (`_spectral`), whichever takes fewer operations.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from math import prod
from typing import Any

import difftensor as dif

from . import _im2col, _spectral
from ._geometry import Geometry

# ns on one core in float32 (about 1.8 times as many in float64): a multiplication in BLAS, moving an element of a
# window, an element of a transform per binary logarithm of its size, a complex multiplication between transforms.
# Fitted to 304 measurements of 1 to 32 channels, kernels of 3 to 501 elements and 3 x 3 to 17 x 17, in space up to
# 4000, 128 x 128, 24 x 24 x 24: the chosen form takes 1.03 times the time of the better one in the geometric mean.
BLAS, WINDOW, TRANSFORM, PRODUCT = 0.02, 0.15, 0.2, 0.6
ADDED = 3  # an element added to where it belongs, in windows moved


def spectral(n: int, channels: int, outputs: int, space: tuple, kernel: tuple, geo: Geometry, moves: int = 1) -> bool:
    """Do Fourier transforms take less time than windows, for `n` examples? Elements of windows are moved so often."""
    taps = n * channels * prod(kernel) * prod(geo.out(space, kernel))
    windows = taps * (BLAS * outputs / geo.groups + WINDOW * moves)
    if TRANSFORM * n * channels * prod(space) > windows:  # nothing else need be counted
        return False
    size = prod(_spectral.periods(space, geo))
    rows = n * channels + outputs * channels // geo.groups + n * outputs
    products = n * outputs * channels // geo.groups * size / 2
    return windows > TRANSFORM * rows * size * math.log2(size) + PRODUCT * products


def _form(a: Any, b: Any, w_shape: tuple, space: tuple, geo: Geometry, moves: int = 1) -> Any:
    """The better form for operands `a`, whose first axis counts examples, and `b`."""
    if a.dtype.char not in "fd" or b.dtype.char not in "fd":
        return _im2col  # integers, complex numbers, half precision
    o, cg, *kernel = w_shape
    return _spectral if spectral(len(a), cg * geo.groups, o, tuple(space), tuple(kernel), geo, moves) else _im2col


def _correlate(x: Any, w: Any, geo: Geometry) -> Any:
    return _form(x, w, w.shape, x.shape[2:], geo).correlate(x, w, geo)


def _scatter(g: Any, w: Any, space: tuple, geo: Geometry) -> Any:
    moves = 1 if _im2col.turns(w.shape, geo) else ADDED
    return _form(g, w, w.shape, space, geo, moves).scatter(g, w, space, geo)


def _gather(g: Any, x: Any, kernel: tuple, geo: Geometry) -> Any:
    shape = (g.shape[1], x.shape[1] // geo.groups, *kernel)
    return _form(x, g, shape, x.shape[2:], geo).gather(g, x, kernel, geo)


def _shape(x: Any) -> tuple:
    """Of an operand, or of one that was not saved and is a shape itself."""
    return x if isinstance(x, tuple) else x.shape


def _batched(weights: bool) -> Callable:
    """The rule for vmap: the batch joins the examples of the layer, or where `weights` differ, groups of channels."""

    def rule(call: Callable, lanes: list, flags: list, size: int, *settings: Any) -> Any:
        a, b = lanes
        *params, geo = settings
        if weights and not flags[1]:
            y = call(a.reshape((-1, *a.shape[2:])), b, *params, geo)
            return y.reshape((size, -1, *y.shape[1:]))
        a, b = (v if flag else dif.broadcast_to(v, (size, *v.shape)) for v, flag in zip((a, b), flags))
        # (B, N, C, ...) as (N, B C, ...); weights (B, O, ...) as (B O, ...)
        beside = lambda v: dif.moveaxis(v, 0, 1).reshape((v.shape[1], -1, *v.shape[3:]))  # noqa: E731
        above = lambda v: v.reshape((-1, *v.shape[2:]))  # noqa: E731
        wide = geo._replace(groups=size * geo.groups)
        y = call(beside(a), above(b) if weights else beside(b), *params, wide)
        if weights:
            return dif.moveaxis(y.reshape((y.shape[0], size, -1, *y.shape[2:])), 1, 0)
        return y.reshape((size, -1, *y.shape[1:]))

    return rule


correlate = dif.primitive(
    "nn.correlate",
    _correlate,
    lambda xp, g, x, w, geo: scatter(g, w, _shape(x)[2:], geo),
    lambda xp, g, x, w, geo: gather(g, x, _shape(w)[2:], geo),
    kind="bilinear",
    batch=_batched(weights=True),
)
scatter = dif.primitive(
    "nn.scatter",
    _scatter,
    lambda xp, v, g, w, space, geo: correlate(v, w, geo),
    lambda xp, v, g, w, space, geo: gather(g, v, _shape(w)[2:], geo),
    kind="bilinear",
    batch=_batched(weights=True),
)
gather = dif.primitive(
    "nn.gather",
    _gather,
    lambda xp, v, g, x, kernel, geo: correlate(x, v, geo),
    lambda xp, v, g, x, kernel, geo: scatter(g, v, _shape(x)[2:], geo),
    kind="bilinear",
    batch=_batched(weights=False),
)
