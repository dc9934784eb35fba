"""SciPy's ufuncs on Tensors: every one of them gives a value with gradients or says which derivative is missing."""

import subprocess
import sys

import mpmath
import numpy as np
import pytest
import scipy.special

import difftensor as dif
from difftensor.errors import MissingDerivativeError
from difftensor.testing import check_grads

UFUNCS = {
    name: f
    for name, f in sorted(vars(scipy.special).items())
    if isinstance(f, np.ufunc) and not name.startswith("_") and name != "sph_harm"  # deprecated, gone with SciPy 1.17
}


def real_operands(ufunc):
    """Arrays for a loop of doubles, or of doubles and long orders and degrees: all in (0, 1), where most are smooth."""
    loops = [loop.partition("->")[0] for loop in ufunc.types if set(loop.partition("->")[0]) <= set("dlp")]
    loop = max(loops, key=lambda v: v.count("l") + v.count("p"), default=None)
    if loop is None or ufunc.signature is not None:
        return None
    return [np.array([1, 2]) if k in "lp" else (i % 4 + 2.7) / 8 + np.array([0, 0.1]) for i, k in enumerate(loop)]


@pytest.mark.parametrize("name", UFUNCS)
def test_a_gradient_or_an_error_that_names_the_argument(name):
    """Never a silent zero: what comes back agrees with central differences."""
    ufunc = UFUNCS[name]
    xs = real_operands(ufunc)
    if xs is None:
        pytest.skip("no loop of real numbers")
    value = ufunc(*xs)
    constant = ufunc(*map(dif.tensor, xs))
    parts, references = (v if isinstance(v, tuple) else (v,) for v in (constant, value))
    for part, reference in zip(parts, references, strict=True):
        np.testing.assert_allclose(part.numpy(), reference, rtol=1e-14)
    for i, x in enumerate(xs):
        if x.dtype.kind != "f":
            continue

        def f(v, i=i):
            y = ufunc(*xs[:i], v, *xs[i + 1 :])
            return sum((k + 1) * part for k, part in enumerate(y)) if isinstance(y, tuple) else y

        h = 1e-5
        with np.errstate(all="ignore"):
            slope = (f(x + h) - f(x - h)) / (2 * h)
        try:
            found = dif.vjp(f, x)[1](np.ones(2))[0]
        except MissingDerivativeError as error:
            assert name in str(error) or ufunc.__name__ in str(error)  # noqa: PT017 - the message is what is tested
            assert "derivative with respect to '" in str(error)
            continue
        np.testing.assert_allclose(found, slope, rtol=1e-5, atol=1e-7)


def test_the_error_uses_scipys_name_of_the_argument():
    w = dif.tensor(0.5, requires_grad=True)
    with pytest.raises(MissingDerivativeError, match=r"betaincinv: .* 'b' \(argument 1\)"):
        scipy.special.betaincinv(1.0, w, 0.5)
    with pytest.raises(MissingDerivativeError, match=r"struve: .*'v' \(argument 0\).*detach"):
        scipy.special.struve(w, 1.0)
    y = scipy.special.jv(w, 1.0)
    with pytest.raises(MissingDerivativeError, match=r"jv: .* 'v'.*test_special\.py"):
        y.backward()


def test_derivatives_that_are_known_work_beside_those_that_are_not():
    found = dif.grad(lambda z: scipy.special.jv(0.5, z))(1.2)
    exact = mpmath.diff(lambda z: mpmath.besselj(0.5, z), 1.2)
    assert found == pytest.approx(float(exact), rel=1e-12)


def test_functions_reach_scipy_by_either_name():
    x = np.array([0.2, 0.7])
    assert np.array_equal(dif.special.erf(x), scipy.special.erf(x))
    assert isinstance(scipy.special.erf(dif.tensor(x)), dif.Tensor)
    assert dif.special.struve is scipy.special.struve


