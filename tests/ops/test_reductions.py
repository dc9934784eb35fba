"""Sums, products, means, extrema along axes, with NumPy's keywords; running ones; without NaNs."""

import itertools
import warnings

import numpy as np
import pytest

import difftensor as dif
from difftensor.testing import check_grads
from tests.ops.agreement import agrees, cases, same, tensors
from tests.ops.errors import raises_as_numpy

rng = np.random.default_rng(20)
X = rng.standard_normal((3, 4, 2))
Z = X + 1j * rng.standard_normal(X.shape)
HOLES = np.where(rng.random(X.shape) < 0.25, np.nan, X)
MASK = rng.random(X.shape) < 0.6
MASK[:, 0] = True
WEIGHTS = rng.random(X.shape)
INTEGERS = rng.integers(-5, 6, (3, 4, 2))

REDUCTIONS = "sum prod mean var std max min ptp".split()
AXES = (None, 0, -1, (0, 2))
TABLE = [(n, X, {"axis": a, "keepdims": k}) for n in REDUCTIONS for a in AXES for k in (False, True)]
TABLE += [(n, X, {"axis": a, "where": MASK}) for n in ("sum", "prod", "mean", "var", "std") for a in (None, 1)]
TABLE += [(n, X, {"axis": 1, "initial": np.array(2.5)}) for n in ("sum", "prod", "max", "min")]
TABLE += [(n, X, {"axis": 1, "initial": 0.1, "where": MASK}) for n in ("sum", "prod", "max", "min")]
TABLE += [(n, X, {"axis": 1, k: v}) for n in ("var", "std") for k, v in [("ddof", 1), ("correction", 0.5)]]
TABLE += [("var", X, {"axis": 1, "mean": X.mean(axis=1, keepdims=True)})]
TABLE += [(n, Z, {"axis": 1}) for n in ("sum", "prod", "mean", "var", "std", "cumsum", "cumprod", "diff")]
TABLE += [(n, X.astype("f4"), {"dtype": float}) for n in ("sum", "prod", "mean", "var", "cumsum")]
NANS = "nansum nanprod nanmean nanvar nanstd nanmax nanmin".split()
TABLE += [(n, v, {"axis": a}) for n in NANS for a in AXES for v in (X,)]
TABLE += [("cumsum", X), ("cumprod", X), ("nancumsum", X, {"axis": 0}), ("nancumprod", X, {"axis": 0})]
TABLE += [(n, X, {"axis": a}) for n in ("cumsum", "cumprod") for a in (0, 1, -1)]
TABLE += [
    (n, X, {"axis": 1, "include_initial": i}) for n in ("cumulative_sum", "cumulative_prod") for i in (False, True)
]
TABLE += [("diff", X, {"n": n, "axis": a}) for n in (0, 1, 2, 3) for a in (0, -1)]
TABLE += [("diff", X, {"prepend": np.array(1.0), "append": X[..., :1]})]
TABLE += [("ediff1d", X), ("ediff1d", X, {"to_end": np.array([1.0, 2.0]), "to_begin": 3.0})]
TABLE += [(f"{n}.accumulate", X, {"axis": a}) for n in ("maximum", "minimum") for a in (0, 1)]
TABLE += [(f"{n}.reduce", X) for n in ("add", "multiply", "maximum", "minimum", "logaddexp")]


@cases(TABLE)
def test_values_and_derivatives(name, args, keywords):
    if "accumulate" in name or "reduce" in name:
        ufunc, method = name.split(".")
        f = getattr(getattr(np, ufunc), method)
        same(f(*tensors(args), **keywords), f(*args, **keywords))
        check_grads(lambda x: f(x, **keywords), *args)
        return
    agrees(name, *args, **keywords)


# Derivatives in the numbers that are there; NaNs themselves have none.
@pytest.mark.parametrize(("name", "axis"), [*itertools.product([*NANS, "nancumsum", "nancumprod"], [None, 0, -1])])
def test_without_nans(name, axis):
    agrees(name, HOLES, axis=axis, derivative=False)
    kept = ~np.isnan(HOLES)

    def f(v):  # derivatives in the numbers that are there
        filled = dif.where(kept, v, np.nan)
        return getattr(np, name)(filled, axis=axis)

    if name not in ("nanvar", "nanstd", "nanmax", "nanmin", "nanmean") or axis is None:
        check_grads(f, X)


@pytest.mark.parametrize("dtype", "?bBhilqfdFDe")
@pytest.mark.parametrize(
    "name", [*REDUCTIONS, "cumsum", "cumprod", *NANS, "all", "any", "argmax", "argmin", "count_nonzero"]
)
def test_dtypes_are_numpys(name, dtype):
    if name == "ptp" and dtype == "?":
        pytest.skip("NumPy does not subtract booleans")
    x = (np.abs(INTEGERS) % 3).astype(dtype)
    agrees(name, x, axis=1, derivative=False, rtol=1e-12)
    agrees(name, x, derivative=False, rtol=1e-12)


