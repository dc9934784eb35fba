"""Strong zero, kinks and ties: closed forms and mpmath, with second derivatives through them.

A cotangent that is exactly zero stays zero through an infinite or undefined derivative; subgradients at kinks are 0;
ties of extrema share evenly.
"""

import math
from itertools import product

import mpmath
import numpy as np
import pytest

import difftensor as dif

INF, NAN = np.inf, np.nan


@pytest.fixture(autouse=True)
def numpy_is_quiet():
    """The functions themselves divide by zero on the branch that is not taken, and NumPy says so."""
    with np.errstate(all="ignore"):
        yield


def rev(f):
    return dif.grad(f)


def fwd(f):
    return lambda x: dif.jvp(f, (x,), (np.ones_like(x),))[1]


MODES = [pytest.param(rev, id="rev"), pytest.param(fwd, id="fwd")]
PAIRS = [pytest.param(a, b, id=f"{a.__name__}-{b.__name__}") for a, b in product((rev, fwd), repeat=2)]


def close(found, expected, **keywords):
    np.testing.assert_allclose(found, expected, **{"rtol": 1e-13, "atol": 0, **keywords})


# Through where ------------------------------------------------------------------------------------------------------

GUARDED = {
    "sqrt": (lambda x: np.where(x > 0, np.sqrt(x), 0.0), (0.0, 0), (4.0, 0.25)),
    "sqrt of negative": (lambda x: np.where(x > 0, np.sqrt(x), x), (-1.0, 1), (4.0, 0.25)),
    "log": (lambda x: np.where(x > 0, np.log(x), 0.0), (0.0, 0), (2.0, 0.5)),
    "x log x": (lambda x: np.where(x > 0, x * np.log(x), 0.0), (0.0, 0), (1.0, 1.0)),
    "reciprocal": (lambda x: np.where(x != 0, 1 / x, 1.0), (0.0, 0), (2.0, -0.25)),
    "sin x / x": (lambda x: np.where(x == 0, 1.0, np.sin(x) / x), (0.0, 0), (math.pi, -1 / math.pi)),
    "power": (lambda x: np.where(x > 0, x**0.5, 0.0), (0.0, 0), (4.0, 0.25)),
    "arccos": (lambda x: np.where(abs(x) < 1, np.arccos(x), 0.0), (1.0, 0), (0.0, -1.0)),
    "arctanh": (lambda x: np.where(abs(x) < 1, np.arctanh(x), 0.0), (1.0, 0), (0.0, 1.0)),
    "exp overflow": (lambda x: np.where(x < 100, np.exp(x), 0.0), (1000.0, 0), (0.0, 1.0)),
    "exp of square": (lambda x: np.where(x < 10, np.exp(x * x), x), (1e3, 1), (0.0, 0.0)),
    "cbrt": (lambda x: np.where(x > 0, np.cbrt(x), 0.0), (0.0, 0), (8.0, 1 / 12)),
    "tan": (lambda x: np.where(x < 1, np.tan(x) / (1 - x), 2 * x), (1.0, 2), (0.0, 1.0)),
    "chain of infinities": (lambda x: np.where(x > 0, np.log(np.sqrt(x)), x), (0.0, 1), (1.0, 0.5)),
}


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", GUARDED)
def test_no_nan_through_where(name, mode):
    f, *points = GUARDED[name]
    for x, slope in points:
        close(mode(f)(x), slope, atol=1e-15)
    xs, slopes = map(np.array, zip(*points, strict=True))
    close(mode(lambda x: f(x).sum() if mode is rev else f(x))(xs), slopes, atol=1e-15)


@pytest.mark.parametrize("outer, inner", PAIRS)
@pytest.mark.parametrize("f, x, second", [
    (lambda x: np.where(x > 0, np.sqrt(x), x**2), -1.0, 2.0),
    (lambda x: np.where(x > 0, np.sqrt(x), x**2), 0.0, 2.0),
    (lambda x: np.where(x > 0, np.sqrt(x), x**2), 4.0, -1 / 32),
    (lambda x: np.where(x > 0, np.log(x), 3 * x**2), 0.0, 6.0),
    (lambda x: np.where(x == 0, 1 - x**2 / 6, np.sin(x) / x), 0.0, -1 / 3),
    (lambda x: x * np.where(x > 0, np.sqrt(x), x), 0.0, 2.0),
    (lambda x: np.where(x > 0, x**0.5, 0.0) + x**3, 0.0, 0.0),
    (lambda x: np.where(x < 10, np.exp(x * x), x**2), 1e3, 2.0),
])  # fmt: skip
def test_second_derivatives_through_where(f, x, second, outer, inner):
    """The repair is where((g == 0) & ~isfinite(r), 0, r), not g == 0 alone: that would falsify these."""
    close(outer(inner(f))(x), second, atol=1e-14)


