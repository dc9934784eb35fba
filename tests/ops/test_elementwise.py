"""Elementwise operations where dtypes, branch cuts and NumPy's keywords matter."""

import numpy as np
import pytest

import difftensor as dif
import optim


def slope(f, x, h=1e-6):
    return (f(x + h) - f(x - h)) / (2 * h)


@pytest.mark.parametrize("name", ["arcsin", "arccos", "arccosh", "arcsinh", "log", "sqrt", "log1p", "arctanh"])
@pytest.mark.parametrize("at", [2, -2, 2j, -2j])
@pytest.mark.parametrize("side", [0.0, -0.0])
def test_derivatives_on_branch_cuts_belong_to_the_side_of_the_signed_zero(name, at, side):
    along_real = not isinstance(at, complex)

    def z(t):
        return complex(at + t, side) if along_real else complex(side, at.imag + t)

    h = 1e-6
    f = getattr(np, name)
    expected = (f(z(h)) - f(z(-h))) / (2 * h)
    found = dif.grad(getattr(dif, name), holomorphic=True)(z(0.0)) * (1 if along_real else 1j)
    np.testing.assert_allclose(found, expected, rtol=1e-7)


@pytest.mark.parametrize("constant", [np.uint8(200), np.array([200, 3], np.uint8), np.int16(300), True])
def test_constants_of_small_integers_do_not_wrap_around_in_derivatives(constant):
    wide = np.asarray(constant, float)
    for f in (np.arctan2, np.hypot, np.power, np.logaddexp, np.divide):
        for swapped in (False, True):

            def total(x, c, f=f, swapped=swapped):
                return np.sum(f(c, x) if swapped else f(x, c))

            assert dif.grad(total)(0.7, constant) == pytest.approx(
                slope(lambda x: total(x, wide), 0.7), rel=1e-6, abs=1e-7
            )


def test_complex_powers_of_negative_real_numbers():
    a, b = np.array([-1.3, 0.6]), np.array([0.5 - 0.2j, 1.1 + 2j])

    def f(a, b):
        return np.sum(np.real((1 + 2j) * a**b))

    ga, gb = dif.grad(f, argnums=(0, 1))(a, b)
    h = 1e-6
    for i, e in enumerate(np.eye(2)):
        assert ga[i] == pytest.approx((f(a + h * e, b) - f(a - h * e, b)) / (2 * h), rel=1e-7)
        assert gb[i].real == pytest.approx((f(a, b + h * e) - f(a, b - h * e)) / (2 * h), rel=1e-7)
        assert gb[i].imag == pytest.approx((f(a, b + 1j * h * e) - f(a, b - 1j * h * e)) / (2 * h), rel=1e-7)


CASES = [
    ("sin", (np.arange(3),), {"dtype": "f4"}),
    ("sin", (np.arange(3),), {"dtype": int}),
    ("sin", (np.arange(3),), {"casting": "no"}),
    ("absolute", (np.array([3 + 4j]),), {"dtype": "f8"}),
    ("add", (np.arange(3), 2), {"dtype": complex}),
    ("add", (np.arange(3), 300), {"dtype": np.uint8, "casting": "unsafe"}),
    ("multiply", (np.arange(3), 2.5), {"dtype": int}),
    ("equal", (np.arange(3), np.ones(3)), {"dtype": float}),
    ("modf", (np.arange(3, dtype=np.int16),), {}),
    ("modf", (np.array([1.5, -2.5]),), {"dtype": "f4"}),
    ("divmod", (np.array([1.5, -2.5]), 2.0), {"dtype": "f4", "where": np.array([True, False])}),
    ("frexp", (np.array([1.5, -2.5]),), {"casting": "unsafe"}),
    ("float_power", (np.arange(3), 2), {"dtype": "f4"}),
    ("heaviside", (np.arange(3), 0.5), {"dtype": int}),
    ("angle", (np.arange(3, dtype=np.int16),), {}),
    ("clip", (np.arange(3, dtype=np.uint8), -1, 1.5), {}),
    ("clip", (np.arange(3, dtype=np.uint8), -1, 2), {}),
    ("ldexp", (np.array([0.0, 1e-300, 5e-324]), np.array([3000, 1500, 2000])), {}),
    ("ldexp", (np.array([0.0, 5.0], "f4"), 300), {}),
]


