"""Forward mode: jvp and linearize, the same tape walked oldest first."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import numpy as np

from difftensor import tree
from difftensor._backend.device import inside
from difftensor._core import Tensor, lift, recording
from difftensor._core.fitting import nought
from difftensor._core.sweeping import trace
from difftensor._transforms.batch import Batched, innermost, like
from difftensor._transforms.dual import streamed
from difftensor._transforms.reverse import _as_result, _Placed
from difftensor._transforms.sweep import fresh, given, hand_out, push_forward, seed_like, watched, zeros_like


def _pushed(t: Any, v: Tensor, tensors: bool, seen: set[int]) -> Any:
    """Tangent `t` of result `v` as handed out, in memory that the caller may write to."""
    if t is None:
        t = zeros_like(innermost(v))
    if isinstance(t, Tensor):
        if t.__class__ is not Tensor or (t.node is not None and recording() and watched([t.node])):
            return like(v, fresh(t, seen))
        t = t._data
    t = fresh(t.astype(v.dtype) if t.dtype != v.dtype else t, seen)
    if tensors or isinstance(v, Batched):
        return like(v, lift(t, None))
    return t[()] if t.__class__ is np.ndarray and t.ndim == 0 else t


def linearize(f: Callable, *primals: Any) -> tuple:
    """The value of `f` at `primals` and its pushforward, a linear function of tangents.

    Parameters
    ----------
    f : callable
        Of arrays or pytrees of arrays.
    *primals : arrays or pytrees

    Returns
    -------
    y : array or pytree
    push : callable
        ``push(*tangents)``, tangents like the primals, returns the derivative in that direction, like y. May be
        called again: the function itself is not run again.

    Examples
    --------
    >>> import numpy as np, difftensor as dif
    >>> y, push = dif.linearize(np.sin, 0.0)
    >>> float(push(2.0))
    2.0
    """
    a = _Placed(primals, tuple(range(len(primals))), "linearize")
    y = a.run(f, {})
    found, shape = tree.flatten(y)
    found = [_as_result(v, "linearize") for v in found]
    roots = list(dict.fromkeys(v.node for v in found if v.node is not None))
    tape = trace(roots, a.nodes)
    structures = [tree.structure(p) for p in primals]

    def push(*tangents: Any) -> Any:
        if len(tangents) != len(primals):
            raise TypeError(
                f"linearize: expected {len(primals)} tangent(s), one for each primal, found {len(tangents)}"
            )
        ts: dict = {}
        leaves: list = []
        for t, structure in zip(tangents, structures, strict=True):
            some, s = tree.flatten(t)
            if s != structure:
                raise ValueError(f"jvp: the tangent has structure {s}, the primal {structure}")
            leaves += some
        for n, t, v in zip(a.nodes, leaves, a.placed, strict=True):
            ts[n] = seed_like(t, v, "jvp: tangent")
        out, _ = push_forward(ts, roots, tape=tape)
        tensors = a.tensors or any(isinstance(t, Tensor) for t in leaves)
        seen = given(ts)
        return tree.unflatten(
            shape, [_pushed(out.get(v.node) if v.node is not None else None, v, tensors, seen) for v in found]
        )

    return tree.unflatten(shape, [hand_out(v, a.tensors) for v in found]), push


def jvp(f: Callable, primals: tuple, tangents: tuple, *, stream: bool = False) -> tuple:
    """The value of `f` at `primals` and its derivative in the direction of `tangents`.

    Parameters
    ----------
    f : callable
    primals, tangents : tuples of arrays or pytrees, of equal structure
    stream : bool
        Push the tangents along with the values instead of recording a tape: slower per operation, but memory does not
        grow with the number of steps.

    Returns
    -------
    y, dy : arrays or pytrees
        ``dy = J @ tangents``.

    Notes
    -----
    Cost: about twice the function, for one direction. Memory grows with the length of the computation, unless
    ``stream=True``.

    Examples
    --------
    >>> import difftensor as dif
    >>> y, dy = dif.jvp(lambda x: x**3, (2.0,), (1.0,))
    >>> float(dy)
    12.0
    """
    if (
        not isinstance(primals, (tuple, list))
        or not isinstance(tangents, (tuple, list))
        or len(primals) != len(tangents)
    ):
        raise TypeError("jvp: primals and tangents must be tuples of equal length, e.g. dif.jvp(f, (x,), (v,))")
    if stream:
        return _streamed(f, tuple(primals), tuple(tangents))
    y, push = linearize(f, *primals)
    return y, push(*tangents)


def _streamed(f: Callable, primals: tuple, tangents: tuple) -> tuple:
    leaves = [x for x in tree.leaves([primals, tangents]) if isinstance(x, Tensor)]
    tensors = bool(leaves)
    there = next((x.device for x in leaves if x.device.kind != "cpu"), None)
    with nullcontext() if there is None else inside(there):  # tangents are worked on where CuPy is
        values, slopes, shape = streamed(f, primals, tangents, tensors)
    values = [_as_result(v, "jvp") for v in values]
    slopes = [nought(v.detach()) if t is None else t for t, v in zip(slopes, values)]
    dy = [hand_out(t if t.dtype == v.dtype else t.astype(v.dtype), tensors) for t, v in zip(slopes, values)]
    return tree.unflatten(shape, [hand_out(v, tensors) for v in values]), tree.unflatten(shape, dy)
