"""Hessians and Hessian-vector products."""
import numpy as np
from scipy.special import expit

from .case import Case, workload
from .inference import labelled, logistic_loss


def rosenbrock(xp):
    return lambda x: (100.0 * (x[1:] - x[:-1] ** 2) ** 2 + (1.0 - x[:-1]) ** 2).sum()


def rosenbrock_bands(x):
    """The Hessian's diagonal and its neighbor."""
    diagonal = np.zeros_like(x)
    diagonal[:-1] = 1200.0 * x[:-1] ** 2 - 400.0 * x[1:] + 2.0
    diagonal[1:] += 200.0
    return diagonal, -400.0 * x[:-1]


@workload(10, 50, tiny=4)
def hessian_rosenbrock(n):
    def hand(x):
        diagonal, beside = rosenbrock_bands(x)
        H = np.zeros((n, n))
        H.flat[:: n + 1], H.flat[1 :: n + 1], H.flat[n :: n + 1] = diagonal, beside, beside
        return None, [H]

    return Case((np.random.default_rng(7).standard_normal(n),), rosenbrock, hand, kind="hessian")


@workload("1000x30", "10000x30", tiny="30x3")
def hessian_logistic(n, dim):
    X, y, w = labelled(n, dim)

    def hand(w):
        p = expit(y * (X @ w))
        return None, [X.T @ (X * (p * (1.0 - p) / n)[:, None]) + 0.01 * np.eye(dim)]

    return Case((w,), logistic_loss(X, y), hand, kind="hessian")


@workload(1000, 100_000, tiny=6)
def hvp_rosenbrock(n):
    rng = np.random.default_rng(8)
    v = rng.standard_normal(n)

    def hand(x):
        diagonal, beside = rosenbrock_bands(x)
        Hv = diagonal * v
        Hv[:-1] += beside * v[1:]
        Hv[1:] += beside * v[:-1]
        return None, [Hv]

    return Case((rng.standard_normal(n),), rosenbrock, hand, kind="hvp", direction=v)
