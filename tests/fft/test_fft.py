"""np.fft on Tensors: values, derivatives in both modes and to second order, padding, cropping, normalizations."""

import numpy as np
import pytest

import difftensor as dif
from difftensor import fft as ours
from tests.linalg.differences import check, inner, random_like

NAMES = ["fft", "ifft", "rfft", "irfft", "hfft", "ihfft"]
MANY = ["fft2", "ifft2", "rfft2", "irfft2", "fftn", "ifftn", "rfftn", "irfftn"]
REAL = {"rfft", "ihfft", "rfft2", "rfftn"}
PLANS = [(None, (0, 1)), ((5, 4), (0, 1)), ((8, 9), (1, 0)), ((3, 8), (2, 1)), ((-1, 6), (-1, 0))]
PLANS += [(None, (1, 2)), (None, (-1, -2)), ((7,), (1,)), ((4, 5, 6), (0, 1, 2))]
NORM = pytest.mark.parametrize("norm", [None, "backward", "ortho", "forward"])


def signal(rng, shape, name, dtype=complex):
    x = rng.standard_normal(shape)
    return x if name in REAL or dtype is float else x + 1j * rng.standard_normal(shape)


def compare(f, x, rng):
    """Value, and the derivative of a linear function: pull and push are adjoint and push is the function itself."""
    y = f(dif.tensor(x))
    expected = f(x)
    assert isinstance(y, dif.Tensor)
    assert y.dtype == expected.dtype
    np.testing.assert_allclose(y.numpy(), expected, rtol=1e-13, atol=1e-13)
    d, w = random_like(rng, x), random_like(rng, expected)
    value, pull = dif.vjp(f, x)
    (back,) = pull(w)
    assert back.dtype == x.dtype
    np.testing.assert_allclose(dif.jvp(f, (x,), (d,))[1], f(d), rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(inner([back], [d]), inner([w], [f(d)]), rtol=1e-11)


@NORM
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("n", [None, 1, 2, 5, 6, 7, 8, 11])
@pytest.mark.parametrize("axis", [-1, 0, 1])
def test_one_axis(rng, name, n, axis, norm):
    f = getattr(np.fft, name)
    compare(lambda x: f(x, n, axis, norm), signal(rng, (7, 6), name), rng)
    if name not in REAL:
        compare(lambda x: f(x, n, axis, norm), signal(rng, (6, 7), name, float), rng)


@NORM
@pytest.mark.parametrize("name", MANY)
@pytest.mark.parametrize(("s", "axes"), PLANS)
def test_several_axes(rng, name, s, axes, norm):
    f = getattr(np.fft, name)
    compare(lambda x: f(x, s, axes, norm), signal(rng, (5, 4, 6), name), rng)


@pytest.mark.parametrize("name", MANY)
def test_default_axes(rng, name):
    compare(getattr(np.fft, name), signal(rng, (3, 4, 5), name), rng)


def test_repeated_axes(rng):
    compare(lambda x: np.fft.fftn(x, axes=(0, 0, 1)), signal(rng, (3, 4), "fft"), rng)
    compare(lambda x: np.fft.ifftn(x, (5, 2, 6), axes=(0, 0, 1)), signal(rng, (3, 4), "fft"), rng)
    compare(lambda x: np.fft.rfftn(x, (5, 4), axes=(0, 0)), signal(rng, (3, 4), "rfft"), rng)


@pytest.mark.parametrize(("s", "axes"), [(None, (0, 0)), ((5, 4), (0, 0)), ((4, 3, 6), (1, 0, 1)), (None, (1, 0, 1))])
def test_repeated_axes_of_irfftn(rng, s, axes):
    """NumPy takes the first axes first here."""
    compare(lambda x: np.fft.irfftn(x, s, axes), signal(rng, (5, 4), "fft"), rng)
    compare(lambda x: np.fft.irfftn(x, s, axes), signal(rng, (5, 4), "fft", float), rng)


def test_no_axes(rng):
    compare(lambda x: np.fft.fftn(x, axes=()), signal(rng, (3, 4), "fft"), rng)
    compare(lambda x: np.fft.fftn(x, axes=()), signal(rng, (3, 4), "fft", float), rng)
    assert np.fft.fftn(dif.tensor(2.5)).dtype == np.fft.fftn(2.5).dtype


@pytest.mark.parametrize("name", NAMES + MANY)
def test_second_order(rng, name):
    f = getattr(np.fft, name)
    x = signal(rng, (4, 5), name)
    check(rng, lambda x: f(x * x * x), x, h=1e-2)
    check(rng, lambda x: np.abs(f(x)) ** 2, x, h=1e-2)


@pytest.mark.parametrize("name", NAMES + MANY)
def test_single_precision(rng, name):
    f = getattr(np.fft, name)
    x = signal(rng, (4, 6), name)
    x = x.astype(np.complex64 if x.dtype.kind == "c" else np.float32)
    y, pull = dif.vjp(f, x)
    assert y.dtype == f(x).dtype
    (grad,) = pull(y)
    assert grad.dtype == x.dtype
    double, pull = dif.vjp(f, x.astype(np.result_type(x, np.float64)))
    np.testing.assert_allclose(grad, pull(double)[0], rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("shift", [np.fft.fftshift, np.fft.ifftshift])
@pytest.mark.parametrize("axes", [None, 0, -1, (0, 1)])
def test_shifts(rng, shift, axes):
    compare(lambda x: shift(x, axes), rng.standard_normal((4, 5)), rng)
    compare(lambda x: shift(x, axes), signal(rng, (5, 4), "fft"), rng)


@pytest.mark.parametrize("n", [1, 2, 5, 8])
def test_frequencies(n):
    for f, g in ((ours.fftfreq, np.fft.fftfreq), (ours.rfftfreq, np.fft.rfftfreq)):
        np.testing.assert_array_equal(f(n).numpy(), g(n))
        np.testing.assert_allclose(f(n, 0.25).numpy(), g(n, 0.25))
        assert f(n, dtype=np.float32).dtype == np.float32
        gradient = dif.jvp(lambda d, f=f: f(n, d), (0.5,), (1.0,))[1]
        np.testing.assert_allclose(gradient, -g(n, 0.5) / 0.5)
        np.testing.assert_allclose(dif.jvp(lambda d, g=g: g(n, d), (0.5,), (1.0,))[1], gradient)


def test_out(rng):
    x = signal(rng, (4, 6), "fft")
    out = dif.zeros((4, 6), dtype=complex)
    y = np.fft.fft(dif.tensor(x), out=out)
    assert y is out
    np.testing.assert_allclose(out.numpy(), np.fft.fft(x))
    plain = np.zeros((4, 6), complex)
    ours.ifft(dif.tensor(x), out=plain)
    np.testing.assert_allclose(plain, np.fft.ifft(x))
    with pytest.raises(TypeError, match="derivative"):
        np.fft.fft(dif.tensor(x, requires_grad=True), out=plain)


def test_convolution_theorem(rng):
    """Gradient of a circular convolution done by FFT against the one done by sums."""
    a, b, c = rng.standard_normal((3, 9))
    shifted = np.array([np.roll(b, k) for k in range(9)])  # (a * b)_i = sum_k a_k b_(i-k)
    gradient = dif.grad(lambda a: np.sum(c * np.fft.irfft(np.fft.rfft(a) * np.fft.rfft(b), 9)))(a)
    np.testing.assert_allclose(gradient, shifted @ c, atol=1e-13)


def test_plain_arrays_stay_plain(rng):
    x = rng.standard_normal(8)
    assert type(ours.rfft(x)) is np.ndarray
    np.testing.assert_array_equal(ours.rfft(x), np.fft.rfft(x))


@pytest.mark.parametrize("name", sorted(set(np.fft.__all__) - {"fftfreq", "rfftfreq"}))
def test_every_name_dispatches(rng, name):
    x = dif.tensor(rng.standard_normal((4, 4)))
    assert isinstance(getattr(np.fft, name)(x), dif.Tensor)
    assert getattr(ours, name).__doc__


@pytest.mark.parametrize(
    ("call", "error"),
    [
        (lambda x: np.fft.fft(x, 0), ValueError),
        (lambda x: np.fft.fft(x, -1, 0), ValueError),
        (lambda x: np.fft.fft(x, axis=2), IndexError),
        (lambda x: np.fft.fft(x, norm="none"), ValueError),
        (lambda x: np.fft.hfft(x, norm="none"), ValueError),
        (lambda x: np.fft.fftn(x, (3, 3), axes=(0,)), ValueError),
        (lambda x: np.fft.rfft(x + 0j), TypeError),
        (lambda x: np.fft.fft(x, 2.5), TypeError),
        (lambda x: np.fft.fft(x[0, 0]), IndexError),
        (lambda x: np.fft.rfftn(x, axes=()), IndexError),
        (lambda x: np.fft.irfftn(x, axes=()), IndexError),
    ],
)
def test_errors_are_numpys(rng, call, error):
    x = rng.standard_normal((4, 4))
    for argument in (x, dif.tensor(x)):
        with pytest.raises(error):
            call(argument)


def test_empty_stack():
    x = np.zeros((0, 4))
    assert dif.vjp(np.fft.rfft, x)[1](np.zeros((0, 3), complex))[0].shape == (0, 4)
