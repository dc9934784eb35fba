"""Python's cyclic garbage collector while a tape is written.

A tape is many objects and no cycle, but a full collection walks all of them: a third of the time of a gradient through
60 000 operations. So while nodes make up a good part of what the middle generation was collected for, full
collections are due ten times more rarely, young ones four times: cycles that die young may wait for 2800 other objects
instead of 700. What `gc.set_threshold` said holds again as soon as no tape is written.
"""

from __future__ import annotations

import gc
from typing import Any

from difftensor._core.tape import tick

_SHARE = 4  # one new object in so many is a node: a tape is being written


class _Watch:
    """Called by the collector, with the thresholds as it found them."""

    __slots__ = ("found", "made", "raised")

    def __init__(self) -> None:
        self.made = 0
        self.found: tuple | None = None
        self.raised: tuple | None = None

    def __call__(self, phase: str, info: dict[str, Any]) -> None:
        if phase == "start" or info["generation"] == 0:
            return
        made = int(repr(tick.__self__)[6:-1])  # type: ignore[attr-defined]  # count(123)
        limits = gc.get_threshold()
        writing = _SHARE * (made - self.made) > limits[0] * limits[1]
        self.made = made
        if writing and self.found is None:
            self.found = limits
            self.raised = (4 * limits[0], limits[1], 10 * limits[2])
            gc.set_threshold(*self.raised)
        elif not writing and self.found is not None:
            if limits == self.raised:  # else somebody has set them meanwhile
                gc.set_threshold(*self.found)
            self.found = None


watch = _Watch()
gc.callbacks.append(watch)

__all__ = ["watch"]
