"""Where examples come from: ``len(source)`` and ``source.take(indices)``, which returns a batch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

import difftensor as dif

from ..init import generator, on_host
from ._collate import collate


class Source:
    """Examples by index; any object with ``__len__`` and ``__getitem__`` is wrapped in one."""

    def __init__(self, examples: Any, collate: Callable = collate):
        self.examples, self.collate = examples, collate

    def __len__(self) -> int:
        return len(self.examples)

    def take(self, indices: np.ndarray) -> Any:
        return self.collate([self.examples[int(i)] for i in indices])


class Arrays(Source):
    """Arrays whose first axis counts examples; a batch is a tuple of slices (one array: the slice itself).

    Tables of pandas become arrays, row by row an example; files mapped into memory are read where a batch needs them.
    """

    def __init__(self, *arrays: Any, collate: Callable | None = None):
        self.arrays = [a if isinstance(a, (np.ndarray, dif.Tensor)) else _array(a) for a in arrays]
        lengths = [len(a) for a in self.arrays]
        if len(set(lengths)) != 1:
            raise ValueError(f"data: arrays of {lengths} examples do not belong together")
        self.finish = collate

    def __len__(self) -> int:
        return len(self.arrays[0])

    def take(self, indices: np.ndarray) -> Any:
        columns = tuple(np.asarray(a[indices]) if isinstance(a, np.memmap) else a[indices] for a in self.arrays)
        batch = columns if len(columns) > 1 else columns[0]
        return batch if self.finish is None else self.finish(batch)


def _array(a: Any) -> np.ndarray:
    if hasattr(a, "to_numpy"):  # pandas, polars
        return a.to_numpy()
    if hasattr(a, "__dlpack__"):
        return np.from_dlpack(a)
    return np.asarray(a)


def _is_array(a: Any) -> bool:
    if isinstance(a, (np.ndarray, dif.Tensor)) or hasattr(a, "to_numpy") or hasattr(a, "__dlpack__"):
        return True
    return isinstance(a, list) and bool(a) and isinstance(a[0], (int, float, list))


def source(*data: Any, collate: Callable | None = None) -> Source | None:
    """A source over what `Loader` was given; None for an iterable that can only be read in order."""
    from ._collate import collate as stack

    if len(data) == 1 and isinstance(data[0], Source):
        return data[0]
    if all(map(_is_array, data)):
        return Arrays(*data, collate=collate)
    if len(data) > 1:
        raise TypeError(f"data: several arguments must all be arrays, found {[type(d).__name__ for d in data]}")
    if hasattr(data[0], "__getitem__") and hasattr(data[0], "__len__"):
        return Source(data[0], collate or stack)
    return None


def split(n: int, *parts: float, rng: Any = None) -> list[np.ndarray]:
    """Disjoint random index arrays; `parts` are fractions (of n, together at most 1) or counts.

    Examples
    --------
    >>> from difftensor import nn
    >>> [len(p) for p in nn.data.split(10, 0.8, 0.2, rng=0)]
    [8, 2]
    """
    counts = [round(p * n) if isinstance(p, float) else p for p in parts]
    if sum(counts) > n:
        raise ValueError(f"split: {counts} are more than {n} examples")
    order = on_host(generator(rng).permutation(n))
    ends = np.cumsum([0, *counts])
    return [order[a:b] for a, b in zip(ends[:-1], ends[1:])]
