"""Pooling: the maximum, average or p-norm of windows, of given size or as many as asked for."""

from __future__ import annotations

from functools import lru_cache
from itertools import product
from math import prod
from typing import Any, NamedTuple

import numpy as np

import difftensor as dif

from ._fused import beside, constant, fused
from ._geometry import Size, each
from ._settings import Applied
from ._unpooling import places


class _Windows(NamedTuple):
    kernel: tuple
    stride: tuple
    padding: tuple
    dilation: tuple
    ceil: bool

    def out(self, space: tuple) -> tuple:
        found = []
        for n, k, s, p, d in zip(space, self.kernel, self.stride, self.padding, self.dilation):
            if 2 * p > k:
                raise ValueError(f"pooling: padding {p} must be at most half of the kernel {k}")
            room = n + 2 * p - d * (k - 1) - 1
            m = room // s + 1
            if self.ceil and room % s and m * s < n + p:  # the last window starts inside the input or its left margin
                m += 1
            if m < 1:
                raise ValueError(f"pooling: the kernel {self.kernel} is larger than the input {space}")
            found.append(m)
        return tuple(found)

    def margins(self, space: tuple) -> list:
        """(0, 0) for batch and channel, and (before, after) for the axes of space."""
        last = [(m - 1) * s + d * (k - 1) + 1
                for m, s, d, k in zip(self.out(space), self.stride, self.dilation, self.kernel)]  # fmt: skip
        return [(0, 0), (0, 0), *((p, max(0, e - n - p)) for p, e, n in zip(self.padding, last, space))]

    def taps(self, out: tuple) -> list:
        """For each element of the kernel, the slices that it meets in every window."""
        starts = product(*map(range, self.kernel))
        return [
            (slice(None), slice(None),
             *(slice(t * d, t * d + s * (m - 1) + 1, s) for t, d, s, m in zip(tap, self.dilation, self.stride, out)))
            for tap in starts
        ]  # fmt: skip


def _unpad(g: Any, margins: list, shape: tuple) -> Any:
    return g[tuple(slice(a, a + n) for (a, _), n in zip(margins, shape))]


@lru_cache(maxsize=256)
def _maximum(win: _Windows, space: tuple) -> Any:
    out, margins = win.out(space), win.margins(space)
    taps, pads = win.taps(out), any(map(any, margins))

    def around(xp: Any, x: Any) -> Any:
        return xp.pad(x, margins, constant_values=-np.inf) if pads else x

    def plain(x: Any) -> Any:
        x = around(dif, x)
        y = x[taps[0]]
        for at in taps[1:]:
            y = dif.where((x[at] > y) | (x[at] != x[at]), x[at], y)  # the first of equals, as in PyTorch; NaN stays
        return y

    def forward(x: np.ndarray) -> tuple:
        wide = around(np, x)
        y = wide[taps[0]]
        for at in taps[1:]:
            y = np.maximum(y, wide[at])
        return y, (wide, y)

    def backward(saved: tuple, g: np.ndarray) -> tuple:
        wide, y = saved
        gx = np.zeros_like(wide)
        free = np.ones_like(y, dtype=bool)  # windows whose maximum was not met yet
        for at in taps:
            met = wide[at] == y
            met &= free
            free ^= met
            gx[at] += g * met
        return (_unpad(gx, margins, (*y.shape[:2], *space)),)

    return fused(plain, forward, backward)


