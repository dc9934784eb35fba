"""The array of the stand-in: NumPy's memory behind CuPy's manners."""

from __future__ import annotations

import json
import operator
import warnings
from pathlib import Path

import numpy as np

from tests.standin.launching import (
    allocator,
    capturing,
    copies,
    current,
    launch,
    refuse_libraries,
    refuse_while_capturing,
)

FACTS = json.loads((Path(__file__).parent / "facts.json").read_text())
DTYPES = frozenset("?bBhHiIlLqQefdFD")  # what CuPy's kernels know
SCALARS = (bool, int, float, complex, np.generic)
DEVICES = 4
memory = {"used": 0, "limit": 1 << 40}


class OutOfMemoryError(MemoryError):
    """As of cupy.cuda.memory: three numbers, not a message."""

    def __init__(self, size, total, limit=0):
        super().__init__(f"Out of memory allocating {size:,} bytes (allocated so far: {total:,} bytes).")


def device_now() -> int:
    return getattr(current, "device", 0)


def allocate(nbytes: int) -> None:
    if capturing() is not None and allocator() is None:
        raise AssertionError("memory of a graph comes from a pool that nobody else takes memory from")
    if nbytes > memory["limit"]:
        raise OutOfMemoryError(nbytes, memory["used"])


def host(x):
    """What the device computes with: `x` with NumPy arrays in place of the device's; NumPy's own are refused."""
    if isinstance(x, ndarray):
        if x._device != device_now():
            raise RuntimeError(
                f"PerformanceWarning: The device where the array resides ({x._device}) is different from the current "
                f"device ({device_now()})"
            )
        return x._a
    if isinstance(x, np.ndarray):
        raise TypeError(f"Unsupported type {type(x)}")
    if x.__class__ in (list, tuple):
        return type(x)(map(host, x))
    if x.__class__ is dict:
        return {k: host(v) for k, v in x.items()}
    if x.__class__ is slice:
        return slice(host(x.start), host(x.stop), host(x.step))
    return x


def device(y, *sources):
    """The result `y` as the device returns it: arrays, also where NumPy returns scalars; views know their base."""
    if isinstance(y, np.generic):
        y = np.array(y)
    if isinstance(y, np.ndarray):
        if y.dtype.char not in DTYPES:
            raise TypeError(f"Unsupported dtype {y.dtype}")
        base = None
        with warnings.catch_warnings(action="ignore"):
            try:
                y.flags.writeable = True  # CuPy has no others
            except ValueError:
                y = y.copy()
        for x in sources:
            if isinstance(x, ndarray) and x._a is y:
                return x
            if isinstance(x, ndarray) and base is None and y.base is not None and np.may_share_memory(x._a, y):
                base = x.base if x.base is not None else x
        if base is None:
            allocate(y.nbytes)
        return made(y, device_now(), base)
    if isinstance(y, tuple):
        parts = [device(v, *sources) for v in y]
        return type(y)(*parts) if hasattr(y, "_fields") else tuple(parts)
    if y.__class__ is list:
        return [device(v, *sources) for v in y]
    return y


def made(a, device, base=None):
    x = object.__new__(ndarray)
    x._a, x._device, x.base = a, device, base
    return x


class _Device:
    """The current device while it is entered."""

    def __init__(self, device=None):
        self.id = device_now() if device is None else int(getattr(device, "id", device))
        if not 0 <= self.id < DEVICES:
            raise RuntimeError("cudaErrorInvalidDevice: invalid device ordinal")
        self._before = []

    def __enter__(self):
        self._before.append(device_now())
        current.device = self.id
        return self

    def __exit__(self, *_):
        current.device = self._before.pop()

    def use(self):
        current.device = self.id

    def synchronize(self):
        pass

    @property
    def mem_info(self):
        return memory["limit"] - memory["used"], memory["limit"]

    compute_capability = "00"

    def __eq__(self, other):
        return isinstance(other, _Device) and self.id == other.id

    def __hash__(self):
        return self.id


class _Data:
    """The memory that an array lies in."""

    def __init__(self, x):
        self.device_id, self.ptr = x._device, x._a.__array_interface__["data"][0]
        self.device = _Device(x._device)
        self.mem = x._a
        while getattr(self.mem, "base", None) is not None:  # through the objects of stride tricks
            self.mem = self.mem.base


class _Flags:
    """What CuPy says of the memory layout."""

    def __init__(self, x):
        f = x._a.flags
        self.c_contiguous, self.f_contiguous, self.owndata = f.c_contiguous, f.f_contiguous, x.base is None
        self.fnc = self.f_contiguous and not self.c_contiguous


