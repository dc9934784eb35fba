"""The discrete Fourier transforms of np.fft: four linear primitives, and everything else in terms of them.

The matrix of the transform is symmetric, so the plain transpose of fftn is fftn again, after zero padding has become
cropping and the other way round. For real transforms only half of the spectrum is stored: with edges at 0 and n/2,

    rfft:   c_x = irfft(conj(c_y) w),  w = 1 at the edges and 1/2 between;
    irfft:  c_x = conj(rfft(c_y)) w,   w = 1 at the edges and 2 between;

both with the opposite normalization.
"""

from __future__ import annotations

import operator
from typing import Any

import numpy as np

from difftensor._core import Tensor, composition, linear, operand, write_out
from difftensor.fft import _pocketfft

_SWAPPED = {None: "forward", "backward": "forward", "ortho": "ortho", "forward": "backward"}


def _resized(xp: Any, z: Any, shape: tuple) -> Any:
    """`z` cropped or padded with zeros at the ends of its axes to `shape`."""
    if z.shape == shape:
        return z
    z = z[tuple(slice(0, n) for n in shape)]
    if z.shape == shape:
        return z
    if isinstance(z, Tensor):
        return xp.pad(z, tuple((0, n - m) for n, m in zip(shape, z.shape, strict=True)))
    padded = np.zeros_like(z, shape=shape)
    padded[tuple(slice(0, n) for n in z.shape)] = z
    return padded


