"""Who shares memory with whom: a Tensor and its views share a Storage, and what the tape saves of them cannot change.

Each view knows the path (operations) that leads from the root to it. Saving an operand marks its buffer; the next write
to a marked buffer copies it first (`unshare`), and the live views derive themselves anew from the new buffer.
"""

from __future__ import annotations

from threading import Lock
from typing import Any
from weakref import ref

from numpy import ndarray

from difftensor._backend import duplicate, is_element, is_view
from difftensor._core.fitting import Fits, Guard, constant
from difftensor._core.primitive import Primitive
from difftensor._core.tape import Node
from difftensor._core.tensor import Tensor
from difftensor.errors import InPlaceError, describe

_lock = Lock()  # two threads may take the first view of a Tensor they share


class Storage:
    """What a Tensor and its views share.

    data, node  buffer and tape position of the root
    members     weak references to the root and the views
    saved       the tape relies on the buffer
    written     it was written while views were about: what is saved from now on is copied
    foreign     the buffer belongs to somebody else (``dif.asarray(ndarray)``): writes go into it, saved values are
                copied or guarded
    guards      weak references to the guards of what was saved before the first write
    """

    __slots__ = ("data", "foreign", "guards", "limit", "members", "node", "saved", "written")

    def __init__(self, x: Tensor, foreign: bool = False):
        self.data, self.node, self.saved = x._data, x.node, x.saved
        self.written = False
        self.foreign = foreign
        self.guards: list = []
        self.members = [ref(x)]
        self.limit = 8
        x.path = ()
        x.alias = self

    def live(self) -> list[Tensor]:
        """The members that still exist."""
        return [m for m in (r() for r in self.members) if m is not None and m.alias is self]

    def forget_dead(self) -> None:
        """The members that are gone leave the list, once it has grown to twice its size."""
        with _lock:  # other threads may append meanwhile, behind what is deleted
            for i in reversed(range(len(self.members))):
                if self.members[i]() is None:
                    del self.members[i]
            self.limit = 2 * len(self.members) + 8


def share_if_view(x: Tensor, y: Tensor, op: Primitive, params: tuple) -> None:
    """Let `y`, just made from `x` by `op`, share its storage if it is a view."""
    yd, xd = y._data, x._data
    if yd.__class__ is ndarray:
        base = yd.base
        if base is not xd and (base is None or base is not xd.base) and not is_view(yd, xd):
            return
    elif not is_view(yd, xd):
        return
    elif op.name == "getitem" and is_element(yd, params):
        y._data = duplicate(yd)
        return
    storage = x.alias
    if storage is None:
        with _lock:
            storage = x.alias or Storage(x)
    y.alias = storage
    y.path = (*x.path, (op, params))
    members = storage.members
    members.append(ref(y))
    if len(members) > storage.limit:
        storage.forget_dead()


def adopt_foreign(x: Tensor) -> Tensor:
    """`x` over a buffer that belongs to somebody else."""
    Storage(x, foreign=True)
    return x


def walk(path: tuple, a: Any) -> Any:
    """The view of `a` (a raw array or a Tensor) that `path` leads to."""
    if isinstance(a, Tensor):
        for op, params in path:
            a = op.call(a, *params)
    else:
        for op, params in path:
            a = op.forward(a, *params)
    return a


def shares(y: Any, x: Any) -> bool:
    """Does a write to `y`, which a path made from `x`, reach `x`? Both raw arrays, or both Tensors."""
    if not isinstance(x, Tensor):
        return is_view(y, x)
    if y.__class__ is not Tensor:
        return y.__dif_shares__(y, x)
    return y is x or (y.alias is not None and y.alias is x.alias)


# Saving ---------------------------------------------------------------------------------------------------------------


def keep_raw(x: Tensor) -> tuple[Any, Guard | None]:
    """The array of `x` as the tape saves it, and a guard or None."""
    s = x.alias
    if s is None:
        x.saved = True
        return x._data, None
    if s.written:
        return duplicate(x._data), None
    if s.foreign:
        data, guard = constant(x._data)
        if guard is not None:
            s.guards = [r for r in s.guards if r() is not None]
            s.guards.append(ref(guard))
        return data, guard
    s.saved = True
    return x._data, None


def keep(x: Tensor, n: Node, slot: str) -> Any:
    """Save a Tensor that shares its storage in `slot` of elementwise node `n`."""
    data, guard = keep_raw(x)
    return data if guard is None else _guarded(n, slot, data, guard)


def keep_any(x: Any, data: Any, n: Node, slot: str) -> Any:
    """Save an operand of elementwise node `n`: a Tensor, a plain array or a number."""
    kept, guard = keep_raw(x) if isinstance(x, Tensor) else constant(data)
    return kept if guard is None else _guarded(n, slot, kept, guard)


def _guarded(n: Node, slot: str, data: Any, guard: Guard) -> Any:
    if n.params is None:
        n.params = Fits(data, data, data)  # nothing to undo
    n.params.guards = (*n.params.guards, (slot, guard))
    return data


# Copy on write --------------------------------------------------------------------------------------------------------


def unshare(x: Tensor) -> None:
    """Before a write to `x`: what the tape relies on moves out of the way."""
    storage = x.alias
    if storage is None:
        if x.saved:
            x._data = duplicate(x._data, "K")
            x.saved = False
    elif storage.foreign:  # the buffer stays what it is; large values that were saved by reference are copied now
        for r in storage.guards:
            guard = r()
            if guard is not None:
                guard.secure()
        storage.guards = []
    elif storage.saved:
        storage.data = duplicate(storage.data, "K")  # the memory order decides what a reshape step can view: keep it
        storage.saved = False
        for m in storage.live():
            m._data = walk(m.path, storage.data)
            if m.path and not is_view(m._data, storage.data):
                raise InPlaceError(
                    f"{describe(m)} was a view of memory with a layout that cannot be copied; make it a copy "
                    "of its own "
                    "(x.copy()) before writing"
                )


__all__ = [
    "Storage",
    "adopt_foreign",
    "keep",
    "keep_any",
    "keep_raw",
    "share_if_view",
    "shares",
    "unshare",
    "walk",
]
