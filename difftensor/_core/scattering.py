"""The cotangent of an array through an index of it: added into a buffer, O(region) instead of O(array)."""

from __future__ import annotations

from typing import Any

import numpy as np

from difftensor._backend.scatter import add_at
from difftensor._core.tape import Node


class Scatter:
    """Such a cotangent, as a rule returns it when it is not known yet what it is added to."""

    __slots__ = ("add", "g", "index", "like")

    def __init__(self, g: Any, index: Any, shape: tuple, add: bool):
        self.g, self.index, self.like, self.add = g, index, (shape, g.dtype), add

    def fresh(self, xp: Any) -> Any:
        """A buffer of zeros with the cotangent at its place."""
        buffer = xp.zeros(*self.like)
        if self.add:
            add_at(buffer, self.index, self.g)
        else:
            buffer[self.index] = self.g
        return buffer

    def into(self, xp: Any, buffer: Any) -> Any:
        if self.add:
            add_at(buffer, self.index, self.g)
            return buffer
        if buffer.__class__ is np.ndarray:
            part = buffer[self.index]
            if part.__class__ is np.ndarray and part.base is buffer:
                np.add(part, self.g, part)
            else:
                buffer[self.index] = part + self.g
        else:
            buffer[self.index] += self.g
        return buffer


class Pile:
    """Such cotangents of one array in a recorded sweep, and whole ones among them: one operation adds them all."""

    __slots__ = ("gs", "indices", "shape")

    def __init__(self, shape: tuple):
        self.gs: list = []
        self.indices: list = []
        self.shape = shape

    def __add__(self, g: Any) -> Pile:
        return self.put(g, Ellipsis)

    def put(self, g: Any, index: Any) -> Pile:
        self.gs.append(g)
        self.indices.append(index)
        return self

    def together(self, xp: Any) -> Any:
        return xp.scattered(self.gs, tuple(self.indices), self.shape)


def scatter(cts: dict, owned: set, n: Node, g: Any) -> bool:
    """The same at once, for raw arrays on the CPU and ``x[i]``, ``x[i:j]``, ``x[i, j:k]``: loops are made of these.

    False if the index is another one.
    """
    index, shape = n.params[0], n.a
    if index.__class__ is not int and index.__class__ is not slice and not _is_plain(index):
        return False
    p = n.p
    buffer = cts.get(p)
    if buffer is None:
        buffer = cts[p] = np.zeros(shape, g.dtype)
        owned.add(p)
        buffer[index] = g
        return True
    if buffer.__class__ is not np.ndarray:
        return False
    if p not in owned:
        buffer = cts[p] = buffer.copy()
        owned.add(p)
    part = buffer[index]
    if part.__class__ is np.ndarray:
        np.add(part, g, part)
    else:
        buffer[index] = part + g
    return True


def _is_plain(index: Any) -> bool:
    """Integers and slices only: what they select is a view, or one element."""
    if index.__class__ is not tuple:
        return False
    return all(i.__class__ is int or i.__class__ is slice for i in index)


__all__ = ["Pile", "Scatter", "scatter"]
