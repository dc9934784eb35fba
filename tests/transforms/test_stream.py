"""Streaming jvp and Taylor series."""

import tracemalloc

import mpmath
import numpy as np
import pytest

import difftensor as dif
from difftensor.errors import MissingDerivativeError


def program(x):
    u = dif.zeros(4)
    u[0] = x[0]
    for i in range(3):
        u[i + 1] = u[i] * x[1] + np.sin(u[i]) if x[1] > 0 else u[i]
    row = u[1:]
    row *= 1.5
    return dif.sum(u * u) + dif.linalg.det(dif.outer(u[:2], x) + np.eye(2))


X, V = np.array([0.5, 0.7]), np.array([0.3, -0.2])


def test_streaming_is_the_taped_jvp():
    for f in (program, lambda x: dif.where(x > 0.6, np.sqrt(x), x**2), lambda x: {"a": x[0], "b": (x, 2.0)}):
        y, dy = dif.jvp(f, (X,), (V,), stream=True)
        y2, dy2 = dif.jvp(f, (X,), (V,))
        for a, b in zip(dif.tree.leaves((y, dy)), dif.tree.leaves((y2, dy2)), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-13)


def test_under_other_transformations():
    g = dif.grad(lambda x: dif.jvp(program, (x,), (V,), stream=True)[1])(X)
    np.testing.assert_allclose(g, dif.hvp(program)(X, V), rtol=1e-12)
    outer = dif.jvp(lambda x: dif.jvp(program, (x,), (V,), stream=True)[1], (X,), (V,))[1]
    np.testing.assert_allclose(outer, V @ dif.hvp(program)(X, V), rtol=1e-12)


def test_what_needs_a_tape_inside_says_so():
    with pytest.raises(MissingDerivativeError, match="stream=False"):
        dif.jvp(dif.grad(program), (X,), (V,), stream=True)


def test_strong_zero():
    _, dy = dif.jvp(lambda x: dif.where(x > 0, np.sqrt(x), 0.0), (np.array([0.0, 4.0]),), (np.ones(2),), stream=True)
    assert dy.tolist() == [0.0, 0.25]


def decay(x, n, rate=0.001):
    for _ in range(n):
        x = x - rate * x
    return x


def test_memory_does_not_grow_with_the_steps():
    peaks = []
    for n in (200, 2000):
        tracemalloc.start()
        _, dy = dif.jvp(lambda x, n=n: decay(x, n), (1.0,), (1.0,), stream=True)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        np.testing.assert_allclose(dy, 0.999**n, rtol=1e-12)
    assert peaks[1] < 1.5 * peaks[0]


@pytest.mark.slow
def test_a_million_steps():
    _, dy = dif.jvp(lambda x: decay(x, 10**6, 1e-5), (1.0,), (1.0,), stream=True)
    np.testing.assert_allclose(dy, np.exp(10**6 * np.log1p(-1e-5)), rtol=1e-8)


# Taylor series against mpmath ----------------------------------------------------------------------------------------

SERIES = {
    "exp": (np.exp, mpmath.exp),
    "sin": (np.sin, mpmath.sin),
    "tan": (np.tan, mpmath.tan),
    "arctan": (np.arctan, mpmath.atan),
    "tanh": (np.tanh, mpmath.tanh),
    "log": (np.log, mpmath.log),
    "arcsin": (np.arcsin, mpmath.asin),
    "quotient": (lambda x: np.sqrt(1 + x**2) / (2 + np.sin(x)), lambda x: mpmath.sqrt(1 + x**2) / (2 + mpmath.sin(x))),
    "power": (lambda x: x**2.5 * np.log(x), lambda x: x ** mpmath.mpf("2.5") * mpmath.log(x)),
    "base and exponent": (lambda x: x**x, lambda x: x**x),
}


@pytest.mark.parametrize("name", SERIES)
def test_coefficients(name):
    ours, theirs = SERIES[name]
    with mpmath.workdps(40):
        expected = np.array([float(c) for c in mpmath.taylor(theirs, mpmath.mpf("0.7"), 10)])
    np.testing.assert_allclose(dif.taylor(ours, 0.7, 10), expected, rtol=1e-11)


