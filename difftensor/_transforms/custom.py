"""Derivatives by hand: custom_vjp, custom_jvp."""

from __future__ import annotations

from collections.abc import Callable
from functools import update_wrapper
from typing import Any

import numpy as np

from difftensor import tree
from difftensor._backend import beside, duplicate, on_gpu
from difftensor._core import Leaf, Tensor, enable_grad, lift, wrap
from difftensor._core.fitting import fit, nought
from difftensor._transforms.batch import apart
from difftensor._transforms.opaque import Rules, in_lanes, outline, record, rides, tracked
from difftensor._transforms.sweep import pull_back
from difftensor.errors import MissingDerivativeError, TrackedValueError


def _constant(x: Any) -> Any:
    return x.detach() if isinstance(x, Tensor) else x


def _raw(v: Any, name: str) -> Any:
    """The array of a result that must not be tracked."""
    if isinstance(v, Tensor):
        if v.node is not None or rides(v):
            raise TrackedValueError(
                f"{name}: its result depends on a tracked Tensor that is not among its arguments (a closure or "
                f"a global); "
                "that derivative would be lost. Pass it as an argument"
            )
        return v._data
    return np.asarray(v)[()]


def _conj(g: Any) -> Any:
    return g.conj() if g is not None and g.dtype.kind == "c" else g


def _own(g: Any) -> Any:
    """Cotangent `g` for a rule, which may write into it; the sweep gives the same array to others too."""
    return apart(g) if isinstance(g, Tensor) else g if isinstance(g, np.generic) else duplicate(g)


class _Custom:
    """A function with a rule of its own; called like the function."""

    def __init__(self, f: Callable):
        update_wrapper(self, f)
        self.f = f
        self.name = getattr(f, "__name__", "custom")

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if kwargs:
            raise TypeError(
                f"{self.name}: functions with custom derivatives take positional arguments only, found {sorted(kwargs)}"
            )
        flat = all(map(tree.is_leaf, args))  # no containers: nothing to take apart
        leaves, shape = (list(args), _FLAT) if flat else tree.flatten(args)
        results: list = [None]  # the structure of the result, learnt on the way

        def one(parts: list) -> list:
            y = self._run(parts, shape)
            found, results[0] = tree.flatten(y)
            return found

        lanes = in_lanes(one, leaves)
        found = one(leaves) if lanes is None else lanes
        return tree.unflatten(results[0], found)

    def _run(self, leaves: list, shape: Any) -> Any:
        where = tracked(leaves)
        if not where:
            return self.f(*_arguments(shape, leaves))
        return self._record(leaves, shape, where)

    def _record(self, leaves: list, shape: Any, where: list[int]) -> Any:
        raise NotImplementedError


_FLAT = object()


def _arguments(shape: Any, leaves: list) -> tuple:
    """The arguments of a call, from their leaves."""
    return tuple(leaves) if shape is _FLAT else tree.unflatten(shape, leaves)


def _returned(c: Any, leaf: Any) -> Any:
    """The raw array of what a rule returned; a number beside an argument on a GPU goes there."""
    if isinstance(c, Tensor) or on_gpu(c):
        return c._data if isinstance(c, Tensor) else c
    c = np.asarray(c)[()]
    return beside(c, leaf) if isinstance(leaf, Tensor) and not c.ndim else c


def _filled(leaves: list, where: list[int], xs: Any) -> list:
    """The argument leaves with the tracked ones replaced by `xs`."""
    out = [_constant(x) for x in leaves]
    for i, x in zip(where, xs):
        out[i] = x
    return out


