"""Convolution by the convolution theorem: transforms, one product for each frequency, and back.

Arrays are taken to be periodic with the size of the padded input or a little more, so that only results that are cut
off anyway wrap around. A stride is a result sampled, and in the transposes a cotangent with zeros between its elements;
a dilation is a kernel with zeros between its elements.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ._geometry import Geometry


def _library(x: Any) -> Any:
    """SciPy transforms several rows at once, NumPy one by one; NumPy's protocol finds CuPy's."""
    if not isinstance(x, np.ndarray):
        return np.fft
    import scipy.fft

    return scipy.fft


def periods(space: tuple, geo: Geometry) -> tuple:
    """Sizes with small factors."""
    from scipy.fft import next_fast_len

    return tuple(next_fast_len(n, True) for n in geo.wide(space))


def _spectrum(x: Any, sizes: tuple, first: tuple, step: tuple) -> Any:
    """Of `x` with its elements at first, first + step, ...: axes 0 and 1, and all frequencies as one axis."""
    axes = tuple(range(-len(sizes), 0))
    if any(first) or set(step) != {1}:
        wide = np.zeros_like(x, order="C", shape=(*x.shape[:2], *sizes))
        at = (slice(f, f + s * (n - 1) + 1, s) for f, s, n in zip(first, step, x.shape[2:]))
        wide[(slice(None), slice(None), *at)] = x
        x = wide
    f = _library(x).rfftn(x, s=sizes, axes=axes)
    return f.reshape(*x.shape[:2], -1)


def _multiply(a: Any, b: Any) -> Any:
    """``y[g, m, n, f] = sum_k a[g, m, k, f] b[g, k, n, f]``."""
    if min(*a.shape[1:3], b.shape[2]) < 8:  # measured: below, BLAS costs more than it saves
        return np.einsum("gmkf,gknf->gmnf", a, b)
    a, b = (v.transpose(3, 0, 1, 2).copy() for v in (a, b))
    return (a @ b).transpose(1, 2, 3, 0)


def _back(f: Any, sizes: tuple, first: tuple, step: tuple, shape: tuple) -> Any:
    """The elements at first, first + step, ... of the array with the spectrum `f` (rows, columns, frequencies)."""
    f = f.reshape(*f.shape[:2], *sizes[:-1], sizes[-1] // 2 + 1)
    x = _library(f).irfftn(f, s=sizes, axes=tuple(range(-len(sizes), 0)))
    at = (slice(i, i + s * (n - 1) + 1, s) for i, s, n in zip(first, step, shape))
    return x[(slice(None), slice(None), *at)].copy()


class _Frame:
    """The sizes and places of one call."""

    def __init__(self, space: tuple, geo: Geometry):
        self.sizes, self.groups, self.geo = periods(space, geo), geo.groups, geo
        self.margin, self.none = tuple(p[0] for p in geo.padding), (0,) * len(space)
        self.ones = (1,) * len(space)

    def x(self, x: Any) -> Any:
        """``(G, N, C / G, F)``"""
        f = _spectrum(x, self.sizes, self.margin, self.ones)
        return f.reshape(len(x), self.groups, -1, f.shape[-1]).swapaxes(0, 1)

    def g(self, g: Any) -> Any:
        """``(G, N, O / G, F)``"""
        f = _spectrum(g, self.sizes, self.none, self.geo.stride)
        return f.reshape(len(g), self.groups, -1, f.shape[-1]).swapaxes(0, 1)

    def w(self, w: Any) -> Any:
        """``(G, O / G, C / G, F)``"""
        f = _spectrum(w, self.sizes, self.none, self.geo.dilation)
        return f.reshape(self.groups, -1, *f.shape[1:])


def correlate(x: Any, w: Any, geo: Geometry) -> Any:
    """``(N, O, *out)`` of ``x (N, C, *space)`` and ``w (O, C / groups, *kernel)``."""
    at = _Frame(x.shape[2:], geo)
    f = _multiply(at.x(x), at.w(w).conj().swapaxes(1, 2)).swapaxes(0, 1)
    f = f.reshape(len(x), len(w), -1)
    return _back(f, at.sizes, at.none, geo.stride, geo.out(x.shape[2:], w.shape[2:]))


def scatter(g: Any, w: Any, space: tuple, geo: Geometry) -> Any:
    """The transpose in x: ``(N, C, *space)`` of ``g (N, O, *out)`` and w."""
    at = _Frame(space, geo)
    f = _multiply(at.g(g), at.w(w)).swapaxes(0, 1)
    f = f.reshape(len(g), w.shape[1] * geo.groups, -1)
    return _back(f, at.sizes, at.margin, at.ones, space)


def gather(g: Any, x: Any, kernel: tuple, geo: Geometry) -> Any:
    """The transpose in w: ``(O, C / groups, *kernel)`` of g and x."""
    at = _Frame(x.shape[2:], geo)
    f = _multiply(at.g(g).conj().swapaxes(1, 2), at.x(x))
    f = f.reshape(g.shape[1], x.shape[1] // geo.groups, -1)
    return _back(f, at.sizes, at.none, geo.dilation, kernel)
