"""Making Tensors: of numbers, of arrays, of lists that hold Tensors; filled with a value; from files."""

from __future__ import annotations

import numpy as np

from difftensor._backend import (
    as_device,
    device_of,
    duplicate,
    is_array,
    made_on,
    move,
    on_gpu,
    several_devices,
)
from difftensor._backend.arrays import is_refused
from difftensor._backend.device import inside_of
from difftensor._core import Tensor, X, adopt_foreign, composition, holds_tensor, publish, wrap
from difftensor._core.composition import where_its_arguments_are
from difftensor._core.primitive import signed
from difftensor._ops.broadcasting import as_shape
from difftensor._ops.joining import array_of_numbers, array_of_rows, stack_parts
from difftensor.errors import refused, would_lose

# Of what is there -----------------------------------------------------------------------------------------------------


def tensor(data, dtype=None, *, device=None, requires_grad=False):
    """A new Tensor with a copy of `data`.

    Parameters
    ----------
    data : array_like
        Numbers, nested lists, an ndarray, or a Tensor without history; a user's leaf with ``requires_grad=True``.
    dtype : dtype, optional
        Floats are float64 unless `data` says otherwise. With ``requires_grad=True`` integers become float64.
    device : str or Device, optional
        ``"cpu"`` or ``"cuda:i"``. By default an array on a GPU stays there, and everything else goes to the default
        device: the CPU, unless ``dif.default_device`` says otherwise.
    requires_grad : bool
        Record operations on it, for ``backward()``.

    Returns
    -------
    Tensor

    Raises
    ------
    TrackedValueError
        `data` is tracked, or holds what is: ``dif.array(data)`` keeps the derivative, ``x.detach()`` drops it.

    Examples
    --------
    >>> import difftensor as dif
    >>> w = dif.tensor([1.0, 2.0], requires_grad=True)
    >>> (w**2).sum().backward()
    >>> w.grad
    tensor([2., 4.])
    """
    _refuse(data, "tensor")
    if not isinstance(data, Tensor) and not is_array(data) and holds_tensor(data):
        data = array(data)
    if isinstance(data, Tensor):
        if data.node is not None and not (requires_grad and data._stands_alone()):
            raise would_lose("dif.tensor()", data)
        raw = data._data
    else:
        raw = data if is_array(data) else np.asarray(data, dtype)
    raw = _numeric(raw, "tensor")
    if dtype is None and requires_grad and raw.dtype.kind in "iub":
        dtype = np.float64
    there = device_of(raw) if device is None and on_gpu(raw) else as_device(device)
    moved = move(raw, there)
    if dtype is not None and raw.dtype != dtype:
        moved = moved.astype(dtype)
    elif moved is raw:
        moved = np.array(raw) if isinstance(raw, (np.ndarray, np.generic)) else duplicate(raw)
    t = wrap(moved)
    return t.requires_grad_() if requires_grad else t


def _refuse(obj, name):
    if is_refused(obj):
        raise refused(f"dif.{name}", obj)


def _numeric(raw, name):
    """`raw` in the machine's byte order, if it holds numbers."""
    if raw.dtype.kind not in "biufc":
        raise TypeError(
            f"dif.{name}: dtype {raw.dtype} is not supported; Tensors hold booleans, integers, floats and "
            "complex numbers"
        )
    return raw if raw.dtype.isnative else raw.astype(raw.dtype.newbyteorder("="))


def asarray(a, dtype=None, order=None, *, device=None, copy=None, like=None):
    """`a` as a Tensor; an ndarray is shared, not copied.

    Parameters
    ----------
    a : array_like
        A Tensor is returned as it is. A Tensor over an ndarray shares its memory: writes to either are seen by both.
        Nested lists may hold Tensors: the result is differentiable.
    dtype : dtype, optional
    order : {"C", "F", "A", "K"}, optional
        Memory layout, as of ``np.asarray``.
    device : str or Device, optional
    copy : bool, optional
        True: always copy. False: never (ValueError if one is needed). None: only if needed.
    like : optional
        Accepted as NumPy does; the result is a Tensor anyway.

    Returns
    -------
    Tensor
    """
    _refuse(a, "asarray")
    t = a if isinstance(a, Tensor) else _shared(a, dtype, copy)
    if dtype is not None and t.dtype != np.dtype(dtype):
        if copy is False:
            raise ValueError(f"dif.asarray: copy=False, but {t.dtype} must be copied to become {np.dtype(dtype)}")
        t = X.astype(t, dtype)
    elif copy and (t is a or t.alias is not None):
        t = X.copy(t)
    if order in ("C", "F"):
        t = _laid_out(t, order)
    return _made(t, device) if device is None and _is_new(a) else _placed(t, device)


