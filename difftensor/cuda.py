"""The GPU: is there one, what is in its memory, waiting for it, and what may be traded for speed.

Nothing here is needed to compute on a GPU: ``x.to_device("cuda")`` is. CuPy is imported when the first function is
called, and never on the CPU's path.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, NamedTuple

from difftensor._backend import Device, as_device
from difftensor._backend.device import check_solvers, cupy_module, gpu, gpu_count, inside
from difftensor._backend.device import strong_zero as _strong_zero
from difftensor._backend.fusing import fused as _fused
from difftensor._backend.scatter import deterministic as _deterministic
from difftensor._transforms.graphs import graph
from difftensor.errors import DeviceError


def is_available() -> bool:
    """Is there a GPU that CuPy can use? ``dif.device("cuda")`` says why not.

    Returns
    -------
    bool

    Examples
    --------
    >>> import difftensor as dif
    >>> dif.cuda.is_available() in (True, False)
    True
    """
    return device_count() > 0


def device_count() -> int:
    """The number of GPUs; 0 without CuPy, driver or GPU.

    Returns
    -------
    int

    Examples
    --------
    >>> import difftensor as dif
    >>> dif.cuda.device_count() >= 0
    True
    """
    try:
        return gpu_count()
    except DeviceError:
        return 0


class MemoryInfo(NamedTuple):
    """Bytes on a GPU.

    Attributes
    ----------
    free, total
        As the driver sees them, for all processes.
    used, reserved
        In arrays of this process, and held by CuPy's pool for the next ones (`used` included).
    """

    free: int
    total: int
    used: int
    reserved: int


def memory_info(device: str | Device = "cuda") -> MemoryInfo:
    """How much memory a GPU has, and how much of it is free.

    Parameters
    ----------
    device : str or Device

    Returns
    -------
    MemoryInfo

    Raises
    ------
    DeviceError
        There is no such GPU.

    Notes
    -----
    Memory of arrays that are gone stays with CuPy's pool: what new arrays can have is ``free + reserved - used``.

    Examples
    --------
    >>> import difftensor as dif
    >>> if dif.cuda.is_available():
    ...     info = dif.cuda.memory_info()
    ...     assert 0 <= info.used <= info.reserved <= info.total
    """
    with inside(_gpu(device)):
        cupy = cupy_module()
        free, total = cupy.cuda.runtime.memGetInfo()
        pool = cupy.get_default_memory_pool()
        return MemoryInfo(free, total, pool.used_bytes(), pool.total_bytes())


def free_memory(device: str | Device = "cuda") -> None:
    """Give what CuPy's pool holds for later arrays back to the driver, for other processes.

    Parameters
    ----------
    device : str or Device
    """
    with inside(_gpu(device)):
        cupy_module().get_default_memory_pool().free_all_blocks()


def synchronize(device: str | Device = "cuda") -> None:
    """Wait until a GPU has done all that was asked of it.

    Parameters
    ----------
    device : str or Device

    Notes
    -----
    Operations return before they are done; what waits by itself is listed in docs/gpu.md. For measuring times by hand;
    ``dif.profile`` measures on the device.
    """
    with inside(_gpu(device)):
        cupy_module().cuda.runtime.deviceSynchronize()


class Stream:
    """An order of its own for operations: ``with dif.cuda.Stream():`` they run beside those of other streams.

    Parameters
    ----------
    device : str or Device
        The GPU whose stream it is.

    Notes
    -----
    What a stream reads must be done before: ``wait()`` for the stream that makes it, or `synchronize`. Backward sweeps
    run in the stream that is entered when they are started.

    Examples
    --------
    >>> import difftensor as dif
    >>> if dif.cuda.is_available():
    ...     with dif.cuda.Stream() as stream:
    ...         x = dif.ones(3, device="cuda") * 2
    ...     stream.wait()
    """

    def __init__(self, device: str | Device = "cuda"):
        self.device = _gpu(device)
        with inside(self.device):
            self._stream = cupy_module().cuda.Stream(non_blocking=True)
        self._open: list = []

    def __enter__(self) -> Stream:
        place = inside(self.device)
        place.__enter__()
        self._stream.__enter__()
        self._open.append(place)
        return self

    def __exit__(self, *exc: Any) -> None:
        self._stream.__exit__(*exc)
        self._open.pop().__exit__(*exc)

    def wait(self) -> None:
        """Wait until all that was asked in this stream is done."""
        self._stream.synchronize()


@contextmanager
def _set(what: ContextVar, value: Any) -> Iterator[None]:
    token = what.set(value)
    try:
        yield
    finally:
        what.reset(token)


def deterministic(flag: bool) -> Any:
    """Inside ``with deterministic(False):`` sums over repeated indices are added by atomic operations.

    Parameters
    ----------
    flag : bool
        True is the default: gradients of ``x[indices]``, ``np.add.at`` and weighted `bincount` have the same bits every
        time, at the cost of a sort of the indices.

    Returns
    -------
    context manager

    Notes
    -----
    Atomic additions happen in any order, so that the last digits of floating-point sums differ from run to run.
    Complex numbers, of which CuPy has no atomic addition, are always added in order.
    """
    return _set(_deterministic, bool(flag))


def strong_zero(flag: bool) -> Any:
    """Inside ``with strong_zero(False):`` sweeps on a GPU do not look whether their results are finite.

    Parameters
    ----------
    flag : bool
        True is the default: one number comes back per sweep, for which the host waits; if it says that a derivative is
        not finite, the sweep is repeated with exact zeros kept zero through infinite derivatives.

    Returns
    -------
    context manager

    Notes
    -----
    Without the look nothing waits, and a derivative that the repair would have saved is NaN.
    """
    return _set(_strong_zero, bool(flag))


def fused(flag: bool) -> Any:
    """Inside ``with fused(False):`` backward sweeps on a GPU launch a kernel for each operation of each rule.

    Parameters
    ----------
    flag : bool
        True is the default: the rules of elementwise operations, through chains of them and sums of cotangents, become
        one kernel for up to 24 operations.

    Returns
    -------
    context manager

    Notes
    -----
    The first call of each new chain compiles its kernel (CuPy keeps it on disk). The last digits of a fused result can
    differ from those of the separate operations: the compiler contracts ``a * b + c``. Recorded sweeps (derivatives of
    derivatives), sweeps inside ``vmap``, ``dif.profile`` and ``dif.debug(nan=True)`` are not fused.
    """
    return _set(_fused, bool(flag))


def checked(flag: bool) -> Any:
    """Inside ``with checked(False):`` functions of `linalg` do not look whether cuSOLVER succeeded.

    Parameters
    ----------
    flag : bool
        True is the default: a singular or not positive definite matrix raises LinAlgError, as on the CPU; for that the
        host waits for the result. CuPy by itself returns whatever is in memory then. With False (and inside graphs)
        derivatives of `eigh` and `cholesky` take the matrix for Hermitian without a look at it.

    Returns
    -------
    context manager
    """
    return _set(check_solvers, bool(flag))


def _gpu(device: str | Device) -> Device:
    d = as_device(device)
    if d.kind != "cuda":
        raise DeviceError(f"device '{d}' is not a GPU: use 'cuda', or 'cuda:0', 'cuda:1', ...")
    return gpu(d.index)


__all__ = [
    "MemoryInfo",
    "Stream",
    "checked",
    "deterministic",
    "device_count",
    "free_memory",
    "fused",
    "graph",
    "is_available",
    "memory_info",
    "strong_zero",
    "synchronize",
]