@lru_cache(maxsize=256)
def _average(win: _Windows, space: tuple, count_include_pad: bool, divisor: int | None) -> Any:
    out, margins = win.out(space), win.margins(space)
    taps, pads = win.taps(out), any(map(any, margins))
    if divisor:
        weight: Any = 1.0 / divisor
    else:  # how many elements of each window count, axis by axis
        counts: Any = 1.0
        for n, m, k, s, p in zip(space, out, win.kernel, win.stride, win.padding):
            first = np.arange(m) * s - p
            low, high = (-p, n + p) if count_include_pad else (0, n)
            counts = np.multiply.outer(counts, np.minimum(first + k, high) - np.maximum(first, low))
        weight = 1.0 / counts if counts.min() != counts.max() else 1.0 / float(counts.flat[0])

    def scaled(y: Any) -> Any:
        return y * (weight if isinstance(weight, float) else weight.astype(y.dtype))

    def plain(x: Any) -> Any:
        wide = dif.pad(x, margins) if pads else x
        total = wide[taps[0]]
        for at in taps[1:]:
            total = total + wide[at]
        if isinstance(weight, float):
            return total * weight
        return total * dif.asarray(weight, dtype=x.dtype, device=x.device)

    def forward(x: np.ndarray) -> tuple:
        wide = np.pad(x, margins) if pads else x
        total = wide[taps[0]]
        for at in taps[1:]:
            total = total + wide[at]
        return scaled(total), (wide.shape, x.shape)

    def backward(saved: tuple, g: np.ndarray) -> tuple:
        g = scaled(g)
        # in the memory order of g: batch-last behind a convolution
        order = np.argsort([-s for s in g.strides], kind="stable")
        gx = np.zeros([saved[0][i] for i in order], g.dtype).transpose(np.argsort(order))
        for at in taps:
            gx[at] += g
        return (_unpad(gx, margins, saved[1]),)

    return fused(plain, forward, backward)


def _pool(n: int, x: Any, make: Any) -> Any:
    if x.ndim == n + 1:
        return make(x.shape[1:])(x[None])[0]
    if x.ndim != n + 2:
        raise ValueError(f"pooling: the input needs shape (N, C, {n} axes of space) or without N, found {x.shape}")
    return make(x.shape[2:])(x)


def _max_pool(n: int, x: Any, kernel: Size, stride: Size | None, padding: Size, dilation: Size, ceil: bool,
              indices: bool = False) -> Any:  # fmt: skip
    kernel = each(kernel, n, "kernel_size")
    win = _Windows(kernel, each(kernel if stride is None else stride, n, "stride"), each(padding, n, "padding"),
                   each(dilation, n, "dilation"), ceil)  # fmt: skip
    if indices:
        return _with_places(n, x, lambda x: places(x, win.taps(win.out(x.shape[2:])), win.margins(x.shape[2:])))
    return _pool(n, x, lambda space: _maximum(win, tuple(space)))


def _with_places(n: int, x: Any, find: Any) -> tuple:
    """Maxima, and their numbers in the flat space."""
    if x.ndim == n + 1:
        y, at = _with_places(n, x[None], find)
        return y[0], at[0]
    at = find(x)
    flat = at.reshape((*x.shape[:2], prod(at.shape[2:])))
    y = dif.take_along_axis(x.reshape((*x.shape[:2], prod(x.shape[2:]))), flat, axis=-1).reshape(at.shape)
    return y, dif.asarray(at) if isinstance(x, dif.Tensor) and isinstance(at, np.ndarray) else at


def _avg_pool(n: int, x: Any, kernel: Size, stride: Size | None, padding: Size, ceil: bool, include: bool,
              divisor: int | None) -> Any:  # fmt: skip
    kernel = each(kernel, n, "kernel_size")
    win = _Windows(kernel, each(kernel if stride is None else stride, n, "stride"), each(padding, n, "padding"),
                   (1,) * n, ceil)  # fmt: skip
    return _pool(n, x, lambda space: _average(win, tuple(space), include, divisor))


def max_pool1d(x: Any, kernel_size: Size, stride: Any = None, padding: Size = 0, dilation: Size = 1,
               ceil_mode: bool = False, return_indices: bool = False) -> Any:  # fmt: skip
    """The maximum of each window; of equal elements the first gets the gradient."""
    return _max_pool(1, x, kernel_size, stride, padding, dilation, ceil_mode, return_indices)


def max_pool2d(x: Any, kernel_size: Size, stride: Any = None, padding: Size = 0, dilation: Size = 1,
               ceil_mode: bool = False, return_indices: bool = False) -> Any:  # fmt: skip
    """The maximum of each window; of equal elements the first gets the gradient."""
    return _max_pool(2, x, kernel_size, stride, padding, dilation, ceil_mode, return_indices)


