"""Uniform integers: the upper half of the product of a word and the number of outcomes.

For words of b bits and r outcomes the upper half takes some values once more often than others; the words whose lower
half is below 2^b mod r are drawn again (D. Lemire, Fast random integer generation in an interval, ACM Transactions on
Modeling and Computer Simulation 29 (2019) 3, algorithm 5), from other lanes of the stream. Up to 2^32 outcomes b is 32,
so that one word serves two integers.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from difftensor._backend import Device, namespace, philox
from difftensor.random._philox import BLOCK, Philox
from difftensor.random._rejection import reject

_32, _LOW = np.uint64(32), np.uint64(0xFFFFFFFF)


def _attempts(r: int, bits: int) -> int:
    """So many that fewer than 2^-60 of the elements are left, at most half of them being drawn again each time."""
    again = (1 << bits) % r
    return 1 if not again else 1 + math.ceil(60 / (bits - math.log2(again)))


def below(source: Philox, shape: tuple, device: Device, r: int) -> Any:
    """Raw integers 0 <= k < r as uint64; r is at most 2^64."""
    n = math.prod(shape)
    if r <= 1 << 32:
        return _below_short(source, n, device, r).reshape(shape)
    start = source.reserve(n)
    if r == 1 << 64:
        return source.words(start, n, device).reshape(shape)
    high, low = philox.halves(r)
    again = np.uint64((1 << 64) % r)

    def propose(xp: Any, w: list) -> tuple:
        return philox.product_high(w[0], high, low), w[0] * np.uint64(r) >= again

    return reject(source, start, shape, device, 1, _attempts(r, 64), propose)


def below_each(source: Philox, shape: tuple, device: Device, r: Any) -> Any:
    """As `below`, `r` an array of uint64, where 0 stands for 2^64."""
    start = source.reserve(math.prod(shape))

    def propose(xp: Any, w: list, r: Any) -> tuple:
        (w,) = w
        safe = xp.where(r == 0, np.uint64(1), r)
        again = (np.uint64(0) - safe) % safe  # 2^64 mod r
        k = philox.product_high(w, safe >> _32, safe & _LOW)
        return xp.where(r == 0, w, k), (r == 0) | (w * safe >= again)

    return reject(source, start, shape, device, 1, 64, propose, r)


def _below_short(source: Philox, n: int, device: Device, r: int) -> Any:
    count = -(-n // 2)
    start = source.reserve(count)
    again, attempts = np.uint64((1 << 32) % r), _attempts(r, 32)
    if device.kind != "cpu":
        k: Any = None
        low: Any = None
        for lane in range(attempts):
            m = _products(source.words(start, count, device, lane), n, r)
            if lane:
                where, drawn = namespace(m).where, low < again
                k, low = where(drawn, m >> _32, k), where(drawn, m & _LOW, low)
            else:
                k, low = m >> _32, m & _LOW
        return k
    out = np.empty(n, np.uint64)
    for i in range(0, count, BLOCK):
        part = out[2 * i : 2 * (i + BLOCK)]
        m = _products(source.words(start + i, min(BLOCK, count - i), device), part.size, r)
        np.right_shift(m, _32, out=part)
        if attempts > 1:
            left = np.flatnonzero((m & _LOW) < again)
            for lane in range(1, attempts):
                if not left.size:
                    break
                places = left.astype(np.uint64)
                w = philox.words_at(source.key, np.uint64(start + i) + (places >> np.uint64(1)), lane)
                m = ((w >> (_32 * (places & np.uint64(1)))) & _LOW) * np.uint64(r)
                part[left] = m >> _32
                left = left[(m & _LOW) < again]
    return out


def _products(w: Any, n: int, r: int) -> Any:
    """Each half of the words, the lower first, times r."""
    halves = w.view(np.uint32) if w.__class__ is not np.ndarray else w.astype("<u8", copy=False).view("<u4")
    return halves[:n] * np.uint64(r)
