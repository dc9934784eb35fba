"""The loop that every trust-region method shares."""

from __future__ import annotations

from typing import NamedTuple


class Step(NamedTuple):
    """A step to try.

    Attributes
    ----------
    p : array, shape (n,)
    predicted : float
        The decrease that the model promises.
    inside : bool
        Whether the model's own minimizer was reached, not the boundary of the region.
    size : float
        The length of ``p`` as the region measures it.
    correction : float
        What the model counts in addition to f (the terms that keep off bounds); part of the actual change, too.
    """

    p: object
    predicted: float
    inside: bool
    size: float
    correction: float = 0.0


def descend(problem, point, radius, propose, judge, resize, least, eta=1e-4):
    """Shrink the region around ``point`` until a step from it is good enough.

    Parameters
    ----------
    propose : callable
        ``propose(radius) -> Step``, the subproblem.
    judge : callable
        ``judge(new, step) -> float``: actual over predicted decrease, minus infinity where the step is useless.
    resize : callable
        ``resize(radius, step, ratio, new) -> radius``.
    least : float
        Steps and radii below this change nothing any more.
    eta : float
        The ratio from which on a step is taken.

    Returns
    -------
    new : Point or None
        None where no step is good enough.
    step : Step
        The last one tried.
    radius : float

    Notes
    -----
    Algorithm 4.1 of J. Nocedal, S. J. Wright, Numerical Optimization, 2nd ed., 2006.
    """
    while True:
        step = propose(radius)
        new = problem.at(point.x + step.p)
        ratio = judge(new, step)
        radius = resize(radius, step, ratio, new)
        if ratio > eta:
            return new, step, radius
        if not (step.size > least and radius > least):
            return None, step, radius
