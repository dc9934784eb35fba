"""checkpoint: forget what a function computed, and compute it again when its derivative is asked for."""

from __future__ import annotations

import copy
from collections.abc import Callable
from functools import wraps
from typing import Any

import numpy as np

from difftensor import tree
from difftensor._core import Leaf, Node, Tensor, enable_grad, lift, recording
from difftensor._core.tape import tick
from difftensor._transforms.batch import Batched, apart, innermost, like
from difftensor._transforms.draws import rewound, watched
from difftensor._transforms.opaque import Rules, record, rides, through
from difftensor._transforms.sweep import place_one, pull_back
from difftensor.errors import BatchedValueError, MutatedConstantError


def checkpoint(f: Callable) -> Callable:
    """`f`, whose intermediate values are not kept for the backward pass but computed again.

    Parameters
    ----------
    f : callable
        Of arrays or pytrees (and other values), which it gets as copies: what it writes into them is not seen outside.
        It may use tracked Tensors of its surroundings. Random generators are
        rewound when it is run again: those of `dif.random` wherever they come from, those of NumPy if they are among
        the arguments.

    Returns
    -------
    callable
        With the same values and derivatives of every order; memory of its arguments and results only, time of one more
        forward pass for each derivative. Nests.

    Raises
    ------
    MutatedConstantError
        In the backward pass, if `f` does not give the same result again: something that it reads was changed, or it
        draws random numbers from a generator of NumPy's that is not among its arguments.

    Examples
    --------
    >>> import numpy as np, difftensor as dif
    >>> step = dif.checkpoint(lambda x: np.sin(x) * x)
    >>> f = lambda s: lambda x: s(s(x))
    >>> float(dif.grad(f(step))(1.0)) == float(dif.grad(f(lambda x: np.sin(x) * x))(1.0))
    True
    """

    @wraps(f)
    def forgetful(*args: Any, **kwargs: Any) -> Any:
        if not recording():
            return f(*args, **kwargs)
        leaves, shape = tree.flatten((args, kwargs))
        if any(map(rides, leaves)):  # a streaming jvp keeps nothing
            return f(*args, **kwargs)
        generators = [(x, _state(x)) for x in leaves if isinstance(x, np.random.Generator)]
        with watched() as drawn:
            try:
                return _once(f, leaves, shape, generators)
            except BatchedValueError:  # f reads values: one example after the other, from where it started
                if not any(isinstance(x, Batched) for x in leaves):
                    raise
        _rewind(generators, drawn)
        lanes_shape: list = [None]

        def one(parts: list) -> list:
            generators = [(x, _state(x)) for x in parts if isinstance(x, np.random.Generator)]
            found, lanes_shape[0] = tree.flatten(_once(f, parts, shape, generators))
            return found

        lanes = through(one, leaves)
        return tree.unflatten(lanes_shape[0], lanes)

    return forgetful


def _state(rng: np.random.Generator) -> Any:
    return copy.deepcopy(rng.bit_generator.state)


def _rewind(generators: list, drawn: dict) -> None:
    """Random generators, NumPy's and ours, back to where they stood."""
    for rng, state in generators:
        rng.bit_generator.state = state
    for source, position in drawn.items():
        source.position = position


def _placed(x: Tensor) -> Tensor:
    """`x` at a fresh place: of a batch its physical Tensor, as only the sum over examples comes back."""
    return like(x, place_one(innermost(x), "checkpoint"))