def _is_new(a):
    """Is `a` made of numbers, which are nowhere yet? Arrays and Tensors, and lists of them, have their place."""
    return not isinstance(a, Tensor) and not hasattr(a, "__array__") and not is_array(a) and not holds_tensor(a)


def _shared(a, dtype, copy):
    """`a`, no Tensor, as one; without a copy if it is an array."""
    if holds_tensor(a):
        if copy is False:
            raise ValueError("dif.asarray: copy=False, but a list of Tensors must be copied")
        return array(a)
    if hasattr(a, "__dlpack__") and not hasattr(a, "__array__") and not is_array(a):
        a = np.from_dlpack(a)
    # numbers are read as `dtype` at once: on the way through float64 large integers would lose digits
    numbers = a.__class__ in (list, tuple, int, float, complex, bool)
    raw = a if is_array(a) and not isinstance(a, np.generic) else np.asarray(a, dtype if numbers else None)
    buffer = isinstance(a, (memoryview, bytearray)) or hasattr(a, "__array__") and not isinstance(a, np.generic)
    if dtype is not None and raw.dtype.kind not in "biufc":
        raw = raw.astype(dtype)
        buffer = False
    native = _numeric(raw, "asarray")
    if copy is False and (native is not raw or not (buffer or is_array(a) and not isinstance(a, np.generic))):
        raise ValueError("dif.asarray: copy=False, but this object must be copied")
    t = wrap(native)
    if buffer and native is raw:
        adopt_foreign(t)
    return t


def _laid_out(t, order):
    """`t` in C or Fortran order. The layout has no derivative, so only a copy is recorded."""
    if t.__class__ is not Tensor:  # a value of a transformation: its layout is not the caller's
        return t
    flags = t._data.flags
    if order == "F" and not flags.f_contiguous:
        return X.copy(t.T, "C").T
    return X.copy(t, "C") if order == "C" and not flags.c_contiguous else t


def _placed(t, device):
    """`t` on `device`, where it is if that is None."""
    return t if device is None else X.to_device(t, device)


def _made(t, device):
    """A new `t` on `device`, on the default device if that is None."""
    return X.to_device(t, as_device(device))


def asanyarray(a, dtype=None, order=None, *, device=None, copy=None, like=None):
    """As ``dif.asarray``."""
    return asarray(a, dtype, order, device=device, copy=copy)


def ascontiguousarray(a, dtype=None, *, like=None):
    """`a` as a Tensor in C order with at least one axis."""
    return X.atleast_1d(asarray(a, dtype, "C"))


def asfortranarray(a, dtype=None, *, like=None):
    """`a` as a Tensor in Fortran order with at least one axis."""
    return X.atleast_1d(asarray(a, dtype, "F"))


def asarray_chkfinite(a, dtype=None, order=None):
    """As ``dif.asarray``; ValueError if there is a NaN or an infinity."""
    t = asarray(a, dtype, order)
    if t.dtype.kind in "fc" and not bool(X.isfinite(t).all()):
        raise ValueError("array must not contain infs or NaNs")
    return t


def require(a, dtype=None, requirements=None, *, like=None):
    """`a` as a Tensor that meets `requirements`, as of ``np.require``."""
    wanted = {str(r).upper() for r in ([requirements] if isinstance(requirements, str) else requirements or ())}
    t = asarray(
        a, dtype, "F" if wanted & {"F", "FORTRAN", "F_CONTIGUOUS"} else "C" if wanted & {"C", "CONTIGUOUS"} else None
    )
    return X.copy(t) if wanted & {"O", "OWNDATA"} and t.alias is not None else t