def max_pool3d(x: Any, kernel_size: Size, stride: Any = None, padding: Size = 0, dilation: Size = 1,
               ceil_mode: bool = False, return_indices: bool = False) -> Any:  # fmt: skip
    """The maximum of each window; of equal elements the first gets the gradient."""
    return _max_pool(3, x, kernel_size, stride, padding, dilation, ceil_mode, return_indices)


def avg_pool1d(x: Any, kernel_size: Size, stride: Any = None, padding: Size = 0, ceil_mode: bool = False,
               count_include_pad: bool = True) -> Any:  # fmt: skip
    """The average of each window."""
    return _avg_pool(1, x, kernel_size, stride, padding, ceil_mode, count_include_pad, None)


def avg_pool2d(x: Any, kernel_size: Size, stride: Any = None, padding: Size = 0, ceil_mode: bool = False,
               count_include_pad: bool = True, divisor_override: int | None = None) -> Any:  # fmt: skip
    """The average of each window."""
    return _avg_pool(2, x, kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override)


def avg_pool3d(x: Any, kernel_size: Size, stride: Any = None, padding: Size = 0, ceil_mode: bool = False,
               count_include_pad: bool = True, divisor_override: int | None = None) -> Any:  # fmt: skip
    """The average of each window."""
    return _avg_pool(3, x, kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override)


def _p_norm(x: Any, kernel: tuple, p: float, average: Any) -> Any:
    s = average(x**p) * prod(kernel)
    # torch: sign(s) relu(|s|)^(1/p); 0 where everything is 0
    return dif.where(s == 0, 0.0, dif.where(s == 0, 1.0, s) ** (1 / p))


def lp_pool1d(x: Any, norm_type: float, kernel_size: Size, stride: Any = None, ceil_mode: bool = False) -> Any:
    """``(sum x^p)^(1/p)`` over each window."""
    kernel = each(kernel_size, 1, "kernel_size")
    return _p_norm(x, kernel, norm_type, lambda v: avg_pool1d(v, kernel, stride, 0, ceil_mode))


def lp_pool2d(x: Any, norm_type: float, kernel_size: Size, stride: Any = None, ceil_mode: bool = False) -> Any:
    """``(sum x^p)^(1/p)`` over each window."""
    kernel = each(kernel_size, 2, "kernel_size")
    return _p_norm(x, kernel, norm_type, lambda v: avg_pool2d(v, kernel, stride, 0, ceil_mode))


def lp_pool3d(x: Any, norm_type: float, kernel_size: Size, stride: Any = None, ceil_mode: bool = False) -> Any:
    """``(sum x^p)^(1/p)`` over each window."""
    kernel = each(kernel_size, 3, "kernel_size")
    return _p_norm(x, kernel, norm_type, lambda v: avg_pool3d(v, kernel, stride, 0, ceil_mode))


