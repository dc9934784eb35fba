"""Derivatives of samples: closed forms, differences at the same words, mpmath's distribution functions, known means."""

import mpmath
import numpy as np
import pytest
from scipy import stats

import difftensor as dif
from difftensor.errors import MissingDerivativeError
from difftensor.random._paths import vonmises_slope, wald_slope
from difftensor.special._incomplete_gamma import log_slope
from difftensor.testing import check_grads

CUTS = [0, 0.05, 0.2, 0.5, 1, 2, mpmath.pi]


def fresh(seed=7):
    return dif.random.default_rng(seed)


# Differentiable functions of parameters and noise -------------------------------------------------------------------

SMOOTH = {
    "uniform": (lambda a, b: fresh().uniform(a, b, 5), (0.3, 1.2)),
    "normal": (lambda a, b: fresh().normal(a, b, 5), (0.3, 1.2)),
    "normal of arrays": (lambda a, b: fresh().normal(a, b), (np.array([[0.3], [1.0]]), np.array([1.2, 0.1, 2.0]))),
    "exponential": (lambda a: fresh().exponential(a, 5), (0.3,)),
    "laplace": (lambda a, b: fresh().laplace(a, b, 5), (0.3, 1.2)),
    "logistic": (lambda a, b: fresh().logistic(a, b, 5), (0.3, 1.2)),
    "gumbel": (lambda a, b: fresh().gumbel(a, b, 5), (0.3, 1.2)),
    "lognormal": (lambda a, b: fresh().lognormal(a, b, 5), (0.3, 1.2)),
    "rayleigh": (lambda a: fresh().rayleigh(a, 5), (0.3,)),
    "weibull": (lambda a: fresh().weibull(a, 5), (1.3,)),
    "pareto": (lambda a: fresh().pareto(a, 5), (1.3,)),
    "power": (lambda a: fresh().power(a, 5), (1.3,)),
    "triangular": (lambda a, b, c: fresh().triangular(a, b, c, 5), (-1.0, 0.3, 2.0)),
    "vonmises mu": (lambda a: fresh().vonmises(a, 2.0, 5), (0.3,)),
    "wald mean and scale": (lambda m: fresh().wald(m, 2 * m, 5), (1.3,)),  # m times a draw without parameters
    "multivariate_normal": (
        lambda a, b: fresh().multivariate_normal(a, b @ b.T, 3),
        (np.array([1.0, 2.0]), np.array([[1.0, 0.3], [0.2, 2.0]])),
    ),
    "multivariate_normal by cholesky": (
        lambda a, b: fresh().multivariate_normal(a, b @ b.T, 3, method="cholesky"),
        (np.array([1.0, 2.0]), np.array([[1.0, 0.3], [0.2, 2.0]])),
    ),
    "permutation": (lambda x: fresh().permutation(x), (np.arange(5.0) ** 2,)),
    "permuted": (lambda x: fresh().permuted(x, axis=1), (np.arange(12.0).reshape(3, 4) ** 2,)),
    "choice": (lambda x: fresh().choice(x, (2, 3), axis=1), (np.arange(12.0).reshape(3, 4) ** 2,)),
}


@pytest.mark.parametrize("name", SMOOTH)
def test_differences_at_the_same_words(name):
    f, args = SMOOTH[name]
    check_grads(f, tuple(map(np.asarray, args)), order=2)


def test_equal_variances_have_a_derivative():
    """The symmetric square root, not the eigenvectors, which have none there."""
    g = dif.grad(lambda c: fresh().multivariate_normal(np.zeros(2), c, 1000).var(axis=0).sum())(np.eye(2))
    assert np.isfinite(g).all()
    variances = fresh().multivariate_normal(np.zeros(2), np.eye(2), 1000).var(axis=0)  # c times those of c = 1
    np.testing.assert_allclose(np.diag(g), variances, rtol=1e-6)


# Implicit derivatives: the formulas against mpmath's distribution functions -----------------------------------------


