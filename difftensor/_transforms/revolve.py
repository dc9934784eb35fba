"""checkpoint_loop: a long loop differentiated with few states in memory, by the binomial schedule.

With s snapshots and at most r further evaluations of a step, a loop of up to beta(s, r) = (s + r)! / (s! r!) steps can
be reversed; the advances needed for n steps are t(n, s) = r n - beta(s + 1, r - 1), and no schedule needs fewer
(Griewank and Walther, Evaluating Derivatives, section 12.3; Griewank 1992).
"""

from __future__ import annotations

from collections.abc import Callable
from math import comb
from typing import Any

from difftensor import tree
from difftensor._core import Leaf, Node, Tensor, X, enable_grad, lift, no_grad, recording
from difftensor._core.tape import tick
from difftensor._transforms.batch import Batched
from difftensor._transforms.checkpoint import _boundary, _same, _sample, changed, own
from difftensor._transforms.draws import rewound, watched
from difftensor._transforms.opaque import Rules, in_lanes, record, rides
from difftensor._transforms.sweep import place, pull_back


def beta(s: int, r: int) -> int:
    """The longest loop that s snapshots reverse with at most r further evaluations of any step."""
    return comb(s + r, s) if r >= 0 else 0


def repetition(n: int, s: int) -> int:
    """The least r with beta(s, r) >= n."""
    r = 0
    while beta(s, r) < n:
        r += 1
    return r


def advances(n: int, s: int) -> int:
    """Griewank's formula: how many steps are computed again to reverse n of them with s snapshots."""
    r = repetition(n, s)
    return r * n - beta(s + 1, r - 1)


def split(n: int, s: int) -> int:
    """How far to advance before the next snapshot."""
    r = repetition(n, s)
    return min(beta(s, r - 1), n - beta(s - 1, r - 1))


class LoopCount:
    """What a checkpointed loop did in its last reversal: for tests and the curious."""

    advanced = 0


def checkpoint_loop(step: Callable, state: Any, n: int, *, memory: int | None = None) -> Any:
    """The state after n steps, whose derivative needs few states in memory.

    Parameters
    ----------
    step : callable
        ``step(state, i) -> state``: an array or a pytree of arrays of unchanging structure, and the number of the
        step. It may write into the state that it gets, and use tracked Tensors of its surroundings.
    state : array or pytree
    n : int
        Number of steps.
    memory : int, optional
        How many states to keep at once; by default about ``sqrt(2 n)``, with which no step is computed more than two
        times again.

    Returns
    -------
    state : like `state`

    Notes
    -----
    Derivatives of every order, in reverse mode and (by transposition) in forward mode. Steps computed again:
    Griewank's formula,
    ``checkpoint_loop.advances(n, memory)``. The first pass records each step for itself, to learn what of its
    surroundings it uses, and forgets it.

    References
    ----------
    A. Griewank, A. Walther, Algorithm 799: revolve, ACM Transactions on Mathematical Software 26 (2000) 19-45.

    Examples
    --------
    >>> import numpy as np, difftensor as dif
    >>> f = lambda x: dif.checkpoint_loop(lambda u, i: u + 0.01 * np.sin(u), x, 100, memory=5)
    >>> round(float(dif.grad(f)(1.0)), 6)
    1.106433
    """
    if n < 0 or (memory is not None and memory < 1):
        raise ValueError(f"checkpoint_loop: n must not be negative and memory at least 1, found n={n}, memory={memory}")
    s = memory or max(1, round((2 * n) ** 0.5))
    leaves, shape = tree.flatten(state)
    lanes = in_lanes(lambda parts: _loop(step, parts, shape, n, s), leaves)
    return tree.unflatten(shape, _loop(step, leaves, shape, n, s) if lanes is None else lanes)


checkpoint_loop.advances = advances  # type: ignore[attr-defined]


class _Steps:
    """One step at a time on flat states."""

    def __init__(self, step: Callable, shape: Any):
        self.step, self.shape = step, shape
        self.drawn: list[dict] = []  # by step of the first pass: the random sources it used, and where they stood

    def run(self, state: list, k: int) -> list:
        """The leaves after step k; if it has run before, with the random numbers that it had then."""
        args = tree.unflatten(self.shape, state)
        if k < len(self.drawn) and self.drawn[k]:
            with rewound(self.drawn[k]):
                return self._leaves(self.step(args, k))
        return self._leaves(self.step(args, k))

    def advance(self, state: list, i: int, j: int) -> list:
        """The state at j from the state at i, unrecorded."""
        state = list(map(own, state))
        with no_grad():
            for k in range(i, j):
                state = self.run(state, k)
        return state

    def carried(self, state: list, n: int) -> list:
        """The state after all steps, as an ordinary loop."""
        for source, position in self.drawn[0].items():
            source.position = position
        self.drawn.clear()
        state = list(map(own, state))
        for k in range(n):
            state = self.run(state, k)
        return state

    def recorded(self, state: list, i: int) -> tuple[list, list[Node], int]:
        """Step i from fresh places: results, places, and the number of the first node."""
        start = tick()
        placed = [place(x, "checkpoint_loop") for x in state]
        places = [t.node for t in placed]  # writes in the step lead away from them
        with enable_grad():
            found = self.run(placed, i)
        for m in places:
            if m.__class__ is Leaf:
                m.live = False
        return found, places, start

    def _leaves(self, state: Any) -> list:
        found, shape = tree.flatten(state)
        if shape != self.shape:
            raise ValueError(f"checkpoint_loop: the step returned structure {shape}, the state has {self.shape}")
        return found


