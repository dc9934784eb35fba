"""How a kernel meets an array; arrays with their margins."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

Size = int | Sequence[int]


def each(value: Any, n: int, name: str) -> tuple:
    """One number per axis."""
    found = (value,) * n if isinstance(value, (int, np.integer)) else tuple(value)
    if len(found) != n:
        raise ValueError(f"{name} needs one number, or {n}; got {value!r}")
    least = 0 if name.endswith("padding") else 1
    if any(v < least for v in found):
        raise ValueError(f"{name} must be at least {least}, got {value!r}")
    return tuple(map(int, found))


class Geometry(NamedTuple):
    """One number per axis of space, padding as (before, after)."""

    stride: tuple
    padding: tuple
    dilation: tuple
    groups: int

    def out(self, space: tuple, kernel: tuple) -> tuple:
        """The shape of the result."""
        axes = zip(space, kernel, self.stride, self.padding, self.dilation)
        found = tuple((n + sum(p) - d * (k - 1) - 1) // s + 1 for n, k, s, p, d in axes)
        if min(found, default=1) < 1:
            raise ValueError(f"the kernel {kernel} with dilation {self.dilation} is larger than the padded input: "
                             f"space {space}, padding {self.padding}")  # fmt: skip
        return found

    def wide(self, space: tuple) -> tuple:
        """`space` with its margins."""
        return tuple(n + sum(p) for n, p in zip(space, self.padding))

    def inside(self, space: tuple) -> tuple:
        """Where `space` lies within its margins."""
        return tuple(slice(p[0], p[0] + n) for n, p in zip(space, self.padding))
