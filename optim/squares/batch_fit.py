"""`optim.curve_fit` inside `difftensor.vmap`."""

from __future__ import annotations

import numpy as np

import difftensor as dif

from .. import vmapped
from ..place import host, values
from .least_squares import least_squares
from .parameters import Parameters, guess


class BatchFit:
    """The fits of all examples of a batch, seen as that of one; unpacks as ``popt, pcov``.

    Attributes
    ----------
    params, popt, pcov, standard_errors, residuals, sum_of_squares, degrees_of_freedom
        As of `Fit`.
    result : Result
        Of `least_squares`; ``success``, ``nit``, ``nfev``, ``optimality`` and ``message`` are also here.
    """

    def __init__(self, result, parameters, count, absolute):
        self.result, self._parameters = result, parameters
        self.popt, self.residuals = dif.tree.ravel(result.x)[0], result.fun
        self.sum_of_squares = dif.sum(self.residuals * self.residuals)
        self.degrees_of_freedom = count - self.popt.size
        self._variance = 1.0 if absolute else (
            2 * result.cost / self.degrees_of_freedom if self.degrees_of_freedom > 0 else np.inf)  # fmt: skip

    @property
    def pcov(self):
        """The covariance of the free parameters; infinite where the data do not determine them."""
        problem = self.result._problem
        J = dif.jacobian(problem.system)(self.popt)
        if self.result._watched:
            P = dif.linalg.pinv(J)
            return self._variance * dif.matmul(P, dif.swapaxes(P, -1, -2))
        rows = host(values(problem.batch.together(J))).reshape((-1, *J.shape))
        inverse = inverse_normal_matrices(rows).reshape((*problem.batch.shape, *2 * self.popt.shape))
        return self._variance * problem.batch.each(inverse)

    @property
    def standard_errors(self):
        return dif.sqrt(dif.diagonal(self.pcov))

    @property
    def params(self):
        """All parameters as the model takes them."""
        free, parameters = self.result.x, self._parameters
        if parameters.as_tree:
            return free
        every = parameters.complete(free)
        return every if parameters.as_mapping else dif.stack([dif.asarray(v) for v in every.values()])

    def __iter__(self):
        return iter((self.popt, self.pcov))

    def __getattr__(self, name):
        if name in ("success", "message", "nfev", "nit", "optimality"):
            return getattr(self.result, name)
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}: a fit inside vmap has popt, "
                             "pcov, params, standard_errors, residuals, sum_of_squares and result")  # fmt: skip


def batch_fit(f, xdata, ydata, p0, sigma, absolute, fixed, tied, further):
    """All fits together, see `curve_fit`; None if all examples share one."""
    y = dif.asarray(ydata)
    batched_start = isinstance(p0, dif.Tensor)
    if batched_start and (fixed or tied):
        raise dif.errors.BatchedValueError("optim.curve_fit inside vmap: starts that differ go without fixed and tied "
                                           "parameters")  # fmt: skip
    parameters = Parameters(f, guess(f) if p0 is None else np.ones(p0.shape) if batched_start else p0, fixed, tied)
    whiten = _whitening(sigma, y)

    def residuals(p):
        model = parameters.call(f, xdata, p)
        return whiten((dif.stack(list(model)) if isinstance(model, (list, tuple)) else model) - y)

    if vmapped.of_examples(residuals, p0 if batched_start else parameters.start, ()) is None:
        return None
    result = least_squares(residuals, p0 if batched_start else parameters.start, **further)
    return BatchFit(result, parameters, result.fun.size, sigma is not None and absolute)


def _whitening(sigma, y):
    if sigma is None:
        return lambda r: r
    sigma = dif.asarray(sigma)
    if sigma.ndim == 2 and y.ndim == 1:
        inverse = dif.linalg.inv(dif.linalg.cholesky(sigma))
        return lambda r: dif.matmul(inverse, r)
    return lambda r: r / sigma


def inverse_normal_matrices(J):
    """`optim.squares.fit.inverse_normal_matrix` of every row."""
    count, m, n = J.shape
    columns = np.sqrt(np.einsum("bij,bij->bj", J, J))
    blind = ~(columns > 0)
    scale = np.where(blind, 1.0, columns)
    finite = np.isfinite(J).all(axis=(1, 2))
    R = np.linalg.qr(np.where(finite[:, None, None], J / scale[:, None, :], 0.0), mode="r")
    _, s, Vt = np.linalg.svd(R, full_matrices=True)
    s = np.concatenate([s, np.zeros((count, n - s.shape[1]))], axis=1)
    small = s <= np.finfo(float).eps * max(m, n) * s[:, :1]
    W = np.where(small[:, :, None], 0.0, Vt / np.where(small, 1.0, s)[:, :, None])
    inverse = np.einsum("bki,bkj->bij", W, W) / scale[:, :, None] / scale[:, None, :]
    lost = blind | (np.abs(np.where(small[:, :, None], Vt, 0.0)).max(axis=1) > 1e-8) | ~finite[:, None]
    return np.where(lost[:, :, None] | lost[:, None, :], np.inf, inverse)
