"""Draws against the distributions they are said to have: Kolmogorov-Smirnov, chi-square, moments, with fixed seeds.

About a hundred tests with a threshold of 10^-4: a right sampler fails none of them with a probability of 99 %, and the
seeds are fixed.
"""

import zlib

import numpy as np
import pytest
from scipy import stats

import difftensor as dif

N = 60_000
LEAST = 1e-4


def case(v):
    return v if isinstance(v, str) else "" if hasattr(v, "cdf") else str(v)


def seeded(*what):
    return dif.random.default_rng(zlib.crc32(repr(what).encode()))


CONTINUOUS = [
    ("random", (), stats.uniform()), ("uniform", (-1.0, 3.0), stats.uniform(-1, 4)),
    ("standard_normal", (), stats.norm()), ("normal", (1.0, 2.0), stats.norm(1, 2)),
    ("standard_exponential", (), stats.expon()), ("exponential", (2.5,), stats.expon(scale=2.5)),
    ("standard_cauchy", (), stats.cauchy()), ("laplace", (1.0, 2.0), stats.laplace(1, 2)),
    ("logistic", (1.0, 2.0), stats.logistic(1, 2)), ("gumbel", (1.0, 2.0), stats.gumbel_r(1, 2)),
    ("lognormal", (1.0, 0.5), stats.lognorm(0.5, scale=np.e)), ("rayleigh", (2.0,), stats.rayleigh(scale=2)),
    ("weibull", (1.7,), stats.weibull_min(1.7)), ("pareto", (1.7,), stats.lomax(1.7)),
    ("power", (0.4,), stats.powerlaw(0.4)), ("triangular", (-1.0, 0.5, 3.0), stats.triang(1.5 / 4, -1, 4)),
    ("triangular", (0.0, 0.0, 1.0), stats.triang(0, 0, 1)), ("triangular", (0.0, 1.0, 1.0), stats.triang(1, 0, 1)),
    *(("standard_gamma", (a,), stats.gamma(a)) for a in (0.01, 0.3, 1.0, 1.5, 30.0, 1e6)),
    ("gamma", (2.5, 3.0), stats.gamma(2.5, scale=3)), ("chisquare", (3.0,), stats.chi2(3)),
    ("chisquare", (0.5,), stats.chi2(0.5)), ("f", (3.0, 5.0), stats.f(3, 5)), ("standard_t", (2.5,), stats.t(2.5)),
    *(("beta", ab, stats.beta(*ab)) for ab in ((0.5, 0.7), (2.0, 3.0), (50.0, 0.3), (0.15, 0.3), (1e5, 1e5))),
    ("noncentral_chisquare", (3.0, 2.0), stats.ncx2(3, 2)), ("noncentral_chisquare", (0.5, 2.0), stats.ncx2(0.5, 2)),
    ("noncentral_f", (3.0, 5.0, 2.0), stats.ncf(3, 5, 2)), ("noncentral_f", (0.8, 5.0, 2.0), stats.ncf(0.8, 5, 2)),
    *(("wald", (m, c), stats.invgauss(m / c, scale=c)) for m, c in ((2.0, 3.0), (10.0, 0.1), (1.0, 1e4))),
    *(("vonmises", (0.0, k), stats.vonmises(max(k, 1e-9))) for k in (0.0, 1e-6, 0.3, 4.0, 1e4, 1e8)),
]  # fmt: skip


@pytest.mark.parametrize("name, args, law", CONTINUOUS, ids=case)
def test_distribution_function(name, args, law):
    x = getattr(seeded(name, args), name)(*args, size=N).numpy()
    assert stats.kstest(x, law.cdf).pvalue > LEAST


@pytest.mark.parametrize(
    "name, law", [("random", "uniform"), ("standard_normal", "norm"), ("standard_exponential", "expon")]
)
def test_single_precision(name, law):
    x = getattr(seeded(name, "single"), name)(N, dtype=np.float32)
    assert x.dtype == np.float32
    assert stats.kstest(x.numpy().astype(float), law).pvalue > LEAST