def test_cost_is_not_exponential():
    """Order 24 of a nest of functions: 2^24 rules would not come back."""
    with mpmath.workdps(40):
        f = lambda x: mpmath.sin(mpmath.exp(mpmath.cos(x)) / (1 + x))  # noqa: E731
        expected = np.array([float(c) for c in mpmath.taylor(f, mpmath.mpf("0.3"), 24)])
    np.testing.assert_allclose(dif.taylor(lambda x: np.sin(np.exp(np.cos(x)) / (1 + x)), 0.3, 24), expected, rtol=1e-9)


def test_along_a_direction_of_a_program():
    f = lambda x: dif.sum(program(x) * x)  # noqa: E731
    c = dif.taylor(f, X, 3, V)
    g = lambda t: f(X + t * V)  # noqa: E731
    d1, d2, d3 = dif.grad(g), dif.grad(dif.grad(g)), dif.grad(dif.grad(dif.grad(g)))
    np.testing.assert_allclose(c, [float(g(0.0)), d1(0.0), d2(0.0) / 2, d3(0.0) / 6], rtol=1e-10)


def test_matrix_functions_and_gradients_through(rng):
    A, B = rng.normal(size=(3, 3)) + 4 * np.eye(3), rng.normal(size=(3, 3))
    c = dif.taylor(lambda t: dif.linalg.solve(A + t * B, np.ones(3)), 0.0, 6)
    h = 0.05
    series = np.polynomial.polynomial.polyval(h, c)
    np.testing.assert_allclose(series, np.linalg.solve(A + h * B, np.ones(3)), rtol=1e-6)
    np.testing.assert_allclose(dif.grad(lambda x: dif.taylor(np.sin, x, 3)[3])(0.5), np.sin(0.5) / 6, rtol=1e-13)
    with pytest.raises(ValueError, match="negative"):
        dif.taylor(np.sin, 0.0, -1)


@pytest.mark.parametrize("make", ["zeros_like", "ones_like", "full_like"])
@pytest.mark.parametrize("np_", [np, dif])
def test_arrays_like_a_dual_can_be_filled(np_, make):
    x, t = np.array([0.3, 0.5, 0.7]), np.array([1.0, 2.0, 3.0])

    def f(x):
        y = getattr(np_, make)(x, *([2.0] if make == "full_like" else []))
        assert y.shape == x.shape and y.dtype == x.dtype
        y[1:] = x[:-1] ** 2
        return y * x

    y, dy = dif.jvp(f, (x,), (t,), stream=True)
    expected = dif.jvp(f, (x,), (t,))
    assert np.array_equal(y, expected[0]) and np.allclose(dy, expected[1], rtol=1e-15)


@pytest.mark.parametrize("f", [lambda x, c: np.where([True, False], x, c), lambda x, c: np.stack([x, c])])
def test_tangents_have_the_dtype_of_their_values(f):
    x, c = np.ones(2, np.float32), np.ones(2, complex)
    y, dy = dif.jvp(lambda x: f(x, c), (x,), (x,), stream=True)
    assert y.dtype == dy.dtype == complex


def around_in_loop(w, x):
    for _ in range(5):
        x = x + 0.1 * np.sin(x * w)
    return x


def around_in_writes(w, x):
    y = dif.zeros(3)
    y[0] = x[0] * w[1]
    y[1:] = w[1:] ** 2
    z = w * 1
    z[1] = x[2] ** 2
    return y * x * z


def around_in_checkpoint(w, x):
    return dif.checkpoint(lambda z: z * w * x)(x)


AROUND = [
    around_in_loop,
    around_in_writes,
    around_in_checkpoint,
    lambda w, x: np.where(x > 0.4, w * x, w),
    lambda w, x: np.concatenate([x * w, w * w]),
    lambda w, x: np.linalg.solve(np.outer(w, x) + np.diag(x), w),
]


