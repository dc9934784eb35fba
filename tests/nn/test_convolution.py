"""The three operations behind convolutions against their definition, by windows and by Fourier transforms."""

import itertools

import numpy as np
import pytest

import difftensor as dif
from difftensor import nn
from difftensor.nn import _correlation, _im2col, _spectral
from difftensor.nn._geometry import Geometry
from difftensor.testing import check_grads

F = nn.functional

# batch, channels, outputs, space, kernel, geometry
CASES = [
    (2, 3, 4, (9,), (3,), Geometry((1,), ((0, 0),), (1,), 1)),
    (2, 4, 6, (11,), (3,), Geometry((2,), ((2, 1),), (2,), 2)),
    (1, 2, 3, (6, 7), (2, 3), Geometry((1, 1), ((1, 1), (0, 2)), (1, 1), 1)),
    (3, 4, 4, (7, 6), (2, 2), Geometry((2, 3), ((1, 0), (0, 0)), (1, 2), 4)),
    (2, 2, 2, (4, 5, 4), (2, 2, 3), Geometry((1, 2, 1), ((0, 1), (1, 1), (1, 0)), (2, 1, 1), 1)),
    (9, 9, 9, (5,), (4,), Geometry((1,), ((1, 1),), (1,), 1)),  # products by BLAS
]
FORMS = [_im2col, _spectral]


def matrix(w, space, geo):
    """The convolution as the matrix from x (C, *space) to y (O, *out), element by element, by its definition."""
    (o, cg, *kernel), n = w.shape, len(space)
    c, out = cg * geo.groups, geo.out(space, tuple(kernel))
    m = np.zeros((o, *out, c, *space))
    for a, b in itertools.product(range(o), range(cg)):
        channel = a // (o // geo.groups) * cg + b
        for p, k in itertools.product(np.ndindex(*out), np.ndindex(*kernel)):
            at = tuple(p[i] * geo.stride[i] + k[i] * geo.dilation[i] - geo.padding[i][0] for i in range(n))
            if all(0 <= i < s for i, s in zip(at, space)):
                m[(a, *p, channel, *at)] += w[(a, b, *k)]
    return m


