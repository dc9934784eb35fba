"""Several operations as one: written twice, once plainly and once for speed.

The plain form, a composition of differentiable operations, says what is computed: it gives the derivatives of second
and higher order, runs on other devices and inside vmap, and is what the tests compare with. The fast form works on
ndarrays.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

import difftensor as dif


def raw(x: Any) -> np.ndarray:
    """The values of `x`, read-only, without a copy."""
    return x.detach().numpy() if isinstance(x, dif.Tensor) else np.asarray(x)


def tracked(x: Any) -> bool:
    return isinstance(x, dif.Tensor) and x.requires_grad


def beside(values: Any, x: Any) -> Any:
    """`values` as an array of the kind, dtype and device of `x`."""
    if isinstance(x, dif.Tensor):
        return dif.asarray(values, dtype=x.dtype, device=x.device)
    return np.asarray(values, x.dtype)


def constant(v: Any, x: Any) -> Any:
    """`v` without its derivative, for work with `x`: an ndarray on the CPU, else a Tensor where `x` is."""
    if isinstance(v, dif.Tensor):
        return v.detach() if type(v) is not dif.Tensor or v.device != "cpu" else v.detach().numpy()
    v = np.asarray(v)
    on_host = not isinstance(x, dif.Tensor) or x.device == "cpu"
    return v if on_host else dif.asarray(v, device=x.device)


def taken(x: Any, *index: np.ndarray) -> Any:
    """``x[index]`` by integers, wherever `x` is."""
    return x[tuple(constant(i, x) for i in index)]


def plain_memory(x: Any) -> bool:
    """An array on the CPU; not one of a GPU, not a batch inside vmap, which looks like one example."""
    return type(x) is dif.Tensor and x.device == "cpu" if isinstance(x, dif.Tensor) else True


def fused(plain: Callable, forward: Callable, backward: Callable) -> Callable:
    """`plain` with first derivatives by hand.

    Parameters
    ----------
    plain : callable
        Of floating arrays, positional.
    forward : callable
        ``forward(*ndarrays) -> (y, saved)``
    backward : callable
        ``backward(saved, g) -> a tuple with one cotangent, or None, per argument``
    """

    def value(*args: Any) -> Any:
        y, _ = forward(*map(raw, args))
        return tuple(map(dif.asarray, y)) if isinstance(y, tuple) else dif.asarray(y)

    rule = dif.custom_vjp(value)

    def fwd(*args: Any) -> Any:
        if any(map(tracked, args)):  # the derivative is differentiated
            return plain(*args), (plain, args)
        y, saved = forward(*map(raw, args))
        return y, (None, saved)

    def bwd(kept: Any, g: Any) -> tuple:
        form, saved = kept
        if form is plain:
            return dif.vjp(plain, *saved)[1](g)
        return backward(saved, g)

    rule.defvjp(fwd, bwd)

    def call(*args: Any) -> Any:
        if not any(isinstance(x, dif.Tensor) for x in args):  # ndarrays in, ndarrays out
            return forward(*map(np.asarray, args))[0]
        return rule(*args) if all(map(plain_memory, args)) else plain(*args)

    return call
