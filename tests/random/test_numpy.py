"""NumPy's Generator call by call: signatures, shapes, dtypes, scalars, and which calls raise."""

import copy
import inspect

import numpy as np
import pytest

import difftensor as dif
from difftensor.random import Generator

NAMES = sorted(n for n in dir(np.random.Generator) if not n.startswith("_"))
nan = float("nan")


@pytest.mark.parametrize("name", NAMES)
def test_every_method_is_there_with_numpys_arguments(name):
    theirs = getattr(np.random.Generator, name)
    if not callable(theirs):
        assert hasattr(Generator, name)
        return
    ours = getattr(Generator, name)
    try:
        inspect.signature(theirs)
    except ValueError:
        pytest.skip("this NumPy does not say")
    expected, found = (inspect.signature(f).parameters.values() for f in (theirs, ours))
    assert [(p.name, p.kind) for p in found] == [(p.name, p.kind) for p in expected]
    for mine, their in zip(found, expected, strict=True):
        assert mine.default is their.default or mine.default == their.default


@pytest.mark.parametrize("name", [n for n in dir(Generator) if not n.startswith("_")])
def test_every_method_has_a_docstring(name):
    assert inspect.getdoc(getattr(Generator, name))


def calls():
    """(name, args, keywords) of good and bad calls."""
    some = [0, -1, nan, 0.5, 1, 2.0, 1j, "a", None, True, np.float32(0.5), np.array(0.5), np.array([0.5, 0.2]),
            [0.5, 0.25], np.array([-1.0, 0.5])]  # fmt: skip
    sizes = [None, 3, (3, 2), (), 0, (0, 3), -1, (2, -1), 2.5]
    for name in ("normal", "laplace", "logistic", "gumbel", "lognormal", "uniform", "vonmises"):
        yield from ((name, (0.0, v), {}) for v in some)
        yield from ((name, (v, 1.0), {}) for v in some)
        yield from ((name, (0.0, 1.0, s), {}) for s in sizes)
        yield from ((name, (np.zeros(2), 1.0, s), {}) for s in sizes)
        yield name, (np.zeros(2), np.ones(3)), {}
        yield name, (np.zeros((2, 1)), np.ones(3)), {}
    for name in ("exponential", "rayleigh", "standard_gamma", "chisquare", "standard_t", "weibull", "pareto", "power",
                 "poisson", "geometric", "logseries", "zipf"):  # fmt: skip
        yield from ((name, (v,), {}) for v in some)
        yield from ((name, (0.5, s), {}) for s in sizes)
    for name in ("beta", "gamma", "f", "wald", "noncentral_chisquare"):
        yield from ((name, (v, 1.5), {}) for v in some)
        yield from ((name, (1.5, v), {}) for v in some)
    yield from (("uniform", ab, {}) for ab in ((2, 1), (0, np.inf), (-1e308, 1e308), (1, 1), ([0, 1], [1, 0])))
    yield from (("triangular", abc, {}) for abc in ((0, 1, 2), (0, 0, 0), (1, 0, 2), (0, 3, 2), (0, 0, 1), (0, 1, 1),
                                                    ([0, 0], 1, [2, 3]), (nan, 1, 2)))  # fmt: skip
    yield from (("noncentral_f", v, {}) for v in ((0, 1, 1), (1, 0, 1), (1, 1, -1), (1.5, 2, 1.0), (1.5, 2, 1.0, 3)))
    yield from (("binomial", v, {}) for v in ((10, 0.5), (-1, 0.5), (10, -1), (10, 2), (10, nan), (10.0, 0.5),
                (0, 0.5), ([1, 2], 0.5), (np.array([1.0, 2.0]), 0.5), (10, 0), (10, 1), ([10, -1], 0.5),
                (10, [0.5, 2])))  # fmt: skip
    yield from (
        ("negative_binomial", v, {}) for v in ((10, 0.5), (-1, 0.5), (0, 0.5), (10, 0), (10, 1), (10, nan), (10, 2))
    )
    yield from (("hypergeometric", v, {}) for v in ((5, 5, 5), (5, 5, 11), (-1, 5, 3), (5, -1, 3), (5, 5, -1),
                (0, 0, 0), (5, 0, 3), (0, 5, 3), (5, 5, 0), (10**9, 5, 3), ([5, 6], 5, 3), (5, 5, 10)))  # fmt: skip
    yield from (("integers", v, k) for v, k in (
        ((5,), {}), ((0,), {}), ((-1,), {}), ((5, 5), {}), ((5, 5), {"endpoint": True}), ((5, 4), {"endpoint": True}),
        ((0, 256), {"dtype": "u1"}), ((0, 257), {"dtype": "u1"}), ((-1, 5), {"dtype": "u1"}), ((0, 3), {"dtype": bool}),
        ((0, 2), {"dtype": bool}), ((0, 2**63), {}), ((0, 2**63 + 1), {}), ((-(2**63), 2**63), {}), ((3.0,), {}),
        ((0, 2**64), {"dtype": "u8"}), (([1, 2], [3, 4]), {}), (([1, 5], [3, 4]), {}), (([1, 2], 300), {"dtype": "u1"}),
        ((5,), {"dtype": float}), ((0, 5, (2, 3)), {}), ((5,), {"size": ()}), ((5,), {"dtype": "i2"}),
        ((np.array([5, 6]),), {"size": (3, 2)}), (([-(2**63)] * 2, 2**63 - 1), {"endpoint": True}), ((5,), {"size": 0}),
    ))  # fmt: skip
    x = np.arange(6).reshape(2, 3)
    yield from (("choice", v, k) for v, k in (
        ((5,), {}), ((0,), {}), ((-1,), {}), ((5, 3), {}), ((5, 6), {"replace": False}), ((5, 5), {"replace": False}),
        ((5, 2), {"p": [0.2] * 5}), ((5, 2), {"p": [0.2] * 4}), ((5, 2), {"p": [0.3] * 5}), ((5, 2), {"p": [nan] * 5}),
        ((5, 2), {"p": [-0.2, 0.6, 0.2, 0.2, 0.2]}), ((5, 3), {"p": [0.5, 0.5, 0, 0, 0], "replace": False}),
        (([1, 2, 3],), {}), ((x, 4), {}), ((x, 4), {"axis": 1}), ((x, 4), {"axis": 2}), ((x,), {}), (([],), {}),
        (([], 0), {}), ((5, 0), {}), ((0, 0), {}), ((5, (2, 3)), {}), ((5, 2), {"p": [[0.5, 0.5]]}), ((5.0,), {}),
        ((np.arange(3.0), 2), {}), ((np.array(5), 2), {}), ((x, (2, 2)), {"axis": 1}), ((5, ()), {}), ((x, ()), {}),
    ))  # fmt: skip
    yield from (("permutation", v, k) for v, k in (((5,), {}), ((0,), {}), ((x,), {}), ((x,), {"axis": 1}),
                ((x,), {"axis": 2}), (([1, 2, 3],), {}), ((2.5,), {}), ((np.array(3),), {})))  # fmt: skip
    yield from (("permuted", v, k) for v, k in (((x,), {"axis": 1}), ((x,), {"axis": 0}), ((x,), {}),
                (([1, 2, 3],), {}), ((x,), {"axis": 2}),
                ((x,), {"axis": 1, "out": np.zeros((2, 3), int)})))  # fmt: skip
    yield from (("shuffle", v, k) for v, k in (((x.copy(),), {}), ((x.copy(),), {"axis": 1}), (([1, 2, 3],), {}),
                ((x.copy(),), {"axis": 2}), (([1, 2],), {"axis": 1})))  # fmt: skip
    yield from (("multinomial", v, {}) for v in (
        (10, [0.2, 0.8]), (10, [0.2, 0.9]), (10, [0.9, 0.2, 0.5]), (-1, [0.2, 0.8]), (10, [1.1, -0.1]),
        ([5, 10], [0.2, 0.8]),
        (10, [[0.2, 0.8], [0.5, 0.5]]), ([5, 10], [0.2, 0.8], (3, 2)), (10, [0.2, 0.8], 3), (0, [0.5, 0.5]), (10, 0.5),
        (10, []), (10, [1.0]), (10, [nan, 0.5]), (10, [0.0, 0, 1]), ([5, 10, 3], [0.2, 0.8], (3, 2)),
    ))  # fmt: skip
    yield from (("multivariate_hypergeometric", v, k) for v, k in (
        (([3, 4], 5), {}), (([3, 4], 5, 3), {}), (([3, 4], 5), {"method": "count"}), (([3, 4], 5), {"method": "x"}),
        (([3, 4], 8), {}), (([3, 4], -1), {}), (([-3, 4], 1), {}), (([3.0, 4], 1), {}), (([[3, 4]], 1), {}),
        (([3, 4], 0), {}),
        (([3], 2), {}), (([], 0), {}),
    ))  # fmt: skip
    one, zero = np.eye(2), [1.0, 2.0]
    yield from (("multivariate_normal", v, k) for v, k in (
        ((zero, one), {}), ((zero, np.eye(3)), {}), ((1, one), {}), ((zero, [1, 2]), {}), ((zero, -one), {}),
        ((zero, -one), {"check_valid": "raise"}), ((zero, -one), {"check_valid": "ignore"}), ((zero, one, (3, 4)), {}),
        ((zero, one), {"check_valid": "x"}), ((zero, one), {"method": "x"}), ((zero, one, 3), {"method": "cholesky"}),
        ((zero, -one), {"method": "cholesky"}), ((zero, [[1, 2], [0, 1]]), {}),
    ))  # fmt: skip
    yield from (
        ("dirichlet", v, {}) for v in (([1, 2],), ([1, 0],), ([1, -1],), ([[1, 2]],), ([1, 2], 3), ([1],), ([],))
    )
    for name in ("random", "standard_normal", "standard_exponential"):
        yield from ((name, (s,), {}) for s in sizes)
        yield from ((name, (), k) for k in ({"dtype": "f2"}, {"dtype": int}, {"size": 3, "dtype": "f4"}))
        yield from ((name, (), k) for k in (
            {"out": np.zeros(3)}, {"out": np.zeros(3, "f4")}, {"out": np.zeros(3), "size": 4},
            {"out": np.zeros(3), "size": 3},
            {"out": np.zeros(3, "f4"), "dtype": "f4"},
        ))  # fmt: skip
    yield "standard_exponential", (), {"method": "inv"}
    yield from (("standard_gamma", v, k) for v, k in (((2.0, 3, "f4"), {}), ((2.0,), {"out": np.zeros(3)}),
                ((np.ones(2),), {"out": np.zeros(3)}), ((2.0,), {"dtype": "f2"})))  # fmt: skip
    yield from (("bytes", (n,), {}) for n in (0, 5, 8))
    yield from (("spawn", (n,), {}) for n in (0, 2, -1))
    yield from (("poisson", (m,), {}) for m in (1e18, 1e19))
    yield from ((name, (v,), {}) for name, v in (("zipf", 2e3), ("geometric", 1e-300), ("logseries", 0.999999)))
    yield from (("standard_cauchy", (s,), {}) for s in sizes)


