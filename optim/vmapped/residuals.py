"""Residuals of all examples as functions of rows."""

from __future__ import annotations

import numpy as np

import difftensor as dif

from .examples import Examples


class Residuals(Examples):
    """Sums of squares ``1/2 sum rho(r_i(x)^2)``, one for each row.

    Parameters
    ----------
    rho : callable, optional
        ``rho(z) -> (rho, rho', rho'')`` of the squared scaled residual; None is the sum of squares.
    f_scale : float
        The residual at which the loss begins to bend.
    """

    def __init__(self, batch, fun, x0, args, rho=None, f_scale=1.0):
        super().__init__(batch, fun, x0, args)
        self.rho, self.f_scale = rho, f_scale
        self._residuals, self._jacobians = self._rows(self.system), self._rows(dif.jacobian(self.system))

    def system(self, x):
        """The residuals of the vector of one example, as one vector of reals."""
        leaves = [dif.reshape(dif.asarray(leaf), (-1,)) for leaf in dif.tree.leaves(self.value(x))]
        r = leaves[0] if len(leaves) == 1 else dif.concatenate(leaves)
        return dif.concatenate([dif.real(r), dif.imag(r)]) if r.dtype.kind == "c" else r

    def one(self, x):
        r = self.system(x)
        if self.rho is None:
            return 0.5 * dif.sum(r * r)
        return 0.5 * self.f_scale**2 * dif.sum(self.rho((r / self.f_scale) ** 2)[0])

    # of rows of numbers

    def residuals(self, x, rows=None):
        self.nfev += 1
        return self._some(self._residuals, x, rows)

    def jacobians(self, x, rows=None):
        return self._some(self._jacobians, x, rows)

    def costs(self, r):
        """The sums, from the residuals."""
        if self.rho is None:
            return 0.5 * (r * r).sum(axis=1)
        return 0.5 * self.f_scale**2 * self.rho((r / self.f_scale) ** 2)[0].sum(axis=1)

    def scaled(self, r, J):
        """Triggs' correction, as in `optim.squares.SquaresProblem.rescale`."""
        if self.rho is None:
            return r, J
        z = (r / self.f_scale) ** 2
        _, first, second = self.rho(z)
        root = np.sqrt(np.maximum(first + 2 * second * z, 0.01 * first))
        return r * first / root, J * root[:, :, None]

    def weighted(self, r, J):
        """With the square roots of the loss's weights ``rho'``."""
        if self.rho is None:
            return r, J
        root = np.sqrt(self.rho((r / self.f_scale) ** 2)[1])
        return r * root, J * root[:, :, None]

    def cosines(self, r, J):
        """The largest cosine between a column of J and the residuals."""
        r, J = self.weighted(r, J)
        g = np.abs(np.einsum("bij,bi->bj", J, r))
        sizes = np.sqrt(np.einsum("bij,bij->bj", J, J)) * np.linalg.norm(r, axis=1)[:, None]
        return np.where(sizes > 0, g / np.where(sizes > 0, sizes, 1.0), 0.0).max(axis=1)

    def noise(self, x, r, J):
        """The rounding errors of the sums, as in `optim.squares.SquaresProblem.noise`."""
        r, J = self.weighted(r, J)
        terms = np.einsum("bij,bj->bi", np.abs(J), np.abs(x)) + np.abs(r)
        error = np.finfo(x.dtype).eps * np.linalg.norm(terms, axis=1)
        return 4 * error * (np.linalg.norm(r, axis=1) + error)
