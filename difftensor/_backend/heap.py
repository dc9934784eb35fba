"""The heap that arrays come from.

glibc maps blocks from 128 KB on from the system, and gives them back when they are freed: every array of such a size
is made of fresh pages, and faulting them in takes longer than the arithmetic (a Hessian-vector product of 10^5
numbers: 6.9 ms instead of 1.1). It learns: once a mapped block of up to 32 MB is freed, blocks up to that size come
from the heap, which keeps up to twice as much of free memory (mallopt(3): M_MMAP_THRESHOLD is dynamic). Any program
that lets go of one large array is there; this one starts there.
"""

from __future__ import annotations

import numpy as np


def warm() -> None:
    """Make a block as large as glibc learns from, and free it.

    Its pages are never touched: it takes microseconds, and no memory.
    """
    try:
        np.empty(33_500_000, np.uint8)
    except MemoryError:  # under a limit of the address space
        pass


warm()
