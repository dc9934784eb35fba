"""Raw arrays: which classes count, which namespace they belong to, who is a view of whom."""

from __future__ import annotations

import sys
from collections.abc import Callable
from importlib import import_module
from types import ModuleType
from typing import Any

import numpy as np

ndarray = np.ndarray
_scalar = np.generic


def is_refused(a: object) -> bool:
    """True for NumPy's array classes with semantics of their own: masked arrays and matrices."""
    if a.__class__ is ndarray or not isinstance(a, ndarray):
        return False
    # numpy.ma is not imported to find out: an instance cannot exist before it is
    ma = sys.modules.get("numpy.ma")
    return isinstance(a, np.matrix) or (ma is not None and isinstance(a, ma.MaskedArray))


def several_devices() -> bool:
    """True once an array on a GPU was met: then namespaces are looked up array by array."""
    return bool(used) and "cupy" in sys.modules


def on_gpu(a: object) -> bool:
    """Is `a` a raw array on a GPU?"""
    cupy = sys.modules.get("cupy")
    if cupy is None or not isinstance(a, cupy.ndarray):
        return False
    if not used:
        use()
    return True


def use() -> None:
    """A GPU is in use from now on."""
    if not used:
        used.add("cuda")
        for act in when_used:
            act()


used: set[str] = set()  # not empty once an array on a GPU was met
when_used: list[Callable] = []  # what is to be done then


def namespace(a: object) -> ModuleType:
    """The module whose functions act on raw array `a` where it lives."""
    return sys.modules["cupy"] if on_gpu(a) else np


def library(x: Any) -> ModuleType:
    """The module that makes raw arrays where Tensor `x` lives. On a GPU it makes them on the current device."""
    return np if x.device.kind == "cpu" else sys.modules["cupy"]


def science(arrays: tuple, chapter: str) -> ModuleType:
    """``scipy.<chapter>``, or ``cupyx.scipy.<chapter>`` if one of the raw `arrays` lives on a GPU."""
    return import_module(f"cupyx.scipy.{chapter}" if any(map(on_gpu, arrays)) else f"scipy.{chapter}")


def is_array(a: object) -> bool:
    """True for raw arrays and NumPy scalars of either backend."""
    return isinstance(a, (ndarray, _scalar)) or on_gpu(a)


def is_view(y: Any, x: Any) -> bool:
    """True if `y`, just made from array `x`, shares its memory.

    An operation may return its operand itself (``np.real`` of a real array); fancy indexing may return an array with
    a base that is not x: identity of the base decides, not its presence.
    """
    base = getattr(y, "base", None)
    if base is not None and (base is x or base is getattr(x, "base", None)):
        return True
    if y is x:
        return not isinstance(y, _scalar)
    if on_gpu(y):  # stride tricks leave no base, but the memory tells
        return on_gpu(x) and y.data.mem is x.data.mem
    if base is None:
        return False
    # stride tricks and subclasses put an object of their own in between
    return base.__class__ is not y.__class__ and isinstance(y, ndarray) and np.may_share_memory(y, x)


def is_element(y: Any, params: tuple) -> bool:
    """Is `y`, the view ``x[params[0]]`` on a GPU, an element that NumPy would return as a number of its own?"""
    if y.ndim or isinstance(y, ndarray) or not params:
        return False
    index = params[0]
    return not any(i is Ellipsis for i in (index if index.__class__ is tuple else (index,)))


def unwrap_scalar(a: object) -> object:
    """A 0-d ndarray as a NumPy scalar (CuPy takes the one and refuses the other)."""
    return a[()] if a.__class__ is ndarray and a.ndim == 0 else a