# What is different on purpose: (name, arguments, keywords) -> why.
DIFFERENT = {
    "weibull (0,) {}": "no distribution has this limit",
    "weibull (None,) {}": "None is no shape",
}


def described(call, generator):
    name, args, keywords = copy.deepcopy(call)
    try:
        y = getattr(generator, name)(*args, **keywords)
    except Exception as error:  # noqa: BLE001 - its type is what is compared
        return type(error)
    if isinstance(y, dif.Tensor):
        y = y._data
    if isinstance(y, (np.ndarray, np.generic)):
        return type(y) is np.ndarray, y.dtype, y.shape
    if isinstance(y, (bool, int, float)):
        return False, np.asarray(y).dtype, ()
    return type(y), len(y) if y is not None else 0


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("call", list(calls()), ids=lambda c: f"{c[0]}{c[1]}{c[2] or ''}".replace("\n", ""))
def test_calls_as_numpys(call):
    if f"{call[0]} {call[1]} {call[2]}" in DIFFERENT:
        return
    expected, found = described(call, np.random.default_rng(0)), described(call, dif.random.default_rng(0))
    if isinstance(expected, type):
        assert isinstance(found, type), f"NumPy raises {expected.__name__}, found {found}"
        assert issubclass(found, expected) or {found, expected} <= {TypeError, ValueError}
        return
    if any(isinstance(s, tuple) and s == () for s in (*call[1][-1:], call[2].get("size"))):
        found, expected = found[1:], expected[1:]  # a scalar or an array without axes
    assert found == expected


