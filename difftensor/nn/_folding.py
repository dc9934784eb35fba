"""Windows as columns, and columns added up to an image."""

from __future__ import annotations

from itertools import product
from math import prod
from typing import Any

import difftensor as dif

from ._geometry import Geometry, Size, each
from ._module import Module


def _geometry(dilation: Size, padding: Size, stride: Size) -> Geometry:
    margins = tuple((p, p) for p in each(padding, 2, "padding"))
    return Geometry(each(stride, 2, "stride"), margins, each(dilation, 2, "dilation"), 1)


def _taps(kernel: tuple, out: tuple, geo: Geometry) -> list[tuple]:
    """For each element of the kernel, the slices of the padded image that it meets."""
    axes = lambda tap: zip(tap, geo.dilation, geo.stride, out)  # noqa: E731
    return [
        (slice(None), slice(None), *(slice(t * d, t * d + s * (m - 1) + 1, s) for t, d, s, m in axes(tap)))
        for tap in product(*map(range, kernel))
    ]


def unfold(input: Any, kernel_size: Size, dilation: Size = 1, padding: Size = 0, stride: Size = 1) -> Any:
    """Windows of ``(N, C, H, W)`` as columns ``(N, C kernel, windows)``."""
    if input.ndim == 3:
        return unfold(input[None], kernel_size, dilation, padding, stride)[0]
    kernel, geo = each(kernel_size, 2, "kernel_size"), _geometry(dilation, padding, stride)
    n, c, *space = input.shape
    out = geo.out(tuple(space), kernel)
    wide = dif.pad(input, ((0, 0), (0, 0), *geo.padding))
    return dif.stack([wide[at] for at in _taps(kernel, out, geo)], axis=2).reshape((n, c * prod(kernel), -1))


def fold(input: Any, output_size: Size, kernel_size: Size, dilation: Size = 1, padding: Size = 0,
         stride: Size = 1) -> Any:  # fmt: skip
    """The transpose of `unfold`: columns ``(N, C kernel, windows)`` added up to ``(N, C, *output_size)``."""
    if input.ndim == 2:
        return fold(input[None], output_size, kernel_size, dilation, padding, stride)[0]
    kernel, geo = each(kernel_size, 2, "kernel_size"), _geometry(dilation, padding, stride)
    space, (n, rows, columns) = each(output_size, 2, "output_size"), input.shape
    out = geo.out(space, kernel)
    if rows % prod(kernel) or columns != prod(out):
        raise ValueError(f"fold: columns {input.shape} do not fit kernel {kernel} and {out} windows in {space}")
    parts = input.reshape((n, -1, prod(kernel), *out))
    wide = dif.zeros((n, parts.shape[1], *geo.wide(space)), dtype=input.dtype, device=getattr(input, "device", None))
    for i, at in enumerate(_taps(kernel, out, geo)):
        wide[at] += parts[:, :, i]
    found = wide[(slice(None), slice(None), *geo.inside(space))]
    return found if isinstance(input, dif.Tensor) else found.numpy()


class Unfold(Module):
    """`nn.functional.unfold` as a module."""

    def __init__(self, kernel_size: Size, dilation: Size = 1, padding: Size = 0, stride: Size = 1):
        self.kernel_size, self.dilation, self.padding, self.stride = kernel_size, dilation, padding, stride

    def forward(self, x: Any) -> Any:
        return unfold(x, self.kernel_size, self.dilation, self.padding, self.stride)


class Fold(Module):
    """`nn.functional.fold` as a module."""

    def __init__(self, output_size: Size, kernel_size: Size, dilation: Size = 1, padding: Size = 0, stride: Size = 1):
        self.output_size, self.kernel_size, self.dilation = output_size, kernel_size, dilation
        self.padding, self.stride = padding, stride

    def forward(self, x: Any) -> Any:
        return fold(x, self.output_size, self.kernel_size, self.dilation, self.padding, self.stride)