def _cells(size: int, count: int) -> list[tuple[int, int]]:
    """PyTorch's cells of an axis: from floor(i n / m) to ceil((i + 1) n / m); they may overlap."""
    return [(i * size // count, -((i + 1) * size // -count)) for i in range(count)]


def _sizes(x: Any, output_size: Any, n: int) -> tuple:
    wanted = (output_size,) * n if output_size is None or isinstance(output_size, int) else tuple(output_size)
    return tuple(s if m is None else m for m, s in zip(wanted, x.shape[-n:]))


def adaptive_average(x: Any, output_size: Any, n: int | None = None) -> Any:
    """Of the last n axes, all of space by default. Averaging is linear: one small matrix per axis."""
    n = x.ndim - 2 if n is None else n
    for axis, m in zip(range(-n, 0), _sizes(x, output_size, n)):
        size = x.shape[axis]
        if m == size:
            continue
        if m == 1:
            x = x.mean(axis=axis, keepdims=True)
            continue
        average = np.zeros((size, m), x.dtype)
        for i, (a, b) in enumerate(_cells(size, m)):
            average[a:b, i] = 1 / (b - a)
        x = dif.moveaxis(dif.moveaxis(x, axis, -1) @ beside(average, x), -1, axis)
    return x


def _adaptive_max(n: int, x: Any, output_size: Any, indices: bool) -> Any:
    sizes, space = _sizes(x, output_size, n), x.shape[-n:]
    if all(s % m == 0 for s, m in zip(space, sizes)):
        return _max_pool(n, x, tuple(s // m for s, m in zip(space, sizes)), None, 0, 1, False, indices)
    numbers = np.arange(prod(space)).reshape(space)

    def find(x: Any) -> Any:
        x, found = constant(x, x), []
        for cell in product(*(_cells(s, m) for s, m in zip(space, sizes))):
            at = tuple(slice(a, b) for a, b in cell)
            first = dif.argmax(x[(..., *at)].reshape((*x.shape[:2], numbers[at].size)), axis=-1)
            table = constant(numbers[at].ravel(), x)
            found.append((dif.asarray(table) if isinstance(first, dif.Tensor) else table)[first])
        return dif.stack(found, axis=-1).reshape((*x.shape[:2], *sizes))

    y, at = _with_places(n, x, find)
    return (y, at) if indices else y


def adaptive_avg_pool1d(x: Any, output_size: Any) -> Any:
    """Averages of `output_size` cells that cover the axis."""
    return adaptive_average(x, output_size, 1)


def adaptive_avg_pool2d(x: Any, output_size: Any) -> Any:
    """Averages of `output_size` cells that cover the axes; one number, two, or None for the axis as it is."""
    return adaptive_average(x, output_size, 2)


def adaptive_avg_pool3d(x: Any, output_size: Any) -> Any:
    """Averages of `output_size` cells that cover the axes."""
    return adaptive_average(x, output_size, 3)


def adaptive_max_pool1d(x: Any, output_size: Any, return_indices: bool = False) -> Any:
    """Maxima of `output_size` cells that cover the axis."""
    return _adaptive_max(1, x, output_size, return_indices)


def adaptive_max_pool2d(x: Any, output_size: Any, return_indices: bool = False) -> Any:
    """Maxima of `output_size` cells that cover the axes; one number, two, or None for the axis as it is."""
    return _adaptive_max(2, x, output_size, return_indices)


def adaptive_max_pool3d(x: Any, output_size: Any, return_indices: bool = False) -> Any:
    """Maxima of `output_size` cells that cover the axes."""
    return _adaptive_max(3, x, output_size, return_indices)


class _Pool(Applied):
    @classmethod
    def required(cls) -> tuple[str, ...]:
        return ("norm_type", "kernel_size")


class _Max(_Pool):
    def __init_subclass__(cls, **keywords: Any):
        cls.settings = ("kernel_size", "stride", "padding", "dilation", "return_indices", "ceil_mode")  # modules' order
        super().__init_subclass__(**keywords)


class _Adaptive(Applied):
    @classmethod
    def required(cls) -> tuple[str, ...]:
        return ("output_size",)


class MaxPool1d(_Max):
    function = staticmethod(max_pool1d)


class MaxPool2d(_Max):
    function = staticmethod(max_pool2d)


class MaxPool3d(_Max):
    function = staticmethod(max_pool3d)


class AvgPool1d(_Pool):
    function = staticmethod(avg_pool1d)


class AvgPool2d(_Pool):
    function = staticmethod(avg_pool2d)


class AvgPool3d(_Pool):
    function = staticmethod(avg_pool3d)


class LPPool1d(_Pool):
    function = staticmethod(lp_pool1d)


class LPPool2d(_Pool):
    function = staticmethod(lp_pool2d)


class LPPool3d(_Pool):
    function = staticmethod(lp_pool3d)


class AdaptiveAvgPool1d(_Adaptive):
    function = staticmethod(adaptive_avg_pool1d)


class AdaptiveAvgPool2d(_Adaptive):
    function = staticmethod(adaptive_avg_pool2d)


class AdaptiveAvgPool3d(_Adaptive):
    function = staticmethod(adaptive_avg_pool3d)


class AdaptiveMaxPool1d(_Adaptive):
    function = staticmethod(adaptive_max_pool1d)


class AdaptiveMaxPool2d(_Adaptive):
    function = staticmethod(adaptive_max_pool2d)


class AdaptiveMaxPool3d(_Adaptive):
    function = staticmethod(adaptive_max_pool3d)