def from_dlpack(x, /, *, device=None, copy=None):
    """A Tensor over the memory of another library's array, through DLPack."""
    if isinstance(x, Tensor):
        return asarray(x, device=device, copy=copy)
    kind = x.__dlpack_device__()[0]
    if int(kind) in (1, 3, 13) and "cupy" not in type(x).__module__:  # CPU and host memory of a GPU
        raw = np.from_dlpack(x)
    else:
        from difftensor._backend import from_device

        raw = from_device(x)
    return _placed(X.copy(wrap(raw)) if copy else adopt_foreign(wrap(_numeric(raw, "from_dlpack"))), device)


# Arrays out of Tensors ------------------------------------------------------------------------------------------------


def array(object, dtype=None, *, copy=True, order="K", subok=False, ndmin=0, like=None, device=None):
    """A Tensor of `object`, which may be nested lists that hold Tensors: the result is differentiable.

    Parameters
    ----------
    object : array_like
    dtype : dtype, optional
    copy, order, subok, ndmin, like
        As of ``np.array``.
    device : str or Device, optional

    Returns
    -------
    Tensor

    Examples
    --------
    >>> import difftensor as dif
    >>> def rhs(u):
    ...     x, y = u
    ...     return dif.array([x - x * y, x * y - y])
    >>> dif.jacobian(rhs)(dif.array([1.0, 1.0]))
    tensor([[ 0., -1.],
            [ 1.,  0.]])
    """
    if (object.__class__ is list or object.__class__ is tuple) and dtype is None and object:
        t = array_of_numbers(object)
        if t is None:
            t = array_of_rows(object)
        if t is not None:
            return t if ndmin <= 1 and device is None else _placed(t.reshape((1,) * (ndmin - 1) + t.shape), device)
    _refuse(object, "array")
    if object.__class__ in (list, tuple) and holds_tensor(object):
        t = where_its_arguments_are(_from_nested)(object) if several_devices() else _from_nested(object)
        if dtype is not None:
            t = X.astype(t, dtype, copy=False)
    elif isinstance(object, Tensor):
        t = object if dtype is None else X.astype(object, dtype, copy=False)
        if copy and t is object:
            t = X.copy(t)
    elif is_array(object) and not isinstance(object, (np.ndarray, np.generic)):
        t = wrap(object.astype(dtype) if dtype is not None else object.copy())
    elif copy:
        t = wrap(_numeric(np.array(object, dtype=dtype, order=order), "array"))
    else:
        t = asarray(object, dtype, copy=copy)
    if t.ndim < ndmin:
        t = t.reshape((1,) * (ndmin - t.ndim) + t.shape)
    if order in ("C", "F"):
        t = _laid_out(t, order)
    return _made(t, device) if device is None and _is_new(object) else _placed(t, device)


def _from_nested(obj):
    """Nested lists with Tensors inside, in one operation where all parts have one shape."""
    shape = [len(obj)]
    flat = list(obj)
    while flat and all(v.__class__ in (list, tuple) for v in flat):
        lengths = {len(v) for v in flat}
        if len(lengths) > 1:
            raise ValueError(f"dif.array: the nested sequences have different lengths {sorted(lengths)}")
        shape.append(lengths.pop())
        flat = [w for v in flat for w in v]
    if any(v.__class__ in (list, tuple) for v in flat):
        flat = [
            _from_nested(v) if holds_tensor(v) else X.asarray(v) if v.__class__ in (list, tuple) else v for v in flat
        ]
    shapes = {np.shape(v) if not isinstance(v, Tensor) else v.shape for v in flat}
    if len(shapes) > 1:
        raise ValueError(
            f"dif.array: the parts have different shapes {sorted(shapes)}; use dif.concatenate, or reshape them"
        )
    return _numeric(stack_parts(flat, tuple(shape)), "array")


# Filled with a value --------------------------------------------------------------------------------------------------


def maker(name):
    """A creation function of NumPy's without array arguments: its result is a Tensor on `device`."""
    twin = getattr(np, name)

    def f(*args, device=None, like=None, **kwargs):
        return _made(wrap(_numeric(np.asarray(twin(*args, **kwargs)), name)), device)

    f.__name__ = f.__qualname__ = name
    f.__doc__ = twin.__doc__
    f.__wrapped_numpy__ = twin
    publish(name, f)
    return signed(f, twin, device=None, like=None)