def _once(f: Callable, leaves: list, shape: Any, generators: list) -> Any:
    """Run f, put one node for it on the tape, forget the inside."""
    inexact = [i for i, x in enumerate(leaves) if isinstance(x, Tensor) and x.node is not None]
    kept: list[Any] = [x.detach() if isinstance(x, Tensor) else own(x) for x in leaves]
    start = tick()

    def run(parts: list) -> tuple[list, Any, list[Node]]:
        """The result of f on the kept arguments with `parts` in the place of the tracked ones, recorded; and the
        places of these, which writes in f lead away from."""
        placed = [_placed(x if isinstance(x, Tensor) else lift(x, None)) for x in parts]
        places = [t.node for t in placed]
        every = list(map(own, kept))
        for i, t in zip(inexact, placed):
            every[i] = t
        positional, named = tree.unflatten(shape, every)
        with enable_grad():
            found, y_shape = tree.flatten(f(*positional, **named))
        for n in places:
            if n.__class__ is Leaf:
                n.live = False
        return found, y_shape, places

    with watched() as drawn:
        found, y_shape, places = run([kept[i] for i in inexact])
    if any(map(rides, found)):  # f uses what a streaming jvp carries: nothing will be kept anyway
        _rewind(generators, drawn)
        positional, named = tree.unflatten(shape, leaves)
        return f(*positional, **named)
    roots = [v.node for v in found if isinstance(v, Tensor) and v.node is not None]
    if not roots:
        return tree.unflatten(y_shape, found)
    outside = _boundary(roots, places, start)
    tensors = [i for i, v in enumerate(found) if isinstance(v, Tensor) and v.node is not None]
    raws = [innermost(found[i])._data for i in tensors]
    prints = [_sample(y) for y in raws]

    def pull(create: bool, gs: tuple, xs: tuple) -> list:
        now = [(rng, _state(rng)) for rng, _ in generators]
        for rng, state in generators:
            rng.bit_generator.state = state
        parts = [kept[i] for i in inexact]
        try:
            with rewound(drawn):
                again, _, at = run([like(p, x) for p, x in zip(parts, xs)] if create else parts)
        finally:
            for rng, state in now:
                rng.bit_generator.state = state
        results = [innermost(again[i]) for i in tensors]
        # the examples of a batch may lie otherwise in memory now, and sums be rounded otherwise
        slack = 1e3 if any(isinstance(v, Batched) for v in again) else 0
        if not all(_same(p, _sample(y._data), slack) for p, y in zip(prints, results)):
            raise changed("a checkpointed function")
        seeds: dict = {}
        for y, g in zip(results, gs):
            if g is not None:
                seeds[y.node] = g if y.node not in seeds else seeds[y.node] + g
        targets = at + outside
        cts, _ = pull_back(seeds, targets, create)
        return [cts.get(n) for n in targets]

    ys = record("checkpoint", [innermost(leaves[i]) for i in inexact], raws, Rules(pull), tuple(outside))
    for y, t in zip(ys, tensors):
        found[t] = like(found[t], y)
    return tree.unflatten(y_shape, found)


def own(x: Any) -> Any:
    """Argument `x` for one run of a function, which may write into it."""
    return apart(x) if isinstance(x, Tensor) else x.copy() if isinstance(x, np.ndarray) else x


def _boundary(roots: list[Node], places: list[Node], start: int) -> list[Node]:
    """The nodes from before `start` that what was recorded since depends on, other than the places of arguments."""
    seen = {None, *places, *roots}
    old = [n for n in roots if n.seq < start]
    new = [n for n in roots if n.seq >= start]
    for n in new:  # the list grows while it is read
        for p in n.q if n.q.__class__ is tuple else (n.p, n.q):
            if p not in seen:
                seen.add(p)
                (old if p.seq < start else new).append(p)
    return sorted(old, key=lambda n: n.seq)


def changed(what: str) -> MutatedConstantError:
    """The error of a function that gives another result when it is run again."""
    return MutatedConstantError(
        f"{what} gave another result when it was run again for its derivative: something it reads was changed since, "
        "as a variable of a loop is (bind it, lambda x, t=t: ..., or pass it), or it draws random numbers from a "
        "generator of NumPy's that is not among its arguments (pass rng as one, or use dif.random.default_rng)"
    )


def _sample(y: Any) -> Any:
    flat = y.ravel()
    return flat[:: max(1, flat.size // 64)].copy()


def _same(a: Any, b: Any, slack: float) -> bool:
    if a.shape != b.shape:
        return False
    same = (a == b) | (a != a)
    if slack and a.size:
        same = same | (abs(a - b) <= slack * np.finfo(a.dtype).eps * abs(a).max())
    return bool(same.all())
