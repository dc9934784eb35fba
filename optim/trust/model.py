"""The quadratic model of f around a point."""

from __future__ import annotations

import math

import numpy as np

from ..place import host, like


class Quadratic:
    """``g.p + p.Hp/2`` over the free variables of a point.

    Attributes
    ----------
    g : array, shape (n,)
        The gradient, zero where a bound holds the variable.
    scale : array, shape (n,) or None
        D: the trust region is ``|D p| <= radius``, and the dense solvers work in the variables ``D p``.
    """

    __slots__ = ("_spectrum", "free", "g", "point", "scale")

    def __init__(self, problem, point, scale=None):
        self.point, self.scale, self._spectrum = point, scale, None
        self.free = None if problem.box is None else problem.box.free(point.x, point.g)
        self.g = point.g if self.free is None else point.g * self.free

    def hvp(self, v):
        return self.point.hvp(v) if self.free is None else self.point.hvp(v) * self.free

    @property
    def spectrum(self):
        """Eigenvalues (on the host) and eigenvectors of the Hessian of the free variables, scaled."""
        if self._spectrum is None:
            H = self.point.H / self.scale[:, None] / self.scale
            if self.free is not None:
                at_large = np.flatnonzero(self.free)
                H = H[at_large][:, at_large]
            if not np.isfinite(H).all():
                raise FloatingPointError("the Hessian is not finite")
            values, vectors = np.linalg.eigh(0.5 * (H + H.T))
            self._spectrum = host(values), vectors  # n numbers are quicker to handle on the host
        return self._spectrum

    @property
    def along(self):
        """The gradient of the free variables, in the eigenvectors."""
        g = self.g / self.scale
        return host(self.spectrum[1].T.dot(g if self.free is None else g[np.flatnonzero(self.free)]))

    def spread(self, c):
        """The step of all variables whose scaled free part has the coefficients ``c`` in the eigenvectors."""
        p = self.spectrum[1].dot(like(c, self.g))
        if self.free is None:
            return p / self.scale
        full = np.zeros_like(self.g)
        full[np.flatnonzero(self.free)] = p
        return full / self.scale

    def length(self, p) -> float:
        """The length of a step as the trust region measures it."""
        p = p if self.scale is None else self.scale * p
        return math.sqrt(float(p.dot(p)))

    def decrease(self, p, dense) -> float:
        """What the model promises for ``p``."""
        Hp = self.point.H.dot(p) if dense else self.point.hvp(p)
        return -float(self.point.g.dot(p) + 0.5 * p.dot(Hp))
