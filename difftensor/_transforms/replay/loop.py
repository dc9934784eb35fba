"""The loop itself: when blocks begin and end, and which Tensors are followed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sized
from math import isqrt
from types import FrameType
from typing import Any
from weakref import ref

import numpy as np

from difftensor._core import Primitive, Tensor, recording
from difftensor._core.fitting import Guard
from difftensor._core.recording import PICK
from difftensor._core.tape import getframe, tick
from difftensor._transforms.replay.block import Block, Mark
from difftensor._transforms.replay.kept import current, keep, plain


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
    outer = current.get()
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
    current.set(loop)
    try:
        _look({frame, getframe(1)}, deep=True)
        for i in steps:
            yield i
            _look({frame, getframe(1)})
            loop.step()
    finally:
        current.set(None)
        loop.close()
        plain(x for x in (r() for r in loop.held) if x is not None)
        del frame


def _look(frames: set[FrameType], deep: bool = False) -> None:
    """Follow the tracked Tensors in the local variables of the functions that made the loop and that runs it."""
    for v in [v for frame in frames for v in frame.f_locals.values()]:
        if v.__class__ is Tensor:
            if v.node is not None:
                keep((v,))
        elif deep:
            keep(_inside(v, 3))


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
