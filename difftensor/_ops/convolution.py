"""Convolution and correlation of sequences."""

from __future__ import annotations

import numpy as np

from difftensor._core import X, bilinear, composition
from difftensor._ops.products import conjugated

# full:  y[k] = sum_j a[k-j] v[j], all overlaps.   valid: those where the shorter v lies inside a.
# Pulls of the one are convolutions of the other kind, with the sequence turned around.


def _pull_a(xp, g, a, v, mode):
    return _convolve(g, v[::-1], "valid" if mode == "full" else "full")


def _pull_v(xp, g, a, v, mode):
    return _convolve(g, a[::-1], "valid") if mode == "full" else _convolve(a, g[::-1], "valid")[::-1]


_convolve = bilinear("convolve_long", np.convolve, _pull_a, _pull_v, public=False, samples="convolve")


def _sequence(x):
    x = X.asarray(x)
    x = x.reshape((1,)) if x.ndim == 0 else x
    if x.ndim > 1:
        raise ValueError("object too deep for desired array")
    return x


_MODES = {0: "valid", 1: "same", 2: "full", "v": "valid", "s": "same", "f": "full"}


def _mode(mode):
    found = _MODES.get(mode[:1].lower() if isinstance(mode, str) else mode)
    if found is None or (isinstance(mode, str) and mode != found):
        raise ValueError(f"mode must be one of 'valid', 'same', or 'full' (got {mode!r})")
    return found


@composition(np.convolve)
def convolve(a, v, mode="full"):
    a, v = _sequence(a), _sequence(v)
    for x, name in ((a, "a"), (v, "v")):
        if not x.size:
            raise ValueError(f"{name} cannot be empty")
    if v.size > a.size:
        a, v = v, a
    mode = _mode(mode)
    if mode != "same":
        return _convolve(a, v, mode)
    start = (v.size - 1) // 2
    return _convolve(a, v, "full")[start : start + a.size]


@composition(np.correlate)
def correlate(a, v, mode="valid"):
    a, v = _sequence(a), conjugated(_sequence(v))
    if not a.size or not v.size:
        raise ValueError(
            "first array argument cannot be empty" if not a.size else "second array argument cannot be empty"
        )
    if _mode(mode) == "same" and v.size > a.size:  # NumPy centers the shorter one, and turns the result around
        return convolve(v, a[::-1], mode)[::-1]
    return convolve(a, v[::-1], mode)