@pytest.mark.parametrize("which", [0, 1])
@pytest.mark.parametrize("f", AROUND)
def test_what_f_uses_of_its_surroundings_can_be_differentiated(f, which):
    w, x, t = np.array([2.0, 3.0, 4.0]), np.array([0.3, 0.5, 0.7]), np.array([1.0, 2.0, -1.0])

    def of(w, stream):
        return np.sum(dif.jvp(lambda x: f(w, x), (x,), (t,), stream=stream)[which] ** 2)

    h = 1e-6
    ahead, behind = ([of(dif.asarray(w + s * e), False).item() for e in np.eye(3)] for s in (h, -h))
    slopes = np.subtract(ahead, behind) / (2 * h)
    assert np.allclose(dif.grad(of)(w, True), slopes, rtol=1e-7, atol=1e-8)
    assert np.allclose(dif.jvp(lambda w: of(w, True), (w,), (t,))[1], slopes @ t, rtol=1e-7, atol=1e-8)


@pytest.mark.parametrize("inside", [lambda z, x: z * x, lambda z, x: (z * x, z**2, x * 1)])
def test_a_checkpoint_that_uses_the_argument_twice(inside):
    x, t = np.array([0.3, 0.5, 0.7]), np.array([1.0, 2.0, -1.0])

    def f(checkpoint, x):
        y = checkpoint(lambda z: inside(z, x))(x)
        return sum(y) if isinstance(y, tuple) else y

    expected = dif.jvp(lambda x: f(lambda g: g, x), (x,), (t,))
    for y, z in zip(dif.jvp(lambda x: f(dif.checkpoint, x), (x,), (t,), stream=True), expected):
        assert np.allclose(y, z, rtol=1e-15)


def test_series_through_a_cholesky_factorization(rng):
    a, v = rng.normal(size=(3, 3)) + 3 * np.eye(3), rng.normal(size=(3, 3))
    f = lambda a: dif.sum(dif.linalg.cholesky(a @ a.T) * np.arange(9.0).reshape(3, 3))  # noqa: E731
    slope = lambda f: lambda a: dif.jvp(f, (a,), (v,))[1]  # noqa: E731
    found = dif.taylor(f, a, 3, v)
    np.testing.assert_allclose(found[1:], [slope(f)(a), slope(slope(f))(a) / 2, slope(slope(slope(f)))(a) / 6])


def test_arrays_without_axes():
    """np.sin makes a number of one."""
    x = np.array(0.3)
    for f, slope in ((np.sin, np.cos(0.3)), (np.cos, -np.sin(0.3))):
        for stream in (False, True):
            y, t = dif.jvp(lambda x, f=f: f(dif.copy(x)), (x,), (2.0,), stream=stream)
            assert y == f(0.3) and t == 2 * slope


SHARING = {
    "a sum": lambda x: x + 2.0,
    "a difference": lambda x: x - np.ones(3),
    "a sum that broadcasts": lambda x: x[0] + np.zeros(3),
    "a maximum": lambda x: np.maximum(x, -9.0),
    "a list": lambda x: dif.array([x])[0],
    "a pick": lambda x: np.linalg.eigh(np.diag(np.arange(3.0)) + np.diag(x))[0],
}


@pytest.mark.parametrize("name", SHARING)
def test_writes_after_operations_whose_tangent_is_that_of_the_operand(name):
    def f(x):
        x = x * 1.0
        y = SHARING[name](x)
        z = x + 0.0
        y *= x
        x[1] = y[0] ** 2
        y[2] = 5.0
        return (x * x * z).sum() + (y * x).sum()

    x, v = np.array([0.3, 0.7, 1.4]), np.array([1.0, 2.0, -1.0])
    expected = dif.grad(f)(x) @ v
    np.testing.assert_allclose(dif.jvp(f, (x,), (v,), stream=True)[1], expected, rtol=1e-14)
    w = np.array([0.2, -0.3, 0.4])
    slope = dif.grad(lambda x: dif.jvp(f, (x,), (v,), stream=True)[1])(x) @ w  # watched from outside
    np.testing.assert_allclose(slope, dif.hvp(f)(x, v) @ w, rtol=1e-13)
    rows = dif.vmap(lambda x: dif.jvp(f, (x,), (v,), stream=True)[1])(np.stack([x, w]))
    np.testing.assert_allclose(rows, [expected, dif.grad(f)(w) @ v], rtol=1e-13)


def test_an_imaginary_number_times_a_number():
    """Python's result of 1j * np.float64(2) is a Python number."""
    f = lambda x: (1j * x.sum() + np.nan_to_num(x.sum() + 0j)).imag  # noqa: E731
    assert dif.jvp(f, (np.ones(3),), (np.ones(3),), stream=True) == (3.0, 3.0)


