"""Loader: batches, in an order that a seed determines and that can be resumed anywhere."""

from __future__ import annotations

import copy
import itertools
import multiprocessing
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from ..init import generator, on_host
from ._collate import collate as stack
from ._collate import to_tensors
from ._samplers import RandomSampler, Sampler, SequentialSampler
from ._sources import source


class Loader:
    """Batches of arrays, tables, or examples; iterating once is an epoch.

    Parameters
    ----------
    *data
        Arrays (NumPy, Tensors, pandas, memory-mapped files) with one example per element of the first axis; or one
        object with ``__len__`` and ``__getitem__``; or one iterable of examples.
    batch_size : int
    shuffle : bool
        A new permutation for each epoch.
    rng : Generator or int, optional
        For the order.
    sampler : Sampler, optional
        Another order; takes the place of `shuffle`.
    drop_last : bool
        Leave out a last batch that is not full.
    collate : callable, optional
        Makes a batch of a list of examples (for arrays: of the tuple of slices).
    workers : int
        Processes that make batches ahead, in order; each gets a copy of the data once. They start anew, so that scripts
        need ``if __name__ == "__main__":``.
    shard : (int, int)
        ``(i, n)``: the i-th of n disjoint shares of each epoch, for n processes with the same seed.

    Notes
    -----
    Floating arrays come out as Tensors, integers as ndarrays, which are indices and labels. Each ``iter(loader)``
    begins an epoch, also when the one before was left early; ``state_dict()`` in the middle of an epoch and
    ``load_state_dict()`` later continue with the next batch.
    """

    def __init__(self, *data: Any, batch_size: int = 32, shuffle: bool = False, rng: Any = None,
                 sampler: Sampler | None = None, drop_last: bool = False, collate: Callable | None = None,
                 workers: int = 0, shard: tuple[int, int] = (0, 1)):  # fmt: skip
        if not data:
            raise TypeError("Loader: give it arrays, a sequence of examples, or an iterable")
        if batch_size < 1:
            raise ValueError(f"Loader: batch_size must be at least 1, got {batch_size}")
        if not 0 <= shard[0] < shard[1]:
            raise ValueError(f"Loader: shard (i, n) needs 0 <= i < n, got {shard}")
        self.source: Any = source(*data, collate=collate)
        self.stream: Any = data[0] if self.source is None else None
        if self.source is None and (shuffle or sampler or workers):
            raise ValueError("Loader: an iterable can only be read in its order, by this process; give a sequence to "
                             "shuffle, sample or use workers")  # fmt: skip
        self.collate = collate or stack
        self.batch_size, self.drop_last, self.workers, self.shard = batch_size, drop_last, workers, shard
        self.rng = generator(rng)
        self.sampler = sampler or (RandomSampler() if shuffle else SequentialSampler())
        self.epoch = self.position = 0  # of the next batch
        self._start = self._state()  # of the generator before it drew the order of this epoch
        self._resume = 0  # where the next iteration begins: load_state_dict was called

    def __len__(self) -> int:
        if self.source is None:
            raise TypeError("the length of an iterable is not known")
        full, rest = divmod(len(self._order(copy.deepcopy(self.rng))), self.batch_size)
        return full + (rest > 0 and not self.drop_last)

    def _order(self, rng: Any) -> np.ndarray:
        """This shard's indices of an epoch: shares of equal length, so that no process waits for another."""
        indices = on_host(self.sampler.indices(len(self.source), rng))
        i, n = self.shard
        return indices[i : len(indices) // n * n : n] if n > 1 else indices

    def __iter__(self) -> Iterator[Any]:
        first, self._resume = self._resume, 0
        position = first  # of this iteration; there may be others over the same loader
        for batch in self._stream(first) if self.source is None else self._sampled(first):
            position += 1
            self.position = position
            yield to_tensors(batch)
        self.epoch, self.position = self.epoch + 1, 0

    def _stream(self, first: int) -> Iterator[Any]:
        i, n = self.shard
        examples = itertools.islice(iter(self.stream), i + n * first * self.batch_size, None, n)
        while chunk := list(itertools.islice(examples, self.batch_size)):
            if len(chunk) == self.batch_size or not self.drop_last:
                yield self.collate(chunk)

    def _state(self) -> Any:
        return copy.deepcopy(self.rng.bit_generator.state)

    def _sampled(self, first: int) -> Iterator[Any]:
        if first:  # the order that was drawn before; others may draw from the same generator, which stays where it is
            rng = copy.deepcopy(self.rng)
            rng.bit_generator.state = self._start
        else:
            rng, self._start = self.rng, self._state()
        order = self._order(rng)
        last = len(order) - len(order) % self.batch_size if self.drop_last else len(order)
        chunks = [order[a : a + self.batch_size] for a in range(0, last, self.batch_size)][first:]
        if not self.workers:
            yield from map(self.source.take, chunks)
            return
        # spawned, not forked: a fork in the middle of a BLAS call can hang
        with multiprocessing.get_context("spawn").Pool(self.workers, _receive, (self.source,)) as pool:
            waiting: deque = deque()
            for chunk in chunks:
                waiting.append(pool.apply_async(_take, (chunk,)))
                if len(waiting) > 2 * self.workers:
                    yield waiting.popleft().get()
            while waiting:
                yield waiting.popleft().get()

    def state_dict(self) -> dict:
        """Where the loader stands: epoch, next batch, the generator at the start of the epoch and now."""
        return {"epoch": self.epoch, "position": self.position, "start": self._start, "rng": self._state()}

    def load_state_dict(self, state: dict) -> None:
        """Continue where `state_dict` was taken, over the same data with the same settings."""
        self.epoch, self.position = state["epoch"], state["position"]
        self._resume, self._start = self.position, copy.deepcopy(state["start"])
        self.rng.bit_generator.state = copy.deepcopy(state["rng"])


_source: Any = None  # of a worker process


def _receive(source: Any) -> None:
    global _source
    _source = source


def _take(indices: np.ndarray) -> Any:
    return _source.take(indices)
