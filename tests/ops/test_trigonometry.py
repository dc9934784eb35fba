"""Cosine and sine of large arrays in derivative rules, against mpmath."""

import mpmath
import numpy as np
import pytest

import difftensor as dif
from difftensor._ops import trigonometry
from difftensor._ops.trigonometry import _BLOCK, LARGE, cosine, sine

SCALES = [1.0, 4.0, 100.0, 1e5, 9e6, 1e9]


@pytest.fixture(params=[True, False], ids=["blocks", "NumPy"])
def either_way(request, monkeypatch):
    """On machines of both kinds."""
    monkeypatch.setattr(trigonometry, "_FAST", request.param)


@pytest.mark.parametrize("scale", SCALES)
def test_units_in_the_last_place(rng, either_way, scale):
    x = rng.uniform(-scale, scale, _BLOCK + 17)
    with mpmath.workdps(40):
        for f, exact in ((cosine, mpmath.cos), (sine, mpmath.sin)):
            found = f(np, x)
            for i in range(0, x.size, 41):
                expected = exact(mpmath.mpf(x[i]))
                assert abs(mpmath.mpf(found[i]) - expected) <= 4 * np.spacing(abs(float(expected)))


def test_near_their_zeros(either_way):
    x = np.arange(LARGE) * (np.pi / 2)
    with mpmath.workdps(60):
        for f, exact in ((cosine, mpmath.cos), (sine, mpmath.sin)):
            for i, y in enumerate(f(np, x)):
                expected = exact(mpmath.mpf(x[i]))
                assert abs(mpmath.mpf(y) - expected) <= 4 * np.spacing(abs(float(expected))) + 1e-25


def test_infinite_tiny_and_not_a_number(either_way):
    x = np.tile([0.0, -0.0, 1e-300, 1e300, np.inf, -np.inf, np.nan, 5e-324], LARGE // 4)
    with np.errstate(invalid="ignore"):
        for f, plain in ((cosine, np.cos), (sine, np.sin)):
            np.testing.assert_allclose(f(np, x), plain(x), rtol=1e-15, atol=1e-323)


@pytest.mark.parametrize("shape", [(LARGE,), (3, LARGE), (LARGE // 4, 4, 2)])
@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.complex128])
def test_derivatives(rng, shape, dtype):
    """Values are NumPy's bit for bit; derivatives too, in the order of memory of the array."""
    x = rng.standard_normal(shape).astype(dtype)
    for data in (x, x.T, x[::-1]):
        for name, slope in (("sin", np.cos), ("cos", lambda v: -np.sin(v))):
            t = dif.tensor(data, requires_grad=True)
            y = getattr(dif, name)(t)
            np.testing.assert_array_equal(y.detach().numpy(), getattr(np, name)(data))
            g = dif.grad(lambda v, name=name: getattr(dif, name)(v).real.sum())(data)
            expected = slope(data).conj() if dtype is np.complex128 else slope(data)
            np.testing.assert_allclose(np.asarray(g), expected, rtol=4 * np.finfo(dtype).eps, atol=1e-16)
