"""Elementwise operations on large arrays: chunk by chunk, on all cores, in both directions of the tape."""

import tracemalloc

import numpy as np
import pytest

import difftensor as dif
from difftensor._backend import large, threads
from difftensor._core import engine

SIZE = large.LIGHT // 8 + 37


@pytest.fixture(params=[0, 1, 3])
def helpers(request, monkeypatch):
    """So many threads beside the caller's."""
    monkeypatch.setattr(threads, "workers", lambda: request.param)
    monkeypatch.setattr(threads, "_tasks", None)
    return request.param


@pytest.fixture
def runs(monkeypatch):
    """Of how many nodes the runs of the sweep were."""
    found, collect = [], engine.sweep_run.__globals__["_collect"]

    def counted(*args):
        run = collect(*args)
        found.append(len(run))
        return run

    monkeypatch.setitem(engine.sweep_run.__globals__, "_collect", counted)
    return found


OPERATIONS = {
    "add": (np.add, lambda a, b: a + b),
    "subtract": (np.subtract, lambda a, b: a - b),
    "multiply": (np.multiply, lambda a, b: a * b),
    "divide": (np.divide, lambda a, b: a / b),
    "power": (np.power, lambda a, b: abs(a) ** b),
    "maximum": (np.maximum, dif.maximum),
    "hypot": (np.hypot, dif.hypot),
}


@pytest.mark.parametrize("name", OPERATIONS)
def test_values_are_numpys(rng, helpers, name):
    ufunc, f = OPERATIONS[name]
    a, b = rng.standard_normal((2, SIZE))
    u = abs(a) if name == "power" else a
    np.testing.assert_array_equal(f(dif.tensor(a), dif.tensor(b)).numpy(), ufunc(u, b))
    np.testing.assert_array_equal(f(dif.tensor(a), b).numpy(), ufunc(u, b))
    for number in (0.3, 2, 3.0):
        np.testing.assert_array_equal(f(dif.tensor(a), number).numpy(), f(a, number))
        if name != "power":
            np.testing.assert_array_equal(f(number, dif.tensor(a)).numpy(), f(number, a))


@pytest.mark.parametrize("dtype", [np.complex128, np.float32, np.longdouble, np.int64])
def test_numbers_of_other_dtypes(rng, helpers, dtype):
    a = rng.uniform(0.5, 2.0, SIZE)
    s = np.array([2, 1], dtype) * (1 + 2j if dtype is np.complex128 else 1)
    x, t = dif.tensor(a), dif.tensor(s).sum()
    for f in (lambda a, s: a - s, lambda a, s: s / a, lambda a, s: a**s):
        found, expected = f(x, t).numpy(), f(a, s.sum())
        assert found.dtype == expected.dtype
        np.testing.assert_array_equal(found, expected)


N = 530  # N^2 elements of 3 numbers are large
SHAPES = [
    ((N, 1, 3), (1, N, 3)), ((N, 3), (N, 1, 3)), ((1, N, 3), (N, N, 1)), ((3,), (N, N, 3)), ((N, N, 3), (N, 1)),
    ((1, 523, 3), (523, 1, 3)), ((2 * N, 1), (N,)), ((N, 1, 1), (1, N, 3)), ((2, 1, N, 3), (N, 1, 3)), ((), (N, N, 3)),
]  # fmt: skip


@pytest.mark.parametrize("shapes", SHAPES)
def test_broadcasting(rng, helpers, shapes):
    """Short operands may have large results, in every arrangement of memory."""
    for turn in (False, True):
        a, b = (rng.standard_normal(s[::-1] if turn else s) for s in shapes)
        a, b = (v.T if turn else v for v in (a, b))
        for name in ("subtract", "divide"):
            ufunc, f = OPERATIONS[name]
            x, y = dif.tensor(a, requires_grad=True), dif.tensor(b, requires_grad=True)
            np.testing.assert_array_equal(f(x, y).detach().numpy(), ufunc(a, b))
            np.testing.assert_array_equal(f(y, x).detach().numpy(), ufunc(b, a))
        w = rng.standard_normal(np.broadcast_shapes(*shapes))
        ga, gb = dif.grad(lambda a, b, w=w: (w * (a * b)).sum(), argnums=(0, 1))(a, b)
        for g, this, other in ((ga, a, b), (gb, b, a)):
            expected = w * other
            expected = expected.sum(tuple(range(w.ndim - this.ndim)))
            stretched = tuple(i for i, n in enumerate(this.shape) if n == 1 and expected.shape[i] != 1)
            np.testing.assert_allclose(g, expected.sum(stretched, keepdims=True), rtol=1e-9, atol=1e-9)


