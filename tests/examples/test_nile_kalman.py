import numpy as np


def test_published_variances_and_the_smoother(example):
    nile = example("nile_kalman")
    result = nile.main(small=True)
    published = list(nile.PUBLISHED.values())
    np.testing.assert_allclose(result["variances"], published[:2], rtol=1e-5)
    assert abs(result["log-likelihood"] - published[2]) < 1e-4
    assert result["dam"] == 1899

    # the smoother in closed form: the level is a random walk with a diffuse start, a Gaussian with known precision
    eps, eta = result["variances"]
    difference = np.diff(np.eye(len(nile.FLOW)), axis=0)
    precision = np.eye(len(nile.FLOW)) / eps + difference.T @ difference / eta
    np.testing.assert_allclose(result["level"], np.linalg.solve(precision, nile.FLOW / eps), rtol=1e-9)
    np.testing.assert_allclose(result["spread"], np.sqrt(np.diag(np.linalg.inv(precision))), rtol=1e-8)


def test_standard_errors_are_those_of_differences(example):
    nile = example("nile_kalman")
    x, h = np.log([15098.5, 1469.18]), 1e-3
    f = lambda v: -float(np.asarray(nile.log_likelihood(v, nile.FLOW)))
    e = np.eye(2) * h
    hessian = [[(f(x + a + b) - f(x + a - b) - f(x - a + b) + f(x - a - b)) / (4 * h * h) for a in e] for b in e]
    errors = np.exp(x) * np.sqrt(np.diag(np.linalg.inv(hessian)))
    np.testing.assert_allclose(nile.main(small=True)["errors"], errors, rtol=1e-3)