def p_value(k, law):
    """Of the counts of each integer, those that are expected less than five times together."""
    values, counts = np.unique(k, return_counts=True)
    span = np.arange(values[0], values[-1] + 1) if values[-1] - values[0] < 10**5 else values
    observed = np.zeros(len(span))
    observed[np.searchsorted(span, values)] = counts
    expected = law.pmf(span) * len(k)
    common = expected >= 5
    o = np.append(observed[common], len(k) - observed[common].sum())
    e = np.append(expected[common], len(k) - expected[common].sum())
    if e[-1] < 5:  # with the last of the common ones
        o, e = np.append(o[:-2], o[-2:].sum()), np.append(e[:-2], e[-2:].sum())
    return stats.chisquare(o, e * (o.sum() / e.sum())).pvalue if len(o) > 1 else 1.0


COUNTS = [
    *(("poisson", (m,), stats.poisson(m)) for m in (0.0, 0.05, 3.0, 9.99, 10.0, 35.0, 2000.0)),
    *(
        ("binomial", np, stats.binom(*np))
        for np in (
            (10, 0.3), (1, 0.5), (40, 0.25), (100, 0.5), (100, 0.9), (30, 0.99), (10**6, 1e-6), (10**4, 0.2),
            (7, 0.0), (7, 1.0),
        )
    ),
    *(("geometric", (p,), stats.geom(p)) for p in (0.02, 0.6, 1.0)),
    *(("negative_binomial", np, stats.nbinom(*np)) for np in ((3.5, 0.3), (40.0, 0.2), (0.3, 0.9))),
    *(("logseries", (p,), stats.logser(p)) for p in (0.2, 0.95)),
    *(("zipf", (a,), stats.zipf(a)) for a in (1.8, 4.0)),
    *(
        ("hypergeometric", gbs, stats.hypergeom(gbs[0] + gbs[1], gbs[0], gbs[2]))
        for gbs in (
            (5, 7, 6), (50, 70, 30), (1000, 30, 500), (3, 100, 90), (20, 10, 25), (10**6, 10**6, 10**4), (1, 1, 1),
        )
    ),
    ("integers", (3, 17), stats.randint(3, 17)), ("integers", (5,), stats.randint(0, 5)),
]  # fmt: skip


@pytest.mark.parametrize("name, args, law", COUNTS, ids=case)
def test_probabilities(name, args, law):
    k = getattr(seeded(name, args), name)(*args, size=N)
    assert k.dtype == np.int64
    k = k.numpy()
    if name == "zipf":
        k = k[k <= 1000]  # of the tail too few
        law = type("Law", (), {"pmf": staticmethod(lambda v, law=law: law.pmf(v) / law.cdf(1000))})
    assert p_value(k, law) > LEAST


def test_huge_means():
    """Where counts have no place of their own: mean and variance, and no loss of digits in the acceptance."""
    k = seeded("huge").poisson(1e15, N).numpy()
    z = (k - 1e15) / np.sqrt(1e15)
    assert stats.kstest(z, "norm").pvalue > LEAST
    k = seeded("huge").binomial(10**15, 0.3, N).numpy()
    z = (k - 3e14) / np.sqrt(10**15 * 0.21)
    assert stats.kstest(z, "norm").pvalue > LEAST


# Parameters that are arrays: every element by itself ----------------------------------------------------------------

MIXED = [
    ("standard_gamma", np.array([0.2, 0.9, 3.0]), stats.gamma), ("poisson", np.array([0.5, 9.0, 80.0]), stats.poisson),
    ("vonmises", np.array([1e-9, 1.0, 1e7]), None), ("chisquare", np.array([0.5, 2.0, 9.0]), stats.chi2),
    ("geometric", np.array([0.1, 0.5, 0.9]), stats.geom), ("weibull", np.array([0.5, 1.0, 3.0]), stats.weibull_min),
]  # fmt: skip


@pytest.mark.parametrize("name, values, law", MIXED, ids=[m[0] for m in MIXED])
def test_small_and_large_parameters_in_one_array(name, values, law):
    rng = seeded(name, "mixed")
    args = (0.0, values) if name == "vonmises" else (values,)
    x = getattr(rng, name)(*args, size=(20_000, 3)).numpy()
    for j, v in enumerate(values):
        one = stats.vonmises(max(v, 1e-9)) if law is None else law(v)
        p = (
            p_value(x[:, j], one)
            if hasattr(one, "pmf") and x.dtype.kind == "i"
            else stats.kstest(x[:, j], one.cdf).pvalue
        )
        assert p > LEAST
    assert abs(np.corrcoef(x.T)[np.triu_indices(3, 1)]).max() < 0.05


