"""Rejection in array code: every element has its own words, and every attempt its own lane.

A draw of n elements reserves ``per`` words for each, one element's behind the other's. The first attempt reads them in
lane 0 of the stream, attempt r the same places of lane r. So a draw moves on by ``per * n`` words whatever is rejected,
and the CPU, which goes on with the elements that are left, and a GPU, which makes all attempts for all elements and
never asks, find the same numbers. After `attempts` (chosen so that fewer than one element in 10^15 is left) the last
proposal is taken.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable
from typing import Any

import numpy as np

from difftensor._backend import Device, namespace, philox
from difftensor.random._philox import BLOCK, Philox

# Lanes beside those of attempts, for other words at the places of a draw.
SECOND_LANE = 1 << 32

_SPARSE = 64  # below one pending element in so many, array code for them is faster than all words of a lane


def reject(
    source: Philox,
    start: int,
    shape: tuple,
    device: Device,
    per: int,
    attempts: int,
    propose: Callable,
    *parameters: Any,
) -> Any:
    """The first accepted proposals: ``propose(xp, words, *parameters) -> (values, accepted)``.

    `start` is the position of the words that were reserved for the draw. `words` is a list of `per` arrays of uint64,
    which the proposal may destroy; `parameters` are raw numbers or arrays that broadcast to `shape`.
    """
    n = math.prod(shape)
    if device.kind == "cpu":
        return _on_cpu(source, start, shape, per, attempts, propose, parameters)
    w = _rows(source.words(start, per * n, device), per)
    xp = namespace(w[0])
    flat = [p if not np.ndim(p) else xp.broadcast_to(p, shape).reshape(-1) for p in parameters]
    values, accepted = propose(xp, w, *flat)
    for lane in range(1, attempts):
        again, also = propose(xp, _rows(source.words(start, per * n, device, lane), per), *flat)
        values = xp.where(accepted, values, again)
        accepted = accepted | also
    return values.reshape(shape)


def _rows(w: Any, per: int) -> list:
    """The first words of all elements, the second, ..."""
    return [w.reshape(-1, per)[:, j].copy() for j in range(per)] if per > 1 else [w]


def _on_cpu(
    source: Philox, start: int, shape: tuple, per: int, attempts: int, propose: Callable, parameters: tuple
) -> np.ndarray:
    """In blocks that stay in the cache while many elements are left, then for all that are left together."""
    n = math.prod(shape)
    flat = [p if not np.ndim(p) else np.broadcast_to(p, shape).reshape(-1) for p in parameters]
    pending: dict[int, list] = defaultdict(list)  # lane -> the elements that come to it
    blocks = []
    for i in range(0, max(n, 1), BLOCK):
        size = min(BLOCK, n - i)
        w = _rows(source.words(start + per * i, per * size), per)
        values, accepted = propose(np, w, *(p[i : i + BLOCK] if np.ndim(p) else p for p in flat))
        blocks.append(values)
        left, lane = np.flatnonzero(~accepted), 1
        while left.size * _SPARSE > size and lane < attempts:
            w = [row[left] for row in _rows(source.words(start + per * i, per * size, lane=lane), per)]
            values[left], accepted = propose(np, w, *(p[i + left] if np.ndim(p) else p for p in flat))
            left, lane = left[~accepted], lane + 1
        if left.size:
            pending[lane].append(i + left)
    values = np.concatenate(blocks) if len(blocks) > 1 else blocks[0]
    for lane in range(1, attempts):
        if pending[lane]:
            left = np.concatenate(pending[lane])
            places = left.astype(np.uint64) * np.uint64(per) + np.uint64(start)
            w = [philox.words_at(source.key, places + np.uint64(j), lane) for j in range(per)]
            values[left], accepted = propose(np, w, *(p[left] if np.ndim(p) else p for p in flat))
            if not accepted.all():
                pending[lane + 1].append(left[~accepted])
    return values.reshape(shape)