def test_the_documented_differences():
    rng = dif.random.default_rng(0)
    with pytest.raises(ValueError, match="a <= 0"):
        rng.weibull(0)
    for call in (lambda: rng.binomial(10.5, 0.5), lambda: rng.integers(2.5), lambda: rng.bytes(2.5)):
        with pytest.raises(TypeError):
            call()
    with pytest.raises(ValueError, match="method"):
        rng.standard_exponential(method="x")
    assert rng.random(dtype=np.float32).dtype == np.float32  # NumPy's scalars are doubles
    with pytest.raises(TypeError, match="Tensors hold numbers"):
        rng.choice(["a", "b"])


# Tensors ------------------------------------------------------------------------------------------------------------


def test_draws_are_tensors_and_scalars_are_numbers():
    rng = dif.random.default_rng(0)
    assert isinstance(rng.normal(size=3), dif.Tensor) and isinstance(rng.normal(np.zeros(3)), dif.Tensor)
    x = rng.normal()
    assert isinstance(x, dif.Tensor) and x.shape == () and isinstance(float(x), float)
    assert len(range(rng.integers(3, 4))) == 3
    assert [10, 20, 30][rng.integers(2, 3)] == 30
    assert not rng.normal(size=3).requires_grad


def test_the_numpy_way():
    import difftensor as np  # noqa: PLC0415

    rng = np.random.default_rng(0)
    x = rng.normal(size=(3,))
    assert x.shape == (3,) and isinstance(x, np.ndarray)
    assert "random" in np.__all__