def test_a_finite_derivative_at_a_zero_cotangent_is_kept():
    """d2/dx dy of x y at x = y = 0 is 1 although all first derivatives vanish there, beside a repaired branch."""

    def f(v):
        return v[0] * v[1] + np.where(v[0] > 0, np.sqrt(v[0]), 0.0)

    close(dif.hessian(f)(np.zeros(2)), [[0, 1], [1, 0]])
    close(dif.jacobian(dif.jacobian(f, mode="rev"), mode="rev")(np.zeros(2)), [[0, 1], [1, 0]])


def test_hessian_of_a_norm_guarded_at_the_origin():
    def f(x):
        s = (x * x).sum()
        return np.where(s > 0, np.sqrt(s), 0.0) + (x * x).sum()

    close(dif.hessian(f)(np.zeros(3)), 2 * np.eye(3))
    x = np.array([3.0, 4.0, 0.0])
    u = x / 5
    close(dif.hessian(f)(x), (np.eye(3) - np.outer(u, u)) / 5 + 2 * np.eye(3), atol=1e-15)


def test_backward_and_vjp_repair_too():
    w = dif.tensor([0.0, 4.0], requires_grad=True)
    np.where(w > 0, np.sqrt(w), 0.0).sum().backward()
    close(w.grad.numpy(), [0, 0.25])
    _, pull = dif.vjp(np.sqrt, np.array([0.0, 4.0]))
    close(pull(np.array([0.0, 1.0]))[0], [0, 0.25])
    close(pull(np.array([1.0, 0.0]))[0], [INF, 0])  # a cotangent that is not zero meets the infinity


def test_several_elements_are_repaired_one_by_one():
    x = np.array([-1.0, 0.0, 1.0, 4.0])
    close(dif.grad(lambda x: np.where(x > 0, np.sqrt(x), 0.0).sum())(x), [0, 0, 0.5, 0.25])


def test_what_is_outside_of_the_promise_stays_honest():
    """An infinite cotangent times a zero derivative is NaN, and a plain pole is infinite."""
    assert dif.grad(np.sqrt)(0.0) == INF
    assert dif.grad(lambda x: 1 / x)(0.0) == -INF
    assert math.isnan(dif.grad(lambda x: np.sqrt(x**2))(0.0))
    assert dif.grad(np.log)(0.0) == INF


def test_infinite_values_are_no_reason_for_nan():
    """Multiplying by zero tangents or cotangents is avoided where the point itself is infinite."""
    x = np.array([INF, 1.0])
    close(dif.jacobian(lambda x: np.exp(-x), mode="fwd")(x), np.diag([0, -math.exp(-1)]), atol=1e-16)
    close(dif.jacobian(lambda x: np.exp(-x), mode="rev")(x), np.diag([0, -math.exp(-1)]), atol=1e-16)
    close(dif.grad(lambda x: np.arctan(x).sum())(x), [0, 0.5])
    close(dif.grad(lambda x: np.tanh(x).sum())(np.array([-INF, 0.0])), [0, 1])


# The probes of other libraries --------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", MODES)
def test_norms_and_standard_deviations_at_their_kinks(mode):
    """Subgradient 0: norm at the origin, std of equal numbers, abs and hypot at 0."""
    zero = np.zeros(3)
    for f in (
        np.linalg.norm,
        lambda x: np.linalg.norm(x, axis=0),
        lambda x: np.hypot(x[0], x[1]),
        lambda x: abs(x).sum(),
    ):
        close(mode(f)(zero), np.zeros(3) if mode is rev else 0)
    close(mode(np.std)(np.ones(3)), np.zeros(3) if mode is rev else 0)
    close(mode(np.var)(np.ones(3)), np.zeros(3) if mode is rev else 0)
    close(mode(abs)(0.0), 0)


def test_arctan2_at_the_origin():
    assert [float(g) for g in dif.grad(np.arctan2, (0, 1))(0.0, 0.0)] == [0, 0]
    y, x = dif.grad(np.arctan2, (0, 1))(0.0, -1.0)
    assert (y, x) == (-1, 0)


