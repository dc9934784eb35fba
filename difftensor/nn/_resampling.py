"""Images of another size: interpolation, and space traded for channels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

import difftensor as dif

from ._fused import beside, constant
from ._module import Module
from ._pooling import adaptive_average

LINEAR = {"linear": 1, "bilinear": 2, "bicubic": 2, "trilinear": 3}


def _matrix(size: int, count: int, scale: float, mode: str, align_corners: bool) -> np.ndarray:
    """The weights ``(size, count)`` of the elements of an axis in its resampled elements."""
    i = np.arange(count)
    if align_corners:
        at = i * ((size - 1) / (count - 1) if count > 1 else 0.0)
    else:
        at = (i + 0.5) * scale - 0.5
    if mode == "bicubic":
        first, a = np.floor(at).astype(int), -0.75  # R. Keys, IEEE Trans. ASSP 29 (1981) 1153, with PyTorch's a
        t = at - first
        inner = lambda s: ((a + 2) * s - (a + 3)) * s * s + 1  # noqa: E731
        outer = lambda s: ((a * s - 5 * a) * s + 8 * a) * s - 4 * a  # noqa: E731
        terms = [(first - 1, outer(t + 1)), (first, inner(t)), (first + 1, inner(1 - t)), (first + 2, outer(2 - t))]
    else:
        at = np.maximum(at, 0)
        first = np.minimum(np.floor(at).astype(int), size - 1)
        terms = [(first, 1 - (at - first)), (first + 1, at - first)]
    found = np.zeros((size, count))
    for rows, weights in terms:
        np.add.at(found, (np.clip(rows, 0, size - 1), i), weights)
    return found


def interpolate(input: Any, size: Any = None, scale_factor: Any = None, mode: str = "nearest",
                align_corners: bool | None = None, recompute_scale_factor: bool | None = None) -> Any:  # fmt: skip
    """Resample ``(N, C, *space)``.

    Parameters
    ----------
    size : int or one per axis, optional
    scale_factor : float or one per axis, optional
        The other way to say it: sizes are rounded down.
    mode : {"nearest", "nearest-exact", "linear", "bilinear", "bicubic", "trilinear", "area"}
        Linear modes belong to 1, 2 and 3 axes of space. "nearest" rounds down, as in PyTorch; "nearest-exact" does not.
    align_corners : bool
        Of the linear modes: the centers of the corner elements stay where they are, instead of the edges.
    recompute_scale_factor : bool
        Take the ratio of the sizes in the place of `scale_factor`.

    Notes
    -----
    Linear in the input: an index, or a small matrix for each axis. There is no antialiasing.
    """
    space = input.shape[2:]
    if (size is None) == (scale_factor is None):
        raise ValueError("interpolate: give either size or scale_factor")
    if mode not in ("nearest", "nearest-exact", "area", *LINEAR):
        raise ValueError(f"interpolate: unknown mode {mode!r}")
    if mode in LINEAR and LINEAR[mode] != len(space):
        raise ValueError(f"interpolate: mode {mode!r} takes {LINEAR[mode]} axes of space, the input is {input.shape}")
    if align_corners and mode not in LINEAR:
        raise ValueError(f"interpolate: align_corners does not go with mode {mode!r}")
    each = lambda v: tuple(v) if isinstance(v, Sequence) else (v,) * len(space)  # noqa: E731
    if size is None:
        factors = each(scale_factor)
        sizes = tuple(int(np.floor(n * f)) for n, f in zip(space, factors))
    else:
        factors, sizes = (None,) * len(space), each(size)
    if mode == "area":
        return adaptive_average(input, sizes)
    for axis, (n, m, f) in enumerate(zip(space, sizes, factors), start=2):
        scale = n / m if f is None or recompute_scale_factor else 1 / f
        if mode.startswith("nearest"):
            at = (np.arange(m) + (0.5 if mode == "nearest-exact" else 0)) * scale
            index = np.minimum(np.floor(at).astype(int), n - 1)
            input = input[(slice(None),) * axis + (constant(index, input),)]
            continue
        w = beside(_matrix(n, m, scale, mode, bool(align_corners)), input)
        input = dif.moveaxis(dif.moveaxis(input, axis, -1) @ w, -1, axis)
    return input


def pixel_shuffle(input: Any, upscale_factor: int) -> Any:
    """``(..., C r^2, H, W)`` as ``(..., C, H r, W r)``; W. Shi et al., arXiv:1609.05158."""
    r, (*lead, c, h, w) = upscale_factor, input.shape
    if c % (r * r):
        raise ValueError(f"pixel_shuffle: {c} channels cannot be put in squares of {r} x {r}")
    n = len(lead)
    x = input.reshape((*lead, c // (r * r), r, r, h, w))
    return x.transpose((*range(n + 1), n + 3, n + 1, n + 4, n + 2)).reshape((*lead, c // (r * r), h * r, w * r))


def pixel_unshuffle(input: Any, downscale_factor: int) -> Any:
    """``(..., C, H r, W r)`` as ``(..., C r^2, H, W)``."""
    r, (*lead, c, h, w) = downscale_factor, input.shape
    if h % r or w % r:
        raise ValueError(f"pixel_unshuffle: an image of {h} x {w} cannot be cut in squares of {r} x {r}")
    n = len(lead)
    x = input.reshape((*lead, c, h // r, r, w // r, r))
    return x.transpose((*range(n + 1), n + 2, n + 4, n + 1, n + 3)).reshape((*lead, c * r * r, h // r, w // r))


def channel_shuffle(input: Any, groups: int) -> Any:
    """Channels of each of `groups` blocks in turn; X. Zhang et al., arXiv:1707.01083."""
    n, c, *space = input.shape
    if c % groups:
        raise ValueError(f"channel_shuffle: {c} channels cannot be put in {groups} groups")
    return input.reshape((n, groups, c // groups, *space)).swapaxes(1, 2).reshape(input.shape)


class Upsample(Module):
    """`nn.functional.interpolate` as a module."""

    def __init__(self, size: Any = None, scale_factor: Any = None, mode: str = "nearest",
                 align_corners: bool | None = None, recompute_scale_factor: bool | None = None):  # fmt: skip
        self.size, self.scale_factor, self.mode = size, scale_factor, mode
        self.align_corners, self.recompute_scale_factor = align_corners, recompute_scale_factor

    def forward(self, x: Any) -> Any:
        settings = self.mode, self.align_corners, self.recompute_scale_factor
        return interpolate(x, self.size, self.scale_factor, *settings)


class UpsamplingNearest2d(Upsample):
    """`Upsample` of images by the nearest element."""

    def __init__(self, size: Any = None, scale_factor: Any = None):
        super().__init__(size, scale_factor, "nearest")


class UpsamplingBilinear2d(Upsample):
    """`Upsample` of images, bilinear, corners where they are."""

    def __init__(self, size: Any = None, scale_factor: Any = None):
        super().__init__(size, scale_factor, "bilinear", True)


class PixelShuffle(Module):
    """`nn.functional.pixel_shuffle` as a module."""

    def __init__(self, upscale_factor: int):
        self.upscale_factor = upscale_factor

    def forward(self, x: Any) -> Any:
        return pixel_shuffle(x, self.upscale_factor)


class PixelUnshuffle(Module):
    """`nn.functional.pixel_unshuffle` as a module."""

    def __init__(self, downscale_factor: int):
        self.downscale_factor = downscale_factor

    def forward(self, x: Any) -> Any:
        return pixel_unshuffle(x, self.downscale_factor)


class ChannelShuffle(Module):
    """`nn.functional.channel_shuffle` as a module."""

    def __init__(self, groups: int):
        self.groups = groups

    def forward(self, x: Any) -> Any:
        return channel_shuffle(x, self.groups)
