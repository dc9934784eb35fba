"""The quadratic model of f around a point."""

from __future__ import annotations

import numpy as np


class Quadratic:
    """``g.p + p.Hp/2`` over the free variables of a point.

    Attributes
    ----------
    g : array, shape (n,)
        The gradient, zero where a bound holds the variable.
    """

    __slots__ = ("_spectrum", "free", "g", "point")

    def __init__(self, problem, point):
        self.point, self._spectrum = point, None
        self.free = None if problem.box is None else problem.box.free(point.x, point.g)
        self.g = point.g if self.free is None else point.g * self.free

    def hvp(self, v):
        return self.point.hvp(v) if self.free is None else self.point.hvp(v) * self.free

    @property
    def spectrum(self):
        """Eigenvalues and eigenvectors of the Hessian of the free variables."""
        if self._spectrum is None:
            H = self.point.H
            if self.free is not None:
                H = H[np.ix_(self.free, self.free)]
            if not np.isfinite(H).all():
                raise FloatingPointError("the Hessian is not finite")
            self._spectrum = np.linalg.eigh(0.5 * (H + H.T))
        return self._spectrum

    def spread(self, p):
        """A step of the free variables as a step of all."""
        if self.free is None:
            return p
        full = np.zeros_like(self.g)
        full[self.free] = p
        return full

    def decrease(self, p, dense) -> float:
        """What the model promises for ``p``."""
        Hp = self.point.H.dot(p) if dense else self.point.hvp(p)
        return -float(self.point.g.dot(p) + 0.5 * p.dot(Hp))
