"""Medians and quantiles of all methods, weighted means, covariances, histograms."""

import warnings

import numpy as np
import pytest

import difftensor as dif
from difftensor._ops.quantiles import METHODS
from difftensor.testing import check_grads
from tests.ops.agreement import agrees, cases, same
from tests.ops.errors import raises_as_numpy

rng = np.random.default_rng(23)
X = rng.standard_normal((3, 5, 4))
A, B = rng.standard_normal((3, 7)), rng.standard_normal((2, 7))
V = rng.standard_normal(20)
W = rng.random(20)
HOLES = np.where(rng.random(X.shape) < 0.3, np.nan, X)
HOLES[0, :, 0] = np.nan
FREQUENCIES = np.array([1, 2, 1, 1, 3, 1, 2])
IMPORTANCE = rng.random(7)
EDGES = np.array([-2.0, -1.0, 0.25, 0.5, 3.0])
Q = np.array([0.13, 0.61, 0.87])

TABLE = [
    (n, X, {"axis": a, "keepdims": k})
    for n in ("median", "nanmedian")
    for a in (None, 0, 1, (0, 2))
    for k in (False, True)
]
TABLE += [
    (n, X, q, {"axis": a})
    for n in ("quantile", "nanquantile")
    for a in (None, 0, (0, 2))
    for q in (0.3, np.array(0.3), Q)
]
TABLE += [(n, X, 100 * Q, {"axis": 1, "keepdims": True}) for n in ("percentile", "nanpercentile")]
TABLE += [("quantile", X, Q, {"axis": 1, "method": m}) for m in METHODS] + [
    ("quantile", X, np.array([[0.2, 0.4], [0.6, 0.9]]), {"axis": 0})
]
TABLE += [
    ("average", X),
    ("average", X, {"axis": 1, "weights": rng.random(X.shape)}),
    ("average", X, {"axis": 1, "weights": rng.random(5)}),
]
TABLE += [
    ("average", X, {"axis": (2, 0), "weights": rng.random((4, 3)), "returned": True}),
    ("average", X, {"returned": True, "axis": 0}),
]
TABLE += [("average", X + 1j, {"axis": 1, "weights": rng.random(5), "keepdims": True})]
TABLE += [
    ("cov", A),
    ("cov", A, B),
    ("cov", A.T, {"rowvar": False}),
    ("cov", A, {"bias": True}),
    ("cov", A, {"ddof": 2}),
    ("cov", A[0]),
    ("cov", A[0], A[1]),
]
TABLE += [
    ("cov", A, {"aweights": IMPORTANCE}),
    ("cov", A, {"fweights": FREQUENCIES, "aweights": IMPORTANCE}),
    ("cov", A, {"fweights": FREQUENCIES}),
]
TABLE += [
    ("cov", A, {"aweights": IMPORTANCE, "ddof": 0}),
    ("cov", A + 1j * A[::-1] ** 2),
    ("cov", A.T, B.T, {"rowvar": False}),
]
TABLE += [
    ("corrcoef", A),
    ("corrcoef", A, B),
    ("corrcoef", A + 1j * A[::-1] ** 2),
    ("corrcoef", A.T, {"rowvar": False}),
    ("corrcoef", A[0]),
]
TABLE += [("bincount", FREQUENCIES), ("bincount", FREQUENCIES, {"weights": IMPORTANCE, "minlength": 6})]
TABLE += [
    ("histogram", V),
    ("histogram", V, 5, {"weights": W}),
    ("histogram", V, {"bins": 4, "range": (-1.0, 1.5), "density": True}),
]
TABLE += [
    ("histogram", V, {"bins": 6, "density": True, "weights": W}),
    ("histogram", V, {"bins": EDGES, "weights": W}),
    ("histogram", V, {"bins": EDGES, "density": True}),
]
TABLE += [
    ("histogram", V, {"bins": "auto"}),
    ("histogram", V, 4, {"weights": W + 1j * W[::-1]}),
    ("histogram_bin_edges", V, 7),
]
TABLE += [("histogram_bin_edges", V, "fd"), ("histogram_bin_edges", V, EDGES)]
TABLE += [
    ("histogram2d", V, W),
    ("histogram2d", V, W, {"bins": 3, "weights": W[::-1].copy(), "density": True}),
    ("histogram2d", V, W, [EDGES, 2]),
]
TABLE += [
    ("histogramdd", np.stack([V, W, V[::-1]], 1), {"bins": (2, 3, 2)}),
    ("histogramdd", np.stack([V, W], 1), 3, {"density": True, "weights": W[::-1].copy()}),
]