def test_special_is_not_imported_before_it_is_met():
    code = """
import sys, difftensor as dif
assert "scipy.special" not in sys.modules and "difftensor.special" not in sys.modules
import scipy.special
assert dif.grad(scipy.special.erf)(0.0) > 1.1
assert "difftensor.special" in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_unknown_ufuncs_of_users_raise_for_tracked_tensors_only():
    twice = np.frompyfunc(lambda x: 2 * x, 1, 1)
    with pytest.raises(MissingDerivativeError, match="x1"):
        twice(dif.tensor(1.0, requires_grad=True))
    with pytest.raises(TypeError, match="no array of numbers"):
        twice(dif.tensor([1.0, 2.0]))


# Values with an independent source ----------------------------------------------------------------------------------

CLOSED = [
    ("erf", 0.3, mpmath.erf),
    ("erfc", 2.5, mpmath.erfc),
    ("erfcx", 12.0, lambda x: mpmath.exp(x * x) * mpmath.erfc(x)),
    ("erfcx", 29.9, lambda x: mpmath.exp(x * x) * mpmath.erfc(x)),
    ("erfcx", 30.1, lambda x: mpmath.exp(x * x) * mpmath.erfc(x)),
    ("erfcx", 1e4, lambda x: mpmath.exp(x * x) * mpmath.erfc(x)),
    ("log_ndtr", -40.0, lambda x: mpmath.log(mpmath.ncdf(x))),
    ("log_ndtr", 5.0, lambda x: mpmath.log(mpmath.ncdf(x))),
    ("dawsn", 1.5, lambda x: mpmath.sqrt(mpmath.pi) / 2 * mpmath.exp(-x * x) * mpmath.erfi(x)),
    ("gamma", -1.5, mpmath.gamma),
    ("gammaln", 50.0, mpmath.loggamma),
    ("digamma", 0.2, mpmath.digamma),
    ("digamma", -2.3, mpmath.digamma),
    ("j0", 3.0, lambda x: mpmath.besselj(0, x)),
    ("j1", 0.0, lambda x: mpmath.besselj(1, x)),
    ("y1", 2.0, lambda x: mpmath.bessely(1, x)),
    ("i1e", 3.0, lambda x: mpmath.besseli(1, x) * mpmath.exp(-x)),
    ("k1e", 3.0, lambda x: mpmath.besselk(1, x) * mpmath.exp(x)),
    ("expi", 0.7, mpmath.ei),
    ("exp1", 0.7, mpmath.e1),
    ("expit", -30.0, lambda x: 1 / (1 + mpmath.exp(-x))),
    ("log_expit", -800.0, lambda x: -mpmath.log1p(mpmath.exp(-x))),
    ("ndtri", 0.01, lambda p: mpmath.sqrt(2) * mpmath.erfinv(2 * p - 1)),
    ("entr", 0.3, lambda x: -x * mpmath.log(x)),
]


@pytest.mark.parametrize("name, x, exact", CLOSED, ids=[f"{n} at {x}" for n, x, _ in CLOSED])
def test_first_and_second_derivatives_against_mpmath(name, x, exact):
    f = getattr(scipy.special, name)
    with mpmath.workdps(60):
        first, second = (float(mpmath.diff(exact, mpmath.mpf(x), k)) for k in (1, 2))
    assert dif.grad(f)(x) == pytest.approx(first, rel=1e-11, abs=1e-300)
    assert dif.grad(dif.grad(f))(x) == pytest.approx(second, rel=1e-9, abs=1e-15)


@pytest.mark.parametrize("a", [0.01, 0.6, 3.0, 40.0, 1e3])
def test_gammainc_in_its_shape(a):
    """Against differences of mpmath's, in both tails, and at the ends where nothing depends on the shape."""
    for q in (1e-8, 0.1, 0.5, 0.9, 1 - 1e-8):
        x = float(scipy.special.gammaincinv(a, q))
        if x < 1e-290:
            continue
        with mpmath.workdps(60):
            h = mpmath.mpf(a) * mpmath.mpf(10) ** -15
            up, down = (mpmath.gammainc(a + s * h, 0, x, regularized=True) for s in (1, -1))
            expected = float((up - down) / (2 * h))
        found = dif.grad(lambda v, x=x: scipy.special.gammainc(v, x))(a)
        assert float(found) == pytest.approx(expected, rel=1e-11)
        assert dif.grad(lambda v, x=x: scipy.special.gammaincc(v, x))(a) == -found
    for x in (0.0, np.inf):
        assert dif.grad(lambda v, x=x: scipy.special.gammainc(v, x))(a) == 0


