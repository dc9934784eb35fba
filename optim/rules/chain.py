"""Rules as pairs of pure functions, and their composition."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from .kernels import KERNELS, check_settings


class Rule(NamedTuple):
    """``start(x) -> state`` and ``update(g, state, x) -> (step, state)``; the next point is ``x + step``."""

    start: Callable
    update: Callable


def rule(name: str) -> Callable:
    """The maker of the rule called ``name`` in `optim.rules.kernels`; its keywords are the kernel's settings.

    ``lr`` may be a number or a schedule: a function of the number of steps taken.
    """
    kernel = KERNELS[name]

    def make(lr=None, **settings) -> Rule:
        unknown = set(settings) - set(kernel.defaults)
        if unknown:
            raise TypeError(f"optim: {name} has no setting {sorted(unknown)}; it has {sorted(kernel.defaults)}")
        every = {**kernel.defaults, **settings}
        if lr is not None:
            every["lr"] = lr
        check_settings(every)
        rate = every["lr"]

        def start(x):
            return 0, kernel.start(x, every)

        def update(g, state, x):
            if name != "sgd":
                _needs_reals(g)
            t, arrays = state
            now = {**every, "lr": rate(t)} if callable(rate) else every
            step, arrays = kernel.update(g, x, arrays, t + 1, **now)
            return step, (t + 1, arrays)

        return Rule(start, update)

    make.__name__ = make.__qualname__ = name
    make.__doc__ = f"{kernel.update.__doc__}\n\n    Settings and defaults: {kernel.defaults}."
    return make


def chain(*rules: Rule) -> Rule:
    """Each rule transforms what the one before it hands on; the last output is the step.

    Examples
    --------
    >>> import numpy as np
    >>> from optim import rules
    >>> r = rules.chain(rules.clip(1.0), rules.sgd(lr=0.5))
    >>> x = np.array([3.0])
    >>> step, state = r.update(np.array([10.0]), r.start(x), x)
    >>> step.tolist()
    [-0.5]
    """

    def start(x):
        return tuple(r.start(x) for r in rules)

    def update(g, state, x):
        after = []
        for r, s in zip(rules, state, strict=True):
            g, s = r.update(g, s, x)
            after.append(s)
        return g, tuple(after)

    return Rule(start, update)


def _needs_reals(g):
    if g.dtype.kind == "c":
        raise TypeError("optim: this rule works on real numbers, and the gradient is complex; give it real and "
                        "imaginary parts, or use optim.minimize or optim.Adam, which do that")  # fmt: skip
    return g


def _stateless(function) -> Rule:
    return Rule(lambda x: (), lambda g, state, x: (function(g, x), state))


def clip(most: float) -> Rule:
    """Every element between ``-most`` and ``most``."""
    return _stateless(lambda g, x: np.clip(_needs_reals(g), -most, most))


def clip_by_norm(most: float) -> Rule:
    """The whole array no longer than ``most``; R. Pascanu et al., arXiv:1211.5063, Algorithm 1."""

    def shorten(g, x):
        size = float(np.sqrt((abs(g) ** 2).sum()))
        return g * (most / size) if size > most else g

    return _stateless(shorten)


def add_decayed_weights(decay: float) -> Rule:
    """Adds ``decay * x``: in front of a rule a penalty, behind one (with a negative sign) a decoupled decay."""
    return _stateless(lambda g, x: g + decay * x)


def scale(factor: float) -> Rule:
    """Multiplies by a number."""
    return _stateless(lambda g, x: factor * g)


def scale_by_schedule(schedule: Callable) -> Rule:
    """Multiplies by ``schedule(t)``, t counting from 0."""
    return Rule(lambda x: 0, lambda g, t, x: (schedule(t) * g, t + 1))