C, F = np.arange(6.0).reshape(2, 3) / 4 - 0.7, np.asfortranarray(np.arange(6.0).reshape(2, 3)[::-1] / 5 + 0.2)
LAYOUTS = {
    "a sum with rows": (lambda x: x + C, np.array([0.3, 0.7, 1.4])),
    "a sum with rows in Fortran order": (lambda x: x + F, np.array([0.3, 0.7, 1.4])),
    "a quotient": (lambda x: F / (x * x + 1), np.array([0.3, 0.7, 1.4])),
    "broadcast": (lambda x: np.broadcast_to(x, (2, 3)) + 0.0, np.array([0.3, 0.7, 1.4])),
    "Fortran order": (lambda x: x * 1.0, F),
    "the argument": (lambda x: x, F),
    "a function in Fortran order": (np.exp, F),
    "reduced": (lambda x: x.sum(axis=0) + F, C),
    "transforms": (lambda x: np.fft.fft(x, axis=0).real + 0.0, F),
    "an array that becomes dual": (lambda x: written(dif.tensor(F), x), np.array([0.3, 0.7, 1.4])),
}


def written(y, row):
    y[0] = row
    return y


@pytest.mark.parametrize("name", LAYOUTS)
def test_a_reshape_is_a_view_of_value_and_tangent_or_of_neither(name):
    """Whether a write through it reaches what it was made of depends on the memory order."""
    make, x = LAYOUTS[name]
    v = np.ascontiguousarray(np.cos(7 * x))

    def f(x):
        y = make(x)
        z = y.reshape(-1)
        z[0] = z[1] * z[2]
        z[3:] *= 2.0
        return (y * y * (C + 2)).sum() + (z**3).sum()

    g = dif.grad(f)(x)
    slope = (g * v).sum()
    np.testing.assert_allclose(dif.jvp(f, (x,), (v,))[1], slope, rtol=1e-13)
    np.testing.assert_allclose(dif.jvp(f, (x,), (v,), stream=True)[1], slope, rtol=1e-13)
    series = dif.taylor(f, x, 2, v)
    np.testing.assert_allclose(series[1:], [slope, (dif.hvp(f)(x, v) * v).sum() / 2], rtol=1e-12)
    xs, vs = np.stack([x, x], axis=-1), np.stack([v, v], axis=-1)
    rows = dif.vmap(lambda x, v: dif.jvp(f, (x,), (v,), stream=True)[1], in_axes=-1)(xs, vs)
    np.testing.assert_allclose(rows, [slope] * 2, rtol=1e-13)
    rows = dif.jvp(dif.vmap(f, in_axes=-1), (xs,), (vs,), stream=True)[1]
    np.testing.assert_allclose(rows, [slope] * 2, rtol=1e-13)


def test_series_of_an_argument_that_is_written_to():
    """Every coefficient has memory of its own."""

    def f(x):
        x[0] = np.exp(x[1])
        return x[0] * 1.0

    x, v = np.array([0.3, 0.7]), np.array([1.0, 2.0])
    expected = np.exp(0.7) * np.array([1, 2, 2, 8 / 6, 16 / 24])
    np.testing.assert_allclose(dif.taylor(f, x, 4, v), expected, rtol=1e-14)


@pytest.mark.parametrize("write", [np.ravel, lambda x: x[None], lambda x: x], ids=["ravel", "index", "itself"])
def test_an_argument_without_axes_stays_an_array(write):
    """It is written to through its views, as NumPy's is; numbers are not."""

    def f(x):
        y = write(x)
        y *= 2.0
        return x * x + y.sum()

    x = np.array(3.0)
    for v in (np.array(2.0), 2.0):
        assert dif.jvp(f, (x,), (v,)) == dif.jvp(f, (x,), (v,), stream=True) == (42.0, 52.0)
        assert dif.taylor(f, x, 2, v).tolist() == [42.0, 52.0, 16.0]
    assert x == 3.0
    if write(x) is not x:
        assert dif.jvp(lambda x: f(x * 1.0), (x,), (2.0,), stream=True) == (15.0, 16.0)