def test_out_that_is_no_array():
    """NumPy takes any object for an array here, and may crash."""
    for name in ("random", "standard_normal", "standard_exponential"):
        with pytest.raises((TypeError, ValueError)):
            getattr(dif.random.default_rng(0), name)(out=3)


def test_out_is_filled():
    rng = dif.random.default_rng(0)
    for out in (np.zeros(3), dif.zeros(3)):
        y = rng.random(out=out)
        assert y is out and (np.asarray(out) > 0).all()
    out = np.zeros((2, 3))
    assert rng.permuted(np.arange(6.0).reshape(2, 3), axis=1, out=out) is out and out.sum() == 15


def test_tensors_as_parameters():
    rng = dif.random.default_rng
    a = dif.asarray([1.0, 2.0])
    np.testing.assert_array_equal(rng(1).normal(a, 0.5).numpy(), rng(1).normal(a.numpy(), 0.5).numpy())
    np.testing.assert_array_equal(rng(1).normal([a[0], a[1]], 0.5).numpy(), rng(1).normal(a.numpy(), 0.5).numpy())
    np.testing.assert_array_equal(rng(1).poisson(a, (3, 2)).numpy(), rng(1).poisson(a.numpy(), (3, 2)).numpy())
    with pytest.raises(ValueError, match="scale < 0"):
        rng(1).normal(0.0, -a)