@pytest.mark.parametrize("b", [0.02, 1.0, 7.0, 300.0])
@pytest.mark.parametrize("a", [0.01, 0.6, 3.0, 40.0, 2e3])
def test_betainc_in_its_parameters(a, b):
    """Against differences of mpmath's, in both tails; the derivative in b as that in a of the mirror image."""
    for q in (1e-8, 0.1, 0.5, 0.9, 1 - 1e-8):
        x = float(scipy.special.betaincinv(a, b, q))
        if not 1e-290 < x < 1 - 1e-13:
            continue
        with mpmath.workdps(60):
            h = mpmath.mpf(10) ** -15
            p, r, z = map(mpmath.mpf, (a, b, x))
            of = lambda p, r, z=z: mpmath.betainc(p, r, 0, z, regularized=True)
            by_a = float((of(p * (1 + h), r) - of(p * (1 - h), r)) / (2 * h * p))
            by_b = float((of(p, r * (1 + h)) - of(p, r * (1 - h))) / (2 * h * r))
        found = dif.grad(scipy.special.betainc, argnums=(0, 1))(a, b, x)
        np.testing.assert_allclose(found, [by_a, by_b], rtol=1e-11)
        np.testing.assert_array_equal(dif.grad(dif.special.betaincc, argnums=(0, 1))(a, b, x), np.negative(found))
    for x in (0.0, 1.0):
        assert dif.grad(scipy.special.betainc, argnums=(0, 1))(a, b, x) == (0.0, 0.0)


def test_betainc_of_closed_forms():
    """I_x(a, 1) = x^a, 1 - I_x(1, b) = (1 - x)^b, of arrays that broadcast, to second order and in every mode."""
    a, x = np.array([[0.3], [2.0], [50.0]]), np.array([0.2, 0.9])
    check_grads(lambda a, x: dif.special.betainc(a, 2.5, x), (a, x), order=2)
    first = dif.jacobian(lambda a: dif.special.betainc(a, 1.0, x))(np.float64(2.0))
    np.testing.assert_allclose(first, x**2 * np.log(x), rtol=1e-13)
    second = dif.grad(dif.grad(lambda b: dif.special.betaincc(1.0, b, 0.3)))(4.0)
    np.testing.assert_allclose(second, 0.7**4 * np.log(0.7) ** 2, rtol=1e-11)
    along = dif.jvp(lambda b: dif.special.betaincc(1.0, b, 0.3), (4.0,), (1.0,), stream=True)[1]
    np.testing.assert_allclose(along, 0.7**4 * np.log(0.7), rtol=1e-13)
    each = dif.vmap(dif.grad(dif.special.betainc), in_axes=(0, None, 0))(a[:2, 0], 1.0, x)
    np.testing.assert_allclose(each, x ** a[:2, 0] * np.log(x), rtol=1e-13)


def test_float32_parameters_of_betainc_stay_so():
    a = np.float32(2.0)
    assert dif.special.betainc(dif.tensor(a), 1.0, 0.5).dtype == np.float32
    assert dif.grad(dif.special.betainc)(a, 1.0, 0.5).dtype == np.float32


def test_gammainc_is_the_integral_of_its_derivative():
    assert dif.grad(lambda x: scipy.special.gammainc(2.0, x))(1.5) == pytest.approx(1.5 * np.exp(-1.5), rel=1e-14)
    assert dif.grad(lambda x: scipy.special.betainc(2.0, 3.0, x))(0.3) == pytest.approx(12 * 0.3 * 0.49, rel=1e-13)


def test_complex_functions():
    z = np.array([0.3 + 0.4j, -1.2 + 0.1j])
    for f in (scipy.special.erf, scipy.special.gamma, scipy.special.dawsn, scipy.special.loggamma):
        check_grads(f, z, order=1)
    found = dif.grad(scipy.special.gamma, holomorphic=True)(0.3 + 0.4j)
    with mpmath.workdps(30):
        assert found == pytest.approx(complex(mpmath.diff(mpmath.gamma, mpmath.mpc(0.3, 0.4))), rel=1e-12)


def test_hankel_functions_of_real_numbers_have_real_gradients():
    g = dif.grad(lambda x: abs(scipy.special.hankel1(0.0, x)) ** 2)(2.0)
    j = dif.grad(lambda x: scipy.special.j0(x) ** 2 + scipy.special.y0(x) ** 2)(2.0)
    assert isinstance(g, np.float64)
    assert g == pytest.approx(j, rel=1e-12)


