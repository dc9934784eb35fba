"""NumPy's protocols: ``np.f(tensor)`` looks up one dictionary built from the declarations; nothing falls back to ``np.asarray``."""

from __future__ import annotations

from typing import Any

import numpy as np

from difftensor._core.operands import is_foreign, write_out
from difftensor._core.primitive import FUNCTIONS, UFUNCS, X
from difftensor._core.tensor import Tensor
from difftensor.errors import NotDispatchedError


def array_ufunc(self: Tensor, ufunc: Any, method: str, *inputs: Any, **kwargs: Any) -> Any:
    f = UFUNCS.get(ufunc)
    if f is None:
        f = _unknown_ufunc(ufunc)
    if method == "__call__":
        if kwargs:
            for v in inputs:
                if is_foreign(v) and not isinstance(v, Tensor):
                    return NotImplemented
            return f(*inputs, **kwargs)
        if len(inputs) == 2:
            a, b = inputs
            other = b if a is self else a
            if not isinstance(other, (Tensor, np.ndarray, np.generic, int, float, complex, list, tuple)) and is_foreign(other):
                return NotImplemented
        return f(*inputs)
    if any(is_foreign(v) and not isinstance(v, Tensor) for v in inputs):
        return NotImplemented
    return X.ufunc_method(ufunc, f, method, inputs, kwargs)


def _unknown_ufunc(ufunc: Any) -> Any:
    name = getattr(ufunc, "__name__", str(ufunc))
    raise NotDispatchedError(
        f"{name} has no differentiable implementation for Tensors. On a constant use {name}(x.detach().numpy()); to differentiate it, write it with "
        "difftensor's functions or declare it with its derivative"
    )


def array_function(self: Tensor, func: Any, types: Any, args: tuple, kwargs: dict) -> Any:
    f = FUNCTIONS.get(func)
    if f is not None:
        for t in types:
            if not issubclass(t, (Tensor, np.ndarray)) and not t.__module__.startswith("cupy"):
                return NotImplemented
        return f(*args, **kwargs)
    module = (getattr(func, "__module__", None) or "numpy").replace("numpy", "np")
    name = f"{module}.{getattr(func, '__name__', func)}"
    raise NotDispatchedError(
        f"{name} is not implemented for Tensors, and converting them silently would lose derivatives. On a constant call it with x.detach().numpy()"
    )


Tensor.__array_ufunc__ = array_ufunc  # type: ignore[attr-defined]
Tensor.__array_function__ = array_function  # type: ignore[attr-defined]

__all__ = ["array_function", "array_ufunc", "write_out"]