@pytest.mark.parametrize("name, args, keywords", CASES)
def test_keywords_and_dtypes_are_numpys(name, args, keywords):
    ours = [dif.asarray(a) if isinstance(a, np.ndarray) else a for a in args]
    outs = {"out": tuple(np.zeros_like(args[0], "f4") for _ in "ab")} if "where" in keywords else {}
    theirs = {"out": tuple(np.zeros_like(args[0], "f4") for _ in "ab")} if "where" in keywords else {}
    with np.errstate(all="ignore"):
        try:
            expected = getattr(np, name)(*args, **keywords, **theirs)
        except (TypeError, OverflowError) as error:
            with pytest.raises(type(error)):
                getattr(dif, name)(*ours, **keywords)
            return
        found = getattr(dif, name)(*ours, **keywords, **outs)
        plain = getattr(dif, name)(
            *args, **keywords, **(outs and {"out": tuple(np.zeros_like(o) for o in outs["out"])})
        )
    several = isinstance(expected, tuple)
    for y, z, e in zip(*(v if several else (v,) for v in (found, plain, expected)), strict=True):
        assert y.dtype == z.dtype == e.dtype
        np.testing.assert_array_equal(np.asarray(y), e)
        np.testing.assert_array_equal(z, e)


def test_the_operators_functions_take_out_and_dtype_of_plain_arrays():
    out = np.empty(3)
    assert dif.add(np.ones(3), 2, out=out) is out
    np.testing.assert_array_equal(out, 3.0)
    assert dif.negative(np.ones(3), dtype="f4").dtype == np.float32


def test_nan_to_num_is_differentiable_in_what_replaces():
    x = np.array([1.0, np.nan, np.inf, -np.inf])
    g = dif.grad(
        lambda n, p, m: np.sum(np.nan_to_num(dif.asarray(x), nan=n, posinf=p, neginf=m) * [1, 2, 3, 4]), (0, 1, 2)
    )
    assert g(0.5, 1.5, 2.5) == (2.0, 3.0, 4.0)


@pytest.mark.parametrize("a", [0.0, -0.0, 1.5, -np.inf])
def test_logaddexp_of_many_numbers_is_numpys(a, rng):
    """Large arrays go a way of their own, and log(1 + e^b) another one."""
    b = np.concatenate([30 * rng.standard_normal(300), [np.inf, -np.inf, 0.0, -0.0, 800.0, -800.0, 5e-324, -5e-324]])
    for found, expected in (
        (dif.logaddexp(a, dif.tensor(b)), np.logaddexp(a, b)),
        (dif.logaddexp(dif.tensor(b), a), np.logaddexp(b, a)),
    ):
        np.testing.assert_allclose(found.numpy(), expected, rtol=1e-15)
    assert np.isnan(dif.logaddexp(a, dif.tensor(np.full(200, np.nan))).numpy()).all()


@pytest.mark.parametrize("name", ["arcsin", "arccos", "arctanh", "arccosh", "sqrt", "log", "log1p"])
def test_infinite_slopes_at_the_ends_of_the_domain_have_the_sign_of_those_inside(name):
    """arccos rises nowhere; at 1 its derivative was +inf, so that a minimizer with bounds stayed there."""
    for end, inside in {"arccosh": [(1, 2)], "sqrt": [(0, 1)], "log": [(0, 1)], "log1p": [(-1, 0)]}.get(
        name, [(1, 0.9), (-1, -0.9)]
    ):
        f = getattr(dif, name)
        with np.errstate(divide="ignore"):
            at_end = [dif.grad(f)(float(end)), dif.jvp(f, (float(end),), (1.0,))[1]]
        assert np.isinf(at_end).all() and (np.sign(at_end) == np.sign(dif.grad(f)(inside))).all()


def test_a_minimum_next_to_the_end_of_a_domain():
    result = optim.minimize(lambda x: (np.arccos(x[0]) - 0.1) ** 2, [0.5], bounds=[(-1, 1)])
    assert not result.success or abs(result.x[0] - np.cos(0.1)) < 1e-6