@pytest.mark.parametrize("n", [0, 1, 2, np.array([0, 3])])
def test_polygamma_and_zeta(n):
    x = np.array([0.6, 2.5])
    found = dif.special.polygamma(n, dif.tensor(x))
    np.testing.assert_allclose(found.numpy(), scipy.special.polygamma(n, x), rtol=1e-14)
    slope = dif.vjp(lambda x: dif.special.polygamma(n, x), x)[1](np.ones(2))[0]
    np.testing.assert_allclose(slope, scipy.special.polygamma(np.asarray(n) + 1, x), rtol=1e-13)
    slope = dif.grad(lambda q: dif.special.zeta(3.0, q))(1.5)
    assert slope == pytest.approx(-3 * scipy.special.zeta(4.0, 1.5), rel=1e-14)
    with pytest.raises(MissingDerivativeError, match="'x'"):
        dif.grad(dif.special.zeta)(2.0)
    with pytest.raises(MissingDerivativeError, match="'n'"):
        dif.grad(lambda n: dif.special.polygamma(n, 2.0))(1.0)


# Limits -------------------------------------------------------------------------------------------------------------


def test_xlogy_at_the_origin():
    """0 log 0 = 0: its slope in x is log 0 = -inf, in y it counts as 0; off the origin x/y and 1/y are right."""
    gx, gy = dif.grad(scipy.special.xlogy, (0, 1))(0.0, 0.0)
    assert gx == -np.inf
    assert gy == 0.0
    assert dif.grad(scipy.special.xlogy, 1)(0.0, 2.0) == 0.0
    assert dif.grad(dif.grad(scipy.special.xlogy, 1), 0)(0.0, 2.0) == 0.5


def test_logsumexp_at_infinities():
    f = dif.special.logsumexp
    inf = np.inf
    cases = {
        (-inf, -inf): (0, 0),
        (-inf, 0.0): (0, 1),
        (inf, 0.0): (1, 0),
        (1000.0, 1000.0): (0.5, 0.5),
        (-1000.0, -1000.0): (0.5, 0.5),
    }
    for x, g in cases.items():
        x = np.array(x)
        np.testing.assert_array_equal(f(dif.tensor(x)).numpy(), scipy.special.logsumexp(x))
        np.testing.assert_array_equal(dif.grad(f)(x), g)
        np.testing.assert_array_equal(dif.jacobian(f, mode="fwd")(x), g)
    p = np.array([0.3, 0.7])
    np.testing.assert_allclose(dif.hessian(f)(np.log(p)), np.diag(p) - np.outer(p, p), atol=1e-15)


@pytest.mark.parametrize("keywords", [{}, {"axis": 0}, {"axis": (0, 1)}, {"axis": -1, "keepdims": True}])
def test_logsumexp_is_scipys(keywords, rng):
    x, b = rng.standard_normal((3, 4)), rng.random((3, 4))
    for given in (keywords, {**keywords, "b": b}):
        found = dif.special.logsumexp(dif.tensor(x), **given)
        np.testing.assert_allclose(found.numpy(), scipy.special.logsumexp(x, **given), rtol=1e-14)
        check_grads(lambda v, given=given: dif.special.logsumexp(v, **given), x)
    value, sign = dif.special.logsumexp(dif.tensor(x), b=b - 0.5, return_sign=True, **keywords)
    expected = scipy.special.logsumexp(x, b=b - 0.5, return_sign=True, **keywords)
    np.testing.assert_allclose(value.numpy(), expected[0], rtol=1e-12)
    np.testing.assert_array_equal(sign.numpy(), expected[1])


@pytest.mark.parametrize("name", ["softmax", "log_softmax"])
@pytest.mark.parametrize("axis", [None, 0, -1])
def test_softmax_is_scipys(name, axis, rng):
    f = getattr(dif.special, name)
    x = rng.standard_normal((3, 4))
    np.testing.assert_allclose(f(dif.tensor(x), axis).numpy(), getattr(scipy.special, name)(x, axis), rtol=1e-14)
    check_grads(lambda v: f(v, axis), x)


def test_logsumexp_with_weights_of_another_shape(rng):
    """SciPy broadcasts first, then sums over all axes."""
    x, b = rng.standard_normal(3), rng.random((2, 3))
    for axis in (None, 0, -1):
        for u, w in ((x, b), (b, x**2), (x[0], b), (x, b[0, 0])):
            found = dif.special.logsumexp(dif.tensor(u), axis, b=w)
            np.testing.assert_allclose(found.numpy(), scipy.special.logsumexp(u, axis, b=w), rtol=1e-13)


