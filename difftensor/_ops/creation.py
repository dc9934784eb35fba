"""Making Tensors."""

from __future__ import annotations

import numpy as np

from difftensor._backend import as_device, is_array, move
from difftensor._backend.arrays import is_refused
from difftensor._core import Tensor, X, adopt_foreign, composition, general, holds_tensor, publish, wrap
from difftensor._core.fitting import fit


def _refuse(obj, name):
    if is_refused(obj):
        raise TypeError(f"dif.{name}: {type(obj).__name__} is not supported, its semantics differ from ndarray's; pass np.asarray(x)")


def tensor(data, dtype=None, *, device=None, requires_grad=False):
    """A new Tensor with a copy of `data`.

    Parameters
    ----------
    data : array_like
        Numbers, nested lists, an ndarray or a Tensor (whose values are taken).
    dtype : dtype, optional
        Floats are float64 unless `data` says otherwise. With ``requires_grad=True`` integers become float64.
    device : str or Device, optional
        ``"cpu"`` (default) or ``"cuda:i"``; default of an array that is on a device already: there.
    requires_grad : bool
        Record operations on it, for ``backward()``.

    Returns
    -------
    Tensor

    Examples
    --------
    >>> import difftensor as dif
    >>> w = dif.tensor([1.0, 2.0], requires_grad=True)
    >>> (w**2).sum().backward()
    >>> w.grad
    tensor([2., 4.])
    """
    _refuse(data, "tensor")
    if isinstance(data, Tensor):
        raw = data._data
    elif is_array(data):
        raw = data
    elif holds_tensor(data):
        raw = array(data)._data
    else:
        raw = np.asarray(data)
    raw = raw.astype(dtype) if dtype is not None and raw.dtype != dtype else np.array(raw) if isinstance(raw, (np.ndarray, np.generic)) else raw.copy()
    raw = _numeric(raw, "tensor")
    if requires_grad and raw.dtype.kind in "iub" and dtype is None:
        raw = raw.astype(np.float64)
    t = wrap(raw if device is None else move(raw, as_device(device)))
    return t.requires_grad_() if requires_grad else t


def _numeric(raw, name):
    if raw.dtype.kind not in "biufc":
        raise TypeError(f"dif.{name}: dtype {raw.dtype} is not supported; Tensors hold booleans, integers, floats and complex numbers")
    return raw if raw.dtype.isnative else raw.astype(raw.dtype.newbyteorder("="))


def asarray(obj, /, *, dtype=None, device=None, copy=None):
    """`obj` as a Tensor; an ndarray is shared, not copied.

    Parameters
    ----------
    obj : array_like
        A Tensor is returned as it is. A Tensor over an ndarray shares its memory: writes to either are seen by both. Nested lists may hold
        Tensors: the result is differentiable.
    dtype : dtype, optional
    device : str or Device, optional
    copy : bool, optional
        True: always copy. False: never (ValueError if one is needed). None: only if needed.

    Returns
    -------
    Tensor
    """
    _refuse(obj, "asarray")
    if isinstance(obj, Tensor):
        t = obj
    elif is_array(obj):
        t = None
        raw = obj
    elif holds_tensor(obj):
        t = array(obj)
        if copy is False:
            raise ValueError("dif.asarray: copy=False, but a list of Tensors must be copied")
    elif hasattr(obj, "__dlpack__") and not hasattr(obj, "__array__"):
        raw, t = np.from_dlpack(obj), None
    else:
        raw, t = np.asarray(obj), None
        if copy is False and not hasattr(obj, "__array__") and not isinstance(obj, (memoryview, bytearray)):
            raise ValueError("dif.asarray: copy=False, but this object must be copied")
        if not hasattr(obj, "__array__"):
            copy = copy or False
            return _placed(wrap(_numeric(raw if dtype is None else raw.astype(dtype), "asarray")), device)
    if t is None:
        raw = np.asarray(raw) if isinstance(raw, np.ndarray) else raw
        if raw.dtype.kind in "biufc" and not raw.dtype.isnative and copy is False:
            raise ValueError("dif.asarray: copy=False, but a byte-swapped array must be copied")
        native = _numeric(raw, "asarray")
        t = wrap(native)
        if native is raw and isinstance(raw, np.ndarray):
            adopt_foreign(t)
    if dtype is not None and t.dtype != np.dtype(dtype):
        if copy is False:
            raise ValueError(f"dif.asarray: copy=False, but {t.dtype} must be copied to become {np.dtype(dtype)}")
        t = X.astype(t, dtype)
    elif copy:
        t = t.copy()
    return _placed(t, device)


