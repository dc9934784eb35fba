"""Functions that stand on the tape as one node.

The ground of custom rules, checkpoints, black boxes and implicit derivatives.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import contextmanager
from typing import Any

import numpy as np

from difftensor._core import Node, Primitive, Tensor, X, lift, recording, snapshot
from difftensor._core.recording import pick
from difftensor._core.tape import getframe, tick, user_site
from difftensor._transforms.batch import Batched, example_by_example, innermost, level_of, levels
from difftensor._transforms.batch.calls import joined
from difftensor._transforms.sweep import again

_primitives: dict[tuple, Primitive] = {}


class Rules:
    """How one opaque node differentiates: kept in its `params`.

    pull  ``pull(create, gs, xs)`` -> one cotangent (or None) per operand, in its shape and dtype; internal convention
    (no conj)
    push  ``push(create, ts, xs)`` -> one tangent (or None) per result; None: transpose the pull
    xs    the operands: raw arrays, or Tensors at their places when derivatives are recorded (`create`)
    """

    __slots__ = ("levels", "pull", "push")

    def __init__(self, pull: Callable | None, push: Callable | None = None):
        self.pull, self.push = pull, push
        self.levels = levels.get()  # the rules run inside the vmaps that the function ran in


def _primitive(name: str, outputs: int, pushes: bool) -> Primitive:
    key = name, outputs, pushes
    op = _primitives.get(key)
    if op is None:
        op = _primitives[key] = Primitive(name, "general", lambda *_: None, operands=None)
        op.outputs = outputs
        op.pull = _pull
        op.push = _push if pushes else None
    return op


def _tuple(v: Any) -> tuple:
    return v if v.__class__ is tuple else (v,)


@contextmanager
def _running(vmaps: tuple) -> Any:
    """Inside, rules run: in the vmaps of their function, and as if the leaves around were live."""
    tokens = levels.set(vmaps), again.set(tick())
    try:
        yield
    finally:
        levels.reset(tokens[0])
        again.reset(tokens[1])


def _pull(xp: Any, g: Any, n: Any) -> tuple:
    with _running(n.params.levels):
        return tuple(n.params.pull(xp is X, _tuple(g), n.a))


def _push(xp: Any, ts: tuple, n: Any) -> Any:
    with _running(n.params.levels):
        out = n.params.push(xp is X, ts, n.a)
    return out[0] if len(out) == 1 else tuple(out)


def record(name: str, operands: list[Tensor], outputs: list[Any], rules: Rules, outside: tuple = ()) -> list[Tensor]:
    """Tensors over the raw arrays `outputs`, the results of one opaque node with `operands`.

    outside : nodes of the surroundings that the results depend on too; they come behind the operands in what `pull`
        returns, and stand as None in xs.
    """
    n = Node()
    n.op = _primitive(name, len(outputs), rules.push is not None)
    n.p, n.q = None, (*(x.node for x in operands), *outside)
    n.a = (*map(snapshot, operands), *(None for _ in outside))
    n.b = None
    outlines = tuple(map(outline, outputs))
    n.y = outlines if len(outputs) > 1 else outlines[0]
    n.params = rules
    n.seq = tick()
    n.code, n.at = user_site(getframe(1))
    if len(outputs) == 1:
        return [lift(outputs[0], n)]
    return [lift(y, pick(n, i) if y.dtype.kind in "fc" else None) for i, y in enumerate(outputs)]


def outline(y: Any) -> Any:
    """Stands for a result, whose shape and dtype the sweeps read, without holding its memory."""
    return np.broadcast_to(np.zeros((), y.dtype), y.shape) if y.__class__ is np.ndarray and y.nbytes > 4096 else y


def tracked(leaves: list) -> list[int]:
    """The positions of the leaves that derivatives flow through."""
    if not recording():
        return []
    return [i for i, x in enumerate(leaves) if isinstance(x, Tensor) and x.node is not None]


def rides(x: Any) -> bool:
    """Does a streaming jvp or a Taylor series ride on `x`, past the tape?"""
    return isinstance(x, Tensor) and hasattr(innermost(x)._data, "level")


def through(f: Callable, leaves: list) -> list:
    """f(leaves), where f is opaque and sees plain Tensors: inside vmap for one example after the other, inside a
    streaming jvp from fresh places, the tangents pushed behind."""
    lanes = in_lanes(f, leaves)
    return f(leaves) if lanes is None else lanes


def in_lanes(f: Callable, leaves: list) -> list | None:
    """As `through`; None if nothing is batched or dual."""
    level, riding = -1, False
    for x in leaves:
        if isinstance(x, Tensor) and x.__class__ is not Tensor:
            at = getattr(x._data, "level", -1)
            if at > level:
                level, riding = at, not isinstance(x, Batched)
    if level < 0:
        return None
    if riding:
        from difftensor._transforms.dual import carried

        return carried(lambda parts: through(f, parts), leaves, level)
    size = next(x for x in leaves if level_of(x) == level)._data.inner.shape[0]
    with example_by_example(level):
        rows = [through(f, [x._data.inner[i] if level_of(x) == level else x for x in leaves]) for i in range(size)]
    return [joined("a function that stands on the tape as one node", list(column), level) for column in zip(*rows)]


__all__ = ["Batched", "Rules", "in_lanes", "record", "rides", "through", "tracked"]