def _filled(name):
    twin = getattr(np, name)

    def f(shape, dtype=None, order="C", *, device=None, like=None):
        shape = as_shape(shape) if isinstance(shape, Tensor) else shape
        return wrap(_numeric(made_on(as_device(device), name, shape, dtype, order), name))

    f.__name__ = f.__qualname__ = name
    f.__doc__ = twin.__doc__
    publish(name, f)
    return f


zeros, ones, empty = _filled("zeros"), _filled("ones"), _filled("empty")


def eye(N, M=None, k=0, dtype=float, order="C", *, device=None, like=None):
    """Ones on the k-th diagonal, zeros elsewhere, as ``np.eye``."""
    return wrap(_numeric(made_on(as_device(device), "eye", N, M, k, dtype, order), "eye"))


identity, tri = maker("identity"), maker("tri")
bartlett, blackman, hamming, hanning = maker("bartlett"), maker("blackman"), maker("hamming"), maker("hanning")
frombuffer, fromfile, fromiter, fromstring = (
    maker("frombuffer"),
    maker("fromfile"),
    maker("fromiter"),
    maker("fromstring"),
)
loadtxt, genfromtxt = maker("loadtxt"), maker("genfromtxt")


def full(shape, fill_value, dtype=None, order="C", *, device=None, like=None):
    """A new Tensor of `shape`, filled with `fill_value`; differentiable in it."""
    if not holds_tensor(fill_value):
        if np.ndim(fill_value):
            return _made(wrap(_numeric(np.full(shape, fill_value, dtype, order), "full")), device)
        return wrap(_numeric(made_on(as_device(device), "full", shape, fill_value, dtype, order), "full"))
    value = X.asarray(fill_value)
    value = value if dtype is None else X.astype(value, dtype, copy=False)
    y = X.copy(X.broadcast_to(value, as_shape(shape)), "C")
    return _placed(y if order != "F" else _laid_out(y, order), device)


def kaiser(M, beta):
    """The Kaiser window; differentiable in the shape parameter `beta`."""
    if not holds_tensor(beta):
        return wrap(np.kaiser(M, beta))
    if M < 2:
        return ones(M)
    beta = X.asarray(beta)
    if beta.dtype.kind == "c":
        raise TypeError("kaiser: i0 not supported for complex values")
    beta = X.astype(beta, float, copy=False)
    middle = (M - 1) / 2.0
    r = (wrap(made_on(beta.device, "arange", M)) - middle) / middle
    # i0 of beta sqrt(1 - r^2) has a kink only in the formula: at the two ends the root is constant.
    return X.i0(beta * (1 - r * r) ** 0.5) / X.i0(beta)


def _like(name):
    twin, make = getattr(np, name), name.removesuffix("_like")

    def body(prototype, dtype=None, order="K", subok=True, shape=None, *, device=None):
        if prototype.__class__ is Tensor:
            with inside_of(prototype._data):
                return _placed(wrap(twin(prototype._data, dtype=dtype, order=order, shape=shape)), device)
        # a value of a transformation (dual, series, batched) has no array of its own to be like
        there = prototype.device if device is None else as_device(device)
        shape = prototype.shape if shape is None else shape
        return wrap(made_on(there, make, shape, prototype.dtype if dtype is None else dtype))

    return composition(twin, name=name)(body)


empty_like, ones_like, zeros_like = _like("empty_like"), _like("ones_like"), _like("zeros_like")


@composition(np.full_like)
def full_like(a, fill_value, dtype=None, order="K", subok=True, shape=None, *, device=None):
    a = X.asarray(a)
    return full(
        a.shape if shape is None else shape, fill_value, dtype or a.dtype, device=a.device if device is None else device
    )


for _name in (
    "array asanyarray asarray asarray_chkfinite ascontiguousarray asfortranarray eye from_dlpack full kaiser require "
    "tensor"
).split():
    publish(_name, globals()[_name])