def _placed(t, device):
    return t if device is None else X.to_device(t, device)


# Arrays out of Tensors ------------------------------------------------------------------------------------------------------


def _pull_fill(xp, g, y, xs, shape):
    """Element i of the flat result is operand i."""
    flat = g.reshape((len(xs), *g.shape[len(shape) :]))
    return tuple(fit(flat[i], x.shape, x.dtype) for i, x in enumerate(xs))


def _push_fill(xp, ts, y, xs, shape):
    inner = xs[0].shape
    like = next(t for t in ts if t is not None)
    return xp.stack([xp.zeros(inner, like.dtype) if t is None else t for t in ts]).reshape((*shape, *inner))


def _fill(xs, shape):
    first = xs[0]
    if getattr(first, "ndim", 0) == 0 and not hasattr(first, "__cuda_array_interface__"):
        y = np.array(xs)
    else:
        y = np.stack(xs)
    return y.reshape((*shape, *y.shape[1:])) if len(shape) != 1 else y


_from_parts = general("array_of", _fill, _pull_fill, _push_fill, operands=None, public=False, samples="parts")


def array(object, dtype=None, *, copy=True, order="K", subok=False, ndmin=0, like=None, device=None):
    """A Tensor of `object`, which may be nested lists that hold Tensors: the result is differentiable.

    Parameters
    ----------
    object : array_like
    dtype : dtype, optional
    copy, order, subok, ndmin
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
    _refuse(object, "array")
    if object.__class__ in (list, tuple) and holds_tensor(object):
        t = _from_nested(object)
        if dtype is not None:
            t = X.astype(t, dtype, copy=False)
    elif isinstance(object, Tensor):
        t = object if dtype is None else X.astype(object, dtype, copy=False)
        if copy and t is object:
            t = t.copy()
    elif is_array(object) and not isinstance(object, (np.ndarray, np.generic)):
        t = wrap(object.astype(dtype) if dtype is not None else object.copy())
    else:
        t = wrap(_numeric(np.array(object, dtype=dtype, order=order), "array"))
    if t.ndim < ndmin:
        t = t.reshape((1,) * (ndmin - t.ndim) + t.shape)
    return _placed(t, device)


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
        flat = [_from_nested(v) if holds_tensor(v) else np.asarray(v) if v.__class__ in (list, tuple) else v for v in flat]
    shapes = {np.shape(v) if not isinstance(v, Tensor) else v.shape for v in flat}
    if len(shapes) > 1:
        raise ValueError(f"dif.array: the parts have different shapes {sorted(shapes)}; use dif.concatenate, or reshape them")
    return _from_parts(flat, tuple(shape))


def _maker(name, make):
    """A creation function: its result is a Tensor on `device`."""
    twin = getattr(np, name)

    def f(*args, device=None, **kwargs):
        kwargs.pop("like", None)
        return _placed(wrap(make(*args, **kwargs)), device)

    f.__name__ = f.__qualname__ = name
    f.__doc__ = twin.__doc__
    publish(name, f)
    return f


zeros = _maker("zeros", np.zeros)
ones = _maker("ones", np.ones)
empty = _maker("empty", np.empty)

for _name in ("tensor", "asarray", "array"):
    publish(_name, globals()[_name])


@composition(np.zeros_like)
def zeros_like(a, dtype=None, order="K", subok=True, shape=None, *, device=None):
    return _placed(wrap(np.zeros_like(a._data, dtype=dtype, order=order, shape=shape)), device)
