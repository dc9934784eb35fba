"""checkpointed: a plain Python loop whose past values are dropped and computed again for the sweep.

While such a loop runs, the tracked Tensors of the calling function are of the class `Kept`, which every operation meets
as an unusual operand and sends here. The operation is recorded as always, on the one tape; then what its node saved is
replaced by a `Mark`, and a `Block` of steps remembers how to compute it again: the operation and where its operands
come from. Values that a block uses and does not compute are its snapshot. A sweep goes through the tape block by
block: replay, sweep, drop again.

What is recorded past `Kept` (inner transformations, custom rules, batched values) keeps its saved values as on any
tape: that costs memory, never correctness.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Sized
from contextvars import ContextVar
from itertools import count
from math import inf, isqrt
from types import FrameType
from typing import Any
from weakref import WeakSet, ref

import numpy as np

from difftensor._core import Leaf, Node, Primitive, Tensor, recording
from difftensor._core.fitting import COPY_LIMIT, Guard, constant
from difftensor._core.operands import operand
from difftensor._core.recording import PICK
from difftensor._core.tape import getframe, tick
from difftensor._core.views import keep_raw, walk
from difftensor._core.writes import VIEW, WRITE, take_over, write
from difftensor.errors import DifftensorError

_current: ContextVar[Any] = ContextVar("difftensor.checkpointed", default=None)
_unique = count(-1, -1).__next__  # keys of constants; those of nodes are their `seq`
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
        key = _unique() if node is None else node.seq
        old = self.given.get(key)
        if old is not None:
            if node.__class__ is not Leaf or not node.user or _same(old, x._data):
                return key
            key = _unique()  # a leaf that was updated under no_grad since
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


# While the loop runs --------------------------------------------------------------------------------------------------


class Kept(Tensor):
    """A tracked Tensor inside a checkpointed loop. No slots of its own: a Tensor becomes one, and back, in place."""

    __slots__ = ()

    @staticmethod
    def __dif_dispatch__(op: Primitive, f: Callable, xs: tuple, params: tuple, keywords: dict) -> Any:
        turned = _plain(xs)
        try:
            return _dispatch(op, f, xs, params, keywords)
        finally:
            _keep(turned)

    @staticmethod
    def __dif_write__(x: Tensor, index: Any, value: Any) -> None:
        turned = _plain((x, value))
        try:
            _write(x, index, value)
        finally:
            _keep((*turned, x))

    @staticmethod
    def __dif_in_place__(x: Tensor, t: Tensor) -> Tensor:
        turned = _plain((x, t))
        try:
            if x.alias is not None and t.shape == x.shape and t.dtype == x.dtype:
                _write(x, Ellipsis, t)
                return x
            return take_over(x, t)
        finally:
            _keep((*turned, x))

    @staticmethod
    def __dif_shares__(y: Tensor, x: Tensor) -> bool:
        return y is x or (y.alias is not None and y.alias is x.alias)

    @staticmethod
    def __dif_index__(x: Tensor, index: tuple) -> Tensor:
        raise IndexError("arrays used as indices must be of integer (or boolean) type")


def _plain(xs: Iterable) -> list[Tensor]:
    """Make the Kept among `xs` Tensors again; returns them."""
    turned: list[Tensor] = [x for x in xs if x.__class__ is Kept]
    for x in turned:
        x.__class__ = Tensor
    return turned


def _keep(xs: Iterable) -> None:
    """Make the tracked Tensors among `xs` Kept, while a loop runs."""
    loop = _current.get()
    if loop is not None:
        for x in xs:
            if x.__class__ is Tensor and x.node is not None:
                x.__class__ = Kept
                loop.hold(x)


def _exact(*xs: Any) -> bool:
    """No Tensor of another transformation (batched, dual) among them?"""
    return all(x.__class__ is Tensor or not isinstance(x, Tensor) for x in xs)


def _dispatch(op: Primitive, f: Callable, xs: tuple, params: tuple, keywords: dict) -> Any:
    loop = _current.get()
    xs = tuple(operand(x, op.name) for x in xs)
    start = tick()
    y = f(xs, *params, **keywords) if op.operands is None else f(*xs, *params, **keywords)
    if loop is not None and not keywords and recording() and op.kind != "nondifferentiable" and _exact(*xs):
        ys = y if op.outputs > 1 else (y,)
        loop.record(op, xs, ys, start)
        _keep(ys)
    return y


def _write(x: Tensor, index: Any, value: Any) -> None:
    loop = _current.get()
    if not _exact(x, value):
        cls: Any = (value if x.__class__ is Tensor else x).__class__
        cls.__dif_write__(x, index, value)
        return
    if loop is None or not recording():
        write(x, index, value)
        return
    block, storage = loop.block, x.alias
    root = x if storage is None else storage
    old = root.node
    data = x._data if storage is None else storage.data
    before = old.seq if old is not None else _unique()
    if before not in block.records and (before not in block.given or (old.__class__ is Leaf and old.user)):
        before = before if before not in block.given else _unique()
        block.given[before] = data.copy("K")  # the buffer itself is about to be written
    put = block.key(value, loop.constants)
    write(x, index, value)
    new = root.node
    if new is None or new is old or new.op is not WRITE:
        return
    block.records[new.seq] = WRITE, (before, put), new.params
    if storage is not None:
        for m in storage.live():
            if m.node is not None and m.node.op is VIEW and m.node.p is new:
                block.records[m.node.seq] = VIEW, (new.seq,), m.node.params
        _keep(storage.live())


class _Loop:
    """A checkpointed loop under way.

    length, most  steps in a block, and how many blocks there may be
    held          weak references to all Kept
    """

    def __init__(self, length: int, most: int | None):
        self.length, self.most = length, most
        self.closed: list[Block] = []
        self.constants: dict = {}
        self.held: list = []
        self.limit = 64
        self.open()

    def open(self) -> None:
        self.block = Block()
        self.mark = Mark(self.block)
        self.block.marks.append(ref(self.mark))

    def close(self) -> None:
        self.block.last = tick()
        self.closed.append(self.block)

    def step(self) -> None:
        """A step is over."""
        self.block.steps += 1
        if self.block.steps < self.length:
            return
        self.close()
        if len(self.closed) >= (self.most or max(16, 2 * self.length)):  # longer blocks, fewer snapshots
            for a, b in zip(self.closed[::2], self.closed[1::2], strict=False):
                a.join(b)
            self.closed = self.closed[::2]
            self.length *= 2
        self.open()

    def hold(self, x: Tensor) -> None:
        self.held.append(ref(x))
        if len(self.held) > self.limit:
            self.held = [r for r in self.held if r() is not None]
            self.limit = 2 * len(self.held) + 64

    def record(self, op: Primitive, xs: tuple, ys: Any, start: int) -> None:
        """Remember how to compute the results again, and drop what the node saved."""
        picks = [y.node for y in ys if isinstance(y, Tensor) and y.node is not None]
        n = picks[0].p if picks and op.outputs > 1 else picks[0] if picks else None
        if n is None or n.op is not op or n.seq < start:
            return  # nothing was recorded, or other operations were
        block = self.block
        keys = tuple(block.key(x, self.constants) for x in xs)
        block.records[n.seq] = op, keys, () if op.arity else n.params
        if op.outputs > 1:
            for m in picks:
                block.records[m.seq] = PICK, (n.seq,), (m.params,)
        if n.y is not None:
            n.y = self.mark
        if op.kind == "linear":  # keeps a shape only
            return
        if n.a.__class__ is tuple:
            n.a = tuple(map(self.dropped, n.a, xs, keys))
            return
        n.a = self.dropped(n.a, xs[0], keys[0])
        if op.arity != 1 and n.b is not None:
            n.b = self.dropped(n.b, xs[1], keys[1])

    def dropped(self, saved: Any, x: Any, key: int) -> Any:
        if not hasattr(saved, "nbytes") or isinstance(saved, np.generic):
            return saved
        if isinstance(x, Tensor) and x.node is not None:
            return self.mark
        value = self.block.given[key]  # a constant: the one copy that all steps share
        return saved if value.__class__ is Guard else value


def checkpointed(steps: Iterable, *, memory: int | None = None) -> Iterator:
    """Iterate over `steps`, forgetting what past steps computed until a derivative asks for it.

    Parameters
    ----------
    steps : iterable
        Usually ``range(n)``.
    memory : int, optional
        How many snapshots of the loop's state to keep; by default about ``sqrt(n)``, and as many steps are replayed at
        once.

    Returns
    -------
    iterator
        Over `steps`, for a ``for`` statement.

    Notes
    -----
    The values and derivatives are those of the plain loop. Snapshots are kept between blocks of steps; in the sweep
    the recorded operations of one block at a time are run again (one more evaluation of the loop). Memory is
    bounded in *arrays*: the recorded operations themselves (some hundred bytes each), and constant arrays that differ
    from step to step, stay. The Tensors of the calling function's local variables are followed, and what is computed
    from them; inner transformations (``dif.grad`` in a step), custom rules and batched values are right too, but keep
    their values. `dif.checkpoint_loop` has none of these limits. A derivative of second order is right, and a forward
    sweep over the tape too, but both hold all values at once. Inside another checkpointed loop the steps count as steps
    of the outer one.

    Raises
    ------
    MutatedConstantError
        In the sweep, if a plain array that a step used was changed since.

    Examples
    --------
    >>> import numpy as np, difftensor as dif
    >>> def f(u):
    ...     for i in dif.checkpointed(range(100)):
    ...         u = u + 0.01 * np.sin(u)
    ...     return u
    >>> round(float(dif.grad(f)(1.0)), 6)
    1.106433
    """
    if memory is not None and memory < 1:
        raise ValueError(f"checkpointed: memory must be at least 1, found {memory}")
    return _steps(steps, memory, getframe(1))


def _steps(steps: Iterable, memory: int | None, frame: FrameType) -> Iterator:
    outer = _current.get()
    if outer is not None or not recording():
        for i in steps:
            yield i
            if outer is not None:
                _look({frame, getframe(1)})
                outer.step()
        return
    n = len(steps) if isinstance(steps, Sized) else 0
    most = memory or isqrt(n) or None
    loop = _Loop(-(-n // most) if most and n else 1, None if most is None else most + 1)
    _current.set(loop)
    try:
        _look({frame, getframe(1)}, deep=True)
        for i in steps:
            yield i
            _look({frame, getframe(1)})
            loop.step()
    finally:
        _current.set(None)
        loop.close()
        _plain(x for x in (r() for r in loop.held) if x is not None)
        del frame


def _look(frames: set[FrameType], deep: bool = False) -> None:
    """Follow the tracked Tensors in the local variables of the functions that made the loop and that runs it."""
    for v in [v for frame in frames for v in frame.f_locals.values()]:
        if v.__class__ is Tensor:
            if v.node is not None:
                _keep((v,))
        elif deep:
            _keep(_inside(v, 3))


def _inside(v: Any, depth: int) -> Iterator[Tensor]:
    if v.__class__ is Tensor:
        yield v
    elif depth:
        if v.__class__ in (list, tuple):
            parts: Iterable = v
        elif v.__class__ is dict:
            parts = v.values()
        elif hasattr(v, "__dict__") and not isinstance(v, (type, type(np))) and not callable(v):
            parts = vars(v).values()
        else:
            return
        for w in list(parts):
            yield from _inside(w, depth - 1)