def _loop(step: Callable, leaves: list, shape: Any, n: int, s: int) -> list:
    steps = _Steps(step, shape)
    if not recording() or n == 0:
        return steps.advance(leaves, 0, n)
    kept = [lift(X.asarray(x)._data, None) for x in leaves]
    outside: dict[Node, None] = {}
    state = kept
    for i in range(n):
        with watched() as drawn:
            found, places, start = steps.recorded(state, i)
        steps.drawn.append(drawn)
        if any(rides(v) or isinstance(v, Batched) for v in found):
            # the step uses what a streaming jvp carries, which keeps nothing, or a batched value around it
            return steps.carried(leaves, n)
        roots = [v.node for v in found if isinstance(v, Tensor) and v.node is not None]
        outside.update(dict.fromkeys(_boundary(roots, places, start)))
        state = [lift(X.asarray(v)._data, None) for v in found]
    where = [i for i, x in enumerate(leaves) if isinstance(x, Tensor) and x.node is not None]
    if not where and not outside:
        return state if any(isinstance(x, Tensor) for x in leaves) else [v._data for v in state]
    around = list(outside)
    raws = [v._data for v in state]
    prints = [_sample(a) for a in raws]

    def pull(create: bool, gs: tuple, xs: tuple) -> list:
        first = list(kept)
        for i, x in zip(where, xs):
            first[i] = x if create else kept[i]
        totals: dict[Node, Any] = {}
        LoopCount.advanced = 0
        ct = _reverse(steps, first, 0, n, s, list(gs), around, totals, create, prints)
        return [ct[i] for i in where] + [totals.get(m) for m in around]

    return record("checkpoint_loop", [leaves[i] for i in where], raws, Rules(pull), tuple(around))


def _reverse(
    steps: _Steps, state: list, i: int, j: int, s: int, ct: list, around: list, totals: dict, create: bool, prints: list
) -> list:
    """The cotangents of the state at i from those at j; `state` is that at i, one of the s snapshots, and `prints` are
    samples of that at j.

    A list of snapshots instead of recursion: its top is the state to go on from.
    """
    snapshots = [(i, state)]
    while j > i:
        at, state = snapshots[-1]
        free = s - len(snapshots) + 1  # this one included
        while j - at > 1 and free > 1:
            m = at + split(j - at, free)
            state = _advance(steps, state, at, m, create)
            at = m
            snapshots.append((at, state))
            free -= 1
        if j - at > 1:
            state = _advance(steps, state, at, j - 1, create)
        ct = _one(steps, state, j - 1, ct, around, totals, create, prints)
        prints = []
        j -= 1
        while snapshots and snapshots[-1][0] >= j and j > i:
            snapshots.pop()
    return ct


def _advance(steps: _Steps, state: list, i: int, j: int, create: bool) -> list:
    LoopCount.advanced += j - i
    if not create:
        return steps.advance(state, i, j)
    state = list(map(own, state))
    for k in range(i, j):  # somebody differentiates the sweep itself: the states must be on the tape
        state = steps.run(state, k)
    return state


def _one(steps: _Steps, state: list, i: int, ct: list, around: list, totals: dict, create: bool, prints: list) -> list:
    """Pull the cotangents `ct` back through step i; `prints`: samples of its results, if they are known."""
    found, nodes, _ = steps.recorded(state, i)
    if not all(_same(p, _sample(X.asarray(v)._data), 1e3) for p, v in zip(prints, found)):
        raise changed("checkpoint_loop: a step")
    seeds: dict = {}
    for y, g in zip(found, ct):
        if g is not None and isinstance(y, Tensor) and y.node is not None:
            seeds[y.node] = g if y.node not in seeds else seeds[y.node] + g
    cts, _ = pull_back(seeds, nodes + around, create)
    for m in around:
        g = cts.get(m)
        if g is not None:
            totals[m] = g if m not in totals else totals[m] + g
    return [cts.get(m) for m in nodes]
