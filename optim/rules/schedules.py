"""Learning rates as functions of the number of steps taken."""

from __future__ import annotations

import math
from collections.abc import Callable


def constant(lr: float) -> Callable:
    return lambda t: lr


def step(lr: float, every: int, gamma: float = 0.1) -> Callable:
    """Multiplied by ``gamma`` after every so many steps."""
    return lambda t: lr * gamma ** (t // every)


def exponential(lr: float, gamma: float) -> Callable:
    """``lr gamma^t``."""
    return lambda t: lr * gamma**t


def linear(first: float, last: float, steps: int) -> Callable:
    """A straight line from ``first`` to ``last``, which then stays."""
    return lambda t: first + (last - first) * min(t, steps) / steps


def cosine(lr: float, steps: int, last: float = 0.0) -> Callable:
    """Half a cosine from ``lr`` to ``last``; I. Loshchilov, F. Hutter, arXiv:1608.03983, eq. 5."""
    return lambda t: last + 0.5 * (lr - last) * (1 + math.cos(math.pi * min(t, steps) / steps))


def warm_up(steps: int, then: Callable) -> Callable:
    """A straight line from 0 to the first value of another schedule, which then runs."""
    return lambda t: then(0) * (t + 1) / steps if t < steps else then(t - steps)


def one_cycle(
    most: float, steps: int, share: float = 0.3, first: float = 1 / 25, last: float = 1 / (25 * 1e4)
) -> Callable:
    """Up to ``most`` during a share of the steps and down again, both along half a cosine.

    ``first`` and ``last`` are fractions of ``most``. L. N. Smith, N. Topin, arXiv:1708.07120.
    """
    top = share * steps - 1
    end = steps - 1

    def rate(t):
        if t <= top:
            a, b, s = most * first, most, t / top if top > 0 else 1.0
        else:
            a, b, s = most, most * last, min((t - top) / (end - top), 1.0) if end > top else 1.0
        return b + 0.5 * (a - b) * (1 + math.cos(math.pi * s))

    return rate
