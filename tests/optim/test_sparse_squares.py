"""Least squares with sparse Jacobians: a banded problem in closed form, bundle adjustment, and the ways to solve."""

import numpy as np
import pytest
import scipy.sparse as sp

import difftensor as dif
import optim


def smoothing(n, seed=0):
    """Data and a roughness penalty, ``|x - d|^2 + 9 |D2 x|^2``; the minimizer solves a banded linear system."""
    d = np.random.default_rng(seed).normal(size=n)
    D = sp.diags_array([1.0, -2.0, 1.0], offsets=[0, 1, 2], shape=(n - 2, n))
    A = sp.csc_array(sp.eye_array(n) + 9 * D.T @ D)
    exact = sp.linalg.spsolve(A, d)

    def residuals(x):
        return dif.concatenate([x - d, 3 * (x[:-2] - 2 * x[1:-1] + x[2:])])

    return residuals, exact, d


def cameras(count, points, seed=1):
    """Bundle adjustment: cameras (rotation vector, translation) and points, each seen by three cameras or more."""
    rng = np.random.default_rng(seed)
    poses = np.concatenate([0.1 * rng.normal(size=(count, 3)), rng.normal(size=(count, 3)) * [0.5, 0.5, 0.2]], axis=1)
    world = rng.uniform(-1, 1, size=(points, 3)) + [0, 0, 6]
    pairs = [(c, p) for c in range(count) for p in range(points) if (c - p) % count < 3 or rng.random() < 0.1]
    which, seen = np.array([c for c, _ in pairs]), np.array([p for _, p in pairs])

    def project(x):
        pose = dif.reshape(x[: 6 * count], (count, 6))[which]
        point = dif.reshape(x[6 * count :], (points, 3))[seen]
        w, t = pose[:, :3], pose[:, 3:]
        angle2 = dif.sum(w * w, axis=1)[:, None] + 1e-30
        angle = dif.sqrt(angle2)
        turned = (  # Rodrigues' formula
            point * dif.cos(angle)
            + dif.cross(w, point) * (dif.sin(angle) / angle)
            + w * dif.sum(w * point, axis=1)[:, None] * ((1 - dif.cos(angle)) / angle2)
        )
        moved = turned + t
        return dif.reshape(moved[:, :2] / moved[:, 2:], (-1,))

    truth = np.concatenate([poses.reshape(-1), world.reshape(-1)])
    return project, truth, rng


def test_banded_problem_is_found_sparse_and_solved_to_the_closed_form():
    residuals, exact, _ = smoothing(2000)
    result = optim.least_squares(residuals, np.zeros(2000))
    assert result.success and sp.issparse(result.jac)
    np.testing.assert_allclose(result.x, exact, rtol=0, atol=1e-12)
    assert result.nit <= 8


@pytest.mark.parametrize("solver", ["normal", "lsmr"])
def test_solvers_agree_with_the_dense_method(solver):
    residuals, exact, _ = smoothing(300)

    def bent(x):  # and a nonlinear problem
        return dif.concatenate([residuals(x), 0.5 * x[1:] * x[:-1]])

    dense = optim.least_squares(bent, np.zeros(300), jac_sparsity=None)
    ours = optim.least_squares(bent, np.zeros(300), options={"solver": solver})
    assert dense.success and ours.success
    assert not sp.issparse(dense.jac) and sp.issparse(ours.jac)
    np.testing.assert_allclose(ours.x, dense.x, rtol=0, atol=1e-9)


def test_bundle_adjustment():
    count, points = 6, 90
    project, truth, rng = cameras(count, points)
    # the first two cameras stay, which fixes the frame and its scale
    held = truth[:12]

    def residuals(free):
        return project(dif.concatenate([held, free])) - seen

    seen = project(truth)
    start = truth[12:] + 0.02 * rng.normal(size=truth.size - 12)
    result = optim.least_squares(residuals, start)
    assert result.success and sp.issparse(result.jac)
    assert result.jac.nnz < 0.1 * result.jac.shape[0] * result.jac.shape[1]
    np.testing.assert_allclose(result.x, truth[12:], rtol=0, atol=1e-8)


def test_bundle_adjustment_with_noise_agrees_with_scipy():
    from scipy.optimize import least_squares

    count, points = 4, 70
    project, truth, rng = cameras(count, points, seed=3)
    seen = project(truth) + 1e-3 * rng.normal(size=project(truth).size)

    def residuals(free):
        return project(dif.concatenate([truth[:12], free])) - seen

    start = truth[12:] + 0.01 * rng.normal(size=truth.size - 12)
    ours = optim.least_squares(residuals, start, loss="soft_l1", f_scale=1e-3)
    J = dif.jacobian(residuals)
    theirs = least_squares(residuals, start, jac=J, loss="soft_l1", f_scale=1e-3, x_scale="jac",
                           ftol=1e-15, xtol=1e-15, gtol=1e-15)  # fmt: skip
    assert ours.success and sp.issparse(ours.jac)
    np.testing.assert_allclose(ours.cost, theirs.cost, rtol=1e-9)
    np.testing.assert_allclose(ours.x, theirs.x, atol=1e-5)