@cases(TABLE)
def test_values_and_derivatives(name, args, keywords):
    agrees(name, *args, **keywords, rtol=1e-12)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("n", [1, 2, 3, 4, 7])
def test_every_method_at_every_kind_of_place(method, n):
    """At the ends, at the elements, between them; NumPy's dtypes for integers, float32 and Python numbers."""
    x = rng.permutation(np.arange(n)) ** 2
    grid = np.unique(np.concatenate([np.linspace(0, 1, 13), np.arange(n + 1) / n, (np.arange(n) + 0.5) / n]))
    for v in (x, x.astype(float), x.astype("f4")):
        agrees("quantile", v, grid, method=method, derivative=False)
        agrees("nanquantile", v, grid, method=method, derivative=False)
        for q in (0.4, 1, 0, np.float32(0.5), np.array([0, 1])):
            agrees("quantile", v, q, method=method, derivative=False)


@pytest.mark.parametrize(("name", "shape"), [("quantile", "all"), ("quantile", "axis"), ("nanquantile", "all")])
def test_weighted_quantiles(name, shape):
    v = HOLES[1:] if name == "nanquantile" else X
    w = rng.integers(0, 4, v.shape if shape == "all" else 5).astype(float)
    w[..., 2:3] += 1
    agrees(name, v, Q, axis=1, method="inverted_cdf", weights=w, derivative=False)
    w = rng.random(5) + 0.1
    check_grads(lambda x: np.quantile(x, Q, axis=1, method="inverted_cdf", weights=w), X)


@pytest.mark.parametrize("axis", [None, 0, 1, (0, 2)])
def test_nans(axis):
    for name, *q in [
        ("median",),
        ("nanmedian",),
        ("quantile", Q),
        ("nanquantile", Q),
        ("nanquantile", 0.4),
        ("quantile", 0.4),
    ]:
        agrees(name, HOLES, *q, axis=axis, derivative=False)
    for method in METHODS:
        agrees("nanquantile", HOLES, Q, axis=axis, method=method, derivative=False)
    kept = ~np.isnan(HOLES)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        g = dif.grad(lambda v: np.nansum(np.nanquantile(v, Q, axis=axis)))(HOLES)
        assert np.isfinite(g).all()
        np.testing.assert_array_equal(g[~kept], 0)
        expected = np.isfinite(np.nanquantile(HOLES, Q, axis=axis)).sum()
    np.testing.assert_allclose(g.sum(), expected, rtol=1e-12)  # a quantile moves with its data: weights add up to 1


def test_slope_in_q_at_the_ends_is_that_from_inside():
    x = np.array([3.0, 1.0, 7.0, 4.0])
    for q, slope in [(0.0, 2 * 3), (1.0, 3 * 3), (0.5, 1 * 3)]:
        assert abs(dif.grad(lambda v: np.quantile(x, v))(q) - slope) < 1e-13


def test_median_takes_one_or_two():
    np.testing.assert_array_equal(dif.grad(np.median)(np.array([3.0, 1.0, 2.0])), [0, 0, 1])
    np.testing.assert_array_equal(dif.grad(np.median)(np.array([3.0, 1.0, 2.0, 9.0])), [0.5, 0, 0.5, 0])


@pytest.mark.parametrize("dtype", "?bilfdFe")
@pytest.mark.parametrize("name", ["median", "average", "quantile", "cov", "bincount", "histogram"])
def test_dtypes_are_numpys(name, dtype):
    if (
        (name == "quantile" and dtype in "?F")
        or (name == "bincount" and dtype in "fdFe")
        or (name == "histogram" and dtype in "F?")
    ):
        pytest.skip("NumPy refuses")
    x = np.array([1, 0, 1, 3, 2]).astype(dtype)
    agrees(name, x, *((0.3,) if name == "quantile" else ()), derivative=False, rtol=1e-12)


