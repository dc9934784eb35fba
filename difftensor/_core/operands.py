"""The slow path: operands that are not plain Tensors, and NumPy's ufunc keywords.

Reached from the one class test of each operation; the common case never comes here.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from difftensor._backend import device_of, is_array, move, on_gpu, unwrap_scalar
from difftensor._backend.arrays import is_refused, used
from difftensor._core.primitive import FUNCTIONS, Primitive, X
from difftensor._core.tape import recording
from difftensor._core.tensor import Tensor, wrap
from difftensor.errors import DeviceError, DifftensorError, describe, explain, public_name, refused, would_lose

_WEAK = (int, float, complex)  # numbers whose dtype gives way to that of arrays
_NUMBERS = (bool, int, float, complex, np.generic)


def holds_tensor(v: Any) -> bool:
    """Is there a Tensor in `v`, or inside its lists and tuples?"""
    if v.__class__ is list or v.__class__ is tuple:
        for w in v:
            if w.__class__ is Tensor or holds_tensor(w):
                return True
        return False
    return isinstance(v, Tensor)


def is_foreign(v: Any) -> bool:
    """An array type of another library, which may know what to do with a Tensor (pandas does not: it converts)."""
    if is_array(v) or type(v).__module__.partition(".")[0] == "pandas":
        return False
    return hasattr(v, "__array_ufunc__") or hasattr(v, "__array_function__")


def is_convertible(v: Any) -> bool:
    """An array of another library that knows nothing of NumPy's protocols (PyTorch, JAX, h5py): taken as a constant."""
    return hasattr(v, "__array__") and not is_foreign(v)


def operand(v: Any, name: str) -> Any:
    """`v` as an operation takes it: a Tensor, a raw array, a NumPy scalar or a Python number."""
    if v.__class__ is Tensor or v.__class__ is np.ndarray or isinstance(v, _NUMBERS) or isinstance(v, Tensor):
        return v
    if is_refused(v):
        raise refused(name, v)
    if is_array(v):
        return v
    if isinstance(v, (list, tuple)):
        return X.array(v) if holds_tensor(v) else X.asarray(v) if used else np.asarray(v)
    if hasattr(v, "__array__"):
        a = np.asarray(v)
        if a.dtype.kind not in "biufc":
            raise TypeError(f"{name}: an operand of type {type(v).__name__} holds {a.dtype}, no numbers")
        return a
    raise TypeError(f"{name}: an operand of type {type(v).__name__} is neither a number nor an array: {v!r:.60}")


def lists_placed(args: tuple) -> tuple:
    """`args`, where lists of numbers beside a Tensor have become arrays on its device."""
    if any(a.__class__ is list or a.__class__ is tuple for a in args):
        there = next((a.device for a in args if isinstance(a, Tensor)), None)
        if there is not None:
            lists = (a.__class__ in (list, tuple) and not holds_tensor(a) for a in args)
            return tuple(X.asarray(a, device=there) if numbers else a for a, numbers in zip(args, lists))
    return args


def subclass_of(args: tuple) -> Any:
    """The class of the operand that is a Tensor of a class of its own; of the innermost transformation if several."""
    found, top = None, -2
    for a in args:
        if a.__class__ is not Tensor and isinstance(a, Tensor):
            level = getattr(a._data, "level", -1)
            if level > top:
                found, top = a.__class__, level
    return found


def same_device(name: str, args: tuple) -> None:
    """Raise a DeviceError if `args` live on more than one device; numbers and 0-d NumPy constants mix."""
    placed = [
        (a, a.device if isinstance(a, Tensor) else device_of(a))
        for a in args
        if isinstance(a, Tensor) or (is_array(a) and a.ndim)
    ]
    devices = {d for _, d in placed}
    if len(devices) > 1:
        (a, here), (b, there) = placed[0], next(p for p in placed if p[1] != placed[0][1])
        raise DeviceError(
            f"{public_name(name)}: the operands live on different devices: {describe(a)} and {describe(b)}. Nothing "
            f"moves by itself: use b.to_device('{here}') or a.to_device('{there}')"
        )


def again(op: Primitive, args: tuple) -> Any:
    """An operation that failed, with constants of no axes as numbers: CuPy refuses them as arrays. None if it has none.
    """
    numbers = tuple(unwrap_scalar(a) for a in args)
    if all(a is n for a, n in zip(args, numbers)) or not any(isinstance(a, Tensor) and on_gpu(a._data) for a in args):
        return None
    return mixed(op, numbers)


def failure(name: str, args: tuple, error: Exception, params: tuple = ()) -> Exception:
    """What to raise for `error` of a forward call: that the operands live apart, if they do, else what `error` says."""
    try:
        same_device(name, args)
    except DeviceError as apart:
        return apart
    return explain(name, args, error, params)


def unusual(op: Primitive, f: Any, args: tuple, out: Any, keywords: dict | None) -> Any:
    """An elementwise operation on anything."""
    args = lists_placed(args) if used else args
    cls = subclass_of(args)
    if cls is not None:
        return cls.__dif_dispatch__(op, f, args, (), dict(keywords or {}, **({} if out is None else {"out": out})))
    if (
        not any(map(holds_tensor, args))
        and not isinstance(out, Tensor)
        and not _holds_out(out)
        and not holds_tensor((keywords or {}).get("where"))
    ):
        return _plain(op, args, out, keywords)
    args = tuple(operand(a, op.name) for a in args)
    if out is not None or keywords:
        return _with_keywords(op, f, args, out, **(keywords or {}))
    return mixed(op, args)


def _holds_out(out: Any) -> bool:
    return isinstance(out, tuple) and any(isinstance(o, Tensor) for o in out)


