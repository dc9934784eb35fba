"""Functions that count, compare, locate, print or describe: NumPy's own on the values, results without a tape."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from difftensor._backend import as_device, is_array, on_gpu, several_devices
from difftensor._core import Tensor, X, composition, publish, wrap
from difftensor._core.operands import lists_placed
from difftensor._core.primitive import signed
from difftensor.errors import BatchedValueError


def values(v: Any, name: str) -> Any:
    """`v` with raw arrays in place of Tensors, inside lists and tuples too."""
    if v.__class__ is Tensor:
        return v._data
    if isinstance(v, Tensor):
        inner = v.detach()
        if inner.__class__ is Tensor:  # the value of a dual
            return inner._data
        raise BatchedValueError(
            f"{name} cannot be called on one example of a batch: its result depends on values. Call it outside "
            "dif.vmap, or use dif.vmap(f, fallback='loop')"
        )
    if v.__class__ in (list, tuple):
        return type(v)(values(w, name) for w in v)
    return v


def outline(v: Any, name: str) -> Any:
    """`v` with arrays of the same shape and dtype, whatever their values, in place of Tensors."""
    if isinstance(v, Tensor):
        return v._data if v.__class__ is Tensor else np.broadcast_to(np.zeros((), v.dtype), v.shape)
    if v.__class__ in (list, tuple):
        return type(v)(outline(w, name) for w in v)
    return v


def number(v: Any, name: str) -> Any:
    """As `values`, of what NumPy would take for a number: CuPy's functions take it for an array."""
    v = values(v, name)
    return v.get()[()] if on_gpu(v) and not v.ndim else v


def tensors(y: Any) -> Any:
    """`y` with Tensors in place of raw arrays, inside lists and (named) tuples too."""
    if is_array(y):
        return wrap(y)
    if isinstance(y, tuple):
        return type(y)(*map(tensors, y)) if hasattr(y, "_fields") else tuple(map(tensors, y))
    return list(map(tensors, y)) if y.__class__ is list else y


def plain(
    name: str, twin: Callable | None = None, *, operands: int = 0, arrays: bool = True, values: Callable = values
) -> Callable:
    """Declare NumPy's function `name` as one without derivative; ``arrays=False``: its results are text or flags.

    `operands`: so many arguments in front are arrays, also where they are lists of numbers, which CuPy does not take.
    `values`: what it is called with in place of Tensors; `outline` if it looks at shapes and dtypes only.
    """
    twin = getattr(np, name) if twin is None else twin

    def body(*args: Any, **keywords: Any) -> Any:
        if operands and several_devices():
            args = (*lists_placed(args[:operands]), *args[operands:])
        y = twin(*(values(v, name) for v in args), **{k: values(v, name) for k, v in keywords.items()})
        return tensors(y) if arrays else y.item() if on_gpu(y) else y

    body.__name__ = name
    return signed(composition(twin, name=name)(body), twin)


# Logic ----------------------------------------------------------------------------------------------------------------

isclose, isin = plain("isclose", operands=2), plain("isin", operands=2)
isneginf, isposinf = plain("isneginf"), plain("isposinf")
iscomplex, isreal = plain("iscomplex"), plain("isreal")
allclose, array_equal, array_equiv = (
    plain(n, operands=2, arrays=False) for n in ("allclose", "array_equal", "array_equiv")
)

# Where things are -----------------------------------------------------------------------------------------------------

nonzero, flatnonzero, argwhere = plain("nonzero"), plain("flatnonzero"), plain("argwhere")
unravel_index, ravel_multi_index = plain("unravel_index"), plain("ravel_multi_index")
diag_indices_from, tril_indices_from, triu_indices_from = (
    plain(n) for n in ("diag_indices_from", "tril_indices_from", "triu_indices_from")
)
packbits, unpackbits = plain("packbits"), plain("unpackbits")

# What arrays are ------------------------------------------------------------------------------------------------------

iscomplexobj, isrealobj, shape, ndim, size = (
    plain(n, arrays=False, values=outline) for n in ("iscomplexobj", "isrealobj", "shape", "ndim", "size")
)
may_share_memory, shares_memory, isfortran = (
    plain(n, arrays=False) for n in ("may_share_memory", "shares_memory", "isfortran")
)
common_type, can_cast, result_type = (
    plain(n, arrays=False, values=outline) for n in ("common_type", "can_cast", "result_type")
)
min_scalar_type = plain("min_scalar_type", arrays=False, values=number)
array2string, array_repr, array_str = (plain(n, arrays=False) for n in ("array2string", "array_repr", "array_str"))


def isscalar(element: Any) -> bool:
    """True for Python numbers and NumPy scalars, and for Tensors where NumPy's result would be a scalar."""
    return isinstance(element._data, np.generic) if isinstance(element, Tensor) else np.isscalar(element)


def ndenumerate(arr: Any) -> Any:
    """Pairs of index and element; the elements of a tracked Tensor are tracked."""
    if not isinstance(arr, Tensor):
        return np.ndenumerate(arr)
    return ((index, arr[index]) for index in np.ndindex(arr.shape))


def _tables(name: str) -> Callable:
    """``diag_indices`` and its like: index arrays of integers, as Tensors."""
    twin = getattr(np, name)

    def f(*args: Any, device: Any = None, **keywords: Any) -> tuple:
        there = as_device(device)
        return tuple(X.to_device(t, there) for t in tensors(twin(*args, **keywords)))

    f.__name__ = f.__qualname__ = name
    f.__doc__ = twin.__doc__
    publish(name, f)
    return signed(f, twin, device=None)


diag_indices, mask_indices = _tables("diag_indices"), _tables("mask_indices")
tril_indices, triu_indices = _tables("tril_indices"), _tables("triu_indices")

for _f in (isscalar, ndenumerate):
    publish(_f.__name__, _f)
