"""What NumPy does otherwise: `where`, parts of complex numbers, copies between host and device, errors."""

from __future__ import annotations

import contextlib
import sys

import numpy as np

from tests.standin.array import FACTS, device, device_now, host, made, ndarray
from tests.standin.functions import function
from tests.standin.kernels import fusing
from tests.standin.launching import copies, current, launch
from tests.standin.ufuncs import Ufunc

WHERE = {"ufunc": [3, 1], "types": [f"?{c}{c}->{c}" for c in "?bBhHiIlLqQefdFD"]}  # cupy/_sorting/search.py
where_ufunc = Ufunc("where", np.where, WHERE)
PARTS = {"ufunc": [1, 1], "types": [*(f"{c}->{c}" for c in "?bBhHiIlLqQefd"), "F->f", "D->d"]}  # _math/arithmetic.py
parts_ufuncs = {name: Ufunc(name, getattr(np, name), PARTS) for name in ("real", "imag")}


def where(condition, x=None, y=None):
    if x is None and y is None:
        return sys.modules["cupy"].nonzero(condition)
    if fusing() is not None:
        return where_ufunc(condition, x, y)
    if not hasattr(condition, "astype") or isinstance(condition, (np.ndarray, np.generic)):
        raise TypeError("the condition must be an array of the device")
    return where_ufunc(condition.astype("?", copy=False), x, y)


def part(name):
    plain = function(name, getattr(np, name), FACTS["cupy"][name]["parameters"])

    def f(val):
        if fusing() is not None:
            return parts_ufuncs[name](val)
        return plain(val.__cupy_get_ndarray__() if hasattr(val, "__cupy_get_ndarray__") else val)

    f.__name__ = name
    return f


def min_scalar_type(a):
    """Of an array of no axes too, that of the array: its value is not read."""
    return a.dtype if isinstance(a, ndarray) else np.min_scalar_type(a)


def short(f):
    """Short integers become float16."""

    def g(x):
        y = f(x)
        return y.astype(np.float16) if x.dtype.char in "?bB" else y

    return g


class PlanCache:
    """The plans of cuFFT that CuPy keeps (cupy/fft/_cache.pyx): here there are none."""

    def __iter__(self):
        return iter(())

    def get_size(self):
        return 16

    def set_size(self, size):
        pass

    def clear(self):
        pass


def solve(a, b):
    """Stacks of equal shape (cupy/linalg/solve.py)."""
    if b.ndim > 1 and a.shape[:-1] != b.shape[:-1]:
        raise ValueError("a must have (..., M, M) shape and b must have (..., M, K) for multidimensional b")
    return solve_of_numpy(a, b)


def as_strided(x, shape=None, strides=None):
    """A view without a base (cupy/lib/stride_tricks.py)."""
    return made(np.lib.stride_tricks.as_strided(host(x), shape, strides), device_now())


solve_of_numpy = function("solve", np.linalg.solve, FACTS["cupy.linalg"]["solve"]["parameters"])

# Between host and device ----------------------------------------------------------------------------------------------


def array(obj, dtype=None, copy=True, order="K", subok=False, ndmin=0, *, blocking=False):
    if isinstance(obj, ndarray):
        if obj._device != device_now():
            return made(launch(lambda: np.array(obj._a, dtype=dtype, ndmin=ndmin)), device_now())
        if not copy and (dtype is None or obj.dtype == dtype) and obj.ndim >= ndmin:
            return obj
        return device(launch(lambda: np.array(obj._a, dtype=dtype, order=order or "K", ndmin=ndmin)))
    if hasattr(obj, "__cupy_get_ndarray__"):
        return array(obj.__cupy_get_ndarray__(), dtype, copy, order, subok, ndmin)
    if isinstance(obj, (list, tuple)) and any(isinstance(v, ndarray) for v in obj):
        return device(launch(lambda: np.array(host(obj), dtype=dtype)))
    copies.up(obj)
    return device(np.array(obj, dtype=dtype, order=order or "K", ndmin=ndmin))


def asarray(a, dtype=None, order=None, *, blocking=False):
    return array(a, dtype, False, order)


def asnumpy(a, stream=None, order="C", out=None, *, blocking=True):
    return a.get(stream, order, out) if isinstance(a, ndarray) else np.asarray(a)


@contextlib.contextmanager
def errstate(*, divide=None, over=None, under=None, invalid=None, linalg=None):
    before = getattr(current, "linalg", "ignore")
    current.linalg = linalg or before
    yield
    current.linalg = before