def test_terms_with_weight_zero_add_nothing_to_logsumexp():
    x, b = np.array([1000.0, 0.0, 1.0]), np.array([0.0, 1.0, 1.0])
    value, g = dif.value_and_grad(lambda x: dif.special.logsumexp(x, b=b))(x)
    np.testing.assert_allclose(value, scipy.special.logsumexp(x, b=b), rtol=1e-15)
    np.testing.assert_allclose(g, [0.0, scipy.special.expit(-1.0), scipy.special.expit(1.0)], rtol=1e-14)
    # the derivative with respect to a weight of zero is that of any other
    g = dif.grad(lambda b: dif.special.logsumexp(np.array([2.0, 0.0, 1.0]), b=b))(b)
    np.testing.assert_allclose(g, np.exp([2.0, 0.0, 1.0]) / (1 + np.e), rtol=1e-14)


def test_logsumexp_of_one_large_term_is_accurate():
    x = np.array([[0.0, -50.0, -60.0], [-1e-20, -45.0, -np.inf], [-3.0, -3.0, -3.0]])
    found = dif.special.logsumexp(dif.tensor(x), axis=1).numpy()
    with mpmath.workdps(60):
        expected = [float(mpmath.log(sum(mpmath.exp(mpmath.mpf(v)) for v in row))) for row in x.tolist()]
    np.testing.assert_allclose(found, expected, rtol=1e-14)


def test_log_softmax_of_large_numbers_is_accurate():
    x = np.array([1e10, 1e10 + 1, 1e10 - 3])
    np.testing.assert_allclose(dif.special.log_softmax(dif.tensor(x)).numpy(), scipy.special.log_softmax(x), rtol=1e-14)


@pytest.mark.parametrize("keywords", [{}, {"return_sign": True}, {"b": np.array([0.3, 1.2, 2.0])}])
def test_logsumexp_streams_and_has_series(keywords, rng):
    x, v = rng.standard_normal((2, 3)) + 1j * rng.standard_normal((2, 3))

    def f(x):
        y = dif.special.logsumexp(x, **keywords)
        return y[0] if isinstance(y, tuple) else y

    for u, d in ((x, v), (x.real, v.real)):
        slope = dif.jvp(f, (u,), (d,))[1]
        np.testing.assert_allclose(dif.jvp(f, (u,), (d,), stream=True)[1], slope, rtol=1e-12)
        np.testing.assert_allclose(dif.taylor(f, u, 2, d)[1], slope, rtol=1e-12)


def test_logsumexp_of_nothing():
    y = dif.special.logsumexp(dif.tensor(np.zeros((0, 3))), axis=0)
    np.testing.assert_array_equal(y.numpy(), scipy.special.logsumexp(np.zeros((0, 3)), axis=0))


def test_second_derivatives_of_complex_gamma_say_what_is_missing():
    for f in (dif.special.digamma, dif.grad(dif.special.loggamma, holomorphic=True)):
        with pytest.raises(dif.errors.MissingDerivativeError, match="first derivatives"):
            dif.grad(f, holomorphic=True)(1.0 + 1.0j)


@pytest.mark.parametrize("x", [9.99, 10.01, -20.0, 300.0, 1e4, 1e7])
def test_derivatives_of_dawsn_at_large_arguments(x):
    """F ~ 1/(2x) and so on: 1 - 2 x F has no digits left there."""
    f = dif.special.dawsn
    with mpmath.workdps(80):
        value = mpmath.sqrt(mpmath.pi) / 2 * mpmath.exp(-(mpmath.mpf(x) ** 2)) * mpmath.erfi(mpmath.mpf(x))
        first = 1 - 2 * x * value
        second = -2 * value - 2 * x * first
        expected = [first, second, -4 * first - 2 * x * second]
    for order in range(3):
        f = dif.grad(f)
        np.testing.assert_allclose(f(x), float(expected[order]), rtol=[1e-13, 1e-11, 1e-9][order])
    np.testing.assert_allclose(
        dif.taylor(dif.special.dawsn, x, 3)[1:] * [1, 2, 6], [float(v) for v in expected], rtol=1e-9
    )