def implicit(cdf, density, theta, digits=80):
    """-(dF/dtheta) / p by differences of high precision."""
    with mpmath.workdps(digits):
        theta = mpmath.mpf(theta)
        h = theta * mpmath.mpf(10) ** (-digits // 4)
        return float(-(cdf(theta + h) - cdf(theta - h)) / (2 * h) / density(theta))


@pytest.mark.parametrize("a", [1e-3, 0.05, 0.3, 0.7, 1.0, 1.5, 4.0, 30.0, 500.0, 1e4])
def test_slope_of_gamma(a):
    for u in (1e-6, 0.01, 0.3, 0.49, 0.51, 0.8, 0.999, 1 - 1e-7):
        x = float(stats.gamma.ppf(u, a))
        if x < 1e-290:
            continue
        lower = x < a

        def cdf(b, x=x, lower=lower):
            if lower:
                return mpmath.gammainc(b, 0, x, regularized=True)
            return -mpmath.gammainc(b, x, mpmath.inf, regularized=True)

        def density(b, x=x):
            return mpmath.exp((b - 1) * mpmath.log(x) - x - mpmath.loggamma(b))

        expected = implicit(cdf, density, a) / x
        assert float(log_slope(np, np.float64(a), np.log(x))) == pytest.approx(expected, rel=5e-13)


def test_slope_of_large_gamma():
    """x = a + sqrt(a) z + (z^2 - 1) / 3 + ... (Cornish and Fisher): dx/da tends to 1 + z / (2 sqrt(a))."""
    a = np.float64(1e10)
    z = np.linspace(-3, 3, 7)
    x = a + np.sqrt(a) * z + (z * z - 1) / 3
    np.testing.assert_allclose(x * log_slope(np, a, np.log(x)), 1 + z / (2 * np.sqrt(a)), rtol=1e-8)


def test_slope_of_tiny_gamma():
    """P(a, x) ~ x^a / Gamma(a + 1): log x = (log u + log Gamma(a + 1)) / a, far below what a double holds."""
    a, log_x = 0.01, -2000.0
    from scipy.special import digamma, gammaln

    u = a * log_x - gammaln(a + 1)
    expected = (digamma(a + 1) - (u + gammaln(a + 1)) / a) / a
    assert float(log_slope(np, np.float64(a), np.float64(log_x))) == pytest.approx(expected, rel=1e-13)


@pytest.mark.parametrize("c", [0.01, 0.3, 1.0, 5.0, 100.0, 1e4])
def test_slope_of_wald(c):
    for x in (1e-3, 0.05, 0.5, 0.9, 1.0, 1.1, 2.0, 10.0, 100.0):
        if stats.invgauss(1 / c, scale=c).pdf(x) < 1e-30:
            continue

        def cdf(c, x=x):
            root = mpmath.sqrt(c / x)
            return mpmath.ncdf(root * (x - 1)) + mpmath.exp(2 * c) * mpmath.ncdf(-root * (x + 1))

        def density(c, x=x):
            return mpmath.sqrt(c / (2 * mpmath.pi * mpmath.mpf(x) ** 3)) * mpmath.exp(-c * (x - 1) ** 2 / (2 * x))

        expected = implicit(cdf, density, c, 120)
        assert float(wald_slope(np, np.float64(c), np.float64(x))) == pytest.approx(expected, rel=1e-11, abs=1e-15 * x)


@pytest.mark.parametrize("k", [1e-3, 0.3, 1.0, 4.0, 30.0, 300.0])
def test_slope_of_vonmises(k):
    for t in (0.01, 0.1, 0.3, 0.7, 1.2, 2.0, 2.9, -0.3, -2.0):
        if stats.vonmises(k).pdf(t) < 1e-13:
            continue

        def weight(k, s):
            return mpmath.exp(k * (mpmath.cos(s) - 1))

        def cdf(k, t=t):
            inside = mpmath.quad(lambda s: weight(k, s), [0, t / 4, t / 2, t])
            return inside / (2 * mpmath.quad(lambda s: weight(k, s), CUTS))

        def density(k, t=t):
            return weight(k, t) / (2 * mpmath.quad(lambda s: weight(k, s), CUTS))

        expected = implicit(cdf, density, k, 40)
        assert float(vonmises_slope(np, np.float64(k), np.float64(t))) == pytest.approx(expected, rel=1e-10)


# ... and the draws: differences of the inverse distribution function at the same value of it ------------------------

QUANTILES = {
    "gamma": (lambda a, s: fresh().gamma(a, s, 40), lambda a, s: stats.gamma(a, scale=s), (2.5, 1.5)),
    "gamma below 1": (lambda a, s: fresh().gamma(a, s, 40), lambda a, s: stats.gamma(a, scale=s), (0.3, 1.5)),
    "standard_gamma": (lambda a: fresh().standard_gamma(a, 40), stats.gamma, (70.0,)),
    "chisquare": (lambda d: fresh().chisquare(d, 40), stats.chi2, (3.5,)),
    "wald": (lambda m, s: fresh().wald(m, s, 40), lambda m, s: stats.invgauss(m / s, scale=s), (1.5, 2.0)),
}


@pytest.mark.parametrize("name", QUANTILES)
def test_samples_move_with_the_inverse_distribution_function(name):
    draw, law, args = QUANTILES[name]
    x = draw(*args).numpy()
    u = law(*args).cdf(x)
    for i, v in enumerate(args):
        found = dif.jacobian(lambda v, i=i: draw(*args[:i], v, *args[i + 1 :]))(np.float64(v))
        h = 1e-5 * v
        up, down = (law(*args[:i], v + d, *args[i + 1 :]).ppf(u) for d in (h, -h))
        np.testing.assert_allclose(found, (up - down) / (2 * h), rtol=2e-7)


@pytest.mark.parametrize("a", [0.4, 2.5])
def test_second_derivatives_of_gamma(a):
    draw = lambda v: fresh().standard_gamma(v, 12)
    u, h = stats.gamma.cdf(draw(a).numpy(), a), 1e-4 * a
    ppf = lambda v: stats.gamma.ppf(u, v)
    expected = (ppf(a + h) - 2 * ppf(a) + ppf(a - h)) / h**2
    np.testing.assert_allclose(dif.jacobian(dif.jacobian(draw))(a), expected, rtol=1e-4, atol=2e-6)


# Derivatives of expectations that are known; the error of the mean is about 1e-2 of the spread ----------------------

N = 40_000
MEANS = {
    "beta": (lambda a, b: fresh().beta(a, b, N).mean(), (2.0, 3.0), (3 / 25, -2 / 25)),
    "beta, small": (lambda a, b: fresh().beta(a, b, N).mean(), (0.3, 0.2), (0.2 / 0.25, -0.3 / 0.25)),
    "standard_t": (lambda d: (fresh().standard_t(d, N) ** 2).mean(), (12.0,), (-2 / 100,)),
    "f": (lambda m, n: fresh().f(m, n, N).mean(), (4.0, 12.0), (0.0, -2 / 100)),
    "noncentral_chisquare": (lambda d, n: fresh().noncentral_chisquare(d, n, N).mean(), (3.0, 2.0), (1.0, 1.0)),
    "noncentral_f": (
        lambda m, n, c: fresh().noncentral_f(m, n, c, N).mean(), (3.0, 12.0, 2.0),
        (-12 * 2 / 9 / 10, -2 * 5 / 3 / 100, 12 / 3 / 10),
    ),
    "weibull": (lambda a: (fresh().weibull(a, N) ** a).mean(), (1.5,), (0.0,)),
    "vonmises": (  # E cos t = A(k) = I1/I0, A' = 1 - A/k - A^2
        lambda k: dif.cos(fresh().vonmises(0.0, k, N)).mean(), (2.0,), (1 - 0.697774657964 / 2 - 0.697774657964**2,),
    ),
    "wald": (lambda m, s: fresh().wald(m, s, N).var(), (1.5, 2.0), (3 * 1.5**2 / 2, -(1.5**3) / 4)),
}  # fmt: skip


@pytest.mark.parametrize("name", MEANS)
def test_derivatives_of_means(name):
    f, args, expected = MEANS[name]
    found = dif.grad(f, argnums=tuple(range(len(args))))(*args)
    np.testing.assert_allclose(found, expected, rtol=0.06, atol=0.01)


def test_derivative_of_a_mean_of_dirichlet():
    alpha = np.array([1.0, 2.0, 3.0])
    jac = dif.jacobian(lambda a: fresh().dirichlet(a, N).mean(axis=0))(alpha)
    np.testing.assert_allclose(jac, np.eye(3) / 6 - alpha[:, None] / 36, atol=4e-3)
    np.testing.assert_allclose(jac.sum(axis=0), 0.0, atol=1e-12)  # the parts add up to 1


def test_underflow_has_no_nan():
    """Gamma variables of shape 0.001 are mostly 0 in double precision; their logarithms are not."""
    a = np.full(200, 1e-3)
    x = fresh().standard_gamma(a)
    assert (x == 0).any()
    g = dif.grad(lambda a: fresh().standard_gamma(a).sum())(a)
    assert np.isfinite(g).all() and (g[x.numpy() == 0] == 0).all()
    assert np.isfinite(dif.grad(lambda a: (fresh().beta(a, a) ** 2).sum())(a)).all()
    assert np.isfinite(dif.grad(lambda a: (fresh().dirichlet(a) ** 2).sum())(a)).all()


def test_parameters_of_single_precision():
    a = np.array([0.5, 2.0], dtype=np.float32)
    g = dif.grad(lambda a: fresh().standard_gamma(a, dtype=np.float32).sum())(a)
    assert g.dtype == np.float32
    exact = dif.grad(lambda a: fresh().standard_gamma(a).sum())(a.astype(float))
    np.testing.assert_allclose(g, exact, rtol=1e-4)


def test_through_the_imperative_side():
    mu, sigma = dif.tensor(0.5, requires_grad=True), dif.tensor([1.0, 2.0], requires_grad=True)
    z = fresh().standard_normal((3, 2))
    fresh().normal(mu, sigma, (3, 2)).sum().backward()
    assert mu.grad == 6
    np.testing.assert_allclose(sigma.grad.numpy(), z.numpy().sum(axis=0))


# No derivative is lost ----------------------------------------------------------------------------------------------

LOST = {
    "poisson": (lambda v: fresh().poisson(v, 3), "lam"),
    "binomial": (lambda v: fresh().binomial(5, v, 3), "p"),
    "negative_binomial": (lambda v: fresh().negative_binomial(5, v, 3), "p"),
    "geometric": (lambda v: fresh().geometric(v, 3), "p"),
    "logseries": (lambda v: fresh().logseries(v, 3), "p"),
    "zipf": (lambda v: fresh().zipf(v + 1, 3), "a"),
    "integers": (lambda v: fresh().integers(v * 10, size=3), "high"),
    "multinomial": (lambda v: fresh().multinomial(5, dif.array([v, 1 - v])), "pvals"),
    "multinomial of a list": (lambda v: fresh().multinomial(5, [v, 1 - v]), "pvals"),
    "choice": (lambda v: fresh().choice(2, 3, p=dif.array([v, 1 - v])), "p"),
    "noncentral_chisquare": (lambda v: fresh().noncentral_chisquare(0.5, v, 3), "nonc"),
}


@pytest.mark.parametrize("name", LOST)
@pytest.mark.parametrize("mode", ["grad", "jvp", "stream", "vmap of grad"])
def test_a_tracked_parameter_of_a_draw_without_derivative_raises(name, mode):
    f, parameter = LOST[name]
    total = lambda v: (1.0 * f(v)).sum()
    said = rf"{name.split()[0]}: .*'{parameter}'.*{parameter}\.detach\(\)"
    with pytest.raises(MissingDerivativeError, match=said) as error:
        if mode == "grad":
            dif.grad(total)(0.5)
        elif mode == "vmap of grad":
            dif.vmap(dif.grad(total))(np.array([0.5, 0.6]))
        elif mode == "jvp":
            dif.linearize(total, 0.5)
        else:
            dif.jvp(total, (0.5,), (1.0,))
    assert "score function" in str(error.value)


def test_detached_parameters_are_taken():
    def f(v):
        return v * fresh().poisson((10 * v).detach(), 4).sum()

    assert dif.grad(f)(0.5) == fresh().poisson(5.0, 4).numpy().sum()
    with dif.no_grad():
        v = dif.tensor(5.0, requires_grad=True)
        assert (fresh().poisson(v, 4) == fresh().poisson(5.0, 4)).all()


def test_the_score_function_that_the_message_names():
    """d/dlam E k^2 = 2 lam + 1 of Poisson numbers."""
    lam = 3.0
    k = fresh().poisson(lam, 200_000).numpy()
    f = k.astype(float) ** 2
    score = dif.vjp(lambda m: k * dif.log(m) - m, np.full(k.shape, lam))[1](np.ones(k.shape))[0]
    assert ((f - f.mean()) * score).mean() == pytest.approx(2 * lam + 1, rel=0.03)