@pytest.mark.parametrize("form", FORMS, ids=["windows", "transforms"])
@pytest.mark.parametrize("case", CASES, ids=range(len(CASES)))
def test_definitions(case, form, rng):
    n, c, o, space, kernel, geo = case
    x, w = rng.normal(size=(n, c, *space)), rng.normal(size=(o, c // geo.groups, *kernel))
    m, d = matrix(w, space, geo), len(space) + 1
    y = form.correlate(x, w, geo)
    np.testing.assert_allclose(y, np.tensordot(x, m, (range(1, d + 1), range(d, 2 * d))), rtol=1e-11, atol=1e-12)
    g = rng.normal(size=y.shape)
    gx = form.scatter(g, w, space, geo)
    np.testing.assert_allclose(gx, np.tensordot(g, m, (range(1, d + 1), range(d))), rtol=1e-11, atol=1e-12)
    dw = rng.normal(size=w.shape)  # gather is the transpose of y in w
    got = np.vdot(form.gather(g, x, kernel, geo), dw)
    np.testing.assert_allclose(got, np.vdot(g, form.correlate(x, dw, geo)), rtol=1e-10)
    for dtype in (np.float32, np.float64):
        found = form.correlate(x.astype(dtype), w.astype(dtype), geo)
        assert found.dtype == dtype
        np.testing.assert_allclose(found, y, rtol=2e-4 if dtype == np.float32 else 1e-11, atol=1e-5)


@pytest.fixture(params=["windows", "transforms"])
def form(request, monkeypatch):
    monkeypatch.setattr(_correlation, "spectral", lambda *_: request.param == "transforms")


def layers(rng):
    n = lambda *s: rng.normal(size=s)
    return {
        "conv1d": (lambda x, w, b: F.conv1d(x, w, b, 2, 1), [n(2, 3, 6), n(2, 3, 3), n(2)]),
        "conv2d": (lambda x, w: F.conv2d(x, w, padding=(1, 0), dilation=(1, 2), groups=2),
                   [n(2, 2, 4, 5), n(4, 1, 2, 2)]),
        "conv3d": (F.conv3d, [n(1, 2, 3, 3, 2), n(2, 2, 2, 2, 2)]),
        "leftover": (lambda x, w: F.conv1d(x, w, stride=3), [n(1, 2, 9), n(2, 2, 2)]),
        "transposed1d": (lambda x, w: F.conv_transpose1d(x, w, padding=1, output_padding=2, dilation=3),
                         [n(2, 2, 3), n(2, 3, 2)]),
        "transposed2d": (lambda x, w: F.conv_transpose2d(x, w, stride=2, padding=1, groups=2),
                         [n(2, 4, 3, 3), n(4, 1, 3, 2)]),
    }  # fmt: skip


NAMES = list(layers(np.random.default_rng(0)))


@pytest.mark.parametrize("name", NAMES)
def test_derivatives_in_both_modes_to_order_two(name, form, rng):
    f, xs = layers(rng)[name]
    check_grads(f, tuple(xs), order=2)


@pytest.mark.parametrize("where", [(0,), (1,), (0, 1)], ids=["inputs", "weights", "both"])
@pytest.mark.parametrize("name", NAMES)
def test_vmap(name, where, form, rng):
    f, xs = layers(rng)[name]
    axes = tuple(0 if i in where else None for i in range(len(xs)))
    many = [dif.asarray(rng.normal(size=(3, *x.shape))) if a == 0 else dif.asarray(x) for x, a in zip(xs, axes)]
    rows = [[x[i] if a == 0 else x for x, a in zip(many, axes)] for i in range(3)]
    loss = lambda *xs: (f(*xs) ** 3).sum()
    for g in (f, dif.grad(loss), dif.grad(loss, argnums=1)):
        want = np.stack([g(*row).numpy() for row in rows])
        np.testing.assert_allclose(dif.vmap(g, in_axes=axes)(*many), want, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("block", [1, 200, 1000])
def test_windows_in_pieces(block, rng, monkeypatch):
    n, c, o, space, kernel, geo = CASES[3]
    x, w = rng.normal(size=(n, c, *space)), rng.normal(size=(o, c // geo.groups, *kernel))
    y = _im2col.correlate(x, w, geo)
    gx, gw = _im2col.scatter(y, w, space, geo), _im2col.gather(y, x, kernel, geo)
    monkeypatch.setattr(_im2col, "BLOCK", block)
    np.testing.assert_allclose(_im2col.correlate(x, w, geo), y, rtol=1e-12, atol=1e-13)
    np.testing.assert_allclose(_im2col.scatter(y, w, space, geo), gx, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(_im2col.gather(y, x, kernel, geo), gw, rtol=1e-12, atol=1e-12)


def test_the_choice_counts_operations():
    one = Geometry((1,), ((0, 0),), (1,), 1)
    assert _correlation.spectral(2, 2, 3, (4000,), (900,), one)
    assert not _correlation.spectral(64, 16, 32, (4000,), (3,), one)
    flat = Geometry((1, 1), ((0, 0),) * 2, (1, 1), 1)
    assert _correlation.spectral(1, 1, 1, (512, 512), (41, 41), flat)
    assert not _correlation.spectral(64, 6, 16, (14, 14), (5, 5), flat)
    every = [_correlation.spectral(4, 2, 2, (10000,), (k,), one) for k in (1, 3, 10, 30, 100, 300, 1000, 3000)]
    assert every == sorted(every), "longer kernels are never better by windows"


def test_a_constant_input_gets_no_gradient_and_costs_none(rng, monkeypatch):
    x, w = dif.asarray(rng.normal(size=(2, 3, 5, 5))), dif.tensor(rng.normal(size=(2, 3, 2, 2)), requires_grad=True)
    y = F.conv2d(x, w).sum()
    monkeypatch.setattr(_im2col, "scatter", None)
    y.backward()
    np.testing.assert_allclose(w.grad, dif.grad(lambda w: F.conv2d(x, w).sum())(w.detach()))


@pytest.mark.parametrize("dtype", [np.int64, np.complex128, np.float16])
def test_other_dtypes_go_by_windows(dtype, rng):
    x = (10 * rng.normal(size=(1, 1, 3000)) + 5j * rng.normal(size=(1, 1, 3000))) * (1 + 0j)
    x = (x if dtype == np.complex128 else x.real).astype(dtype)
    w = np.ones((1, 1, 900), dtype)
    y = F.conv1d(x, w)
    assert y.dtype == dtype
    if dtype != np.float16:
        np.testing.assert_allclose(y[0, 0], np.convolve(x[0, 0], w[0, 0], "valid"), rtol=1e-10)


def test_no_examples():
    x, w = np.zeros((0, 2, 9)), np.ones((3, 2, 4))
    y, pull = dif.vjp(F.conv1d, x, w)
    assert y.shape == (0, 3, 6)
    gx, gw = pull(y)
    assert gx.shape == x.shape and gw.shape == w.shape and not gw.any()


def test_a_kernel_larger_than_the_input_says_so(rng):
    with pytest.raises(ValueError, match="larger than the padded input"):
        F.conv1d(dif.ones((1, 1, 4)), dif.ones((1, 1, 5)))
