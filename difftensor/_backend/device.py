"""Devices: ``cpu`` and ``cuda:i``. Nothing moves by itself."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np

from difftensor._backend.arrays import stand_ins
from difftensor.errors import DeviceError


class Device:
    """A place where arrays live: ``Device("cpu")`` or ``Device("cuda:0")``; equal to its string.

    Examples
    --------
    >>> import difftensor as dif
    >>> x = dif.zeros(3)
    >>> x.device
    device('cpu')
    >>> x.device == "cpu"
    True
    """

    __slots__ = ("index", "kind")

    def __init__(self, name: str):
        kind, _, index = str(name).partition(":")
        if kind not in ("cpu", "cuda") or (index and not index.isdigit()) or (kind == "cpu" and index not in ("", "0")):
            raise ValueError(f"device {name!r} is not known; devices are 'cpu', 'cuda' and 'cuda:0', 'cuda:1', ...")
        self.kind = kind
        self.index = int(index or 0)

    def __str__(self) -> str:
        return "cpu" if self.kind == "cpu" else f"{self.kind}:{self.index}"

    def __repr__(self) -> str:
        return f"device({str(self)!r})"

    def __eq__(self, other: object) -> bool:
        if isinstance(other, str):
            try:
                other = Device(other)
            except ValueError:
                return False
        return isinstance(other, Device) and (self.kind, self.index) == (other.kind, other.index)

    def __hash__(self) -> int:
        return hash((self.kind, self.index))


CPU = Device("cpu")


def as_device(device: object) -> Device:
    """`device` (None, a string or a Device) as a Device; None is the CPU."""
    if device is None:
        return CPU
    return device if isinstance(device, Device) else Device(device)  # type: ignore[arg-type]


def device_of(a: Any) -> Device:
    """Where raw array `a` lives."""
    if a.__class__ is np.ndarray or isinstance(a, np.generic):
        return CPU
    if a.__class__ in stand_ins:
        return Device(stand_ins[a.__class__].device)
    if isinstance(a, np.ndarray):
        return CPU
    cupy = sys.modules.get("cupy")
    if cupy is not None and isinstance(a, cupy.ndarray):
        return Device(f"cuda:{a.device.id}")
    return CPU


def _cupy() -> Any:
    try:
        import cupy
    except ImportError as error:
        raise DeviceError(
            "device 'cuda' needs CuPy, which is not installed: "
            "pip install 'difftensor[cuda12x]' or 'difftensor[cuda13x]', after your CUDA version"
        ) from error
    return cupy


def move(a: Any, device: Device) -> Any:
    """Raw array `a` on `device`: itself if it is there, else a copy."""
    if device_of(a) == device:
        return a
    for cls, space in stand_ins.items():
        if space.device == device:
            return cls(a)
    if device.kind == "cpu":
        return a.get()
    cupy = _cupy()
    with cupy.cuda.Device(device.index):
        return cupy.asarray(a)


def from_device(x: Any) -> Any:
    """A CuPy array over the memory of `x`, an array of another library on a GPU, through DLPack."""
    return _cupy().from_dlpack(x)


def devices() -> list[Device]:
    """The CPU, and every GPU that CuPy sees."""
    try:
        count = _cupy().cuda.runtime.getDeviceCount()
    except Exception:  # no CuPy, or a driver that fails in its own way: no GPU either way
        count = 0
    return [CPU, *(Device(f"cuda:{i}") for i in range(count))]
