"""Convolution and transposed convolution in one, two and three dimensions."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from itertools import product
from math import prod
from typing import Any

import numpy as np

import difftensor as dif

from . import _im2col, init
from ._fused import fused, tracked
from ._im2col import Geometry
from ._module import Module, parameter

Size = int | Sequence[int]


def each(value: Any, n: int, name: str) -> tuple:
    """One number per axis."""
    found = (value,) * n if isinstance(value, (int, np.integer)) else tuple(value)
    if len(found) != n:
        raise ValueError(f"{name} needs one number, or {n}; got {value!r}")
    return tuple(map(int, found))


def _taps(kernel: tuple, geo: Geometry, sizes: tuple) -> list[tuple]:
    """For each element of the kernel, the slices of the padded array that it meets."""
    return [
        tuple(slice(t * d, t * d + s * (m - 1) + 1, s) for t, d, s, m in zip(tap, geo.dilation, geo.stride, sizes))
        for tap in product(*map(range, kernel))
    ]


def _correlate_plain(geo: Geometry) -> Any:
    def correlate(x: Any, w: Any, bias: Any = None) -> Any:
        (n, _, *space), (o, cg, *kernel) = x.shape, w.shape
        out = geo.out(tuple(space), tuple(kernel))
        if any(map(any, geo.padding)):
            x = dif.pad(x, ((0, 0), (0, 0), *geo.padding))
        cols = dif.stack([x[(slice(None), slice(None), *at)] for at in _taps(tuple(kernel), geo, out)], axis=2)
        y = w.reshape(geo.groups, o // geo.groups, -1) @ cols.reshape(n, geo.groups, cg * prod(kernel), -1)
        y = y.reshape(n, o, *out)
        return y if bias is None else y + bias.reshape(-1, *[1] * len(out))

    return correlate


def _scatter_plain(geo: Geometry, space: tuple) -> Any:
    def scatter(g: Any, w: Any) -> Any:
        (n, o, *out), (_, cg, *kernel) = g.shape, w.shape
        c = cg * geo.groups
        part = w.reshape(geo.groups, o // geo.groups, -1).swapaxes(1, 2) @ g.reshape(n, geo.groups, o // geo.groups, -1)
        part = part.reshape(n, c, -1, *out)
        shape = (n, c, *(s + sum(p) for s, p in zip(space, geo.padding)))
        wide = dif.zeros(shape, dtype=part.dtype, device=part.device)
        for i, at in enumerate(_taps(tuple(kernel), geo, tuple(out))):
            wide[(slice(None), slice(None), *at)] += part[:, :, i]
        return wide[(slice(None), slice(None), *(slice(p[0], p[0] + s) for s, p in zip(space, geo.padding)))]

    return scatter


@lru_cache(maxsize=256)
def _correlation(geo: Geometry, to_x: bool) -> Any:
    def forward(x: Any, w: Any, *bias: Any) -> tuple:
        return _im2col.correlate(x, w, bias[0] if bias else None, geo), (x, w, bool(bias))

    def backward(saved: tuple, g: Any) -> tuple:
        x, w, biased = saved
        gx = _im2col.scatter(g, w, x.shape[2:], geo) if to_x else None
        gw = _im2col.gather(g, x, w.shape[2:], geo)
        return (gx, gw, g.sum(axis=(0, *range(2, g.ndim)))) if biased else (gx, gw)

    return fused(_correlate_plain(geo), forward, backward)


@lru_cache(maxsize=256)
def _transposed(geo: Geometry, space: tuple, to_x: bool) -> Any:
    def backward(saved: tuple, v: Any) -> tuple:
        g, w = saved
        return _im2col.correlate(v, w, None, geo) if to_x else None, _im2col.gather(g, v, w.shape[2:], geo)

    forward = lambda g, w: (_im2col.scatter(g, w, space, geo), (g, w))  # noqa: E731
    return fused(_scatter_plain(geo, space), forward, backward)


def by_fft(x_shape: tuple, w_shape: tuple, geo: Geometry) -> bool:
    """Do transforms beat the product with all windows?

    Multiplications are counted. Windows need ``N C K P`` times O for the product, K being the size of the kernel and P
    that of the result, and their moving about costs as much as WINDOWS more. Transforms need 5 n log2(n) for each of
    ``N C + O C + N O`` arrays, half of it for real data, and ``2 N O C n`` for the products between; each costs FACTOR
    times as much as one in BLAS.
    """
    if set(geo.stride) != {1} or set(geo.dilation) != {1} or geo.groups != 1:
        return False
    n, c, *space = x_shape
    o, _, *kernel = w_shape
    size = prod(s + sum(p) for s, p in zip(space, geo.padding))
    direct = n * c * prod(kernel) * prod(geo.out(tuple(space), tuple(kernel))) * (o + WINDOWS)
    transforms = 2.5 * size * math.log2(max(size, 2)) * (n * c + o * c + n * o) + 2 * n * o * c * size
    return direct > FACTOR * transforms


WINDOWS, FACTOR = 32, 10.0  # fitted to times, forward and backward, of 14 shapes with 1 to 32 channels


def _correlate_by_fft(x: Any, w: Any, geo: Geometry) -> Any:
    """The correlation theorem, on arrays padded to the size of the input: what wraps around is cut off."""
    space = tuple(s + sum(p) for s, p in zip(x.shape[2:], geo.padding))
    out, axes = geo.out(x.shape[2:], w.shape[2:]), tuple(range(-len(space), 0))
    x = dif.pad(x, ((0, 0), (0, 0), *geo.padding)) if any(map(any, geo.padding)) else x
    fx = dif.fft.rfftn(x, axes=axes)
    fw = dif.conj(dif.fft.rfftn(w, s=space, axes=axes))
    # one small matrix product over the channels for each frequency
    fx, fw = dif.moveaxis(fx, (0, 1), (-2, -1)), dif.moveaxis(fw, (0, 1), (-1, -2))
    y = dif.fft.irfftn(dif.moveaxis(fx @ fw, (-2, -1), (0, 1)), s=space, axes=axes)
    return y[(slice(None), slice(None), *(slice(0, m) for m in out))]


def _check(name: str, x: Any, weight: Any, n: int, groups: int, channels: int) -> None:
    if weight.ndim != n + 2:
        raise ValueError(f"{name}: the weight needs {n + 2} axes, found shape {weight.shape}")
    if x.shape[1] != channels:
        raise ValueError(f"{name}: input {x.shape} has {x.shape[1]} channels (axis 1), weight {weight.shape} with "
                         f"groups={groups} takes {channels}")  # fmt: skip


def convolve(n: int, x: Any, weight: Any, bias: Any = None, stride: Size = 1, padding: Any = 0, dilation: Size = 1,
             groups: int = 1) -> Any:  # fmt: skip
    """`conv1d`, `conv2d` and `conv3d` for n = 1, 2, 3."""
    name = f"conv{n}d"
    if x.ndim == n + 1:
        return convolve(n, x[None], weight, bias, stride, padding, dilation, groups)[0]
    if x.ndim != n + 2:
        raise ValueError(f"{name}: the input needs shape (N, C, {n} axes of space) or without N, found {x.shape}")
    _check(name, x, weight, n, groups, weight.shape[1] * groups)
    dilation, stride = each(dilation, n, "dilation"), each(stride, n, "stride")
    if padding == "same":
        if set(stride) != {1}:
            raise ValueError(f"{name}: padding='same' needs stride 1, got {stride}")
        total = [d * (k - 1) for d, k in zip(dilation, weight.shape[2:])]
        margins = tuple((t // 2, t - t // 2) for t in total)
    else:
        margins = tuple((p, p) for p in each(0 if padding == "valid" else padding, n, "padding"))
    geo = Geometry(stride, margins, dilation, groups)
    if by_fft(x.shape, weight.shape, geo):
        y = _correlate_by_fft(x, weight, geo)
        return y if bias is None else y + bias.reshape(-1, *[1] * n)
    rule = _correlation(geo, tracked(x))
    return rule(x, weight) if bias is None else rule(x, weight, bias)


def convolve_transposed(n: int, x: Any, weight: Any, bias: Any = None, stride: Size = 1, padding: Size = 0,
                        output_padding: Size = 0, groups: int = 1, dilation: Size = 1) -> Any:  # fmt: skip
    """`conv_transpose1d`, `conv_transpose2d` and `conv_transpose3d` for n = 1, 2, 3."""
    name = f"conv_transpose{n}d"
    if x.ndim == n + 1:
        return convolve_transposed(n, x[None], weight, bias, stride, padding, output_padding, groups, dilation)[0]
    _check(name, x, weight, n, groups, weight.shape[0])
    stride, dilation = each(stride, n, "stride"), each(dilation, n, "dilation")
    padding, more = each(padding, n, "padding"), each(output_padding, n, "output_padding")
    if any(m >= max(s, d) for m, s, d in zip(more, stride, dilation)):
        raise ValueError(f"{name}: output_padding {more} must be smaller than stride {stride} or dilation {dilation}")
    space = tuple(
        (m - 1) * s - 2 * p + d * (k - 1) + e + 1
        for m, s, p, d, k, e in zip(x.shape[2:], stride, padding, dilation, weight.shape[2:], more)
    )
    geo = Geometry(stride, tuple((p, p) for p in padding), dilation, groups)
    y = _transposed(geo, space, tracked(x))(x, weight)
    return y if bias is None else y + bias.reshape(-1, *[1] * n)


def conv1d(x: Any, weight: Any, bias: Any = None, stride: Size = 1, padding: Any = 0, dilation: Size = 1,
           groups: int = 1) -> Any:  # fmt: skip
    """Correlation of ``x (N, C, L)`` with ``weight (O, C / groups, K)``.

    Parameters
    ----------
    stride, dilation : int or one per axis
    padding : int, one per axis, "same" or "valid"
        Zeros on both sides.
    groups : int
        Blocks of channels that do not see each other.

    Notes
    -----
    One matrix product with all windows (im2col), or, for large kernels at stride 1, Fourier transforms.
    """
    return convolve(1, x, weight, bias, stride, padding, dilation, groups)


def conv2d(x: Any, weight: Any, bias: Any = None, stride: Size = 1, padding: Any = 0, dilation: Size = 1,
           groups: int = 1) -> Any:  # fmt: skip
    """Correlation of ``x (N, C, H, W)`` with ``weight (O, C / groups, KH, KW)``; see `conv1d`."""
    return convolve(2, x, weight, bias, stride, padding, dilation, groups)


def conv3d(x: Any, weight: Any, bias: Any = None, stride: Size = 1, padding: Any = 0, dilation: Size = 1,
           groups: int = 1) -> Any:  # fmt: skip
    """Correlation of ``x (N, C, D, H, W)`` with ``weight (O, C / groups, KD, KH, KW)``; see `conv1d`."""
    return convolve(3, x, weight, bias, stride, padding, dilation, groups)


def conv_transpose1d(x: Any, weight: Any, bias: Any = None, stride: Size = 1, padding: Size = 0,
                     output_padding: Size = 0, groups: int = 1, dilation: Size = 1) -> Any:  # fmt: skip
    """The transpose of `conv1d` in x; ``weight (C, O / groups, K)``."""
    return convolve_transposed(1, x, weight, bias, stride, padding, output_padding, groups, dilation)


def conv_transpose2d(x: Any, weight: Any, bias: Any = None, stride: Size = 1, padding: Size = 0,
                     output_padding: Size = 0, groups: int = 1, dilation: Size = 1) -> Any:  # fmt: skip
    """The transpose of `conv2d` in x; ``weight (C, O / groups, KH, KW)``."""
    return convolve_transposed(2, x, weight, bias, stride, padding, output_padding, groups, dilation)


def conv_transpose3d(x: Any, weight: Any, bias: Any = None, stride: Size = 1, padding: Size = 0,
                     output_padding: Size = 0, groups: int = 1, dilation: Size = 1) -> Any:  # fmt: skip
    """The transpose of `conv3d` in x; ``weight (C, O / groups, KD, KH, KW)``."""
    return convolve_transposed(3, x, weight, bias, stride, padding, output_padding, groups, dilation)


class _Conv(Module):
    dimensions = 0

    def _make(self, shape: tuple, bias: bool, outputs: int, dtype: Any, device: Any, rng: init.Rng) -> None:
        rng = init.generator(rng)
        bound = 1 / math.sqrt(prod(shape[1:]))  # kaiming_uniform_ with a = sqrt(5), as PyTorch's
        self.weight = parameter(rng.uniform(-bound, bound, shape), dtype, device)
        self.bias = parameter(rng.uniform(-bound, bound, outputs), dtype, device) if bias else None

    def _channels(self, inputs: int, outputs: int, groups: int) -> None:
        if inputs % groups or outputs % groups:
            raise ValueError(f"{type(self).__name__}: {inputs} and {outputs} channels cannot be put in {groups} groups")
        self.in_channels, self.out_channels, self.groups = inputs, outputs, groups


class _Forward(_Conv):
    def __init__(self, in_channels: int, out_channels: int, kernel_size: Size, stride: Size = 1, padding: Any = 0,
                 dilation: Size = 1, groups: int = 1, bias: bool = True, padding_mode: str = "zeros",
                 device: Any = None, dtype: Any = None, rng: init.Rng = None):  # fmt: skip
        if padding_mode not in _PAD:
            raise ValueError(f"{type(self).__name__}: padding_mode must be one of {sorted(_PAD)}, got {padding_mode!r}")
        self._channels(in_channels, out_channels, groups)
        self.kernel_size = each(kernel_size, self.dimensions, "kernel_size")
        self.stride, self.padding, self.dilation, self.padding_mode = stride, padding, dilation, padding_mode
        self._make((out_channels, in_channels // groups, *self.kernel_size), bias, out_channels, dtype, device, rng)

    def forward(self, x: Any) -> Any:
        n, padding = self.dimensions, self.padding
        if self.padding_mode != "zeros" and padding not in (0, "valid"):
            if padding == "same":
                total = [d * (k - 1) for d, k in zip(each(self.dilation, n, "dilation"), self.kernel_size)]
                margins = [(t // 2, t - t // 2) for t in total]
            else:
                margins = [(p, p) for p in each(padding, n, "padding")]
            x, padding = dif.pad(x, [(0, 0)] * (x.ndim - n) + margins, mode=_PAD[self.padding_mode]), 0
        return convolve(n, x, self.weight, self.bias, self.stride, padding, self.dilation, self.groups)


_PAD = {"zeros": "constant", "reflect": "reflect", "replicate": "edge", "circular": "wrap"}


class _Transposed(_Conv):
    def __init__(self, in_channels: int, out_channels: int, kernel_size: Size, stride: Size = 1, padding: Size = 0,
                 output_padding: Size = 0, groups: int = 1, bias: bool = True, dilation: Size = 1,
                 device: Any = None, dtype: Any = None, rng: init.Rng = None):  # fmt: skip
        self._channels(in_channels, out_channels, groups)
        self.kernel_size = each(kernel_size, self.dimensions, "kernel_size")
        self.stride, self.padding, self.output_padding, self.dilation = stride, padding, output_padding, dilation
        self._make((in_channels, out_channels // groups, *self.kernel_size), bias, out_channels, dtype, device, rng)

    def forward(self, x: Any) -> Any:
        return convolve_transposed(self.dimensions, x, self.weight, self.bias, self.stride, self.padding,
                                   self.output_padding, self.groups, self.dilation)  # fmt: skip


class Conv1d(_Forward):
    """`nn.functional.conv1d` with weights; `padding_mode` is zeros, reflect, replicate or circular."""

    dimensions = 1


class Conv2d(_Forward):
    """`nn.functional.conv2d` with weights; `padding_mode` is zeros, reflect, replicate or circular.

    Examples
    --------
    >>> import difftensor as dif
    >>> from difftensor import nn
    >>> nn.Conv2d(3, 8, kernel_size=5, stride=2, padding=2)(dif.ones((4, 3, 32, 32))).shape
    (4, 8, 16, 16)
    """

    dimensions = 2


class Conv3d(_Forward):
    """`nn.functional.conv3d` with weights; `padding_mode` is zeros, reflect, replicate or circular."""

    dimensions = 3


class ConvTranspose1d(_Transposed):
    """`nn.functional.conv_transpose1d` with weights."""

    dimensions = 1


class ConvTranspose2d(_Transposed):
    """`nn.functional.conv_transpose2d` with weights."""

    dimensions = 2


class ConvTranspose3d(_Transposed):
    """`nn.functional.conv_transpose3d` with weights."""

    dimensions = 3