def test_power_at_zero():
    """0^0 = 1: the slope in the base is 0 for the exponent 0, in the exponent 0 at the base 0; no NaN."""
    assert [float(g) for g in dif.grad(np.power, (0, 1))(0.0, 0.0)] == [0, 0]
    assert [float(g) for g in dif.grad(np.power, (0, 1))(0.0, 2.0)] == [0, 0]
    assert dif.grad(np.power)(0.0, 1.0) == 1
    assert dif.grad(np.power)(0.0, 0.5) == INF
    assert dif.grad(lambda x: x**2)(0.0) == 0
    assert dif.grad(dif.grad(lambda x: x**2))(0.0) == 2
    assert dif.grad(dif.grad(dif.grad(lambda x: x**3)))(0.0) == 6
    assert dif.grad(dif.grad(lambda x: np.power(x, 2.0)))(0.0) == 2
    assert dif.grad(lambda x: x**3)(-2.0) == 12
    close(dif.grad(np.power, 1)(2.0, 3.0), 8 * math.log(2))


def test_power_of_integer_valued_exponents_at_higher_order():
    """x^n has vanishing derivatives beyond order n, at 0 too, with exponents of every class."""
    for n in (2, 2.0, np.float64(2), dif.tensor(2.0), np.array(2.0)):
        f = lambda x, n=n: x**n
        for order in range(1, 5):
            f = dif.grad(f)
            if order == 1:
                assert float(f(0.0)) == 0
            elif order == 2:
                assert float(f(0.0)) == 2
        assert float(dif.grad(dif.grad(lambda x, n=n: x**n))(-1.5)) == 2


@pytest.mark.parametrize("mode", [rev, fwd])
def test_sinc_at_zero(mode):
    """(-1)^k pi^2k / (2k + 1) at even orders 2k: -pi^2/3 at order 2."""
    orders = [float(mpmath.diff(mpmath.sincpi, 0, k)) for k in range(1, 4)]
    f = np.sinc
    for exact in orders[:2]:
        f = mode(f)
        assert float(f(0.0)) == pytest.approx(exact, abs=1e-12)
    assert float(mode(mode(np.sinc))(0.0)) == pytest.approx(-(math.pi**2) / 3, rel=1e-12)
    x = 1e-4
    with mpmath.workdps(40):
        exact = [float(mpmath.diff(mpmath.sincpi, mpmath.mpf(x), k)) for k in (1, 2)]
    assert float(mode(np.sinc)(x)) == pytest.approx(exact[0], rel=1e-7)
    assert float(mode(mode(np.sinc))(x)) == pytest.approx(exact[1], rel=1e-4)


def test_logaddexp_at_infinities():
    g = dif.grad(np.logaddexp, (0, 1))
    for (a, b), expected in {(-INF, -INF): (0, 0), (-INF, 0.0): (0, 1), (INF, 0.0): (1, 0)}.items():
        assert tuple(float(v) for v in g(a, b)) == expected
        assert tuple(float(v) for v in dif.grad(np.logaddexp2, (0, 1))(a, b)) == expected
    # the share exp(a - y) has the rounding error of y: 800 eps
    close(g(700.0, 700.0), [0.5, 0.5], rtol=2e-13)
    close(g(-800.0, -801.0), [1 / (1 + math.exp(-1)), 1 / (1 + math.exp(1))], rtol=2e-13)


def test_prod_with_zeros():
    """prod = x0 x1 x2: the Hessian at two zeros has one pair of entries."""
    f = np.prod
    close(dif.grad(f)(np.array([2.0, 3.0, 4.0])), [12, 8, 6])
    close(dif.grad(f)(np.array([0.0, 3.0, 4.0])), [12, 0, 0])
    close(dif.grad(f)(np.array([0.0, 0.0, 4.0])), [0, 0, 0])
    close(dif.hessian(f)(np.array([0.0, 0.0, 4.0])), [[0, 4, 0], [4, 0, 0], [0, 0, 0]])
    close(dif.hessian(f)(np.array([0.0, 3.0, 4.0])), [[0, 4, 3], [4, 0, 0], [3, 0, 0]])
    close(dif.hessian(f)(np.zeros(2)), [[0, 1], [1, 0]])
    x = np.array([[0.0, 2.0], [3.0, 0.0]])
    close(dif.jacobian(lambda x: np.prod(x, axis=0))(x), [[[3, 0], [0, 0]], [[0, 0], [0, 2]]])