def test_binomial_of_arrays():
    n, p = np.array([5, 200, 200, 40]), np.array([0.3, 0.4, 0.97, 0.1])
    k = seeded("binomial").binomial(n, p, size=(20_000, 4)).numpy()
    for j in range(4):
        assert p_value(k[:, j], stats.binom(n[j], p[j])) > LEAST


def test_noncentral_chisquare_of_arrays():
    df = np.array([0.5, 1.0, 4.0])
    x = seeded("ncx2").noncentral_chisquare(df, 1.5, size=(20_000, 3)).numpy()
    for j in range(3):
        assert stats.kstest(x[:, j], stats.ncx2(df[j], 1.5).cdf).pvalue > LEAST


# Integers -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int16, np.uint16, np.int32, np.uint32, np.int64, np.uint64])
def test_all_integers_of_a_type(dtype):
    low, high = int(np.iinfo(dtype).min), int(np.iinfo(dtype).max)
    k = seeded(str(dtype)).integers(low, high, size=N, dtype=dtype, endpoint=True)
    assert k.dtype == dtype
    u = (k.numpy().astype(float) - low + 0.5) / (high - low + 1.0)
    if np.dtype(dtype).itemsize > 1:
        assert stats.kstest(u, "uniform").pvalue > LEAST
    else:
        assert p_value(k.numpy().astype(int), stats.randint(low, high + 1)) > LEAST


