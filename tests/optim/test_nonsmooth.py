"""BFGS with a weak Wolfe search on functions with kinks.

The functions are those of M. Haarala, K. Miettinen, M. M. Makela, New limited memory bundle method for large-scale
nonsmooth optimization, Optim. Methods Softw. 19 (2004) 673-692, section 4, and the nonsmooth Rosenbrock
function of A. S. Lewis and M. L. Overton (2013).
"""

import numpy as np
import pytest

import difftensor as dif
import optim

N = 10
HILBERT = 1 / (np.arange(N)[:, None] + np.arange(N) + 1)


def maxq(x):
    return dif.max(x**2)


def mxhilb(x):
    return dif.max(abs(HILBERT @ x))


def chained_lq(x):
    a, b = x[:-1], x[1:]
    return dif.sum(dif.maximum(-a - b, -a - b + a**2 + b**2 - 1))


def chained_cb3(x):
    a, b = x[:-1], x[1:]
    return dif.sum(dif.maximum(dif.maximum(a**4 + b**2, (2 - a) ** 2 + (2 - b) ** 2), 2 * dif.exp(b - a)))


def active_faces(x):
    return dif.maximum(dif.log(abs(dif.sum(x)) + 1), dif.max(dif.log(abs(x) + 1)))


def rosenbrock(x):
    return 8 * abs(x[0] ** 2 - x[1]) + (1 - x[0]) ** 2


CASES = [
    (maxq, np.where(np.arange(N) < N // 2, np.arange(1.0, N + 1), -np.arange(1.0, N + 1)), 0.0),
    (mxhilb, np.ones(N), 0.0),
    (chained_lq, np.full(N, -0.5), -(N - 1) * 2**0.5),
    (chained_cb3, np.full(N, 2.0), 2.0 * (N - 1)),
    (active_faces, np.ones(N), 0.0),
    (rosenbrock, np.array([-1.2, 1.0]), 0.0),
]


@pytest.mark.parametrize(("fun", "x0", "best"), CASES, ids=lambda v: getattr(v, "__name__", ""))
def test_reaches_the_minimum_at_the_kink(fun, x0, best):
    result = optim.minimize(fun, x0, method="bfgs", options={"search": "weak-wolfe"})
    assert result.fun - best <= 1e-6 * max(1, abs(best)), result.message


def test_kink_is_not_called_a_smooth_minimum():
    # the gradient never becomes small at a kink, and no claim is made from it
    result = optim.minimize(lambda x: abs(x[0]) + x[1] ** 2, [1.3, 0.7], options={"search": "weak-wolfe"})
    assert abs(result.x[0]) < 1e-6
    assert not result.success or result.optimality < 1e-6