def test_bounds():
    residuals, _, d = smoothing(400)
    result = optim.least_squares(residuals, np.zeros(400), bounds=(-0.2, 0.3))
    assert result.success and (result.x >= -0.2).all() and (result.x <= 0.3).all()
    # the conditions of Karush, Kuhn and Tucker, from the linear system
    D = sp.diags_array([1.0, -2.0, 1.0], offsets=[0, 1, 2], shape=(398, 400))
    g = result.x - d + 9 * (D.T @ (D @ result.x))
    inside = (result.x > -0.2) & (result.x < 0.3)
    assert 10 < inside.sum() < 390
    np.testing.assert_allclose(g[inside], 0, atol=1e-7)
    assert (g[result.x == -0.2] > -1e-7).all() and (g[result.x == 0.3] < 1e-7).all()
    np.testing.assert_array_equal(result.active_mask != 0, ~inside)


def test_a_pattern_that_misses_entries_is_an_error():
    residuals, _, _ = smoothing(50)
    wrong = sp.vstack([sp.eye_array(50), sp.diags_array([1.0, 1.0], offsets=[0, 1], shape=(48, 50))])
    with pytest.raises(dif.errors.DifftensorError, match="outside the pattern"):
        optim.least_squares(residuals, np.zeros(50), jac_sparsity=wrong)


def test_given_pattern_and_own_sparse_jacobian():
    n = 60
    residuals, exact, _ = smoothing(n)
    D = sp.diags_array([1.0, -2.0, 1.0], offsets=[0, 1, 2], shape=(n - 2, n))
    J = sp.csr_array(sp.vstack([sp.eye_array(n), 3 * D]))
    for settings in ({"jac_sparsity": J != 0}, {"jac": lambda x: J}):
        result = optim.least_squares(residuals, np.zeros(n), **settings)
        assert result.success and sp.issparse(result.jac)
        np.testing.assert_allclose(result.x, exact, atol=1e-12)


def test_a_function_that_takes_another_way_later():
    """The pattern at the start misses entries that appear on the way; the union is used from there on."""
    n = 250
    d = np.linspace(1, 2, n)

    def residuals(x):
        neighbors = 0.1 * x[1:] if float(dif.asarray(x[0]).detach() if hasattr(x, "detach") else x[0]) > 0.5 else 0.0
        return dif.concatenate([x[:-1] + neighbors - d[:-1], x[-1:] - d[-1:]])

    result = optim.least_squares(residuals, np.zeros(n))
    assert result.success, result.message
    expected = np.linalg.solve(np.eye(n) + np.diag(np.r_[np.full(n - 1, 0.1)], 1), d)
    np.testing.assert_allclose(result.x, expected, atol=1e-10)


def test_curve_fit_with_many_parameters():
    """Piecewise linear interpolation with 300 knots; covariance against the dense formula."""
    n = 300
    rng = np.random.default_rng(5)
    x = np.sort(rng.uniform(0, n - 1, 2000))
    k = np.minimum(x.astype(int), n - 2)
    share = x - k
    y = np.sin(x / 20) + 0.1 * rng.normal(size=x.size)

    def model(x, p):
        return p["knots"][k] * (1 - share) + p["knots"][k + 1] * share

    fit = optim.curve_fit(model, x, y, {"knots": np.zeros(n)})
    A = np.zeros((x.size, n))
    A[np.arange(x.size), k] = 1 - share
    A[np.arange(x.size), k + 1] = share
    expected, rss, *_ = np.linalg.lstsq(A, y, rcond=None)
    assert fit.success and sp.issparse(fit.result.jac)
    np.testing.assert_allclose(fit.popt, expected, atol=1e-10)
    np.testing.assert_allclose(fit.pcov, np.linalg.inv(A.T @ A) * rss[0] / (x.size - n), rtol=1e-7, atol=1e-12)

    sigma = 0.1 + 0.01 * np.cos(x)
    J = sp.csr_array(A)
    own = optim.curve_fit(model, x, y, {"knots": np.zeros(n)}, sigma=sigma, jac=lambda x, p: J, absolute_sigma=True)
    expected = np.linalg.lstsq(A / sigma[:, None], y / sigma, rcond=None)[0]
    assert own.success and sp.issparse(own.result.jac)
    np.testing.assert_allclose(own.popt, expected, atol=1e-10)
    np.testing.assert_allclose(own.pcov, np.linalg.inv((A / sigma[:, None] ** 2).T @ A), rtol=1e-7, atol=1e-12)


def test_derivative_of_a_sparse_solution():
    residuals, _, d = smoothing(250)

    def total(weight):
        shift = weight * np.ones(250)
        r = optim.least_squares(lambda x: residuals(x) + dif.concatenate([shift, np.zeros(248)]), np.zeros(250))
        return dif.sum(r.x * np.arange(250.0))

    # the solution is linear: A x = d - weight, A 1 = 1
    np.testing.assert_allclose(dif.grad(total)(0.3), -np.arange(250.0).sum(), rtol=1e-8)