@pytest.mark.parametrize("r", [3, 2**31 + 1, 3 * 2**30, 2**32, 2**32 + 1, 3 * 2**62, 2**63 + 1, 2**64 - 1])
def test_ranges_where_many_words_are_drawn_again(r):
    """3 2^30 of 2^32: without rejection some thirds would be hit twice as often as others."""
    k = seeded(r).integers(0, r, size=N, dtype=np.uint64).numpy()
    assert k.max() < r
    thirds = np.array([(int(v) * 3) // r for v in k])
    assert p_value(thirds, stats.randint(0, 3)) > LEAST
    if r % 4 == 0:
        assert p_value((k % np.uint64(4)).astype(int), stats.randint(0, 4)) > LEAST


def test_integers_between_arrays():
    low, high = np.array([0, -5, 2**62, -(2**63)]), np.array([3, 5, 2**63 - 1, 2**63 - 1])
    k = seeded("between").integers(low, high, size=(20_000, 4)).numpy()
    assert (k >= low).all() and (k < high).all()
    for j in range(2):
        assert p_value(k[:, j], stats.randint(low[j], high[j])) > LEAST
    for j in (2, 3):
        u = (k[:, j].astype(float) - float(low[j])) / (float(high[j]) - float(low[j]))
        assert stats.kstest(u, "uniform").pvalue > LEAST


def test_booleans():
    k = seeded("bool").integers(0, 2, size=N, dtype=bool)
    assert k.dtype == bool
    assert stats.binomtest(int(k.sum()), N).pvalue > LEAST


# Vectors ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["svd", "eigh", "cholesky"])
def test_multivariate_normal(method):
    mean, cov = np.array([1.0, -2.0, 0.5]), np.array([[2.0, 0.6, 0.3], [0.6, 1.0, -0.4], [0.3, -0.4, 0.5]])
    x = seeded("mvn", method).multivariate_normal(mean, cov, N, method=method).numpy()
    assert x.shape == (N, 3)
    # the squared Mahalanobis distance and three directions
    d = x - mean
    assert stats.kstest(np.einsum("ni,ij,nj->n", d, np.linalg.inv(cov), d), stats.chi2(3).cdf).pvalue > LEAST
    for v in np.eye(3) + 0.3:
        assert stats.kstest(d @ v / np.sqrt(v @ cov @ v), "norm").pvalue > LEAST


def test_a_singular_covariance():
    x = seeded("singular").multivariate_normal([0.0, 0.0], [[1.0, 1.0], [1.0, 1.0]], 1000).numpy()
    np.testing.assert_allclose(x[:, 0], x[:, 1], atol=1e-7)


@pytest.mark.parametrize("alpha", [[0.5, 2.0, 3.0], [0.01, 0.02, 0.005], [1e4, 2e4, 1.0]])
def test_dirichlet(alpha):
    alpha = np.array(alpha)
    x = seeded("dirichlet", tuple(alpha)).dirichlet(alpha, N).numpy()
    np.testing.assert_allclose(x.sum(1), 1.0, rtol=1e-12)
    for j in range(3):
        law = stats.beta(alpha[j], alpha.sum() - alpha[j])
        # where SciPy's distribution function has its own trouble with numbers next to 0 and 1, compare shares
        if alpha.max() < 0.1:
            share = (x[:, j] > 0.5).sum()
            assert stats.binomtest(int(share), N, float(law.sf(0.5))).pvalue > LEAST
        else:
            assert stats.kstest(x[:, j], law.cdf).pvalue > LEAST


def test_a_concentration_of_zero():
    x = seeded("zero").dirichlet([1.0, 0.0, 2.0], 500).numpy()
    assert (x[:, 1] == 0).all()
    assert stats.kstest(x[:, 0], stats.beta(1, 2).cdf).pvalue > LEAST


def test_multinomial():
    p = np.array([0.1, 0.0, 0.55, 0.35])
    k = seeded("multinomial").multinomial(40, p, N).numpy()
    assert (k.sum(1) == 40).all() and (k[:, 1] == 0).all()
    for j in (0, 2, 3):
        assert p_value(k[:, j], stats.binom(40, p[j])) > LEAST
    cov = 40 * (np.diag(p) - np.outer(p, p))
    np.testing.assert_allclose(np.cov(k.T), cov, atol=0.3)


def test_multinomials_of_several():
    k = seeded("several").multinomial([[10], [20]], [[0.2, 0.8], [0.5, 0.5]], size=(4000, 2, 2)).numpy()
    assert (k.sum(-1) == [[10], [20]]).all()
    assert p_value(k[:, 1, 0, 0], stats.binom(20, 0.2)) > LEAST


def test_multivariate_hypergeometric():
    colors = np.array([10, 20, 5, 0])
    k = seeded("mvh").multivariate_hypergeometric(colors, 15, N).numpy()
    assert (k.sum(1) == 15).all() and (k <= colors).all()
    for j in range(3):
        assert p_value(k[:, j], stats.hypergeom(35, colors[j], 15)) > LEAST


# The words behind them ----------------------------------------------------------------------------------------------


def test_extreme_words_give_finite_numbers():
    """The smallest and the largest word: no infinity, no number outside the support."""
    from difftensor.random import _noise

    words = np.array([0, 1, 2**63, 2**64 - 1], dtype=np.uint64)
    for f in (_noise.normal, _noise.exponential, _noise.cauchy, _noise.laplace, _noise.logistic, _noise.gumbel):
        assert np.isfinite(f(np, words.copy())).all()
    u = _noise.centered(np, words.copy())
    assert (u > 0).all() and (u < 1).all() and u[0] == 1 - u[-1]
    assert (_noise.uniform(np, words.copy()) < 1).all()
    halves = np.array([0, 1, 2**31, 2**32 - 1], dtype=np.uint32)
    for f in (_noise.normal_single, _noise.exponential_single, _noise.uniform_single):
        y = f(np, halves.copy())
        assert np.isfinite(y).all() and y.dtype == np.float32
    assert (_noise.uniform_single(np, halves.copy()) < 1).all()


def test_one_draw_after_the_other_is_independent():
    """Gamma, Poisson and von Mises draws share places of the stream with their rejections: neighbours and successive
    draws must not notice."""
    rng = seeded("independent")
    for draw in (lambda: rng.standard_gamma(0.4, N), lambda: rng.poisson(12.0, N), lambda: rng.vonmises(0.0, 1.0, N)):
        x, y = stats.rankdata(draw().numpy()), stats.rankdata(draw().numpy())
        for a, b in ((x, y), (x[1:], x[:-1]), (x[1:], y[:-1])):
            assert abs(np.corrcoef(a, b)[0, 1]) < 4.5 / np.sqrt(N)
