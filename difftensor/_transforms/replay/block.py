"""Blocks of steps: how to compute again what was dropped."""

from __future__ import annotations

from bisect import bisect_left
from itertools import count
from math import inf
from typing import Any
from weakref import WeakSet

import numpy as np

from difftensor._core import Leaf, Node, Primitive, Tensor
from difftensor._core.fitting import COPY_LIMIT, Guard, constant
from difftensor._core.tape import tick
from difftensor._core.views import keep_raw, walk
from difftensor._core.writes import VIEW, WRITE
from difftensor.errors import DifftensorError

unique = count(-1, -1).__next__  # keys of constants; those of nodes are their `seq`
blocks: WeakSet = WeakSet()  # those that some tape still needs


class Mark:
    """Stands in a node for a saved value that was dropped; keeps the block that computes it again alive."""

    __slots__ = ("__weakref__", "block")

    def __init__(self, block: Block):
        self.block = block

    def __getattr__(self, name: str) -> Any:
        raise DifftensorError(
            "a value that a dif.checkpointed loop dropped was read outside of a derivative sweep: run the loop "
            "without dif.checkpointed for that"
        )


class Block:
    """Some steps of the loop: how to compute their values again.

    records  seq of a node -> (operation, keys of its operands, params), oldest first
    given    key -> value (or Guard) that the records use and do not compute
    marks    weak references: the nodes hold the marks, the marks hold the block, and nothing holds the nodes
    """

    __slots__ = ("__weakref__", "first", "given", "last", "marks", "records", "steps")

    def __init__(self) -> None:
        self.records: dict[int, tuple] = {}
        self.given: dict[int, Any] = {}
        self.first: float = tick()
        self.last: float = inf
        self.marks: list = []
        self.steps = 0
        blocks.add(self)

    def key(self, x: Any, constants: dict) -> int:
        """Where the value of operand `x` comes from."""
        node = x.node if isinstance(x, Tensor) else None
        if node is not None and node.seq in self.records:
            return node.seq
        key = unique() if node is None else node.seq
        old = self.given.get(key)
        if old is not None:
            if node.__class__ is not Leaf or not node.user or _same(old, x._data):
                return key
            key = unique()  # a leaf that was updated under no_grad since
        self.given[key] = _kept(x, constants)
        return key

    def join(self, other: Block) -> None:
        """Take in the block that follows: what this one computes need not be in the snapshot."""
        for key, value in other.given.items():
            if key not in self.records:
                self.given.setdefault(key, value)
        self.records.update(other.records)
        self.last, self.steps = other.last, self.steps + other.steps
        for mark in filter(None, (r() for r in other.marks)):
            mark.block = self
        self.marks += other.marks

    def restore(self, nodes: list[Node]) -> list[tuple]:
        """Compute the values again and fill them into `nodes`; returns what stood there."""
        wanted = {n.seq: n for n in nodes if n.seq in self.records}
        if not wanted:
            return []
        values = {key: v.check() if v.__class__ is Guard else v for key, v in self.given.items()}
        last = {key: seq for seq, (_, keys, _) in self.records.items() for key in keys}
        undo = []
        for seq, (op, keys, params) in self.records.items():
            data = [values[key] for key in keys]
            y = _again(op, data, params)
            if seq in last:
                values[seq] = y
            for key in keys:
                if last[key] == seq:
                    values.pop(key, None)
            n = wanted.get(seq)
            if n is not None:
                undo.append((n, n.a, None if op.arity == 1 else n.b, n.y))
                _fill(n, data, y)
        return undo


def _kept(x: Any, constants: dict) -> Any:
    """The value of operand `x`, protected from later writes; a plain array that every step uses is kept once."""
    if isinstance(x, Tensor):
        value, guard = keep_raw(x)
        return value if guard is None else guard
    held = constants.get(id(x))
    if held is not None and held[0] is x and _same(held[1], x):
        return held[1]
    value, guard = constant(x)
    value = value if guard is None else guard
    if isinstance(x, np.ndarray):
        constants[id(x)] = x, value
    return value


def _same(old: Any, now: Any) -> bool:
    if old.__class__ is Guard:
        return old.array is now and old._unchanged()
    return old is now or (now.nbytes <= COPY_LIMIT and old.shape == now.shape and bool((old == now).all()))


def _again(op: Primitive, data: list, params: tuple) -> Any:
    """The raw result of an operation on raw operands."""
    if op is WRITE:
        new = data[0].copy("K")
        walk(params[0], new)[params[1]] = data[1]
        return new
    if op is VIEW:
        return walk(params[0], data[0])
    y = op.forward(data, *params) if op.operands is None else op.forward(*data, *params)
    return np.complex128(y) if y.__class__ is complex else y


def _fill(n: Node, data: list, y: Any) -> None:
    if n.a.__class__ is Mark:
        n.a = data[0]
    elif n.a.__class__ is tuple and n.op.kind != "linear":
        n.a = tuple(d if m.__class__ is Mark else m for m, d in zip(n.a, data, strict=False))
    if n.op.arity != 1 and n.b.__class__ is Mark:
        n.b = data[1]
    if n.y.__class__ is Mark:
        n.y = tuple(y) if n.op.outputs > 1 else y


def drop(undo: list[tuple]) -> None:
    """Let go of what `restore` filled in."""
    for n, a, b, y in undo:
        n.a, n.y = a, y
        if n.op.arity != 1:
            n.b = b


def pieces(order: list[Node]) -> list[tuple[list[Node], list[Block]]]:
    """The tape cut where blocks begin and end, oldest first, with the blocks that each piece needs."""
    if not order:
        return []
    oldest, newest = order[0].seq, order[-1].seq
    found = [b for b in list(blocks) if b.first <= newest and b.last >= oldest]
    if not found:
        return [(order, [])]
    seqs = [n.seq for n in order]
    cuts = sorted({0, len(order), *(bisect_left(seqs, s) for b in found for s in (b.first, b.last))})
    return [
        (order[i:j], [b for b in found if b.first <= seqs[j - 1] and seqs[i] <= b.last])
        for i, j in zip(cuts, cuts[1:], strict=False)
    ]