def test_slogdet_and_det_of_singular_matrices():
    a = np.array([[1.0, 2.0], [2.0, 4.0]])
    close(dif.grad(np.linalg.det)(a), [[4, -2], [-2, 1]], rtol=1e-12)
    with pytest.raises(np.linalg.LinAlgError, match="Singular"):  # the logarithm of its determinant is -inf
        dif.grad(lambda a: np.linalg.slogdet(a)[1])(a)


def test_degenerate_eigenvectors_raise():
    with pytest.raises(dif.errors.DegenerateError, match="expm"):
        dif.grad(lambda a: (np.linalg.eigh(a)[1] * np.arange(9.0).reshape(3, 3)).sum())(np.eye(3))
    close(dif.grad(lambda a: np.linalg.eigvalsh(a).sum())(np.eye(3)), np.eye(3), atol=1e-15)


def test_steepest_ascent_of_the_squared_modulus():
    assert dif.grad(lambda z: abs(z) ** 2)(3 + 4j) == pytest.approx(6 + 8j)


# Ties ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", MODES)
def test_extrema_share_ties_evenly(mode):
    x = np.array([1.0, 3.0, 3.0, 2.0, 3.0])
    for f in (np.max, lambda x: x.max(), lambda x: -np.min(-x), lambda x: np.amax(x, axis=0)):
        close(mode(f)(x), [0, 1 / 3, 1 / 3, 0, 1 / 3] if mode is rev else 1)
    y = np.array([[1.0, 1.0], [2.0, 5.0]])
    close(dif.jacobian(lambda y: y.max(axis=1))(y), [[[0.5, 0.5], [0, 0]], [[0, 0], [0, 1]]])


def test_pairwise_extrema_share_ties_evenly():
    for f in (np.maximum, np.minimum, np.fmax, np.fmin):
        assert [float(g) for g in dif.grad(f, (0, 1))(2.0, 2.0)] == [0.5, 0.5]
    assert dif.grad(lambda x: np.maximum(x, 0.0))(0.0) == 0.5
    assert dif.grad(lambda x: np.maximum(x, x))(2.0) == 1.0


def test_nan_is_chosen_as_numpy_chooses():
    """maximum propagates a NaN operand, fmax ignores it: so do the cotangents."""
    assert [float(g) for g in dif.grad(np.fmax, (0, 1))(NAN, 2.0)] == [0, 1]
    assert [float(g) for g in dif.grad(np.fmin, (0, 1))(2.0, NAN)] == [1, 0]


def test_second_derivatives_of_extrema():
    """max is piecewise linear: its square has the Hessian of the branch."""
    close(dif.hessian(lambda x: np.max(x) ** 2)(np.array([1.0, 3.0])), [[0, 0], [0, 2]])
    close(dif.hessian(lambda x: (np.maximum(x, 0) ** 2).sum())(np.array([-1.0, 3.0])), [[0, 0], [0, 2]])


def test_clip_inside_outside_and_on_the_edge():
    g = dif.grad(lambda x: np.clip(x, 0.0, 1.0).sum())(np.array([-1.0, 0.5, 2.0]))
    close(g, [0, 1, 0])


def test_abs_of_complex_zero():
    assert dif.grad(abs)(0j) == 0
    assert dif.grad(lambda z: abs(z) ** 2)(0j) == 0
    assert dif.grad(np.angle)(0j) == 0


def test_sorting_keeps_ties_apart():
    x = np.array([2.0, 1.0, 2.0])
    close(dif.jacobian(np.sort)(x).sum(axis=0), [1, 1, 1])
    close(dif.jacobian(np.sort)(np.array([3.0, 1.0, 2.0])), [[0, 1, 0], [0, 0, 1], [1, 0, 0]])


def test_functions_with_steps_have_slope_zero():
    for f in (np.floor, np.ceil, np.rint, np.trunc, lambda x: np.heaviside(x, 0.5)):
        with pytest.warns(dif.errors.LostGradientWarning):
            assert dif.grad(f)(1.3) == 0
    assert dif.grad(lambda x: np.floor(x) * x)(1.5) == 1.0
    assert dif.grad(lambda x: np.sign(x) * x**2)(-1.5) == 3.0
    assert dif.grad(lambda x: x % 1.0)(2.25) == 1.0
