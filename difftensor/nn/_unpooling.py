"""Where maxima stood, and the way back: `max_unpool2d` puts them there again."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np

import difftensor as dif

from ._fused import constant
from ._geometry import Size, each
from ._module import Module


def places(x: Any, taps: list, margins: list) -> Any:
    """For each window of ``(N, C, *space)`` the number of its maximum in the flat space, the first of equals."""
    space = x.shape[2:]
    x = constant(x, x)
    wide = dif.pad(x, margins, constant_values=-np.inf)
    numbers = np.pad(np.arange(prod(space)).reshape((1, 1, *space)), margins)
    best, found = wide[taps[0]], constant(np.broadcast_to(numbers, wide.shape)[taps[0]], x)
    for at in taps[1:]:
        larger = (wide[at] > best) | (wide[at] != wide[at])  # NaN stays NaN
        best, found = dif.where(larger, wide[at], best), dif.where(larger, constant(numbers[at], x), found)
    return found


def _unpool(n: int, x: Any, indices: Any, kernel_size: Size, stride: Any, padding: Size, output_size: Any) -> Any:
    if x.ndim == n + 1:
        return _unpool(n, x[None], indices[None], kernel_size, stride, padding, output_size)[0]
    kernel = each(kernel_size, n, "kernel_size")
    steps, margins = each(kernel if stride is None else stride, n, "stride"), each(padding, n, "padding")
    space = tuple((m - 1) * s - 2 * p + k for m, s, p, k in zip(x.shape[2:], steps, margins, kernel))
    if output_size is not None:
        space = tuple(output_size)[-n:]
    index = constant(indices, x).reshape((*x.shape[:2], prod(x.shape[2:])))
    if isinstance(index, np.ndarray) and index.size and not 0 <= index.min() <= index.max() < prod(space):
        raise IndexError(f"max_unpool{n}d: indices from {index.min()} to {index.max()} do not fit the output {space}")
    examples, channels = np.arange(x.shape[0])[:, None, None], np.arange(x.shape[1])[None, :, None]
    flat = dif.zeros((*x.shape[:2], prod(space)), dtype=x.dtype, device=getattr(x, "device", None))
    flat[constant(examples, x), constant(channels, x), index] = x.reshape(index.shape)
    found = flat.reshape((*x.shape[:2], *space))
    return found if isinstance(x, dif.Tensor) else found.numpy()


def max_unpool1d(x: Any, indices: Any, kernel_size: Size, stride: Any = None, padding: Size = 0,
                 output_size: Any = None) -> Any:  # fmt: skip
    """Zeros, and the elements of `x` at the places that `max_pool1d` returned with ``return_indices=True``."""
    return _unpool(1, x, indices, kernel_size, stride, padding, output_size)


def max_unpool2d(x: Any, indices: Any, kernel_size: Size, stride: Any = None, padding: Size = 0,
                 output_size: Any = None) -> Any:  # fmt: skip
    """Zeros, and the elements of `x` at the places that `max_pool2d` returned with ``return_indices=True``."""
    return _unpool(2, x, indices, kernel_size, stride, padding, output_size)


def max_unpool3d(x: Any, indices: Any, kernel_size: Size, stride: Any = None, padding: Size = 0,
                 output_size: Any = None) -> Any:  # fmt: skip
    """Zeros, and the elements of `x` at the places that `max_pool3d` returned with ``return_indices=True``."""
    return _unpool(3, x, indices, kernel_size, stride, padding, output_size)


class _MaxUnpool(Module):
    dimensions = 0

    def __init__(self, kernel_size: Size, stride: Any = None, padding: Size = 0):
        self.kernel_size, self.stride, self.padding = kernel_size, stride, padding

    def forward(self, x: Any, indices: Any, output_size: Any = None) -> Any:
        return _unpool(self.dimensions, x, indices, self.kernel_size, self.stride, self.padding, output_size)


class MaxUnpool1d(_MaxUnpool):
    """`nn.functional.max_unpool1d` as a module."""

    dimensions = 1


class MaxUnpool2d(_MaxUnpool):
    """`nn.functional.max_unpool2d` as a module."""

    dimensions = 2


class MaxUnpool3d(_MaxUnpool):
    """`nn.functional.max_unpool3d` as a module."""

    dimensions = 3