# Orders -------------------------------------------------------------------------------------------------------------


def test_all_orders_are_equally_likely():
    from scipy import stats

    rng = dif.random.default_rng(2)
    for draw in (
        lambda: rng.permuted(np.broadcast_to(np.arange(4), (24_000, 4)), axis=1),
        lambda: dif.stack([rng.choice(4, 4, replace=False) for _ in range(6000)]),
        lambda: dif.stack([rng.choice(4, 4, replace=False, p=[0.25] * 4) for _ in range(6000)]),
    ):
        codes = draw().numpy() @ np.array([64, 16, 4, 1])
        assert stats.chisquare(np.unique(codes, return_counts=True)[1]).pvalue > 1e-3
        assert len(np.unique(codes)) == 24


@pytest.mark.parametrize("n", [0, 1, 2, 1000, (1 << 21) + 5])
def test_permutations_hold_everything_once(n):
    p = dif.random.default_rng(0).permutation(n)
    assert (np.sort(p.numpy()) == np.arange(n)).all()


def test_drawing_one_after_the_other_with_probabilities():
    """P(first i, then j) = p_i p_j / (1 - p_i)."""
    from scipy import stats

    rng, p = dif.random.default_rng(3), np.array([0.5, 0.3, 0.2])
    pairs = dif.vmap(lambda _: rng.choice(3, 2, replace=False, p=p))(np.zeros(30_000))
    found = np.bincount(pairs @ np.array([3, 1]), minlength=9).reshape(3, 3)
    expected = np.outer(p, p) / (1 - p)[:, None] * (1 - np.eye(3))
    off = ~np.eye(3, dtype=bool)
    assert not found[~off].any()
    assert stats.chisquare(found[off], expected[off] * 30_000).pvalue > 1e-3


def test_few_of_very_many():
    """Not by a permutation of 10^12 elements."""
    rng = dif.random.default_rng(4)
    k = rng.choice(10**12, 1000, replace=False).numpy()
    assert len(set(k.tolist())) == 1000 and k.max() < 10**12
    many = rng.choice(3 * 10**6, 3 * 10**5, replace=False).numpy()
    assert len(set(many.tolist())) == len(many)
    assert abs(many.mean() / 1.5e6 - 1) < 0.01


def test_shuffling_in_place():
    rng = dif.random.default_rng(5)
    for x in (dif.arange(100), np.arange(100), list(range(100))):
        before = list(np.asarray(x))
        assert rng.shuffle(x) is None
        assert list(np.asarray(x)) != before and sorted(np.asarray(x).tolist()) == before
    x = dif.arange(12).reshape(3, 4)
    rng.shuffle(x, axis=1)
    assert (np.diff(x.numpy(), axis=0) == 4).all()  # columns stay together


def test_permuted_lines_have_orders_of_their_own():
    y = dif.random.default_rng(6).permuted(np.broadcast_to(np.arange(50), (20, 50)), axis=1).numpy()
    assert (np.sort(y, axis=1) == np.arange(50)).all() and len({tuple(r) for r in y}) == 20
    y = dif.random.default_rng(6).permuted(np.broadcast_to(np.arange(50)[:, None], (50, 20)), axis=0).numpy()
    assert (np.sort(y, axis=0) == np.arange(50)[:, None]).all() and len({tuple(r) for r in y.T}) == 20


def test_choices_with_replacement_and_probabilities():
    from scipy import stats

    p = np.array([0.1, 0.0, 0.6, 0.3])
    k = dif.random.default_rng(7).choice(4, (300, 100), p=p).numpy()
    found = np.bincount(k.ravel(), minlength=4)
    assert found[1] == 0
    assert stats.chisquare(found[p > 0], p[p > 0] * 30_000).pvalue > 1e-3
