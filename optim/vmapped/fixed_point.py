"""`optim.fixed_point` inside `difftensor.vmap`."""

from __future__ import annotations

from functools import partial

import difftensor as dif

from .. import batched
from ..result import Result
from .examples import Examples


class Maps(Examples):
    """The maps of all examples as one function of rows."""

    def __init__(self, batch, fun, x0, args):
        super().__init__(batch, fun, x0, args)
        self._maps, self.equations = self._rows(self.map), self._rows(lambda x: x - self.map(x))

    def map(self, x):
        """The map of the vector of one example."""
        leaves = [dif.reshape(dif.asarray(leaf), (-1,)) for leaf in dif.tree.leaves(self.value(x))]
        y = leaves[0] if len(leaves) == 1 else dif.concatenate(leaves)
        y = dif.concatenate([dif.real(y), dif.imag(y)]) if y.dtype.kind == "c" else y
        if y.shape != x.shape:
            raise ValueError(f"optim: the map has {y.size} elements for {self.n} unknowns")
        return y

    def maps(self, x, rows=None):
        self.nfev += 1
        return self._some(self._maps, x, rows)


def fixed_point(batch, fun, x0, args, xtol, most, memory, damping, given):
    """Find the fixed points of the maps of all examples; the Result is seen as that of one."""
    refused = sorted(name for name, value in given.items() if value)
    if refused:
        raise dif.errors.BatchedValueError(f"optim.fixed_point inside vmap has no {', '.join(refused)}; dif.vmap(f, "
                                           "fallback='loop') runs the examples one by one")  # fmt: skip
    problem = Maps(batch, fun, x0, args)

    def solve():
        problem.nfev = 0
        ends = batched.Watch().run(partial(batched.anderson, memory=memory, damping=damping), problem, xtol, most)
        return ends, ends.size <= xtol

    ends, solved, x, _ = problem.solutions(solve)

    def each(rows):
        return batch.each(rows.reshape(batch.shape))

    return Result(x=problem.layout.unpack(x), fun=problem.value(x),
                  optimality=each(ends.size), success=each(solved), nit=each(ends.nit), nfev=problem.nfev,
                  method="anderson", message=batched.words("anderson", solved))  # fmt: skip