def _plain(op: Primitive, args: tuple, out: Any, keywords: dict | None) -> Any:
    """No Tensor about: NumPy's own function, with all its keywords; CuPy's on arrays of a GPU."""
    if not keywords and out is None and any(map(on_gpu, args)):
        return op.forward(*args)
    twin = op.facts.get("plain", op.forward)
    if out is not None or keywords:  # an operator takes none
        twin = op.facts.get("plain") or getattr(op.call, "__wrapped_numpy__", twin)
    if out is not None:
        return twin(*args, out=out, **(keywords or {}))
    return twin(*args, **keywords) if keywords else twin(*args)


def mixed(op: Primitive, args: tuple) -> Any:
    """At least one Tensor, beside plain arrays and numbers."""
    from difftensor._core.elementwise import record_elementwise

    data = tuple(a._data if a.__class__ is Tensor else unwrap_scalar(a) for a in args)
    try:
        yd = op.forward(*data)
    except Exception as error:
        same_device(op.name, args)
        raise explain(op.name, args, error) from error
    if yd.__class__ is complex:  # 1j * np.float64(2): float64 is a float, so Python's complex answers
        yd = np.complex128(yd)
    if not is_array(yd):  # a Python number or NotImplemented cannot come of arrays
        raise TypeError(f"{op.name}: no result for {', '.join(map(describe, args))}")
    same_device(op.name, args) if len(args) > 1 else None
    y = wrap(yd)
    if (
        op.kind != "nondifferentiable"
        and recording()
        and any(a.node is not None for a in args if a.__class__ is Tensor)
    ):
        record_elementwise(op, args, data, y)
    return y


def unusual_operator(op: Primitive, f: Any, args: tuple, out: Any, keywords: dict | None) -> Any:
    """As `unusual`, for ``a + b``: an operand of an unknown type is given the chance to answer itself."""
    for a in args:
        if not isinstance(a, (Tensor, *_NUMBERS, list, tuple)) and not is_array(a) and not is_convertible(a):
            return NotImplemented
    return unusual(op, op.call, args, None, None)


def _with_keywords(
    op: Primitive,
    f: Any,
    args: tuple,
    out: Any,
    where: Any = True,
    dtype: Any = None,
    casting: Any = "same_kind",
    order: str = "K",
    subok: bool = True,
    **unknown: Any,
) -> Any:
    """NumPy's ufunc keywords, expressed by operations."""
    if unknown:
        raise TypeError(f"{op.name}() got an unexpected keyword argument {next(iter(unknown))!r}")
    if isinstance(out, tuple):
        (out,) = out
    if dtype is not None or casting != "same_kind":
        twin = getattr(op.call, "__wrapped_numpy__", None)
        if isinstance(twin, np.ufunc):
            args = in_loop(twin, args, dtype, casting)
        elif dtype is not None:
            args = _as_dtypes(args, (np.dtype(dtype),) * len(args))
    if where is True:
        y = f(*args)
    else:
        with np.errstate(all="ignore"):
            y = f(*args)
        base = X.zeros_like(y) if out is None else out if isinstance(out, Tensor) else wrap(out)
        y = X.where(where, y, base)
    if not isinstance(y, Tensor):
        y = wrap(y)
    return y if out is None else write_out(op.name, y, out, casting)


def in_loop(twin: Any, args: tuple, dtype: Any = None, casting: Any = "same_kind") -> tuple:
    """`args` in the dtypes of the loop that ufunc `twin` takes for them (`dtype`: for results of it).

    Raises NumPy's own error where there is none, or where `casting` forbids it.
    """
    given = tuple(
        type(a) if a.__class__ in _WEAK else a.dtype if hasattr(a, "dtype") else np.asarray(a).dtype for a in args
    )
    wanted = (None if dtype is None else np.dtype(dtype),) * twin.nout
    loop = twin.resolve_dtypes((*given, *(None,) * twin.nout), signature=(None,) * twin.nin + wanted, casting=casting)
    return _as_dtypes(args, loop)


def _as_dtypes(args: tuple, dtypes: tuple) -> tuple:
    return tuple(
        a
        if a.__class__ in _WEAK
        else X.astype(a, d, copy=False)
        if isinstance(a, Tensor)
        else (a if is_array(a) else np.asarray(a)).astype(d)
        for a, d in zip(args, dtypes)
    )


def write_out(name: str, y: Tensor, out: Any, casting: Any = "same_kind") -> Any:
    """Store result `y` in `out`, a Tensor or (if nothing is tracked) a plain array, as NumPy's ``out=`` does."""
    from difftensor._core.writes import write

    if y.shape != out.shape and not _broadcasts(y.shape, out.shape):
        raise ValueError(
            f"{name}: non-broadcastable output operand with shape {out.shape} doesn't match the broadcast shape "
            f"{y.shape}"
        )
    if not np.can_cast(y.dtype, out.dtype, casting):
        raise TypeError(
            f"{name}: cannot cast the result from {y.dtype} to out's {out.dtype} with casting rule {casting!r}"
        )
    if isinstance(out, Tensor):
        cls = subclass_of((out, y))
        write(out, Ellipsis, y) if cls is None else cls.__dif_write__(out, Ellipsis, y)
        return out
    if y.node is not None:
        raise would_lose(f"{name}(..., out=ndarray)", y)
    np.copyto(out, move(y._data, device_of(out)), casting=casting)
    return out


def _broadcasts(shape: tuple, into: tuple) -> bool:
    try:
        return np.broadcast_shapes(shape, into) == into
    except ValueError:
        return False


__all__ = [
    "DifftensorError",
    "FUNCTIONS",
    "holds_tensor",
    "in_loop",
    "is_foreign",
    "mixed",
    "operand",
    "same_device",
    "subclass_of",
    "unusual",
    "unusual_operator",
    "write_out",
]
