"""Exception classes and the sentences they say: what was found, with values, and what to do."""

from __future__ import annotations

import re
import sys

import numpy as np


class DifftensorError(Exception):
    """Base class of the errors that only difftensor raises."""


class TrackedValueError(DifftensorError, TypeError):
    """A conversion (``np.asarray``, ``float``, ``pickle`` ...) would silently drop a derivative."""


class NotDispatchedError(DifftensorError, TypeError):
    """NumPy was asked for a function that difftensor does not have."""


class MissingDerivativeError(DifftensorError, NotImplementedError):
    """The operation has no derivative with respect to this argument."""


class DeviceError(DifftensorError, ValueError):
    """Operands live on different devices."""


class ScalarOutputError(DifftensorError, ValueError):
    """A gradient was asked of a result that is not one real number."""


class FreedTapeError(DifftensorError, RuntimeError):
    """``backward()`` met a part of the tape that an earlier ``backward()`` freed."""


class MutatedConstantError(DifftensorError, RuntimeError):
    """A plain array that the tape relies on was changed before the backward pass."""


class InPlaceError(DifftensorError, RuntimeError):
    """An in-place write that would make a derivative wrong."""


class DegenerateError(DifftensorError, np.linalg.LinAlgError):
    """A derivative of eigen- or singular vectors was asked for inside a degenerate group."""


class SparsityError(DifftensorError, ValueError):
    """A sparse Jacobian has entries outside the pattern that was found for it."""


class BatchedValueError(DifftensorError, ValueError):
    """Inside ``vmap``, the value of one example was asked of a Tensor that holds many."""


class NonFiniteError(DifftensorError, FloatingPointError):
    """``dif.debug(nan=True)`` found the first operation that made a NaN or an infinity."""


class LostGradientWarning(UserWarning):
    """The result of a differentiated function does not depend on its argument."""


def describe(operand: object) -> str:
    """One operand in an error message: ``Tensor(3, 4) float64 on cpu``."""
    kind = type(operand).__name__
    shape, dtype = getattr(operand, "shape", None), getattr(operand, "dtype", None)
    if shape is None or dtype is None:
        text = repr(operand)
        return f"{kind} {text if len(text) <= 40 else text[:37] + '...'}"
    device = getattr(operand, "device", "cpu")
    device = f"cuda:{device.id}" if hasattr(device, "id") else device
    return f"{kind}{tuple(shape)} {dtype} on {device}"


# A primitive behind a public function has its name with a suffix, or with an underscore: reshape_to, linalg._solve.
_SUFFIX = re.compile(r"(?<=[a-z])_(to|along|of|else|in|between|shape|vector|factored)$")
_ADVICE = {
    "could not be broadcast together": "Axes are matched from the last one: insert one with x[:, None], or reshape.",
    "not aligned": "The last axis of a must fit the last but one of b: transpose with .mT, or use einsum.",
    "mismatch in its core dimension": "The last axis of a must fit the last but one of b: transpose with .mT.",
    "Singular matrix": "Use lstsq or pinv, or regularize the matrix.",
    "not positive definite": "Is it symmetric? Add a small multiple of the identity, or use eigh.",
}


def public_name(name: str) -> str:
    """The name by which a user knows the operation of primitive `name`."""
    return _SUFFIX.sub("", name.replace("._", "."))


def explain(name: str, operands: tuple, error: Exception, params: tuple = ()) -> Exception:
    """`error` of a forward call, of the same type where possible, with the operation and its operands.

    The message keeps NumPy's sentence, so that code that matches on it goes on working.
    """
    if isinstance(error, DifftensorError):
        return error
    found = ", ".join(map(describe, operands))
    if params:
        found += "; " + ", ".join(map(repr, params))
    said = str(error).strip()
    advice = next((f" {what}" for sign, what in _ADVICE.items() if sign in said), "")
    if isinstance(error, MemoryError):
        advice = _memory_there()
    text = f"{public_name(name)}: {said}" + (f" [operands: {found}]" if found else "") + advice
    for cls in (type(error), *type(error).__mro__[1:]):
        if cls in (Exception, BaseException, object):
            break
        try:
            made = cls(text)
        except Exception:  # noqa: BLE001, S112 - some of NumPy's classes take other arguments; try their base
            continue
        if text in str(made):
            made.__cause__ = error
            return made
    error.add_note(text)
    return error


def _memory_there() -> str:
    """What is free on the current GPU, if one is in use."""
    cupy = sys.modules.get("cupy")
    try:
        free, total = cupy.cuda.runtime.memGetInfo()  # type: ignore[union-attr]
        pool = cupy.get_default_memory_pool()  # type: ignore[union-attr]
    except Exception:  # noqa: BLE001 - no CuPy, or no GPU behind it
        return ""
    rest = free + pool.total_bytes() - pool.used_bytes()
    return (
        f" The GPU has {rest / 1e9:.2f} of {total / 1e9:.2f} GB free. Delete Tensors, use float32, or checkpoint the "
        "computation (dif.checkpoint)."
    )


def refused(name: str, a: object) -> TypeError:
    """The error of a masked array or a matrix, where an array is expected."""
    instead = "np.asarray(a)"
    if hasattr(a, "mask"):
        instead = "a.compressed(), or a.filled(v) with where=~a.mask, or dif.where"
    return TypeError(f"{name}: {type(a).__name__} is not supported, its semantics differ from ndarray's; use {instead}")


def not_there(what: str, lacks: str = "such function") -> DeviceError:
    """The error of an operation that has no implementation on a GPU."""
    return DeviceError(f"{what}: not available on a GPU, CuPy has no {lacks}; use x.to_device('cpu')")


def would_lose(what: str, t: object) -> TrackedValueError:
    """The error of a conversion that would drop the derivative of `t`."""
    from difftensor._advice import for_caller

    return TrackedValueError(
        f"{what} of a tracked {describe(t)} would silently drop its derivative. {for_caller()}"
        "Use dif.* or np.* functions on the Tensor itself to keep the derivative "
        "(dif.array builds arrays out of Tensors), or x.detach() to drop it on purpose "
        "(x.detach().numpy() for an ndarray, x.item() for a Python number)."
    )
