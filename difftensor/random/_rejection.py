"""Rejection in array code: every element has its own words, and every attempt its own lane.

Element i of n takes word i of each of the `per` rows of n words that a draw reserves. The first attempt reads them in
lane 0 of the stream, attempt r the same places of lane r. So a draw moves on by ``per * n`` words whatever is rejected,
and the CPU, which goes on with the elements that are left, and a GPU, which makes all attempts for all elements and
never asks, find the same numbers. After `attempts` (chosen so that fewer than one element in 10^16 is left) the last
proposal is taken.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from difftensor._backend import Device, namespace, philox
from difftensor.random._philox import Philox

_SPARSE = 24  # below one pending element in so many, array code for them is faster than all words of a lane


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
    w = _rows(source, start, n, per, device, 0)
    xp = namespace(w[0])
    flat = [p if not np.ndim(p) else xp.broadcast_to(xp.asarray(p), shape).reshape(-1) for p in parameters]
    values, accepted = propose(xp, w, *flat)
    if device.kind == "cpu":
        left = np.flatnonzero(~accepted)
        for lane in range(1, attempts):
            if not left.size:
                break
            some = [p[left] if np.ndim(p) else p for p in flat]
            again, accepted = propose(xp, _some(source, start, n, per, lane, left), *some)
            values[left] = again
            left = left[~accepted]
        return values.reshape(shape)
    for lane in range(1, attempts):
        again, also = propose(xp, _rows(source, start, n, per, device, lane), *flat)
        values = xp.where(accepted, values, again)
        accepted = accepted | also
    return values.reshape(shape)


def _rows(source: Philox, start: int, n: int, per: int, device: Device, lane: int) -> list:
    w = source.words(start, per * n, device, lane)
    return [w[j * n : (j + 1) * n] for j in range(per)]


def _some(source: Philox, start: int, n: int, per: int, lane: int, left: np.ndarray) -> list:
    """The words of the elements that are `left`."""
    if left.size * _SPARSE > n:
        return [row[left] for row in _rows(source, start, n, per, Device("cpu"), lane)]
    places = left.astype(np.uint64) + np.uint64(start)
    return [philox.words_at(source.key, places + np.uint64(j * n), lane) for j in range(per)]