class ndarray:
    __slots__ = ("__weakref__", "_a", "_device", "base")
    __module__ = "cupy"
    __array_priority__ = 100
    __hash__ = None

    def __new__(cls, shape, dtype=float, memptr=None, strides=None, order="C"):
        allocate(int(np.prod(shape)) * np.dtype(dtype).itemsize)
        return made(np.empty(shape, dtype, order), device_now())

    shape = property(lambda x: x._a.shape, lambda x, v: setattr(x._a, "shape", v))
    dtype, ndim, size = (property(operator.attrgetter(f"_a.{n}")) for n in ("dtype", "ndim", "size"))
    strides, itemsize, nbytes = (property(operator.attrgetter(f"_a.{n}")) for n in ("strides", "itemsize", "nbytes"))
    flags = property(lambda x: _Flags(x))
    T, mT = property(lambda x: device(x._a.T, x)), property(lambda x: device(x._a.mT, x))
    data = property(_Data)
    device = property(lambda x: _Device(x._device))
    flat = property(lambda x: map(device, x._a.flat))
    real = property(
        lambda x: device(x._a.real, x) if x.dtype.kind == "c" else x, lambda x, v: x.real.__setitem__(Ellipsis, v)
    )

    @property
    def imag(self):
        return device(self._a.imag if self.dtype.kind == "c" else np.zeros_like(self._a), self)

    @imag.setter
    def imag(self, value):
        if self.dtype.kind != "c":
            raise TypeError("cupy.ndarray does not have imaginary part to set")
        self.imag[...] = value

    @property
    def __cuda_array_interface__(self):
        a = self._a.__array_interface__
        return {"shape": self.shape, "typestr": a["typestr"], "data": a["data"], "strides": a["strides"], "version": 3}

    # what crosses to the host ---------------------------------------------------------------------------------------

    def get(self, stream=None, order="C", out=None, blocking=True):
        copies.down(self)
        if out is not None:
            out[...] = self._a
            return out
        return np.array(self._a, order="K" if order == "A" else order)

    def item(self):
        if self.size != 1:
            raise ValueError("can only convert an array of size 1 to a Python scalar")
        return self.get().item()

    def tolist(self):
        return self.get().tolist()

    def tobytes(self, order="C"):
        return self.get().tobytes(order)

    def __bool__(self):
        if self.size != 1:
            raise ValueError("The truth value of an array with more than one element is ambiguous.")
        return bool(self.get())

    def __int__(self):
        return int(self.get())

    def __float__(self):
        return float(self.get())

    def __complex__(self):
        return complex(self.get())

    def __repr__(self):
        return repr(self.get())

    def __str__(self):
        return str(self.get())

    def __format__(self, spec):
        return format(self.get(), spec)

    def __reduce__(self):
        return _array, (self.get(),)

    def set(self, arr, stream=None):
        copies.up(arr)
        self._a[...] = np.asarray(arr).reshape(self.shape)

    def __array__(self, dtype=None):
        raise TypeError(
            "Implicit conversion to a NumPy array is not allowed. Please use `.get()` to construct a NumPy array "
            "explicitly."
        )

    # indexing -------------------------------------------------------------------------------------------------------

    def __len__(self):
        return len(self._a)

    def __iter__(self):
        if not self.ndim:
            raise TypeError("iteration over a 0-d array")
        return (self[i] for i in range(len(self._a)))

    def __getitem__(self, index):
        host(self)
        key = _key(index)
        parts = key if isinstance(key, tuple) else (key,)
        if sum(getattr(k, "dtype", np.dtype(int)).kind == "b" for k in parts) > 1:
            raise NotImplementedError("more than one boolean array in an index")
        fancy = any(isinstance(k, np.ndarray) for k in parts)
        y = launch(lambda: self._a[key]) if fancy else self._a[key]
        if isinstance(y, np.generic) and not any(isinstance(k, np.ndarray) for k in parts):
            y = self._a[(*parts, Ellipsis)]  # an element is a view
        return device(y, self)

    def __setitem__(self, index, value):
        host(self)
        if isinstance(value, np.ndarray):
            if value.ndim:
                raise TypeError(f"Unsupported type {type(value)}")
            copies.up(value)
        elif not isinstance(value, (ndarray, *SCALARS)):
            raise TypeError(f"Unsupported type {type(value)}")
        key, v = _key(index), host(value) if isinstance(value, ndarray) else value
        launch(lambda: self._a.__setitem__(key, v), into=self._a)

    # arithmetic -----------------------------------------------------------------------------------------------------

    def __array_ufunc__(self, ufunc, method, *inputs, **kwargs):
        inout = inputs
        if "out" in kwargs:
            if len(kwargs["out"]) != 1:
                raise ValueError("The 'out' parameter must have exactly one array value")
            inout += kwargs["out"]
            kwargs["out"] = kwargs["out"][0]
        f = _library().get(ufunc.__name__)
        if f is None or (method != "__call__" and not hasattr(f, method)):
            return NotImplemented
        for x in inout:
            known = isinstance(x, (*SCALARS, ndarray, np.ndarray)) or x is None
            if not known and not hasattr(x, "__cuda_array_interface__") and not hasattr(x, "__cupy_get_ndarray__"):
                return NotImplemented
        if ufunc.__name__ in ("greater", "greater_equal", "less", "less_equal", "equal", "not_equal"):
            inputs = tuple(x.item() if isinstance(x, np.ndarray) and x.ndim == 0 else x for x in inputs)
        return (f if method == "__call__" else getattr(f, method))(*inputs, **kwargs)

    def __array_function__(self, func, types, args, kwargs):
        import sys

        module = sys.modules.get("cupy" + func.__module__.removeprefix("numpy"))
        f = getattr(module, func.__name__, None) if func.__module__.startswith("numpy") else None
        if f is None or not all(issubclass(t, (ndarray, np.ndarray)) for t in types):
            return NotImplemented
        return f(*args, **kwargs)

    def __copy__(self):
        return self.copy()

    def __deepcopy__(self, memo):
        return self.copy()

    def __dlpack_device__(self):
        return 2, self._device

    def __dlpack__(self, *, stream=None, max_version=None, dl_device=None, copy=None):
        return self._a.__dlpack__(max_version=(1, 0))  # of the host: what is lent can be looked at


