"""Parameters as vectors of reals: complex ones are pairs."""

from __future__ import annotations

import numpy as np


def reals(a):
    """An array as a vector of reals, where it is."""
    a = a.reshape(-1)
    if a.dtype.kind != "c":
        return a
    if isinstance(a, np.ndarray):
        return np.ascontiguousarray(a).view(a.real.dtype)
    return np.stack([a.real, a.imag], axis=1).reshape(-1)


def shaped(x, p):
    """A vector of reals as an array like ``p``."""
    if p.dtype.kind == "c":
        x = x.view(p.dtype) if isinstance(x, np.ndarray) else x[0::2] + 1j * x[1::2]
    return x.reshape(p.shape)


def count(p) -> int:
    """How many reals ``p`` is."""
    return p.size * (2 if p.dtype.kind == "c" else 1)
