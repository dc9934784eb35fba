"""The parameters of a draw: which shape it has, whether they are allowed, and whether a derivative hangs on them."""

from __future__ import annotations

import operator
from typing import Any

import numpy as np

from difftensor._backend import device_of, namespace
from difftensor._core import Tensor, X, holds_tensor, recording
from difftensor._transforms.batch import expand, innermost, levels
from difftensor._transforms.opaque import rides
from difftensor.errors import MissingDerivativeError

_NUMBERS = (int, float, np.floating, np.integer, np.bool_)  # bool is an int


def parameter(v: Any, name: str, what: str) -> Any:
    """`v` as operations take it: a number, an ndarray or a Tensor of real numbers."""
    if isinstance(v, _NUMBERS):
        return v
    if not isinstance(v, Tensor):
        v = X.array(v) if holds_tensor(v) else v if device_of(v).kind != "cpu" else np.asarray(v)
    if v.dtype.kind in "US":
        v = v.astype(np.float64)  # NumPy reads numbers, and says what it cannot read
    if v.dtype.kind not in "biuf":
        raise TypeError(f"{name}: {what} must be real numbers, found dtype {v.dtype}")
    return v


def shape_of(size: Any) -> tuple | None:
    """`size` as a shape; None stays None."""
    if size is None:
        return None
    if isinstance(size, (int, np.integer)):
        size = (size,)
    shape = tuple(operator.index(n) for n in size)
    if any(n < 0 for n in shape):
        raise ValueError("negative dimensions are not allowed")
    return shape


def sized(size: Any, *parameters: Any) -> tuple[tuple, bool]:
    """The shape of a draw, and whether NumPy returns a scalar."""
    shape = shape_of(size)
    shapes = [p.shape for p in parameters if not isinstance(p, _NUMBERS)]
    if not any(shapes):
        return (shape, False) if shape is not None else ((), True)
    common = np.broadcast_shapes(*shapes)
    if shape is None:
        return common, False
    try:
        fits = np.broadcast_shapes(shape, common) == shape
    except ValueError:
        fits = False
    if not fits:
        raise ValueError(f"Output size {shape} is not compatible with broadcast dimensions of inputs {common}.")
    return shape, False


LARGEST_MEAN = 2.0**63 - 10 * 2.0**31.5  # ten standard deviations above it int64 ends

# What is allowed, and how NumPy says that something is not.
_RULES = {
    "positive": (lambda v: (v > 0) | (v != v), "{0} <= 0"),
    "not negative": (lambda v: (v >= 0) | (v != v), "{0} < 0"),
    "a mean": (lambda v: (v >= 0) & (v <= LARGEST_MEAN), "{0} < 0, {0} is NaN or its value too large"),
    "a probability": (lambda v: (v >= 0) & (v <= 1), "{0} < 0, {0} > 1 or {0} is NaN"),
    "a positive probability": (lambda v: (v > 0) & (v <= 1), "{0} <= 0, {0} > 1 or {0} contains NaNs"),
    "a fraction": (lambda v: (v >= 0) & (v < 1), "{0} < 0, {0} >= 1 or {0} is NaN"),
    "above 1": (lambda v: v > 1, "{0} <= 1 or {0} is NaN"),
    "finite": (lambda v: abs(v) < np.inf, "{0} range exceeds valid bounds"),
}


def checked(v: Any, name: str, what: str, rule: str) -> Any:
    """`v`, if `rule` allows it. On a GPU nothing is read: what is not allowed becomes NaN there."""
    allowed, sentence = _RULES[rule]
    v = parameter(v, name, what)
    if isinstance(v, _NUMBERS):
        fine = allowed(v)
    else:
        raw = values(v)
        if device_of(raw).kind != "cpu":
            if raw.dtype.kind != "f":
                return v
            return X.where(allowed(v.detach() if isinstance(v, Tensor) else v), v, np.nan)
        fine = allowed(raw).all()
    if not fine:
        raise (OverflowError if rule == "finite" else ValueError)(f"{name}: {sentence.format(what)}")
    return v


def values(v: Any) -> Any:
    """The raw numbers behind `v`, the examples of a vmap included."""
    if not isinstance(v, Tensor):
        return v
    v = v.detach()
    return innermost(v)._data


def physical(v: Any, ndim: int) -> Any:
    """The raw numbers of parameter `v` of a draw with `ndim` axes, broadcasting against all examples of all vmaps."""
    if not isinstance(v, Tensor) or v.__class__ is Tensor:
        return values(v)
    v = v.detach()
    if v.__class__ is Tensor:
        return v._data
    active = levels.get()
    raw = innermost(expand(v, active))._data
    batch = sum(s is not None for s in active)
    return raw.reshape((*raw.shape[:batch], *[1] * (ndim + batch - raw.ndim), *raw.shape[batch:]))


def is_tracked(v: Any) -> bool:
    """Does a derivative hang on `v`?"""
    if not isinstance(v, Tensor):
        return holds_tensor(v) and any(map(is_tracked, v))
    return rides(v) or (v.node is not None and recording())


def constant(v: Any, name: str, what: str, why: str = "the draws are integers") -> Any:
    """`v`; an error if a derivative hangs on it that no sample path has."""
    if is_tracked(v):
        raise MissingDerivativeError(
            f"random.{name}: a draw has no derivative with respect to {what!r} ({why}). Pass {what}.detach(); the "
            "gradient of an expectation E f(k) is E [(f(k) - c) * grad log p(k)] (score function, any constant c), "
            "or sum over the outcomes"
        )
    return v


def plain(v: Any) -> bool:
    """A number or a NumPy array: arithmetic with it can be done in place."""
    return isinstance(v, _NUMBERS) or v.__class__ is np.ndarray


__all__ = ["checked", "constant", "is_tracked", "namespace", "parameter", "physical", "plain", "shape_of", "sized"]
