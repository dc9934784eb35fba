"""A direction to search along."""

from __future__ import annotations

import math


class SearchFailed(Exception):
    """No acceptable point was found along the ray; the words say why."""


class Ray:
    """The points ``x + alpha p``, with value and slope at the origin.

    Attributes
    ----------
    f, slope : float
        At ``alpha = 0``.
    limit : float
        The largest ``alpha`` that may be tried.
    """

    __slots__ = ("f", "limit", "origin", "p", "problem", "slope")

    def __init__(self, problem, origin, p, slope=None, limit=math.inf):
        self.problem, self.origin, self.p, self.limit = problem, origin, p, limit
        self.f = origin.f
        self.slope = float(origin.g.dot(p)) if slope is None else slope

    def at(self, alpha):
        """The Point there."""
        return self.problem.at(self.origin.x + alpha * self.p)

    def slope_at(self, point) -> float:
        return float(point.g.dot(self.p))
