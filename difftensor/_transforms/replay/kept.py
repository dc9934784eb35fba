"""Tensors while a checkpointed loop runs: every operation meets them as unusual operands and comes here."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextvars import ContextVar
from typing import Any

from difftensor._core import Leaf, Primitive, Tensor, recording
from difftensor._core.operands import operand
from difftensor._core.tape import tick
from difftensor._core.writes import VIEW, WRITE, take_over, write
from difftensor._transforms.replay.block import unique

current: ContextVar[Any] = ContextVar("difftensor.checkpointed", default=None)


class Kept(Tensor):
    """A tracked Tensor inside a checkpointed loop. No slots of its own: a Tensor becomes one, and back, in place."""

    __slots__ = ()

    @staticmethod
    def __dif_dispatch__(op: Primitive, f: Callable, xs: tuple, params: tuple, keywords: dict) -> Any:
        turned = plain(xs)
        try:
            return _dispatch(op, f, xs, params, keywords)
        finally:
            keep(turned)

    @staticmethod
    def __dif_write__(x: Tensor, index: Any, value: Any) -> None:
        turned = plain((x, value))
        try:
            _write(x, index, value)
        finally:
            keep((*turned, x))

    @staticmethod
    def __dif_in_place__(x: Tensor, t: Tensor) -> Tensor:
        turned = plain((x, t))
        try:
            if x.alias is not None and t.shape == x.shape and t.dtype == x.dtype:
                _write(x, Ellipsis, t)
                return x
            return take_over(x, t)
        finally:
            keep((*turned, x))

    @staticmethod
    def __dif_shares__(y: Tensor, x: Tensor) -> bool:
        return y is x or (y.alias is not None and y.alias is x.alias)

    @staticmethod
    def __dif_index__(x: Tensor, index: tuple) -> Tensor:
        raise IndexError("arrays used as indices must be of integer (or boolean) type")


def plain(xs: Iterable) -> list[Tensor]:
    """Make the Kept among `xs` Tensors again; returns them."""
    turned: list[Tensor] = [x for x in xs if x.__class__ is Kept]
    for x in turned:
        x.__class__ = Tensor
    return turned


def keep(xs: Iterable) -> None:
    """Make the tracked Tensors among `xs` Kept, while a loop runs."""
    loop = current.get()
    if loop is not None:
        for x in xs:
            if x.__class__ is Tensor and x.node is not None:
                x.__class__ = Kept
                loop.hold(x)


def _exact(*xs: Any) -> bool:
    """No Tensor of another transformation (batched, dual) among them?"""
    return all(x.__class__ is Tensor or not isinstance(x, Tensor) for x in xs)


def _dispatch(op: Primitive, f: Callable, xs: tuple, params: tuple, keywords: dict) -> Any:
    loop = current.get()
    xs = tuple(operand(x, op.name) for x in xs)
    start = tick()
    y = f(xs, *params, **keywords) if op.operands is None else f(*xs, *params, **keywords)
    if loop is not None and not keywords and recording() and op.kind != "nondifferentiable" and _exact(*xs):
        ys = y if op.outputs > 1 else (y,)
        loop.record(op, xs, ys, start)
        keep(ys)
    return y


def _write(x: Tensor, index: Any, value: Any) -> None:
    loop = current.get()
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
    before = old.seq if old is not None else unique()
    if before not in block.records and (before not in block.given or (old.__class__ is Leaf and old.user)):
        before = before if before not in block.given else unique()
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
        keep(storage.live())
