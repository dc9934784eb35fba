"""Devices: ``cpu`` and ``cuda:i``. Nothing moves by itself."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from contextvars import ContextVar
from typing import Any

import numpy as np

from difftensor._backend.arrays import on_gpu, use, used
from difftensor.errors import DeviceError, explain

OLDEST = 14  # CuPy's first version with NumPy 2's promotion, `linalg.eig` and the array API's functions
_EXTRAS = "pip install 'difftensor[cuda12x]' or 'difftensor[cuda13x]', after the CUDA version of your driver"


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
        kind, colon, index = str(name).partition(":")
        if kind not in ("cpu", "cuda") or (colon and not index.isdigit()) or (kind == "cpu" and index not in ("", "0")):
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
_default: ContextVar[Device] = ContextVar("difftensor.device", default=CPU)
check_solvers: ContextVar[bool] = ContextVar("difftensor.check_solvers", default=True)  # dif.cuda.checked
strong_zero: ContextVar[bool] = ContextVar("difftensor.strong_zero", default=True)  # dif.cuda.strong_zero


def as_device(device: object) -> Device:
    """`device` (None, a string or a Device) as a Device; None is the default device."""
    if device is None:
        return _default.get()
    return device if isinstance(device, Device) else Device(device)  # type: ignore[arg-type]


def device(name: str | Device) -> Device:
    """The device of that name, if this machine has it.

    Parameters
    ----------
    name : str
        ``"cpu"``, ``"cuda"`` (the first GPU) or ``"cuda:i"``.

    Returns
    -------
    Device

    Raises
    ------
    ValueError
        No such name.
    DeviceError
        The machine has no such GPU, or CuPy is missing or too old for it; the message says which.

    Examples
    --------
    >>> import difftensor as dif
    >>> dif.device("cpu")
    device('cpu')
    """
    d = as_device(name)
    if d.kind == "cuda":
        library_of(d)
    return d


@contextmanager
def default_device(name: str | Device) -> Iterator[Device]:
    """Inside ``with default_device("cuda"):`` creation functions make their Tensors there unless told otherwise.

    Parameters
    ----------
    name : str or Device
        As of ``dif.device``.

    Notes
    -----
    It speaks for what is *made*: ``zeros``, ``arange``, ``tensor([1.0, 2.0])``, ``asarray(3.0)``, random numbers.
    ``asarray(ndarray)``, which shares memory, and ``zeros_like(x)`` follow their argument. The setting belongs to the
    thread or task.

    Examples
    --------
    >>> import difftensor as dif
    >>> with dif.default_device("cpu"):
    ...     x = dif.zeros(3)
    >>> x.device
    device('cpu')
    """
    d = device(name)
    token = _default.set(d)
    try:
        yield d
    finally:
        _default.reset(token)


@contextmanager
def made_there(device: Device) -> Iterator[None]:
    """As `default_device`, of a device that is known to be there; CuPy too works on it."""
    token = _default.set(device)
    try:
        if device.kind == "cpu":
            yield
        else:
            with _current(sys.modules["cupy"], device.index):
                yield
    finally:
        _default.reset(token)


def _current(cupy: Any, index: int) -> Any:
    """A context in which GPU `index` is the one that CuPy works on."""
    return nullcontext() if cupy.cuda.runtime.getDevice() == index else cupy.cuda.Device(index)


@contextmanager
def solving() -> Iterator[None]:
    """Inside, CuPy's linear algebra raises where cuSOLVER reports a failure, unless ``dif.cuda.checked(False)``.

    By itself it ignores the report, and a matrix that is not positive definite has a "Cholesky factor".
    """
    import cupyx

    with cupyx.errstate(linalg="raise" if check_solvers.get() else "ignore"):
        yield


# A sweep goes where its cotangents are: `here` before it, `enter` at each, `leave` after it.


def here() -> tuple[Device, int]:
    """The default device, and the number of the one that CuPy works on."""
    try:
        return _default.get(), sys.modules["cupy"].cuda.runtime.getDevice()
    except Exception:  # noqa: BLE001 - no driver: CuPy is imported, but nothing can be on a GPU
        return _default.get(), -1


def enter(a: Any) -> Any:
    """The namespace of array or Tensor `a`, on whose device CuPy works, and things are made, from now on."""
    while a.__class__ is not np.ndarray and hasattr(a, "_data"):
        a = a._data
        a = a.inner if hasattr(a, "inner") else getattr(a, "value", a)  # of a batch, or of a streaming jvp
    if not on_gpu(a):
        _default.set(CPU)
        return np
    cupy = sys.modules["cupy"]
    index = a.data.device_id
    _default.set(gpu(index))
    if cupy.cuda.runtime.getDevice() != index:
        cupy.cuda.runtime.setDevice(index)
    return cupy


def leave(place: tuple[Device, int]) -> None:
    """Back to where `here` was called."""
    _default.set(place[0])
    if place[1] >= 0:
        sys.modules["cupy"].cuda.runtime.setDevice(place[1])


def device_of(a: Any) -> Device:
    """Where raw array `a` lives."""
    if a.__class__ is np.ndarray or not on_gpu(a):
        return CPU
    return gpu(a.data.device_id)


def gpu(index: int) -> Device:
    """The Device of that index: one object for each."""
    found = _gpus.get(index)
    if found is None:
        found = _gpus[index] = Device(f"cuda:{index}")
    return found


_gpus: dict[int, Device] = {}


def cupy_module() -> Any:
    """CuPy, if it is there, is recent enough, and finds a driver."""
    try:
        import cupy
    except ImportError as error:
        if getattr(error, "name", None) == "cupy":
            raise DeviceError(f"device 'cuda' needs CuPy, which is not installed: {_EXTRAS}") from error
        raise DeviceError(
            f"device 'cuda': CuPy is installed, but cannot be imported ({error}). Install the one that fits: {_EXTRAS}"
        ) from error
    version = cupy.__version__
    if int(version.partition(".")[0]) < OLDEST:
        raise DeviceError(f"device 'cuda': CuPy {version} is too old, difftensor needs {OLDEST} or later: {_EXTRAS}")
    return cupy


def gpu_count() -> int:
    """How many GPUs CuPy sees. Raises a DeviceError that says what is missing."""
    cupy = cupy_module()
    try:
        return cupy.cuda.runtime.getDeviceCount()
    except cupy.cuda.runtime.CUDARuntimeError as error:
        raise DeviceError(
            f"device 'cuda': CuPy finds no usable NVIDIA driver ({error}). Is there a GPU, and is its driver as new as "
            "the CUDA version of the CuPy that is installed?"
        ) from error


def library_of(device: Device) -> Any:
    """CuPy, after a look whether there is such a GPU."""
    count = gpu_count()
    if device.index >= count:
        have = "no GPU" if not count else "only cuda:0" if count == 1 else f"only cuda:0 to cuda:{count - 1}"
        raise DeviceError(f"device '{device}' is not there: this machine has {have}. Use one that is, or 'cpu'")
    return sys.modules["cupy"]


def inside(device: Device) -> Any:
    """A context in which CuPy works on `device`."""
    cupy = library_of(device)
    use()
    return cupy.cuda.Device(device.index)


def mark() -> Any:
    """An event in the current stream of the GPU; None as long as none is in use."""
    cupy = sys.modules.get("cupy")
    if not used or cupy is None:
        return None
    event = cupy.cuda.Event()
    event.record()
    return event


def elapsed(start: Any, end: Any) -> float:
    """Seconds between two events, on the device."""
    end.synchronize()
    return 1e-3 * sys.modules["cupy"].cuda.get_elapsed_time(start, end)


def many_gpus() -> bool:
    """Has this machine more than one GPU?"""
    cupy = sys.modules.get("cupy")
    return cupy is not None and cupy.cuda.runtime.getDeviceCount() > 1


def inside_of(a: Any) -> Any:
    """A context in which CuPy works on the device of raw array `a`."""
    if not on_gpu(a):
        return nullcontext()
    return _current(sys.modules["cupy"], a.data.device_id)


def duplicate(a: Any, order: Any = "C") -> Any:
    """A copy of raw array `a` where it is: CuPy's own goes to the current device."""
    if a.__class__ is np.ndarray:
        return a.copy(order)
    with inside_of(a):
        return a.copy(order)


