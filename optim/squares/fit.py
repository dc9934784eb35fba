"""The result of a fit: estimates, their uncertainties, and a report to print."""

from __future__ import annotations

import numpy as np

import difftensor as dif

from .jacobians import column_norms, is_finite, is_sparse, scale_columns


class Fit:
    """A fitted model; unpacks as ``popt, pcov``.

    Attributes
    ----------
    params
        All parameters, in the structure of ``p0``, fixed and tied ones included.
    popt : ndarray, shape (n,)
        The free parameters as one vector.
    pcov : ndarray, shape (n, n)
        Their covariance; infinite where the data do not determine them.
    standard_errors : ndarray, shape (n,)
    correlation : ndarray, shape (n, n)
    names : list of str
    residuals : ndarray
        Weighted residuals ``(f - y) / sigma``.
    sum_of_squares : float
    degrees_of_freedom : int
    result : Result
        How the minimization went; ``success``, ``message``, ``reason``, ``nfev``, ``method`` and ``trace`` are
        also here.

    Notes
    -----
    If an outer `difftensor.grad` watches the data, sigma or the model, all of these are differentiable, but those of a
    fit with a robust loss, whose uncertainties refuse.
    """

    def __init__(self, result, parameters, model, xdata, ydata, absolute):
        self.result, self.model, self.xdata, self.ydata = result, model, xdata, ydata
        self._parameters, self._absolute = parameters, absolute
        problem, point = result._problem, result.state.point
        self._watched = isinstance(result.cost, dif.Tensor) and result.cost.requires_grad
        self.popt = dif.tree.ravel(result.x)[0] if self._watched else point.x.copy()
        self.names = parameters.names or [problem.layout.path(i) for i in range(problem.n)]
        self.residuals = result.fun
        self.sum_of_squares = (self.residuals * self.residuals).sum()
        self.degrees_of_freedom = self.residuals.size - problem.n
        if not self._watched:
            self.sum_of_squares = float(self.sum_of_squares)
            _, J = point.scaled if result.jac is not None else (None, np.zeros((len(self.residuals), problem.n)))
            self._uncertain(inverse_normal_matrix(J))

    def _uncertain(self, inverse):
        """Set what follows from ``(J^T J)^{-1}``."""
        self.pcov = self.variance * inverse
        self.standard_errors = np.sqrt(np.diagonal(self.pcov))
        with np.errstate(invalid="ignore", divide="ignore"):
            self.correlation = self.pcov / np.multiply.outer(self.standard_errors, self.standard_errors)

    def _uncertain_on_the_tape(self):
        """The same with derivatives, which cost second derivatives of the model: only if somebody asks."""
        problem = self.result._problem
        if problem.rho is not None or not self.success:
            raise dif.errors.MissingDerivativeError(
                "optim: the uncertainties of a fit with a robust loss, or of one that did not succeed, have no "
                "derivative; take fit.popt, or pass constants to the fit, with .detach()"
            )
        P = np.linalg.pinv(dif.jacobian(problem._real_objective)(self.popt))
        self._uncertain(P @ P.T)

    @property
    def params(self):
        """All parameters as the model takes them."""
        free = self.result.x
        if self._parameters.as_tree:
            return free
        every = self._parameters.complete(free)
        if self._parameters.as_mapping:
            return every
        values = list(every.values())
        return dif.array(values) if self._watched else np.array([float(value) for value in values])

    @property
    def variance(self) -> float:
        """The variance of a residual of weight one."""
        if self._absolute:
            return 1.0
        if self.degrees_of_freedom <= 0:
            return np.inf
        return 2 * self.result.cost / self.degrees_of_freedom

    def __iter__(self):
        return iter((self.popt, self.pcov))

    def __getitem__(self, i):
        return (self.popt, self.pcov)[i]

    def __len__(self):
        return 2

    def __getattr__(self, name):
        if name in ("pcov", "standard_errors", "correlation") and self.__dict__.get("_watched"):
            self._uncertain_on_the_tape()
            return self.__dict__[name]
        if name in ("success", "message", "reason", "nfev", "njev", "nit", "status", "trace", "method", "choice"):
            return getattr(self.result, name)
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    def predict(self, x=None):
        """The fitted model at ``x`` (the data's by default)."""
        return self._parameters.call(self.model, self.xdata if x is None else x, self.result.x)

    def intervals(self, level=0.95):
        """Confidence intervals from the covariance and Student's t.

        Parameters
        ----------
        level : float

        Returns
        -------
        ndarray, shape (n, 2)
        """
        half = _quantile(level, self.degrees_of_freedom, self._absolute) * self.standard_errors
        return np.stack([self.popt - half, self.popt + half], axis=1)

    def profile(self, name, level=0.95):
        """The interval on which the profiled sum of squares stays within the level's bound.

        Follows the valley of the sum of squares: for each trial value of one parameter all others are fitted
        again. Unlike `intervals` it does not assume that the valley is a parabola.

        Parameters
        ----------
        name : str
            One of ``names``.
        level : float

        Returns
        -------
        low, high : float
            Infinite where the bound is never reached.

        References
        ----------
        .. [1] D. M. Bates, D. G. Watts, Nonlinear Regression Analysis and Its Applications, Wiley 1988, section
           6.1.
        """
        from .profile import profile

        if self._watched:
            raise dif.errors.MissingDerivativeError(
                "optim: a profile has no derivative with respect to the data; take fit.intervals(), or fit constants"
            )
        if name not in self.names:
            raise ValueError(f"optim: no free parameter is called {name!r}; there are {', '.join(self.names)}")
        i = self.names.index(name)
        return profile(self, i, _quantile(level, self.degrees_of_freedom, self._absolute))

    def report(self, level=0.95) -> str:
        """The fit as a table to print."""
        result, width = self.result, max(len(name) for name in self.names)
        lines = [
            f"{'fitted' if result.success else 'NOT FITTED'} ({result.reason}): {result.message}",
            f"{self.residuals.size} data, {len(self.popt)} parameters, {self.degrees_of_freedom} degrees of freedom; "
            f"{result.nfev} evaluations, {result.njev} Jacobians",
            f"sum of squares {self.sum_of_squares:.10g}, residual standard deviation {np.sqrt(self.variance):.6g}",
            f"{'':{width}}  {'estimate':>18} {'std. error':>12} {'relative':>9}   {level:.0%} interval",
        ]
        for name, value, error, (low, high) in zip(
            self.names, self.popt, self.standard_errors, self.intervals(level), strict=True
        ):
            share = f"{abs(error / value):9.2%}" if abs(error) < 100 * abs(value) else " " * 9
            lines.append(f"{name:>{width}}  {value:18.10g} {error:12.5g} {share}   [{low:.6g}, {high:.6g}]")
        pairs = [
            (abs(self.correlation[i, j]), self.names[i], self.names[j], self.correlation[i, j])
            for i in range(len(self.popt))
            for j in range(i)
            if abs(self.correlation[i, j]) > 0.9
        ]
        for _, a, b, c in sorted(pairs, reverse=True)[:10]:
            lines.append(f"correlation of {b} and {a}: {c:+.4f}")
        held = [name for name, at in zip(self.names, result.active_mask, strict=True) if at]
        if held:
            lines.append(f"{', '.join(held)} at a bound: standard errors and intervals do not hold there")
        if self.degrees_of_freedom <= 0 and not self._absolute:
            lines.append("as many parameters as data: their scatter is unknown; give sigma, and absolute_sigma=True")
        elif not np.isfinite(self.pcov).all():
            lines.append("the data do not determine every parameter: fix one, or add data that tell them apart")
        return "\n".join(lines)

    def __repr__(self):
        return self.report()


