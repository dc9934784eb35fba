"""CUDA's capture of a stream: the kernels that a function launches, noted down once and launched again together.

A stream that captures (``cudaStreamBeginCapture``) runs nothing, so that nothing can be read while it does. All memory
comes from a pool of the graph's own: later launches write where the captured kernels wrote.

CuPy 14 refuses to call cuBLAS while a stream captures ("before we come up with a robust strategy to test the support
conditions"). cuBLAS itself can be captured (its documentation, "CUDA Graphs": all routines that leave their results on
the device), so products and the factorizations of stacks are handed to it here, past CuPy's look. cuSOLVER does not say
that it can: what CuPy does with it raises.
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar
from functools import cache
from importlib import import_module
from threading import Lock
from typing import Any

from difftensor._backend.device import check_solvers, strong_zero

making: ContextVar[bool] = ContextVar("difftensor.making_graph", default=False)
_one = Lock()  # captures at a time: they watch what everybody reads


class Capture:
    """The graph of ``f(inputs) -> outputs`` of raw arrays on the current GPU.

    `inputs` are copies of the given arrays, `outputs` what the last launch left. What else `f` reads is a constant, and
    kept alive: a graph knows addresses. `reading()` is a context that gives a table of weak references to what is read.
    """

    def __init__(self, f: Callable[[list], list], arrays: list, reading: Callable[[], AbstractContextManager[dict]]):
        cuda = sys.modules["cupy"].cuda
        self._pool, self._stream = cuda.MemoryPool(), cuda.Stream(non_blocking=True)
        cuda.runtime.deviceSynchronize()  # what f reads in the new stream is there
        self._plans: list = []
        with _one, _set(making, True), cuda.using_allocator(self._pool.malloc), self._stream, _kept(self._plans):
            self.inputs = [a.copy() for a in arrays]
            with reading() as seen:
                f(self.inputs)  # compiles kernels, makes handles and plans, and fails where f fails
            self._stream.synchronize()
            self._constants = [a for r in seen.values() if (a := r()) is not None]  # the others were made inside
            with _set(strong_zero, False), _set(check_solvers, False), _blas_captured(self._stream.ptr):
                self._stream.begin_capture()
                try:
                    self.outputs = f(self.inputs)
                except BaseException:
                    self._give_up()
                    raise
                self._graph = self._stream.end_capture()

    def launch(self, arrays: list) -> list:
        """The outputs for these inputs, in memory of their own; in the current stream."""
        for a, new in zip(self.inputs, arrays, strict=True):
            a[...] = new
        self._graph.launch()
        return [y.copy() for y in self.outputs]

    def _give_up(self) -> None:
        try:
            self._stream.end_capture()
        except Exception:  # noqa: BLE001 - CUDA says again that the capture has failed
            pass


@contextmanager
def _kept(plans: list) -> Iterator[None]:
    """Inside, cuFFT's plans are made anew, and kept in `plans`: a graph reads their tables and writes their memory.

    CuPy keeps the last 16 plans of a thread, and destroys the others.
    """
    cache = sys.modules["cupy"].fft.config.get_plan_cache()
    size = cache.get_size()
    cache.clear()
    cache.set_size(-1)  # all of them
    try:
        yield
        plans += [node.plan for _, node in cache]
    finally:
        cache.clear()
        cache.set_size(size)


# CuPy's names of what it calls of cuBLAS for products, transposed copies, and solutions and inverses of stacks.
_OF_ANY_DTYPE = "gemmEx", "gemmStridedBatchedEx"
_OF_A_DTYPE = "gemm", "gemmBatched", "geam", "trsm", "trsmBatched", "getrfBatched", "getrsBatched", "getriBatched"
_SECOND = frozenset(("gemm", "trsm", "SetStream"))  # whose names in the library end in _v2


@contextmanager
def _blas_captured(stream: int) -> Iterator[None]:
    """While this thread captures `stream`, cuBLAS is called as it is."""
    cublas = import_module("cupy_backends.cuda.libs.cublas")
    names = [*_OF_ANY_DTYPE, *(letter + name for letter in "sdcz" for name in _OF_A_DTYPE)]
    before = {name: getattr(cublas, name) for name in names}
    for name, f in before.items():
        setattr(cublas, name, _direct(cublas, name, f, stream))
    try:
        yield
    finally:
        for name, f in before.items():
            setattr(cublas, name, f)


def _direct(cublas: Any, name: str, f: Callable, stream: int) -> Callable:
    """CuPy's function `name`, past its look whether a stream captures."""

    def call(handle: int, *args: int) -> None:
        if not making.get():  # another thread
            f(handle, *args)
            return
        if name == "gemmStridedBatchedEx" and args[-2] in _TYPES:  # as cuBLAS's header translates it
            args = (*args[:-2], getattr(cublas, _TYPES[args[-2]]), args[-1])
        plain = name if name in _OF_ANY_DTYPE else name[1:]
        full = "cublas" + name[0].upper() + name[1:] + "_v2" * (plain in _SECOND)
        for called, given in (("cublasSetStream_v2", (stream,)), (full, args)):
            status = getattr(_library(cublas.__file__), called)(*map(ctypes.c_int64, (handle, *given)))
            if status:
                raise cublas.CUBLASError(status)

    return call


_TYPES = {0: "CUBLAS_COMPUTE_32F", 4: "CUBLAS_COMPUTE_32F", 1: "CUBLAS_COMPUTE_64F", 5: "CUBLAS_COMPUTE_64F"}


@cache
def _library(path: str) -> ctypes.CDLL:
    """The cuBLAS that CuPy's module at `path` is linked to: its names are found through those of the module.

    All arguments are integers and addresses. In the calling conventions of 64-bit processors each of them has eight
    bytes to itself, of which an ``int`` is the lower half.
    """
    return ctypes.CDLL(path)


@contextmanager
def _set(what: ContextVar[bool], value: bool) -> Iterator[None]:
    token = what.set(value)
    try:
        yield
    finally:
        what.reset(token)