def move(a: Any, device: Device) -> Any:
    """Raw array `a` on `device`: itself if it is there, else a copy."""
    here = device_of(a)
    if here == device:
        return a
    if device.kind == "cpu":
        with inside_of(a):  # an array with gaps is copied there first
            return a.get()
    if here.kind != "cpu" and not (a.flags.c_contiguous or a.flags.f_contiguous):
        a = duplicate(a)  # CuPy copies blocks of memory from one GPU to another
    with inside(device):
        return sys.modules["cupy"].asarray(a)


def beside(a: Any, x: Any) -> Any:
    """Table `a`, an ndarray that was made here, where Tensor or raw array `x` lives."""
    there = x.device if hasattr(x, "_data") else device_of(x)
    return a if there.kind == "cpu" else move(a, there)


def made_on(device: Device, name: str, *args: Any, **keywords: Any) -> Any:
    """NumPy's creation function `name`, run by the library of `device`."""
    if device.kind == "cpu":
        return getattr(np, name)(*args, **keywords)
    with inside(device):
        try:
            return getattr(sys.modules["cupy"], name)(*args, **keywords)
        except MemoryError as error:  # with what is free
            raise explain(name, (), error) from error


def from_device(x: Any) -> Any:
    """A CuPy array over the memory of `x`, an array of another library on a GPU, through DLPack."""
    cupy = cupy_module()
    use()
    return cupy.from_dlpack(x)


def devices() -> list[Device]:
    """The CPU, and every GPU that CuPy sees."""
    try:
        count = gpu_count()
    except DeviceError:
        count = 0
    return [CPU, *map(gpu, range(count))]