def _edges(z: Any, n: int, axis: int, between: float) -> Any:
    """Weights along `axis` of a half spectrum of n points: 1 at the edges and `between` between them."""
    z = z._data if isinstance(z, Tensor) else z
    w = np.full_like(z.real, between, shape=(n // 2 + 1,))
    w[0] = 1
    if n % 2 == 0:
        w[-1] = 1
    return w.reshape((-1,) + (1,) * (-axis - 1))


def _transform(one: Any, many: Any, direct: Any) -> Any:
    def forward(x: Any, s: tuple, axes: tuple, norm: str | None, real: bool) -> Any:
        if len(axes) > 1:
            return many(x, s, axes, norm)
        if _pocketfft.serves(x, axes[0]):
            return direct(x, s[0], norm)
        return one(x, s[0], axes[0], norm)

    return forward


def _fftn_pull(xp: Any, g: Any, shape: tuple, s: tuple, axes: tuple, norm: str | None, real: bool) -> Any:
    z = _resized(xp, _fftn(g, s, axes, norm, False), shape)
    return z.real if real else z


def _ifftn_pull(xp: Any, g: Any, shape: tuple, s: tuple, axes: tuple, norm: str | None, real: bool) -> Any:
    z = _resized(xp, _ifftn(g, s, axes, norm, False), shape)
    return z.real if real else z


def _rfftn_pull(xp: Any, g: Any, shape: tuple, s: tuple, axes: tuple, norm: str | None, real: bool) -> Any:
    if _pocketfft.serves(g, axes[0]) and len(axes) == 1 and g.strides[-1] == g.itemsize:
        z = _pocketfft.weighted_conj(g, s[0], 0.5)
        return _resized(xp, _pocketfft.irfft(z, s[0], _SWAPPED[norm]), shape)
    z = g.conj()  # a new array, so that it may be overwritten
    z *= _edges(g, s[-1], axes[-1], 0.5)
    return _resized(xp, _irfftn(z, s, axes, _SWAPPED[norm], False), shape)


def _irfftn_pull(xp: Any, g: Any, shape: tuple, s: tuple, axes: tuple, norm: str | None, real: bool) -> Any:
    if len(axes) == 1 and _pocketfft.serves(g, axes[0]):
        z = _pocketfft.rfft(g, s[0], _SWAPPED[norm])
        z = _pocketfft.weighted_conj(z, s[0], 2.0, overwrite=True)
    else:
        z = _rfftn(g, s, axes, _SWAPPED[norm], True).conj()
        z *= _edges(g, s[-1], axes[-1], 2.0)
    z = _resized(xp, z, shape)
    return z.real if real else z


_fftn = linear("fft._fftn", _transform(np.fft.fft, np.fft.fftn, _pocketfft.fft), _fftn_pull, batch="trailing")
_ifftn = linear("fft._ifftn", _transform(np.fft.ifft, np.fft.ifftn, _pocketfft.ifft), _ifftn_pull, batch="trailing")
_rfftn = linear(
    "fft._rfftn", _transform(np.fft.rfft, np.fft.rfftn, _pocketfft.rfft), _rfftn_pull, real=True, batch="trailing"
)
_irfftn = linear(
    "fft._irfftn", _transform(np.fft.irfft, np.fft.irfftn, _pocketfft.irfft), _irfftn_pull, batch="trailing"
)


def _plan(x: Any, s: Any, axes: Any, half: bool) -> tuple[tuple, tuple]:
    """Sizes and axes, counted from the end, of a transform; `half`: x is a half spectrum along the last of the axes."""
    if axes is None:
        axes = range(-x.ndim, 0) if s is None else range(-len(s), 0)
    axes = [operator.index(k) for k in axes]
    for k in axes:
        if not -x.ndim <= k < x.ndim:
            raise np.exceptions.AxisError(k, x.ndim)
    axes = [k if k < 0 else k - x.ndim for k in axes]
    given = [-1 if n is None else operator.index(n) for n in s] if s is not None else [-1] * len(axes)
    if len(given) != len(axes):
        raise ValueError("Shape and axes have different lengths.")
    sizes = [x.shape[k] if n == -1 else n for n, k in zip(given, axes, strict=True)]
    if half and sizes and given[-1] == -1:
        sizes[-1] = 2 * (x.shape[axes[-1]] - 1)
    for n in sizes:
        if n < 1:
            raise ValueError(f"Invalid number of FFT data points ({n}) specified.")
    return tuple(sizes), tuple(axes)


def _run(name: str, f: Any, x: Any, s: Any, axes: Any, norm: str | None, out: Any, half: bool = False) -> Any:
    x = operand(x, name)
    if norm not in _SWAPPED:
        raise ValueError(f"Invalid norm value {norm}; should be 'backward', 'ortho' or 'forward'.")
    real = x.dtype.kind != "c"
    if f is _rfftn and not real:
        raise TypeError(f"{name}: the input is complex; use fft.fft, or take its real part")
    sizes, axes = _plan(x, s, axes, half)
    if not axes:
        if f is _rfftn or f is _irfftn:
            raise IndexError(f"{name}: no axes; half of the spectrum is that along the last of the axes, give one")
        y = x  # real ones stay real, as in NumPy
    elif len(set(axes)) == len(axes):
        y = f(x, sizes, axes, norm, real)
    else:  # an axis may be transformed more than once; the last axes come first, in irfftn the first, as in NumPy
        y, last = x, len(axes) - 1
        for k in range(last + 1) if f is _irfftn else range(last, -1, -1):
            g = f if k == last else {_rfftn: _fftn, _irfftn: _ifftn}.get(f, f)
            y = g(y, sizes[k : k + 1], axes[k : k + 1], norm, y.dtype.kind != "c")
    return y if out is None else write_out(name, y, out)


def _run_one(name: str, f: Any, x: Any, n: Any, axis: int, norm: str | None, out: Any, half: bool = False) -> Any:
    """`_run` along one axis, with less to look at."""
    if n is not None and n < 1:  # -1 is the whole axis in the transforms along several only
        raise ValueError(f"Invalid number of FFT data points ({n}) specified.")
    if (
        out is not None
        or x.__class__ is not Tensor
        or axis.__class__ is not int
        or not (n is None or n.__class__ is int)
    ):
        return _run(name, f, x, None if n is None else (n,), (axis,), norm, out, half)
    rank = len(x.shape)
    if norm not in _SWAPPED or not -rank <= axis < rank:
        return _run(name, f, x, (n,), (axis,), norm, out, half)
    if axis >= 0:
        axis -= rank
    real = x.dtype.kind != "c"
    if n is None:
        n = 2 * (x.shape[axis] - 1) if half else x.shape[axis]
    if n < 1 or (f is _rfftn and not real):
        return _run(name, f, x, (n,), (axis,), norm, out, half)
    return f(x, (n,), (axis,), norm, real)


@composition(np.fft.fft, name="fft.fft")
def fft(a: Any, n: int | None = None, axis: int = -1, norm: str | None = None, out: Any = None) -> Any:
    """Discrete Fourier transform along one axis."""
    return _run_one("fft.fft", _fftn, a, n, axis, norm, out)


@composition(np.fft.ifft, name="fft.ifft")
def ifft(a: Any, n: int | None = None, axis: int = -1, norm: str | None = None, out: Any = None) -> Any:
    """Inverse of `fft`."""
    return _run_one("fft.ifft", _ifftn, a, n, axis, norm, out)


@composition(np.fft.rfft, name="fft.rfft")
def rfft(a: Any, n: int | None = None, axis: int = -1, norm: str | None = None, out: Any = None) -> Any:
    """Discrete Fourier transform of a real signal along one axis: the non-negative frequencies."""
    return _run_one("fft.rfft", _rfftn, a, n, axis, norm, out)


@composition(np.fft.irfft, name="fft.irfft")
def irfft(a: Any, n: int | None = None, axis: int = -1, norm: str | None = None, out: Any = None) -> Any:
    """Inverse of `rfft`. The imaginary parts at frequency 0 and n/2 do not count, so their derivative is 0."""
    return _run_one("fft.irfft", _irfftn, a, n, axis, norm, out, half=True)


@composition(np.fft.hfft, name="fft.hfft")
def hfft(a: Any, n: int | None = None, axis: int = -1, norm: str | None = None, out: Any = None) -> Any:
    """Discrete Fourier transform of a signal with Hermitian symmetry, given by its first half: a real spectrum."""
    if norm not in _SWAPPED:
        raise ValueError(f"Invalid norm value {norm}; should be 'backward', 'ortho' or 'forward'.")
    return _run_one("fft.hfft", _irfftn, np.conj(operand(a, "fft.hfft")), n, axis, _SWAPPED[norm], out, half=True)


@composition(np.fft.ihfft, name="fft.ihfft")
def ihfft(a: Any, n: int | None = None, axis: int = -1, norm: str | None = None, out: Any = None) -> Any:
    """Inverse of `hfft`."""
    if norm not in _SWAPPED:
        raise ValueError(f"Invalid norm value {norm}; should be 'backward', 'ortho' or 'forward'.")
    y = np.conj(_run_one("fft.ihfft", _rfftn, a, n, axis, _SWAPPED[norm], None))
    return y if out is None else write_out("fft.ihfft", y, out)


@composition(np.fft.fftn, name="fft.fftn")
def fftn(a: Any, s: Any = None, axes: Any = None, norm: str | None = None, out: Any = None) -> Any:
    """Discrete Fourier transform along several axes."""
    return _run("fft.fftn", _fftn, a, s, axes, norm, out)


@composition(np.fft.ifftn, name="fft.ifftn")
def ifftn(a: Any, s: Any = None, axes: Any = None, norm: str | None = None, out: Any = None) -> Any:
    """Inverse of `fftn`."""
    return _run("fft.ifftn", _ifftn, a, s, axes, norm, out)


@composition(np.fft.rfftn, name="fft.rfftn")
def rfftn(a: Any, s: Any = None, axes: Any = None, norm: str | None = None, out: Any = None) -> Any:
    """Discrete Fourier transform of a real array: the non-negative frequencies along the last of the axes."""
    return _run("fft.rfftn", _rfftn, a, s, axes, norm, out)


@composition(np.fft.irfftn, name="fft.irfftn")
def irfftn(a: Any, s: Any = None, axes: Any = None, norm: str | None = None, out: Any = None) -> Any:
    """Inverse of `rfftn`."""
    return _run("fft.irfftn", _irfftn, a, s, axes, norm, out, half=True)


@composition(np.fft.fft2, name="fft.fft2")
def fft2(a: Any, s: Any = None, axes: Any = (-2, -1), norm: str | None = None, out: Any = None) -> Any:
    """Discrete Fourier transform along two axes."""
    return _run("fft.fft2", _fftn, a, s, axes, norm, out)


@composition(np.fft.ifft2, name="fft.ifft2")
def ifft2(a: Any, s: Any = None, axes: Any = (-2, -1), norm: str | None = None, out: Any = None) -> Any:
    """Inverse of `fft2`."""
    return _run("fft.ifft2", _ifftn, a, s, axes, norm, out)


@composition(np.fft.rfft2, name="fft.rfft2")
def rfft2(a: Any, s: Any = None, axes: Any = (-2, -1), norm: str | None = None, out: Any = None) -> Any:
    """Discrete Fourier transform of a real array along two axes."""
    return _run("fft.rfft2", _rfftn, a, s, axes, norm, out)


@composition(np.fft.irfft2, name="fft.irfft2")
def irfft2(a: Any, s: Any = None, axes: Any = (-2, -1), norm: str | None = None, out: Any = None) -> Any:
    """Inverse of `rfft2`."""
    return _run("fft.irfft2", _irfftn, a, s, axes, norm, out, half=True)
