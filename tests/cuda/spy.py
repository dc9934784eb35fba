"""A spy on the way from CuPy's arrays to the host, for machines with a GPU."""

from __future__ import annotations

from typing import Any


class Spy:
    """Counts copies to the host.

    All of them (``get``, ``item``, ``bool``, ``float``, the counts behind ``nonzero`` ...) go through
    ``ndarray.get``, which tells ``cupy._core.syncdetect`` first; there we listen. Copies to the device are not seen.
    """

    to_device = 0

    def __init__(self) -> None:
        self.to_host = 0

    def __enter__(self) -> Spy:
        from cupy._core import syncdetect

        self._module, self._before = syncdetect, syncdetect._declare_synchronize
        syncdetect._declare_synchronize = self._count
        return self

    def _count(self) -> None:
        self.to_host += 1
        self._before()

    def __exit__(self, *exc: Any) -> None:
        self._module._declare_synchronize = self._before