@pytest.mark.parametrize("name", ["all", "any", "count_nonzero", "argmax", "argmin", "nanargmax", "nanargmin"])
def test_counts_have_no_tape(name):
    agrees(name, INTEGERS.astype(float), derivative=False)
    agrees(name, INTEGERS.astype(float), axis=1, keepdims=True, derivative=False)
    y = getattr(dif, name)(dif.tensor(X, requires_grad=True), axis=0)
    assert not y.requires_grad


def test_short_last_axes_add_up_as_numpy_has_it():
    for k in range(1, 18):
        x = rng.standard_normal((3000, k))
        np.testing.assert_array_equal(dif.sum(dif.tensor(x), axis=-1).numpy(), x.sum(axis=-1))
        np.testing.assert_array_equal(
            dif.max(dif.tensor(x), axis=-1, keepdims=True).numpy(), x.max(axis=-1, keepdims=True)
        )


# Hard points --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("zeros", [(), (1,), (1, 3), (0, 1, 2, 3, 4)])
def test_prod_with_zeros_to_order_three(zeros):
    """The gradient is the product of the others, the Hessian that of all but two: closed forms, without division."""
    x = rng.standard_normal(5)
    x[list(zeros)] = 0
    others = np.array([np.prod(np.delete(x, i)) for i in range(5)])
    pairs = np.array([[0 if i == j else np.prod(np.delete(x, [i, j])) for j in range(5)] for i in range(5)])
    np.testing.assert_allclose(dif.grad(np.prod)(x), others, rtol=1e-14, atol=0)
    np.testing.assert_allclose(dif.hessian(np.prod)(x), pairs, rtol=1e-13, atol=0)
    triples = dif.jacobian(dif.hessian(np.prod))(x)
    for i, j, k in itertools.product(range(5), repeat=3):
        expected = 0 if len({i, j, k}) < 3 else np.prod(np.delete(x, [i, j, k]))
        np.testing.assert_allclose(triples[i, j, k], expected, rtol=1e-13, atol=1e-15)
    check_grads(lambda v: np.cumprod(1 - v * np.cumprod(v)), x, order=2)


def test_second_derivatives_of_an_empty_running_product():
    assert dif.hessian(lambda x: np.sum(np.cumprod(x)))(np.zeros(0)).shape == (0, 0)
    x = np.zeros((2, 0))
    assert dif.grad(lambda x: np.sum(dif.grad(lambda x: np.sum(np.cumprod(x, 1)))(x) ** 2))(x).shape == (2, 0)


def test_cumprod_with_zeros_far_from_one():
    x = np.array([1e-200, 1e-100, 1e200, 1e100, 0.0, 2.0])
    j = dif.jacobian(np.cumprod)(x)
    expected = [[np.prod(np.delete(x[: k + 1], i)) if i <= k else 0.0 for i in range(6)] for k in range(6)]
    np.testing.assert_allclose(j, expected, rtol=1e-14, atol=0)
    np.testing.assert_allclose(dif.jacobian(np.cumprod, mode="fwd")(x), expected, rtol=1e-14, atol=0)


def test_ties_share_evenly():
    x = np.array([[1.0, 3.0, 3.0], [2.0, 2.0, 2.0]])
    np.testing.assert_array_equal(dif.grad(lambda v: np.max(v))(x), [[0, 0.5, 0.5], [0, 0, 0]])
    np.testing.assert_array_equal(dif.grad(lambda v: np.min(v, axis=1).sum())(x), [[1, 0, 0], np.full(3, 1 / 3)])
    np.testing.assert_array_equal(dif.jvp(lambda v: np.max(v, axis=1), (x,), (np.eye(2, 3) * 6,))[1], [0, 2])
    np.testing.assert_array_equal(dif.grad(np.ptp)(np.array([1.0, 1.0, 2.0])), [-0.5, -0.5, 1])


def test_ties_of_running_extrema_share_evenly_among_those_met():
    x = np.array([1.0, 3.0, 3.0, 2.0, 3.0, 5.0])
    j = dif.jacobian(np.maximum.accumulate)(x)
    h, t = 1 / 2, 1 / 3
    expected = [
        [1, 0, 0, 0, 0, 0],
        [0, 1, 0, 0, 0, 0],
        [0, h, h, 0, 0, 0],
        [0, h, h, 0, 0, 0],
        [0, t, t, 0, t, 0],
        [0, 0, 0, 0, 0, 1],
    ]
    np.testing.assert_allclose(j, expected, rtol=1e-15)
    np.testing.assert_allclose(dif.jacobian(np.maximum.accumulate, mode="fwd")(x), expected, rtol=1e-15)


def test_a_nan_is_the_extremum_of_its_slice():
    x = np.array([[1.0, np.nan, 2.0], [0.0, 1.0, 2.0]])
    np.testing.assert_array_equal(dif.grad(lambda v: np.max(v, axis=1).sum())(x), [[0, 1, 0], [0, 0, 1]])