def inverse_normal_matrix(J):
    """``(J^T J)^{-1}`` without forming ``J^T J``; infinite in rows of parameters that J does not determine."""
    n = J.shape[1]
    if is_sparse(J):
        inverse = _sparse_inverse(J)
        if inverse is not None:
            return inverse
        J = J.toarray()
    columns = column_norms(J)
    blind = ~(columns > 0)
    scale = np.where(blind, 1.0, columns)
    if J.shape[0] == 0 or not np.isfinite(J).all():
        return np.full((n, n), np.inf)
    R = np.linalg.qr(J / scale, mode="r")
    _, s, Vt = np.linalg.svd(R, full_matrices=True)
    s = np.concatenate([s, np.zeros(n - len(s))])
    small = s <= np.finfo(float).eps * max(J.shape) * s[0]
    W = Vt.T / np.where(small, 1.0, s)
    inverse = (W[:, ~small] @ W[:, ~small].T) / scale[:, None] / scale
    undetermined = blind | (np.abs(Vt[small]).max(axis=0, initial=0.0) > 1e-8)
    inverse[undetermined, :] = np.inf
    inverse[:, undetermined] = np.inf
    return inverse


def _sparse_inverse(J):
    """The same by a sparse factorization; None where that would lose more than half of the digits."""
    import scipy.sparse as sp
    import scipy.sparse.linalg as spl

    columns = column_norms(J)
    if not is_finite(J) or not (columns > 0).all():
        return None
    A = scale_columns(J, 1 / columns)
    try:
        factor = spl.splu(sp.csc_array(A.T @ A), permc_spec="MMD_AT_PLUS_A", options={"SymmetricMode": True})
    except RuntimeError:
        return None
    pivots = np.abs(factor.U.diagonal())
    if not pivots.min() > 1e-8 * pivots.max():
        return None
    inverse = factor.solve(np.eye(J.shape[1]))
    return 0.5 * (inverse + inverse.T) / columns[:, None] / columns


def _quantile(level, degrees, absolute):
    from scipy.special import ndtri, stdtrit

    if not 0 < level < 1:
        raise ValueError(f"optim: a confidence level lies between 0 and 1, got {level}")
    tail = 0.5 * (1 + level)
    if absolute:
        return float(ndtri(tail))
    return float(stdtrit(degrees, tail)) if degrees > 0 else np.inf