def _array(a):
    from cupy import array

    return array(a)


def _library():
    import cupy
    import cupyx.scipy.special as special

    return {**vars(special), **vars(cupy)}


def _key(index):
    """The index as the device takes it. Index arrays of NumPy are copied up, as CuPy does."""
    if isinstance(index, tuple):
        return tuple(map(_key, index))
    if isinstance(index, ndarray):
        if index.dtype.kind == "b":
            refuse_while_capturing("synchronous API calls")  # how many there are must be known
        return host(index)
    if isinstance(index, slice):
        for k in (index.start, index.stop, index.step):
            if isinstance(k, ndarray):
                raise TypeError("an array of the device is no bound of a slice")
        return index
    if isinstance(index, (np.ndarray, list)):
        copies.up(index)
        return np.asarray(index, dtype=None if np.size(index) else np.intp)
    return index


def _operator(name, f):
    import operator as python

    own = getattr(python, name, None) or divmod

    def forward(x, y):
        if isinstance(y, ndarray):
            if name in ("matmul", "divmod"):
                refuse_libraries(name, x)
                return device(launch(lambda: own(host(x), host(y))), x, y)
            return f(x, y)
        other = getattr(y, "__array_ufunc__", NotImplemented)
        if other is None or (other is NotImplemented and getattr(y, "__array_priority__", 0) > 100):
            return NotImplemented
        return f(x, y)

    return forward


for _name, _f in {
    "add": np.add, "sub": np.subtract, "mul": np.multiply, "truediv": np.true_divide, "floordiv": np.floor_divide,
    "mod": np.remainder, "pow": np.power, "matmul": np.matmul, "lshift": np.left_shift, "rshift": np.right_shift,
    "and_": np.bitwise_and, "or_": np.bitwise_or, "xor": np.bitwise_xor, "lt": np.less, "le": np.less_equal,
    "gt": np.greater, "ge": np.greater_equal, "eq": np.equal, "ne": np.not_equal, "divmod": np.divmod,
}.items():  # fmt: skip
    _dunder = _name.rstrip("_")
    _forward = _operator(_name, _f)
    setattr(ndarray, f"__{_dunder}__", _forward)
    if _dunder not in ("lt", "le", "gt", "ge", "eq", "ne"):
        setattr(ndarray, f"__r{_dunder}__", lambda x, y, f=_f: f(y, x))
        if _dunder != "divmod":

            def _in_place(x, y, f=_f):
                return f(x, y, out=x)

            setattr(ndarray, f"__i{_dunder}__", _in_place)
for _name, _f in (("neg", operator.neg), ("pos", operator.pos), ("abs", abs), ("invert", operator.invert)):
    setattr(ndarray, f"__{_name}__", lambda x, f=_f: device(launch(lambda: f(host(x))), x))
