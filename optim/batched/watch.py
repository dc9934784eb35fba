"""Who follows the course of a batch: a callback, a line."""

from __future__ import annotations

import numpy as np

from .. import progress as progress_line
from .ends import Ends


class Watch:
    """Told after every step of the batch where its problems are.

    Parameters
    ----------
    callback : callable or None
        ``callback(ends, at_work)``; StopIteration ends the run where it is.
    progress : bool
        Show a line with the problems left, the largest gradient and the evaluations.
    """

    def __init__(self, callback=None, progress=False):
        self.callback = callback
        self.bar = progress_line.line() if progress else None
        self.k, self.ends = 0, None

    def __call__(self, problem, x, f, g, nit, stuck, at_work):
        self.extent = np.maximum(self.extent, np.abs(x))
        if self.callback is None and self.bar is None:
            return
        self.k += 1
        size = abs(g).max(axis=1)
        if self.bar is not None:
            worst = size[at_work].max(initial=0.0)
            self.bar.show(self.k, f"{at_work.sum()} of {len(x)} left |g|={worst:.2g} nfev={problem.nfev}")
        if self.callback is not None:
            self.ends = Ends(x.copy(), problem.values(x) if f is None else f.copy(), size, nit.copy(), stuck.copy())
            self.callback(self.ends, at_work)

    def run(self, method, problem, *args):
        """``method(problem, *args)``, to its end or to where the callback stops it."""
        problem.watch, self.extent = self, np.abs(problem.x0)
        try:
            return method(problem, *args)
        except StopIteration:
            return self.ends
        finally:
            if self.bar is not None:
                self.bar.close()
