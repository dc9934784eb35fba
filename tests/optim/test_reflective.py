"""The trust-region-reflective method, against SciPy's bounded solvers and the conditions of a bounded minimum."""

import numpy as np
import pytest
import scipy.optimize
import scipy.sparse as sp

import difftensor as dif
import optim
from optim.methods.multistep import curvature_pair
from optim.problem import Problem

from .problems.more_garbow_hillstrom import PROBLEMS


def box_around(problem, share=0.6):
    """A box in which every third variable stops on its way from x0 to the free minimizer."""
    free, x0 = optim.least_squares(problem.residuals, problem.x0, method="lm").x, problem.x0
    low, high = np.minimum(x0, free) - 1.0, np.maximum(x0, free) + 1.0
    for i in range(0, len(x0), 3):
        wall = x0[i] + share * (free[i] - x0[i])
        if free[i] > x0[i]:
            high[i] = wall
        elif free[i] < x0[i]:
            low[i] = wall
    return low, high


@pytest.mark.parametrize("solver", ["exact", "subspace"])
@pytest.mark.parametrize("name", ["rosenbrock", "beale", "wood", "helical_valley", "kowalik_osborne", "brown_dennis",
                                  "extended_rosenbrock", "broyden_banded", "chebyquad_8"])  # fmt: skip
def test_as_low_as_scipy(name, solver):
    problem = next(p for p in PROBLEMS if p.name == name)
    low, high = box_around(problem)
    inside = []
    ours = optim.least_squares(problem.residuals, problem.x0, bounds=(low, high), method="trf",
                               options={"solver": solver}, callback=inside.append)  # fmt: skip
    theirs = scipy.optimize.least_squares(
        problem.residuals, problem.x0, jac=dif.jacobian(problem.residuals), bounds=(low, high), method="trf",
        xtol=1e-15, ftol=1e-15, gtol=1e-12,
    )  # fmt: skip
    assert ours.success, ours.message
    assert ours.cost <= theirs.cost * (1 + 1e-7) + 1e-10
    assert all((low < x).all() and (x < high).all() for x in inside[:-1])
    # the conditions of a minimum: no gradient where x is free, and one that pushes outward where it is held
    g, held = dif.grad(lambda x: 0.5 * dif.sum(problem.residuals(x) ** 2))(ours.x), ours.active_mask
    assert ((ours.x == high) == (held == 1)).all() and ((ours.x == low) == (held == -1)).all()
    size = np.linalg.norm(ours.jac, axis=0) * np.linalg.norm(ours.fun) + 1e-12
    assert (np.abs(g[held == 0]) <= 1e-6 * size[held == 0]).all()
    assert (held * g <= 1e-9).all()


def test_the_default_with_bounds():
    result = optim.least_squares(lambda x: x - 2, [0.5, 0.0], bounds=([0, 0], [1, 3]))
    assert result.method == "trf" and "bounds" in result.choice
    assert result.x.tolist() == [1, 2] and result.active_mask.tolist() == [1, 0]
    fit = optim.curve_fit(lambda x, a: a * x, np.arange(1.0, 5), 3 * np.arange(1.0, 5), bounds=(0, 2))
    assert fit.popt.tolist() == [2] and fit.result.method == "trf"


def test_starts_on_bounds_and_in_slits():
    result = optim.least_squares(lambda x: x - np.array([1.0, 5.0]), [0.0, 2.0], bounds=([0, 2], [3, 2 + 1e-13]))
    assert result.success
    np.testing.assert_allclose(result.x, [1, 2], rtol=1e-12)


@pytest.mark.parametrize("loss", ["soft_l1", "huber", "cauchy", "arctan"])
def test_losses_with_bounds(loss):
    rng = np.random.default_rng(5)
    x = np.linspace(0, 2, 50)
    y = 1.5 * np.exp(-x) + 0.02 * rng.normal(size=50)
    y[::9] += 1.0

    def residuals(p):
        return p[0] * dif.exp(-p[1] * x) - y

    settings = {"loss": loss, "f_scale": 0.1, "bounds": ([0, 0], [1.2, 5]), "method": "trf"}
    ours = optim.least_squares(residuals, [1.0, 0.5], **settings)
    theirs = scipy.optimize.least_squares(residuals, [1.0, 0.5], xtol=1e-15, ftol=1e-15, gtol=1e-12, **settings)
    assert ours.success and ours.x[0] == 1.2
    assert ours.cost <= theirs.cost * (1 + 1e-9)


@pytest.mark.parametrize("m", [400, 800])
def test_large_and_sparse(m):
    n = 400
    rng = np.random.default_rng(0)
    d = np.resize(rng.normal(size=n), m)

    def residuals(x):
        rows = dif.concatenate([x, x])[:m] - d
        return dif.concatenate([rows, 3 * (x[:-2] - 2 * x[1:-1] + x[2:])])

    bounds = (-0.1, 0.2)
    ours = optim.least_squares(residuals, np.zeros(n), bounds=bounds)
    bend = sp.diags_array([1.0, -2.0, 1.0], offsets=[0, 1, 2], shape=(n - 2, n))
    A = sp.vstack([sp.eye_array(n)] * (m // n) + [3 * bend])
    theirs = scipy.optimize.lsq_linear(A.toarray(), np.concatenate([d, np.zeros(n - 2)]), bounds, tol=1e-13)
    assert ours.success and ours.method == "trf" and sp.issparse(ours.jac)
    assert ours.cost <= theirs.cost * (1 + 1e-9)
    np.testing.assert_allclose(ours.x, theirs.x, atol=1e-6)


def test_least_of_a_sum_without_a_root():
    """The radius stays in proportion to x and the residuals."""
    for settings in ({}, {"bounds": (-5, 5)}):
        result = optim.least_squares(lambda x: x**2 + 1, [2.0], **settings)
        assert result.success and abs(result.x[0]) < 1e-6 and result.state.radius > 1e-20


def test_two_step_secant_equations_hold_for_quadratics():
    """On a quadratic every pair is one of the Hessian: w = A r; and the factor from values of f is 1."""
    rng = np.random.default_rng(1)
    B = rng.normal(size=(5, 5))
    A = B @ B.T + np.eye(5)
    problem = Problem(lambda x: 0.5 * x @ (A @ x), np.ones(5))
    points = [problem.at(rng.normal(size=5)) for _ in range(3)]
    points[2] = problem.at(points[1].x - 0.1 * points[1].g)
    last, pair = ((q.x - p.x, q.g - p.g) for p, q in zip(points, points[1:], strict=False))
    r, w = curvature_pair(problem, points[1], points[2], 0.1, pair, last)
    assert np.linalg.norm(r - pair[0]) > 1e-3
    np.testing.assert_allclose(w, A @ r, rtol=1e-9)