class custom_vjp(_Custom):
    """Give a function its vjp by hand.

    Parameters
    ----------
    f : callable
        Of arrays or pytrees, positional arguments only. Called as it is where nothing is differentiated.

    Notes
    -----
    ``f.defvjp(fwd, bwd)``: ``fwd(*args) -> (y, saved)`` and ``bwd(saved, g) -> (cotangent of each argument)``, with
    None for an
    argument that has none. `fwd` gets untracked Tensors in the place of tracked ones; NumPy code, C and Fortran may be
    called in it. For second
    derivatives both run again on tracked Tensors, so they then must be written with dif.* or np.* functions. Complex
    cotangents follow the convention of gradients (steepest ascent).

    Examples
    --------
    >>> import numpy as np, difftensor as dif
    >>> @dif.custom_vjp
    ... def log1pexp(x):
    ...     return np.log1p(np.exp(x))
    >>> log1pexp.defvjp(lambda x: (log1pexp(x), x), lambda x, g: (g * (1 - 1 / (1 + np.exp(x))),))
    >>> float(dif.grad(log1pexp)(0.0))
    0.5
    """

    fwd: Callable | None = None
    bwd: Callable | None = None

    def defvjp(self, fwd: Callable, bwd: Callable) -> None:
        """Declare the rule; see the class."""
        self.fwd, self.bwd = fwd, bwd

    def _record(self, leaves: list, shape: Any, where: list[int]) -> Any:
        if self.fwd is None or self.bwd is None:
            raise MissingDerivativeError(f"{self.name} is a custom_vjp without rule: call {self.name}.defvjp(fwd, bwd)")
        fwd, bwd = self.fwd, self.bwd
        y, saved = fwd(*_arguments(shape, [_constant(x) for x in leaves]))
        found, y_shape = tree.flatten(y)
        raws = [_raw(v, self.name) for v in found]
        outlines = [outline(raw) for raw in raws]  # the tape does not keep the results themselves

        def pull(create: bool, gs: tuple, xs: tuple) -> list:
            kept = saved
            if create:
                _, kept = fwd(*_arguments(shape, _filled(leaves, where, xs)))
            gs = tuple(nought(y) if g is None else _conj(_own(g)) for g, y in zip(gs, outlines))
            cts = bwd(kept, tree.unflatten(y_shape, list(gs)))
            return [_conj(c) for c in self._aligned(cts, leaves, shape, where, create)]

        return tree.unflatten(y_shape, record(self.name, [leaves[i] for i in where], raws, Rules(pull)))

    def _aligned(self, cts: Any, leaves: list, shape: Any, where: list[int], create: bool) -> list:
        """The cotangents that `bwd` returned, for the tracked leaves."""
        args = _arguments(shape, list(range(len(leaves))))
        if not isinstance(cts, (tuple, list)) or len(cts) != len(args):
            raise TypeError(
                f"{self.name}: bwd must return a tuple with one cotangent for each of the {len(args)} "
                f"arguments, it returned "
                f"{type(cts).__name__}{f' of {len(cts)}' if isinstance(cts, (tuple, list)) else ''}"
            )
        by_leaf: dict[int, Any] = {}
        for ct, numbers in zip(cts, args):
            if ct is None:
                continue
            found, wanted = tree.leaves(ct), tree.leaves(numbers)
            if len(found) != len(wanted):
                raise ValueError(f"{self.name}: bwd returned a cotangent of another structure than its argument")
            by_leaf.update(zip(wanted, found))
        out = []
        for i in where:
            c = by_leaf.get(i)
            if c is not None:
                c = c if create and isinstance(c, Tensor) else _returned(c, leaves[i])
                c = wrap(c) if create and not isinstance(c, Tensor) else c
                if c.shape != leaves[i].shape:
                    raise ValueError(
                        f"{self.name}: bwd returned a cotangent of shape {c.shape} for an argument of shape "
                        f"{leaves[i].shape}"
                    )
                c = fit(c, leaves[i].shape, leaves[i].dtype)
            out.append(c)
        return out


class custom_jvp(_Custom):
    """Give a function its jvp by hand; the vjp follows by transposition.

    Parameters
    ----------
    f : callable
        Of arrays or pytrees, positional arguments only.

    Notes
    -----
    ``f.defjvp(rule)``: ``rule(primals, tangents) -> (y, dy)``, with dy linear in the tangents and written with dif.*
    or np.*
    functions.

    Examples
    --------
    >>> import numpy as np, difftensor as dif
    >>> @dif.custom_jvp
    ... def f(x):
    ...     return np.sin(x)
    >>> f.defjvp(lambda primals, tangents: (f(*primals), np.cos(primals[0]) * tangents[0]))
    >>> float(dif.grad(f)(0.0)), float(dif.jvp(f, (0.0,), (2.0,))[1])
    (1.0, 2.0)
    """

    rule: Callable | None = None

    def defjvp(self, rule: Callable) -> None:
        """Declare the rule; see the class."""
        self.rule = rule

    def _record(self, leaves: list, shape: Any, where: list[int]) -> Any:
        if self.rule is None:
            raise MissingDerivativeError(f"{self.name} is a custom_jvp without rule: call {self.name}.defjvp(rule)")
        rule = self.rule
        found, y_shape = tree.flatten(self.f(*_arguments(shape, [_constant(x) for x in leaves])))
        raws = [_raw(v, self.name) for v in found]

        def tangents_of(ts: Any) -> Any:
            every = [_zero(x) for x in leaves]
            for i, t in zip(where, ts):
                if t is not None:
                    every[i] = apart(t) if isinstance(t, Tensor) else lift(t, None)
            return _arguments(shape, every)

        def primals_of(create: bool, xs: Any) -> Any:
            return _arguments(shape, _filled(leaves, where, xs if create else [lift(x, None) for x in xs]))

        def push(create: bool, ts: tuple, xs: tuple) -> list:
            _, dy = rule(primals_of(create, xs), tangents_of(ts))
            out = tree.leaves(dy)
            return out if create else [_returned(v, leaves[0]) for v in out]

        def pull(create: bool, gs: tuple, xs: tuple) -> list:
            places: list[Any] = [Leaf(user=False) for _ in where]
            probes = [lift(nought(leaves[i]._data), leaf) for i, leaf in zip(where, places)]
            with enable_grad():
                _, dy = rule(primals_of(create, xs), tangents_of(probes))
            for leaf in places:
                leaf.live = False
            seeds = {
                v.node: g
                for v, g in zip(tree.leaves(dy), gs)
                if g is not None and isinstance(v, Tensor) and v.node is not None
            }
            cts, _ = pull_back(seeds, places, create)
            return [cts.get(leaf) for leaf in places]

        return tree.unflatten(y_shape, record(self.name, [leaves[i] for i in where], raws, Rules(pull, push)))


def _zero(x: Any) -> Any:
    """The zero tangent of argument leaf `x`."""
    if isinstance(x, Tensor):
        return nought(x.detach() if x.dtype.kind in "fc" else x.detach().astype(float))
    return (
        np.zeros_like(x, dtype=np.result_type(x, float))
        if isinstance(x, (np.ndarray, np.generic, int, float, complex))
        else None
    )