def test_operands_that_do_not_go_together(helpers):
    x = dif.tensor(np.ones((SIZE // 100, 100)), requires_grad=True)
    with pytest.raises(ValueError, match="shape"):
        x + dif.tensor(np.ones(99))
    assert (x[:0] + dif.tensor(np.ones((SIZE, 1, 1)))).shape == (SIZE, 0, 100)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("shape", [(large.SUM // 4,), (large.SUM // 4 + 12345,), (3, 7, large.SUM // 64 + 1)])
def test_sums_are_numpys(rng, helpers, shape, dtype):
    """They are cut where NumPy's pairwise summation cuts them."""
    x = (rng.standard_normal(shape) * 10.0 ** rng.uniform(-3, 3, shape)).astype(dtype)
    assert dif.sum(dif.tensor(x)).item() == np.sum(x).item()
    assert dif.sum(dif.tensor(x), keepdims=True).shape == (1,) * x.ndim


FUNCTIONS = {
    "one operation": (lambda x: dif.exp(x), np.exp, [1]),
    "a chain": (lambda x: dif.exp(-(x * x)), lambda x: -2 * x * np.exp(-(x * x)), [3]),
    "branches": (
        lambda x: dif.sin(x) * dif.exp(-(x * x)) + x / (1 + x * x),
        lambda x: (np.cos(x) - 2 * x * np.sin(x)) * np.exp(-(x * x)) + (1 - x * x) / (1 + x * x) ** 2,
        [9],
    ),
    "numbers": (lambda x: 3.0 - 2.0 * x / 4.0, lambda x: np.full_like(x, -0.5), [3]),
    "interrupted": (
        lambda x: dif.exp(dif.flip(dif.sin(x) * x)),
        lambda x: np.exp(np.sin(x) * x) * (np.cos(x) * x + np.sin(x)),
        [1, 2],
    ),
    "a kink": (lambda x: dif.maximum(x, 0.5) ** 3, lambda x: np.where(x > 0.5, 3 * x * x, 0), [2]),
}


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("shape", [(SIZE,), (40, SIZE // 40 + 1), (2, 3, SIZE // 6 + 1)])
def test_gradients(rng, helpers, runs, name, shape):
    f, slope, lengths = FUNCTIONS[name]
    x, w = rng.standard_normal((2, *shape))
    expected = slope(x)
    g = dif.grad(lambda x: f(x).sum())(x)
    np.testing.assert_allclose(g, expected, rtol=1e-13, atol=1e-14)
    assert runs == lengths
    order = (slice(None, None, -1),) * len(shape) if name == "interrupted" else ...
    _, pull = dif.vjp(f, x)
    np.testing.assert_allclose(pull(w[order])[0], w * expected, rtol=1e-13, atol=1e-14)


def test_the_number_of_threads_does_not_matter(rng, monkeypatch):
    x = rng.standard_normal(SIZE)
    found = []
    for count in (0, 1, 3):
        monkeypatch.setattr(threads, "workers", lambda count=count: count)
        monkeypatch.setattr(threads, "_tasks", None)
        found.append(dif.value_and_grad(lambda x: (dif.sin(x) * dif.exp(-(x * x)) / (2 + dif.cos(x))).sum())(x))
    for value, g in found[1:]:
        assert value == found[0][0]
        np.testing.assert_array_equal(g, found[0][1])


@pytest.mark.parametrize("axis", [0, 1])
def test_cotangents_of_sums_over_one_axis(rng, helpers, runs, axis):
    """They see their elements many times, and are cut along the first axis."""
    x = rng.standard_normal((30, SIZE // 30 + 1))
    w = rng.standard_normal(x.shape[1 - axis])
    g = dif.grad(lambda x: (w * (dif.tanh(x) * x).sum(axis)).sum())(x)
    spread = w if axis == 0 else w[:, None]
    np.testing.assert_allclose(g, spread * (np.tanh(x) + x / np.cosh(x) ** 2), rtol=1e-12, atol=1e-13)
    assert 2 in runs


@pytest.mark.parametrize("m", [1, 3, 16])
def test_cotangents_of_sums_over_a_short_axis(rng, helpers, runs, m):
    x = rng.standard_normal((20, SIZE // (20 * m) + 1, m))
    w = rng.standard_normal(x.shape[:2])
    g = dif.grad(lambda x: (w * (dif.tanh(x) * x).sum(-1)).sum())(x)
    np.testing.assert_allclose(g, w[..., None] * (np.tanh(x) + x / np.cosh(x) ** 2), rtol=1e-12, atol=1e-13)
    assert 2 in runs


def test_other_orders_of_memory(rng, helpers):
    x = rng.standard_normal((SIZE // 50, 51))
    for data in (x.T, x[::-1], x[:, ::-1]):
        g = dif.grad(lambda x: (dif.exp(x) * x).sum())(data)
        np.testing.assert_allclose(g, np.exp(data) * (1 + data), rtol=1e-13, atol=1e-14)


def test_several_arguments_and_their_buffers(rng, helpers):
    """What enters a run from outside is added to; gradients that are handed out do not share memory."""
    a, b, c = rng.standard_normal((3, SIZE))

    def f(a, b):
        y = a * b
        z = (y[1:] * y[:-1]).sum()
        return z + (c * y + a).sum() + b.sum()

    ga, gb = dif.grad(f, argnums=(0, 1))(a, b)
    y = a * b
    gy = c.copy()
    gy[1:] += y[:-1]
    gy[:-1] += y[1:]
    np.testing.assert_allclose(ga, gy * b + 1, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(gb, gy * a + 1, rtol=1e-12, atol=1e-12)
    assert not np.shares_memory(ga, gb)


def test_what_is_given_is_not_written_to(rng, helpers):
    x, w = rng.standard_normal((2, SIZE))
    before = w.copy()
    _, pull = dif.vjp(lambda x: (x + x * x, -x), x)
    first = pull((w, w))[0]
    second = pull((w, w))[0]
    np.testing.assert_array_equal(w, before)
    np.testing.assert_array_equal(first, second)
    np.testing.assert_allclose(first, w * 2 * x, rtol=1e-12, atol=1e-12)


def test_an_exact_zero_meets_an_infinite_derivative(rng, helpers):
    x = rng.uniform(1, 2, SIZE)
    x[::1000] = 0.0
    with np.errstate(divide="ignore", invalid="ignore"):
        g = dif.grad(lambda x: (dif.where(x > 0, dif.sqrt(x) * 1.0, 0.0)).sum())(x)
        expected = np.where(x > 0, 0.5 / np.sqrt(x), 0.0)
    np.testing.assert_allclose(g, expected, rtol=1e-14)


def test_errors_name_the_line(rng, helpers, monkeypatch):
    """Of the operation that failed, not of the run's first."""

    def rule(xp, g, y, x):
        raise MemoryError("no more")

    monkeypatch.setattr(dif.exp.primitive, "rule_a", rule)

    def f(x):
        return dif.exp(x)

    with pytest.raises(MemoryError, match="no more") as found:
        dif.grad(lambda x: (f(x) * 2.0).sum())(rng.standard_normal(SIZE))
    (note,) = found.value.__notes__
    assert "exp" in note and "in f" in note


def test_error_handling_is_the_callers(helpers):
    x = dif.tensor(np.zeros(SIZE))
    with np.errstate(divide="raise"), pytest.raises(FloatingPointError):
        1.0 / x
    with np.errstate(divide="ignore"):
        assert np.isinf((1.0 / x).numpy()).all()
    with pytest.warns(RuntimeWarning, match="divide by zero"):
        1.0 / x


def test_derivatives_of_derivatives(rng, helpers):
    x, v = rng.standard_normal((2, SIZE))
    f = lambda x: dif.exp(x * x).sum()
    e = np.exp(x * x)
    np.testing.assert_allclose(dif.hvp(f)(x, v), (2 + 4 * x * x) * e * v, rtol=1e-12)
    y, t = dif.jvp(lambda x: dif.sin(x) * x, (x,), (v,))
    np.testing.assert_allclose(t, (np.cos(x) * x + np.sin(x)) * v, rtol=1e-12, atol=1e-13)


def test_parts_of_complex_numbers(rng, helpers):
    """Their cotangents are real, those of the numbers complex."""
    z = rng.standard_normal(SIZE) + 1j * rng.standard_normal(SIZE)
    g = dif.grad(lambda z: (z.imag**2 + 3.0 * z.real).sum())(z)
    assert g.dtype == np.complex128
    np.testing.assert_allclose(g, 3 + 2j * z.imag, rtol=1e-15)
    x = z.real.copy()
    y = np.fft.fft(x)
    g = dif.grad(lambda x: (np.fft.fft(x).imag * y.imag).sum())(x)
    np.testing.assert_allclose(g, (np.fft.fft(1j * y.imag)).real * -1.0, rtol=1e-9, atol=1e-6)


def test_operations_of_users_are_called_with_whole_arrays(rng, helpers, runs):
    """Nobody says that their rules may be called for parts."""
    shapes = set()

    def rule(xp, g, y, x):
        shapes.add(x.shape)
        return g * xp.cos(x)

    name = f"test.whole_{helpers}"
    f = dif.primitive(name, np.sin, rule, kind="unary", saves="x")
    x = rng.standard_normal(SIZE)
    np.testing.assert_allclose(dif.grad(lambda x: f(x).sum())(x), np.cos(x), rtol=1e-15)
    assert shapes == {x.shape} and runs == []


def test_memory(rng):
    """The cotangents of a run are never whole: beside the gradient there is a chunk of each."""
    x = dif.tensor(rng.standard_normal(4 * SIZE), requires_grad=True)
    y = x
    for _ in range(6):
        y = y + dif.sin(y) * 0.1
    L = y.sum()
    tracemalloc.start()
    L.backward()
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1.7 * x.nbytes
