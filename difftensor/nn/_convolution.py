"""Convolution and transposed convolution in one, two and three dimensions."""

from __future__ import annotations

import math
from math import prod
from typing import Any

import difftensor as dif

from . import init
from ._correlation import correlate, scatter
from ._geometry import Geometry, Size, each
from ._module import Module, parameter
from ._padding import MODES


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
    y = correlate(x, weight, Geometry(stride, margins, dilation, groups))
    return y if bias is None else y + bias.reshape(-1, *[1] * n)


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
    # what output_padding adds at the end is result that padding would cut off; zeros, where it is more than that
    margins = tuple((p, max(p - m, 0)) for p, m in zip(padding, more))
    wide = tuple((m - 1) * s + d * (k - 1) + 1 for m, s, d, k in zip(x.shape[2:], stride, dilation, weight.shape[2:]))
    space = tuple(m - sum(p) for m, p in zip(wide, margins))
    y = scatter(x, weight, space, Geometry(stride, margins, dilation, groups))
    beyond = [(0, max(m - p, 0)) for p, m in zip(padding, more)]
    y = dif.pad(y, [(0, 0), (0, 0), *beyond]) if any(map(any, beyond)) else y
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
    One matrix product with all windows (im2col), or, for large kernels, Fourier transforms: whichever takes fewer
    operations; derivatives choose for themselves. Transforms round at the size of the largest element, and spread an
    infinity or a NaN over the whole row.
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
        known = ("zeros", "reflect", "replicate", "circular")
        if padding_mode not in known:
            raise ValueError(f"{type(self).__name__}: padding_mode must be one of {known}, got {padding_mode!r}")
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
            x, padding = dif.pad(x, [(0, 0)] * (x.ndim - n) + margins, mode=MODES[self.padding_mode]), 0
        return convolve(n, x, self.weight, self.bias, self.stride, padding, self.dilation, self.groups)


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
