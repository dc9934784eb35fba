"""CUDA graphs of functions of Tensors (the capture itself: _backend/capture)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from threading import Lock
from typing import Any
from weakref import ref

import numpy as np

from difftensor import tree
from difftensor._backend import device_of, on_gpu
from difftensor._backend.capture import Capture, making
from difftensor._backend.device import inside
from difftensor._backend.fusing import fused
from difftensor._backend.scatter import deterministic
from difftensor._core import Tensor, recording, wrap
from difftensor.errors import DeviceError, MissingDerivativeError, describe

GRAPHS = 8  # of one function that are kept; each holds the memory of a call


def graph(f: Callable) -> Callable:
    """`f`, whose kernels are noted down at the first call and launched together, as a CUDA graph, at later ones.

    Parameters
    ----------
    f : callable
        A function of pytrees of Tensors on one GPU, and of hashable Python values. It returns Tensors on that GPU.

    Returns
    -------
    callable
        It returns what `f` returns, for arguments of the same shapes and dtypes without running `f`. Without an array
        on a GPU among the arguments it is `f`.

    Raises
    ------
    DeviceError
        `f` reads a number, moves data between GPU and host, or calls cuSOLVER; arguments or results are arrays on the
        CPU.
    MissingDerivativeError
        An argument or a result is tracked: a graph keeps no tape. Put the derivative inside, ``graph(dif.grad(f))``.

    Notes
    -----
    For steps of many small operations: launching a graph costs about as much as launching one kernel. For each list of
    shapes, dtypes and Python values `f` runs twice: once as always, then into the graph (8 of them are kept). After
    that Python does not run any more: what `f` prints, counts, draws from a generator, or reads from outside stays as
    it was. Arguments are copied in and results out; state goes in and comes out: ``w, loss = step(w, x)``.
    Numbers that change are arrays (``dif.asarray(0.1, device="cuda")``), since every Python value has its graph.
    The looks of the strong zero and of `linalg` happen in the first run only (see `strong_zero`, `checked`).

    Examples
    --------
    >>> import difftensor as dif
    >>> step = dif.cuda.graph(lambda w: w - 0.1 * dif.grad(lambda w: (w * w).sum())(w))
    >>> w = dif.ones(3, device="cuda" if dif.cuda.is_available() else "cpu")
    >>> for _ in range(3):
    ...     w = step(w)
    >>> abs(w[0].item() - 0.512) < 1e-12
    True
    """
    graphs: dict = {}
    lock = Lock()
    name = getattr(f, "__name__", repr(f))

    @wraps(f)
    def step(*args: Any) -> Any:
        leaves, structure = tree.flatten(args)
        if any(isinstance(a, Tensor) and a.__class__ is not Tensor for a in leaves):  # inside vmap or a streaming jvp
            return f(*args)
        there = [leaf for leaf in leaves if _on_gpu(leaf)]
        if not there or making.get():  # a graph inside is part of the one around
            return f(*args)
        key = structure, tuple(_kind(a, name, "argument") for a in leaves), deterministic.get(), fused.get()
        arrays = [a._data if isinstance(a, Tensor) else a for a in there]
        with lock, inside(device_of(arrays[0])):
            if key not in graphs:
                if len(graphs) >= GRAPHS:
                    del graphs[next(iter(graphs))]
                graphs[key] = _captured(f, name, leaves, structure, arrays)
            capture, rebuild = graphs[key]
            return rebuild(capture.launch(arrays))

    return step


def _captured(f: Callable, name: str, leaves: list, structure: Any, arrays: list) -> tuple[Capture, Callable]:
    """The graph of `f`, and what makes a result of the graph's outputs."""
    form: Any = None

    def run(inputs: list) -> list:
        nonlocal form
        given = iter(inputs)
        args = [(wrap(next(given)) if isinstance(a, Tensor) else next(given)) if _on_gpu(a) else a for a in leaves]
        results, shape = tree.flatten(f(*tree.unflatten(structure, args)))
        for r in results:
            _kind(r, name, "result")
        form = shape, [(isinstance(r, Tensor), None) if _on_gpu(r) else (None, r) for r in results]
        return [r._data if isinstance(r, Tensor) else r for r in results if _on_gpu(r)]

    try:
        capture = Capture(run, arrays, _reading)
    except RuntimeError as error:
        if "captur" not in str(error):
            raise
        raise _explained(name, error) from error
    shape, slots = form

    def result(outputs: list) -> Any:
        ys = iter(outputs)
        return tree.unflatten(shape, [r if t is None else wrap(next(ys)) if t else next(ys) for t, r in slots])

    return capture, result


def _on_gpu(leaf: Any) -> bool:
    return on_gpu(leaf._data if isinstance(leaf, Tensor) else leaf)


def _kind(leaf: Any, name: str, what: str) -> tuple:
    """What tells one graph of the function `name` from another: the shape, dtype and device of an array, or a value."""
    if isinstance(leaf, Tensor) and leaf.node is not None and (recording() or what == "result"):
        raise MissingDerivativeError(
            f"dif.cuda.graph: the {what} {describe(leaf)} of {name} is tracked, and a graph keeps no tape. Put the "
            "derivative inside, dif.cuda.graph(dif.grad(f)), or detach it"
        )
    if _on_gpu(leaf):
        return leaf.__class__, leaf.shape, leaf.dtype, device_of(leaf._data if isinstance(leaf, Tensor) else leaf)
    if isinstance(leaf, (Tensor, np.ndarray)):
        raise DeviceError(
            f"dif.cuda.graph: the {what} {describe(leaf)} of {name} is on the CPU; a graph is what one GPU does. Send "
            "arguments there before: x.to_device('cuda')"
        )
    return leaf.__class__, leaf


class _Reading:
    """The slot `_data`, noting the arrays on GPUs that are read."""

    def __init__(self, slot: Any):
        self.slot = slot
        self.seen: dict[int, ref] = {}

    def __get__(self, t: Any, cls: type | None = None) -> Any:
        if t is None:
            return self
        a = self.slot.__get__(t, cls)
        if on_gpu(a):
            self.seen[id(a)] = ref(a)
        return a

    def __set__(self, t: Tensor, a: Any) -> None:
        self.slot.__set__(t, a)


@contextmanager
def _reading() -> Iterator[dict[int, ref]]:
    """The arrays that Tensors hold and somebody reads inside: those that live on were not made inside."""
    slot: Any = Tensor.__dict__["_data"]
    watch = _Reading(slot)
    Tensor._data = watch  # type: ignore[misc, assignment]
    try:
        yield watch.seen
    finally:
        Tensor._data = slot  # type: ignore[misc]


def _explained(name: str, error: RuntimeError) -> DeviceError:
    """What CuPy or CUDA says of something that a stream cannot capture, with what to do."""
    if "cuSOLVER" in str(error):
        return DeviceError(
            f"dif.cuda.graph: {name} calls cuSOLVER, which CuPy does not let a stream capture ({error}). In a graph "
            "are products, solve, inv and det, and cholesky of stacks of matrices up to 3x3; take the factorization "
            "out of the function, and hand its factors in"
        )
    return DeviceError(
        f"dif.cuda.graph: {name} waits for the GPU, or moves data between it and the host ({error}). A graph has no "
        "place for numbers that are read (item, float, `if x > 0`, print), for results whose shape depends on values, "
        "nor for lists and ndarrays among the operands: make those before, as Tensors on the GPU"
    )