def test_the_range_of_a_histogram_moves_the_edges():
    def f(low, high):
        counts, edges = dif.histogram(V, bins=4, range=(low, high), density=True)  # NumPy does not dispatch on range
        return (counts * np.arange(4)).sum(), edges

    check_grads(f, (np.array(-1.37), np.array(1.41)))


def test_a_histogram_without_weights_is_a_count():
    counts, edges = np.histogram(dif.tensor(V, requires_grad=True))
    assert counts.dtype.kind == "i"
    assert not counts.requires_grad
    assert edges.requires_grad
    same(np.histogram_bin_edges(dif.tensor(V), EDGES), EDGES)


ERRORS = [
    lambda m, x: m.quantile(x, 1.5),
    lambda m, x: m.percentile(x, -1),
    lambda m, x: m.quantile(x, 0.5, method="best"),
    lambda m, x: m.quantile(x, 0.5, weights=x),
    lambda m, x: m.quantile(x + 1j, 0.5),
    lambda m, x: m.median(x, axis=4),
    lambda m, x: m.average(x, weights=x[0]),
    lambda m, x: m.average(x, axis=0, weights=x[0, 0]),
    lambda m, x: m.average(x, weights=x * 0),
    lambda m, x: m.cov(x),
    lambda m, x: m.cov(x[0], ddof=0.5),
    lambda m, x: m.cov(x[0], aweights=x[0]),
    lambda m, x: m.cov(x[0], aweights=-abs(x[0, 0])),
    lambda m, x: m.cov(x[0], aweights=abs(x[0, 0, :2])),
    lambda m, x: m.bincount(x[0, 0]),
    lambda m, x: m.histogram(x, bins=0),
    lambda m, x: m.histogram(x, bins=[3, 2, 1]),
    lambda m, x: m.histogram(x, range=(2, 1)),
    lambda m, x: m.histogram(x, weights=x[0]),
    lambda m, x: m.histogram2d(x[0, 0], x[0, 0, :2]),
    lambda m, x: m.histogramdd(x[0], bins=(2, 2)),
]


@pytest.mark.parametrize("call", ERRORS)
def test_errors_are_of_numpys_type(call):
    raises_as_numpy(call, X)


def test_histogramdd_inside_vmap_returns_its_list_of_edges():
    samples = np.random.default_rng(3).normal(size=(4, 6, 2))
    counts, edges = dif.vmap(lambda s: dif.histogramdd(s, bins=(2, 3)))(samples)
    for i, s in enumerate(samples):
        expected, expected_edges = np.histogramdd(s, bins=(2, 3))
        np.testing.assert_array_equal(counts[i], expected)
        for found, e in zip(edges, expected_edges, strict=True):
            np.testing.assert_allclose(found[i], e)


def test_histogram_takes_weights_of_any_shape_with_its_array():
    a, w = np.arange(6.0).reshape(1, 2, 3), np.arange(6.0).reshape(1, 2, 3) * (1 + 2j)
    expected = np.histogram(a, bins=3, weights=w)[0]
    found = np.histogram(dif.asarray(a), bins=3, weights=dif.tensor(w, requires_grad=True))[0]
    np.testing.assert_allclose(found.detach(), expected)


@pytest.mark.parametrize("scale", [1.0, 0.7, 0.3, -0.5])
def test_second_derivatives_of_a_perfect_correlation(scale):
    """NumPy clips rounding off at -1 and 1, which is no kink: r = cos of the angle between the centered vectors."""
    y = np.array([2.0, 4.0, 6.0, 9.0])
    x = scale * y
    v = x - x.mean()
    u = v / np.linalg.norm(v)
    expected = -np.sign(scale) * (np.eye(4) - 0.25 - np.outer(u, u)) / (v @ v)
    np.testing.assert_allclose(dif.hessian(lambda x: np.corrcoef(x, y)[0, 1])(x), expected, atol=1e-14)
