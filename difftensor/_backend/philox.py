"""Philox4x64-10: random words as a function of a key and a counter, in array code and as one kernel for the GPU.

Salmon, Moraes, Dror, Shaw, Parallel random numbers: as easy as 1, 2, 3, SC11 (2011), section 4.3: ten rounds of two
64 by 64 to 128 bit products each, the key raised by a Weyl sequence in between.

The stream of a key is that of ``numpy.random.Philox(key=...)``, word for word: its block b (of four words) is the
image of the counter b + 1. The highest word of the counter is the *lane*: what a draw needs beyond its place in the
stream (the second and later attempts of a rejection) is taken from the same place of another lane, so that how far a
draw moves on depends on its shape alone.
"""

from __future__ import annotations

import sys
from functools import cache
from typing import Any

import numpy as np

from difftensor._backend.arrays import namespace
from difftensor._backend.device import Device, inside

# Multipliers, and the constants of the Weyl sequence (golden ratio; sqrt(3) - 1): table 2 and section 4.3 of the paper.
MULTIPLIERS = 0xD2E7470EE14C6C93, 0xCA5A826395121157
WEYL = 0x9E3779B97F4A7C15, 0xBB67AE8584CAA73B
ROUNDS = 10
_64 = (1 << 64) - 1
_32 = np.uint64(32)
_LOW = np.uint64(0xFFFFFFFF)


def product_high(a: Any, high: Any, low: Any) -> Any:
    """The upper 64 bits of the product of `a` and ``high * 2^32 + low``, from products of 32-bit halves."""
    a_high, a_low = a >> _32, a & _LOW
    cross = a_high * low
    middle = ((a_low * low) >> _32) + (cross & _LOW) + a_low * high  # at most 2^64 - 1
    return a_high * high + (cross >> _32) + (middle >> _32)


def halves(m: int) -> tuple[np.uint64, np.uint64]:
    """The upper and lower 32 bits of `m`."""
    return np.uint64(m >> 32), np.uint64(m & 0xFFFFFFFF)


def block(key: tuple[int, int], counter: Any) -> tuple:
    """The four words of each counter: four uint64 arrays (some may be scalars), on their device."""
    (k0, k1), (x0, x1, x2, x3) = key, counter
    m0, m1 = map(np.uint64, MULTIPLIERS)
    h0, h1 = map(halves, MULTIPLIERS)
    for _ in range(ROUNDS):
        x0, x1, x2, x3 = (
            product_high(x2, *h1) ^ x1 ^ np.uint64(k0),
            x2 * m1,
            product_high(x0, *h0) ^ x3 ^ np.uint64(k1),
            x0 * m0,
        )
        k0, k1 = (k0 + WEYL[0]) & _64, (k1 + WEYL[1]) & _64
    return x0, x1, x2, x3


def words_at(key: tuple[int, int], positions: Any, lane: int = 0) -> Any:
    """The words at `positions` (a uint64 array) of the stream, by array code."""
    zero = positions ^ positions
    blocks = block(key, ((positions >> np.uint64(2)) + np.uint64(1), zero, zero, zero + np.uint64(lane)))
    place = positions & np.uint64(3)
    where = namespace(positions).where
    return where(
        place < np.uint64(2), where(place == np.uint64(0), *blocks[:2]), where(place == np.uint64(2), *blocks[2:])
    )


def words_in_a_row(xp: Any, key: tuple[int, int], start: int, n: int, lane: int = 0) -> Any:
    """The n words from position `start` on, by array code."""
    first = xp.arange(start // 4 + 1, (start + n + 3) // 4 + 1, dtype=xp.uint64)
    zero = first ^ first
    rows = xp.stack(block(key, (first, zero, zero, zero + np.uint64(lane))), axis=-1)
    return rows.reshape(-1)[start % 4 : start % 4 + n]


_SOURCE = """
    unsigned long long a = k0, b = k1, x0 = first + i, x1 = 0, x2 = 0, x3 = lane;
    for (int round = 0; round < 10; ++round) {
        unsigned long long y0 = __umul64hi(0xCA5A826395121157ULL, x2) ^ x1 ^ a;
        unsigned long long y2 = __umul64hi(0xD2E7470EE14C6C93ULL, x0) ^ x3 ^ b;
        x1 = 0xCA5A826395121157ULL * x2;
        x3 = 0xD2E7470EE14C6C93ULL * x0;
        x0 = y0; x2 = y2;
        a += 0x9E3779B97F4A7C15ULL;
        b += 0xBB67AE8584CAA73BULL;
    }
    w[4 * i] = x0; w[4 * i + 1] = x1; w[4 * i + 2] = x2; w[4 * i + 3] = x3;
"""


@cache
def _kernel() -> Any:
    """The same as one CUDA kernel; None where CuPy cannot compile (a stand-in)."""
    cupy = sys.modules["cupy"]
    make = getattr(cupy, "ElementwiseKernel", None)
    return make and make(
        "uint64 k0, uint64 k1, uint64 first, uint64 lane", "raw uint64 w", _SOURCE, "difftensor_philox"
    )


def words(key: tuple[int, int], start: int, n: int, device: Device, lane: int = 0) -> Any:
    """The n words from position `start` on, computed on `device`: a uint64 array there."""
    if device.kind == "cpu":
        return words_in_a_row(np, key, start, n, lane)
    with inside(device):
        cupy = sys.modules["cupy"]
        kernel = _kernel()
        if kernel is None:
            return words_in_a_row(cupy, key, start, n, lane)
        count = -(-(start % 4 + n) // 4)
        w = cupy.empty(4 * count, dtype=cupy.uint64)
        if count:
            kernel(np.uint64(key[0]), np.uint64(key[1]), np.uint64(start // 4 + 1), np.uint64(lane), w, size=count)
        return w[start % 4 : start % 4 + n]
