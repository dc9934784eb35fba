"""Likelihoods."""
import numpy as np
import scipy.linalg
from scipy.special import expit

from .case import Case, workload


@workload(500, 1500, tiny=8, tolerance=1e-8)
def gaussian_process(n):
    """Marginal likelihood of a Gaussian process: five length scales, amplitude and noise as logarithms."""
    rng = np.random.default_rng(5)
    dim = 5
    X, y = rng.standard_normal((n, dim)), rng.standard_normal(n)
    theta = np.array([0.1, 0.3, 0.0, 0.2, -0.1, 0.2, -1.0])

    def program(xp):
        X_, y_, eye = xp.constant(X), xp.constant(y), xp.constant(np.eye(n))

        def f(theta):
            Z = X_ / xp.exp(theta[:dim])
            square = (Z * Z).sum(1)
            K = xp.exp(theta[dim] - 0.5 * (square[:, None] + square - 2.0 * (Z @ Z.T)))
            L = xp.cholesky(K + xp.exp(theta[dim + 1]) * eye)
            a = xp.solve_lower(L, y_)
            return 0.5 * (a * a).sum() + xp.log(xp.diagonal(L)).sum()

        return f

    def hand(theta):
        Z = X / np.exp(theta[:dim])
        square = np.einsum("ij,ij->i", Z, Z)
        K = Z @ Z.T
        K -= 0.5 * square
        K -= 0.5 * square[:, None]
        K += theta[dim]
        np.exp(K, out=K)
        noise = np.exp(theta[dim + 1])
        A = K.copy()
        A.flat[:: n + 1] += noise
        factor = scipy.linalg.cholesky(A, lower=True, overwrite_a=True, check_finite=False)
        alpha = scipy.linalg.cho_solve((factor, True), y, check_finite=False)
        value = 0.5 * y @ alpha + np.log(factor.diagonal()).sum()
        G, _ = scipy.linalg.lapack.dpotri(factor, lower=1)  # the inverse, lower half
        G = np.tril(G) + np.tril(G, -1).T
        G -= np.outer(alpha, alpha)
        G *= 0.5  # dL/dA = (A^-1 - alpha alpha^T) / 2
        trace = np.trace(G)
        G *= K
        weight = G.sum(1)
        scales = np.array([2.0 * (weight @ z**2 - z @ (G @ z)) for z in Z.T])
        return value, [np.concatenate([scales, [weight.sum(), noise * trace]])]

    return Case((theta,), program, hand)


def labelled(n, dim):
    rng = np.random.default_rng(6)
    X = rng.standard_normal((n, dim))
    return X, np.where(rng.random(n) < expit(X[:, 0] - X[:, 1]), 1.0, -1.0), 0.1 * rng.standard_normal(dim)


def logistic_loss(X, y):
    """The penalized mean log-loss, labels -1 and 1."""
    n = len(y)

    def program(xp):
        X_, y_ = xp.constant(X), xp.constant(y)
        return lambda w: xp.softplus(-(y_ * (X_ @ w))).sum() / n + 0.005 * (w * w).sum()

    return program


@workload("1000x20", "20000x100", tiny="30x3")
def logistic_regression(n, dim):
    """Gradient of the log-loss."""
    X, y, w = labelled(n, dim)

    def hand(w):
        z = y * (X @ w)
        value = np.logaddexp(0.0, -z).sum() / n + 0.005 * w @ w
        return value, [0.01 * w - (y * expit(-z)) @ X / n]

    return Case((w,), logistic_loss(X, y), hand)
