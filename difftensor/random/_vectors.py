"""Random vectors: multivariate normal and Dirichlet."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from difftensor._backend import device_of
from difftensor._core import Tensor, X
from difftensor.random import _noise
from difftensor.random._continuous import Continuous
from difftensor.random._parameters import checked, is_tracked, parameter, shape_of, values


class Vectors(Continuous):
    """Draws of vectors, along the last axis."""

    def multivariate_normal(
        self,
        mean: Any,
        cov: Any,
        size: Any = None,
        check_valid: str = "warn",
        tol: float = 1e-8,
        *,
        method: str = "svd",
    ) -> Any:
        """Normal vectors of mean `mean` and covariance `cov`, differentiable in both.

        Parameters
        ----------
        mean : (n,) array
        cov : (n, n) array
            Symmetric and positive semidefinite (positive definite if it is tracked or `method` is "cholesky").
        size : int or tuple of ints, optional
        check_valid : {"warn", "raise", "ignore"}
            What to do if `cov` is not positive semidefinite, to the tolerance `tol`.
        method : {"svd", "eigh", "cholesky"}
            "cholesky": ``mean + L z`` with the lower factor L. The others: the symmetric square root of `cov` in its
            place, from the eigenvectors, or as `dif.linalg.sqrtm` where a derivative hangs on it: it has one for equal
            eigenvalues too.

        Returns
        -------
        Tensor of shape (*size, n)

        Examples
        --------
        >>> import difftensor as dif
        >>> x = dif.random.default_rng(0).multivariate_normal([1.0, 2.0], [[2.0, 1.0], [1.0, 2.0]], 5000)
        >>> bool(abs(x.mean(axis=0) - dif.array([1.0, 2.0])).max() < 0.1)
        True
        """
        name = "multivariate_normal"
        if check_valid not in ("warn", "raise", "ignore"):
            raise ValueError("check_valid must equal 'warn', 'raise', or 'ignore'")
        if method not in ("svd", "eigh", "cholesky"):
            raise ValueError("method must be one of {'eigh', 'svd', 'cholesky'}")
        mean, cov = parameter(mean, name, "mean"), parameter(cov, name, "cov")
        if getattr(mean, "ndim", 0) != 1:
            raise ValueError("mean must be 1 dimensional")
        if getattr(cov, "ndim", 0) != 2 or cov.shape[0] != cov.shape[1]:
            raise ValueError("cov must be 2 dimensional and square")
        if mean.shape[0] != cov.shape[0]:
            raise ValueError("mean and cov must have same length")
        shape = shape_of(size) or ()
        factor = _root(cov, method, check_valid, tol)
        z = self._noise(_noise.normal, (*shape, mean.shape[0]))
        return mean + z @ X.matrix_transpose(factor)

    def dirichlet(self, alpha: Any, size: Any = None) -> Any:
        """Dirichlet vectors of concentrations `alpha`, differentiable in them (see `standard_gamma`).

        Parameters
        ----------
        alpha : (n,) array of positive numbers
        size : int or tuple of ints, optional

        Returns
        -------
        Tensor of shape (*size, n)
            Gamma variables divided by their sum, by way of their logarithms.
        """
        from difftensor.special import softmax

        alpha = checked(alpha, "dirichlet", "alpha", "not negative")
        if getattr(alpha, "ndim", 0) != 1:
            raise ValueError("dirichlet: alpha must be 1-dimensional")
        shape = (*(shape_of(size) or ()), alpha.shape[0])
        if not alpha.shape[0]:
            return self._noise(_noise.uniform, shape)
        positive = values(alpha) > 0
        if self._device.kind != "cpu" or positive.all():
            return softmax(self._log_gamma(alpha, shape, False), axis=-1)
        if is_tracked(alpha):
            raise ValueError("dirichlet: alpha must be positive where a derivative is asked for, found 0")
        if not positive.any():
            raise ValueError("dirichlet: at least one alpha must be positive")
        safe = X.where(alpha > 0, alpha, 1.0)
        return softmax(X.where(alpha > 0, self._log_gamma(safe, shape, False), -np.inf), axis=-1)


def _root(cov: Any, method: str, check_valid: str, tol: float) -> Any:
    """A matrix A with A A^T = cov."""
    if method == "cholesky":
        return X.linalg.cholesky(cov)
    if is_tracked(cov):
        from difftensor.linalg import sqrtm

        return sqrtm(cov)
    raw = cov.detach() if isinstance(cov, Tensor) else cov
    w, v = X.linalg.eigh(raw)
    _validate(w, raw, check_valid, tol)
    return (v * X.sqrt(X.maximum(w, 0.0))[..., None, :]) @ X.matrix_transpose(v)


def _validate(w: Any, cov: Any, check_valid: str, tol: float) -> None:
    lowest, asymmetry = values(w), values(cov - X.matrix_transpose(cov))
    if check_valid == "ignore" or device_of(lowest).kind != "cpu":  # what a GPU holds is not read
        return
    allowed = tol * max(abs(lowest).max(initial=0.0), 1.0)
    wrong = bool((lowest < -allowed).any()) or bool((abs(asymmetry) > allowed).any())
    if wrong and check_valid == "raise":
        raise ValueError("covariance is not symmetric positive-semidefinite.")
    if wrong:
        warnings.warn("covariance is not symmetric positive-semidefinite.", RuntimeWarning, stacklevel=4)
