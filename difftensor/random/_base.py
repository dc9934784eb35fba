"""What all draws share: where words come from, which examples of a vmap they serve, what becomes of the numbers."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

import numpy as np

from difftensor._backend import Device, as_device, device_of
from difftensor._backend.device import device as existing
from difftensor._backend.device import inside
from difftensor._core import Tensor, wrap, write_out
from difftensor._transforms.batch import batched, levels
from difftensor.errors import DeviceError
from difftensor.random._parameters import physical, plain, shape_of
from difftensor.random._philox import Philox


def widened(shape: tuple) -> tuple:
    """`shape` for all examples of all vmaps around."""
    return (*(s for s in levels.get() if s is not None), *shape)


def tensor(raw: Any, scalar: bool = False) -> Tensor:
    """The Tensor of raw numbers that were drawn in a `widened` shape; a NumPy scalar behind it where NumPy has one."""
    active = levels.get()
    if scalar and not raw.ndim and raw.__class__ is np.ndarray:
        raw = raw[()]
    t = wrap(raw)
    for level, size in enumerate(active):
        if size is not None:
            t = batched(t, level)
    return t


def scaled(noise: Tensor, loc: Any, scale: Any) -> Tensor:
    """``loc + scale * noise``, in the memory of the noise where nothing hangs on the parameters."""
    raw = noise._data
    if (
        noise.__class__ is Tensor
        and noise.node is None
        and plain(loc)
        and plain(scale)
        and isinstance(raw, (np.ndarray, np.generic))
    ):
        if not isinstance(scale, (int, float)) or scale != 1:
            raw *= scale
        if not isinstance(loc, (int, float)) or loc != 0:
            raw += loc
        noise._data = raw
        return noise
    t = noise if isinstance(scale, (int, float)) and scale == 1 else scale * noise
    return t if isinstance(loc, (int, float)) and loc == 0 else loc + t


def placed(draw: Callable) -> Callable:
    """`draw`, a method of Generator, with CuPy working on the generator's device."""

    @wraps(draw)
    def on_device(self: Draws, *args: Any, **keywords: Any) -> Any:
        if self._device.kind == "cpu":
            return draw(self, *args, **keywords)
        with inside(self._device):
            return draw(self, *args, **keywords)

    return on_device


class Draws:
    """The ground of Generator: a source of words and a device."""

    def __init__(self, bit_generator: Any, device: Any = None):
        if not isinstance(bit_generator, Philox):
            raise TypeError(
                f"dif.random.Generator takes a dif.random.Philox, found {type(bit_generator).__name__}: there is one "
                "generator for all devices. Use dif.random.default_rng(seed)"
            )
        self._source = bit_generator
        self._device: Device = existing(as_device(device))

    @property
    def bit_generator(self) -> Philox:
        """The source of the random words."""
        return self._source

    @property
    def device(self) -> Device:
        """Where the draws are made."""
        return self._device

    @property
    def state(self) -> dict:
        """Key and position, as plain numbers: set it to go on from there, on any device."""
        return self._source.state

    @state.setter
    def state(self, value: dict) -> None:
        self._source.state = value

    def __repr__(self) -> str:
        return f"Generator(Philox) at position {self._source.position} on {self._device}"

    def _noise(self, f: Callable, shape: tuple, scalar: bool = False, dtype: Any = np.float64) -> Tensor:
        """Independent numbers ``f(xp, words)``, one word for each."""
        return tensor(self._source.fill(f, widened(shape), self._device, dtype), scalar)

    def _standard(self, f: Callable, single: Callable, size: Any, dtype: Any, out: Any, name: str) -> Any:
        """A draw without parameters, of double or single precision, perhaps into `out`."""
        kind = np.dtype(dtype)
        if kind not in (np.float32, np.float64):
            raise TypeError(f"Unsupported dtype {kind!r} for {name}")
        shape = shape_of(size)
        if out is not None:
            shape = self._checked_out(out, shape, kind, name)
        y = self._noise(f if kind == np.float64 else single, shape or (), shape is None, kind)
        return y if out is None else write_out(f"random.{name}", y, out)

    def _checked_out(self, out: Any, shape: tuple | None, dtype: np.dtype, name: str) -> tuple:
        if not isinstance(out, (Tensor, np.ndarray)):
            raise ValueError(f"{name}: out must be a Tensor or an ndarray, found {type(out).__name__}")
        if out.dtype != dtype:
            raise TypeError(f"Supplied output array has the wrong type. Expected {dtype}, got {out.dtype}")
        if shape is not None and shape != out.shape:
            raise ValueError("size must match out.shape when used together")
        return out.shape

    def _physical(self, v: Any, shape: tuple) -> Any:
        """Raw parameter `v` on this device, against the widened shape of a draw of `shape`."""
        raw = physical(v, len(shape))
        if isinstance(raw, np.ndarray) and raw.ndim == 0:
            return raw[()]
        if np.ndim(raw) and device_of(raw) != self._device:
            raise DeviceError(
                f"random: a parameter lives on {device_of(raw)}, the generator on {self._device}. Nothing moves by "
                f"itself: use v.to_device('{self._device}'), or default_rng(seed, device='{device_of(raw)}')"
            )
        return raw
