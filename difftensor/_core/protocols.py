"""NumPy's protocols: ``np.f(tensor)`` looks up one dictionary built from the declarations.

Nothing falls back to ``np.asarray``: what has no derivative raises when a tracked Tensor comes.
"""

from __future__ import annotations

import re
import sys
from importlib import import_module
from typing import Any

import numpy as np

from difftensor._core.operands import holds_tensor, is_foreign, write_out
from difftensor._core.primitive import FUNCTIONS, UFUNCS, X
from difftensor._core.tensor import Tensor, wrap
from difftensor.errors import MissingDerivativeError, NotDispatchedError

# Where the functions of a module are declared; imported when the first of them meets a Tensor.
CHAPTERS = {
    "numpy.linalg": "difftensor.linalg",
    "numpy.fft": "difftensor.fft",
    "scipy.special": "difftensor.special",
}


def _chapter(module: str) -> bool:
    """Import the declarations of `module`, or wait until another thread has; False if there are none."""
    ours = CHAPTERS.get(module)
    if ours is None:
        return False
    import_module(ours)
    return True


_PLAIN = frozenset((np.ndarray, np.float64, np.float32, np.int64, np.bool_, np.complex128))
_KNOWN = (Tensor, np.ndarray, np.generic, int, float, complex, list, tuple)


def array_ufunc(self: Tensor, ufunc: Any, method: str, *inputs: Any, **kwargs: Any) -> Any:
    f = UFUNCS.get(ufunc)
    if f is None and not ("scipy.special" in sys.modules and _chapter("scipy.special") and (f := UFUNCS.get(ufunc))):
        return _without_derivative(ufunc, method, inputs, kwargs)
    if method == "__call__":
        if not kwargs and (inputs[0].__class__ in _PLAIN or inputs[-1].__class__ in _PLAIN):
            return f(*inputs)  # what an operator of an ndarray or a NumPy number beside a Tensor comes to
        if kwargs:
            for v in inputs:
                if is_foreign(v) and not isinstance(v, Tensor):
                    return NotImplemented
            return f(*inputs, **kwargs)
        if len(inputs) == 2:
            a, b = inputs
            other = b if a is self else a
            if not isinstance(other, _KNOWN) and is_foreign(other):
                return NotImplemented
        return f(*inputs)
    if any(is_foreign(v) and not isinstance(v, Tensor) for v in inputs):
        return NotImplemented
    return X.ufunc_method(ufunc, f, method, inputs, kwargs)


def _without_derivative(ufunc: Any, method: str, inputs: tuple, kwargs: dict) -> Any:
    """A ufunc of which no derivative is declared: its value for constants, an error for tracked Tensors."""
    name = getattr(ufunc, "__name__", str(ufunc)).removeprefix("_")
    if any(is_foreign(v) and not isinstance(v, Tensor) for v in inputs):
        return NotImplemented
    if method != "__call__" or kwargs:
        raise NotDispatchedError(f"{name}.{method} with keywords {sorted(kwargs)} is not available for Tensors")
    tracked = [i for i, v in enumerate(inputs) if isinstance(v, Tensor) and v.node is not None]
    if tracked or any(holds_tensor(v) and not isinstance(v, Tensor) for v in inputs):
        names = argument_names(ufunc)
        which = ", ".join(f"{names[i]!r} (argument {i})" for i in tracked) or "a list of Tensors"
        raise MissingDerivativeError(
            f"{name}: the derivative with respect to {which} is not known. Pass a constant there (x.detach()), "
            "write the function with operations that difftensor differentiates, or give it a derivative: by your rule "
            "with dif.custom_vjp, by differences with dif.from_function"
        )
    y = ufunc(*(v._data if isinstance(v, Tensor) else v for v in inputs))
    found = y if isinstance(y, tuple) else (y,)
    if any(getattr(v, "dtype", np.dtype(object)).kind not in "biufc" for v in found):
        raise TypeError(f"{name}: the result is no array of numbers; call it with x.detach().numpy()")
    return tuple(map(wrap, y)) if isinstance(y, tuple) else wrap(y)


def argument_names(ufunc: Any) -> tuple[str, ...]:
    """The names of the operands of a ufunc, from the signatures that its docstring begins with."""
    head = "\n".join((ufunc.__doc__ or "").splitlines()[:5])
    for arguments in reversed(re.findall(r"^ *\w+\(([^)\[]*)", head, re.MULTILINE)):
        names = [part.strip() for part in arguments.split(",")][: ufunc.nin]
        if len(names) == ufunc.nin and all(map(str.isidentifier, names)):
            return tuple(names)
    return tuple(f"x{i + 1}" for i in range(ufunc.nin))


def array_function(self: Tensor, func: Any, types: Any, args: tuple, kwargs: dict) -> Any:
    f = FUNCTIONS.get(func)
    if f is None and _chapter(getattr(func, "__module__", None) or ""):
        f = FUNCTIONS.get(func)
    if f is not None:
        for t in types:
            if not issubclass(t, (Tensor, np.ndarray)) and not t.__module__.startswith("cupy"):
                return NotImplemented
        return f(*args, **kwargs)
    module = (getattr(func, "__module__", None) or "numpy").replace("numpy", "np")
    name = f"{module}.{getattr(func, '__name__', func)}"
    raise NotDispatchedError(
        f"{name} is not implemented for Tensors, and converting them silently would lose derivatives. On a constant "
        "call it with x.detach().numpy()"
    )


Tensor.__array_ufunc__ = array_ufunc  # type: ignore[attr-defined]
Tensor.__array_function__ = array_function  # type: ignore[attr-defined]

__all__ = ["array_function", "array_ufunc", "write_out"]
