"""A place where the objective has been looked at."""

from __future__ import annotations


class Point:
    """A place ``x``, and on demand, once each, what the objective is there.

    ``f`` costs a forward pass that keeps its tape; ``g`` then costs only the backward pass. So a search that
    rejects a point by its value never pays for a gradient.

    Attributes
    ----------
    x : array, shape (n,)
    f : float
        The value.
    g : array, shape (n,)
        The gradient.
    H : array, shape (n, n)
        The Hessian.
    """

    __slots__ = ("_H", "_f", "_g", "_pull", "_push", "problem", "x")

    def __init__(self, problem, x):
        self.problem = problem
        self.x = x
        self._f = self._g = self._H = self._pull = self._push = None

    @property
    def f(self) -> float:
        if self._f is None:
            self.problem.evaluate(self)
        return self._f

    @property
    def g(self):
        if self._g is None:
            self.problem.differentiate(self)
        return self._g

    @property
    def H(self):
        if self._H is None:
            self._H = self.problem.hessian(self.x)
        return self._H

    def hvp(self, v):
        """The Hessian times ``v``; the tape of the gradient is kept for further products."""
        if self._push is None:
            self._push = self.problem.hessian_products(self.x)
        return self._push(v)

    def __getstate__(self):
        # The tape and the problem stay behind: a saved state holds numbers only.
        return (self.x, self._f, self._g)

    def __setstate__(self, state):
        self.x, self._f, self._g = state
        self.problem = self._H = self._pull = self._push = None

    def __repr__(self):
        return f"Point(x={self.x!r}, f={self._f!r})"