@pytest.mark.parametrize("ddof", [0, 1])
def test_std_of_constants_has_gradient_zero(ddof):
    x = np.full(4, 0.3)
    np.testing.assert_array_equal(dif.grad(lambda v: np.std(v, ddof=ddof))(x), 0)
    np.testing.assert_array_equal(dif.jvp(lambda v: np.std(v, ddof=ddof), (x,), (np.arange(4.0),))[1], 0)
    np.testing.assert_array_equal(dif.grad(np.nanstd)(x), 0)


def test_masked_elements_do_not_matter_even_if_they_are_nan():
    mask = ~np.isnan(HOLES)
    for f in (np.sum, np.mean, np.var, np.prod):
        g = dif.grad(lambda v, f=f: f(v, where=mask))(HOLES)
        assert np.isfinite(g).all()
        np.testing.assert_array_equal(g[~mask], 0)


@pytest.mark.parametrize(("name", "text"), [("mean", "Mean of empty slice"), ("var", "Degrees of freedom <= 0")])
def test_numpys_warnings(name, text):
    for args in [(np.empty((2, 0)),), (np.zeros((2, 3)),)]:
        keywords = {"axis": 1} if args[0].size == 0 else {"axis": 1, "where": np.array([[False], [True]])}
        with pytest.warns(RuntimeWarning, match=text), np.errstate(all="ignore"):
            y = getattr(dif, name)(*tensors(args), **keywords)
        assert np.isnan(y.numpy()).any()


def test_nan_functions_warn_as_numpy():
    x = np.array([[np.nan, np.nan], [1.0, np.nan]])
    for name, text in [("nanmax", "All-NaN"), ("nanmean", "empty slice"), ("nanvar", "Degrees of freedom")]:
        with pytest.warns(RuntimeWarning, match=text):
            same(
                getattr(np, name)(dif.tensor(x), axis=1), np.array([np.nan, getattr(np, name)(np.array([1.0, np.nan]))])
            )
    with pytest.raises(ValueError, match="All-NaN"):
        np.nanargmax(dif.tensor(x), axis=1)


ERRORS = [
    lambda m, x: m.sum(x, axis=3),
    lambda m, x: m.sum(x, axis=(0, 0)),
    lambda m, x: m.max(x[:, :0], axis=1),
    lambda m, x: m.max(x, where=x > 0),
    lambda m, x: m.argmax(x[:0], axis=0),
    lambda m, x: m.cumsum(x, axis=5),
    lambda m, x: m.cumulative_sum(x),
    lambda m, x: m.diff(x, n=-1),
    lambda m, x: m.var(x, ddof=1, correction=2),
    lambda m, x: m.mean(x, dtype=float, axis="a"),
]


@pytest.mark.parametrize("call", ERRORS)
def test_errors_are_of_numpys_type(call):
    raises_as_numpy(call, X)


@pytest.mark.parametrize("name", ["sum", "prod", "mean", "max", "cumsum", "var", "nansum", "any", "argmax"])
def test_out(name):
    expected = getattr(np, name)(X, axis=1)
    for out in (dif.zeros(expected.shape, dtype=expected.dtype), np.zeros(expected.shape, expected.dtype)):
        assert getattr(np, name)(dif.tensor(X), axis=1, out=out) is out
        same(out, expected)
    with pytest.raises(TypeError, match="derivative"):
        np.sum(dif.tensor(X, requires_grad=True), axis=1, out=np.zeros((3, 2)))


@pytest.mark.parametrize("name", ["mean", "var", "std", "nanmean", "nanvar", "nanstd"])
@pytest.mark.parametrize("kind", [float, complex, int])
@pytest.mark.parametrize("dtype", [int, "f8", "c16"])
def test_dtypes_of_moments_are_numpys(name, kind, dtype):
    a = np.random.default_rng(1).normal(size=(2, 4), scale=3).astype(kind)
    if kind is complex:
        a = a + 1j * a[:, ::-1]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", np.exceptions.ComplexWarning)
        try:
            expected = getattr(np, name)(a, axis=1, dtype=dtype)
        except TypeError:
            with pytest.raises(TypeError):
                getattr(dif, name)(dif.asarray(a), axis=1, dtype=dtype)
            return
        found = getattr(dif, name)(dif.asarray(a), axis=1, dtype=dtype)
    assert found.dtype == expected.dtype
    np.testing.assert_allclose(found, expected)


def test_norms_of_nothing_are_numpys():
    for shape, keywords in [((0,), {"ord": np.inf}), ((0, 3), {"ord": np.inf}), ((0, 3), {"ord": 2})]:
        assert float(np.linalg.norm(dif.zeros(shape), **keywords)) == np.linalg.norm(np.zeros(shape), **keywords) == 0


@pytest.mark.parametrize("name", ["max", "sum", "prod", "nanmax"])
def test_initial_integers_must_fit(name):
    with pytest.raises(OverflowError):
        getattr(np, name)(np.arange(3, dtype=np.uint64), initial=-3)
    with pytest.raises(OverflowError):
        getattr(np, name)(dif.asarray(np.arange(3, dtype=np.uint64)), initial=-3)
