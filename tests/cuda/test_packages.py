"""fft, linalg, nn and optim on the device, with the values and derivatives of the CPU."""

import numpy as np
import pytest

import difftensor as dif
import optim
from difftensor import nn
from tests.cuda.agreement import assert_agree, assert_derivatives_agree, fetch, send

pytestmark = pytest.mark.usefixtures("device")
RNG = np.random.default_rng(5)
A = RNG.standard_normal((4, 4)) + 4 * np.eye(4)
S = A @ A.T
K = RNG.standard_normal((6, 3, 3)) + 3 * np.eye(3)
B = RNG.standard_normal((4, 2))
R = RNG.standard_normal((5, 3))
V = RNG.standard_normal(8)
Z = V[:4] + 1j * V[4:]

LINALG = {
    "solve: a stack of sides": (dif.linalg.solve, A, RNG.standard_normal((3, 4, 2))),
    "solve: a stack of matrices": (dif.linalg.solve, K, RNG.standard_normal((3, 2))),
    "solve: both": (dif.linalg.solve, K[:, None], RNG.standard_normal((2, 3, 1))),
    "solve: vector": (dif.linalg.solve, K, RNG.standard_normal(3)),
    "triangular stack": (lambda k, b: dif.linalg.solve_triangular(k, b), K, RNG.standard_normal((3, 2))),
    "solve": (dif.linalg.solve, A, B),
    "solve stack": (lambda k: dif.linalg.solve(k, np.ones_like(k[..., :1])), K),
    "inv": (dif.linalg.inv, A),
    "inv stack": (dif.linalg.inv, K),
    "det": (dif.linalg.det, A),
    "det stack": (dif.linalg.det, K),
    "slogdet": (dif.linalg.slogdet, A),
    "cholesky": (lambda a: dif.linalg.cholesky(a @ a.T), A),
    "cholesky stack": (lambda k: dif.linalg.cholesky(k @ k.mT), K),
    "eigvalsh": (lambda a: dif.linalg.eigvalsh(a @ a.T), A),
    "eigh": (lambda a: abs(dif.linalg.eigh(a @ a.T)[1]) ** 2, A),
    "svdvals": (dif.linalg.svdvals, R),
    "qr": (lambda r: abs(dif.linalg.qr(r)[1]), R),
    "pinv": (dif.linalg.pinv, R),
    "lstsq": (lambda r, b: dif.linalg.lstsq(r, b)[0], R, V[:5]),
    "norm": (dif.linalg.norm, R),
    "norm 2": (lambda r: dif.linalg.norm(r, 2), R),
    "norm nuc": (lambda r: dif.linalg.norm(r, "nuc"), R),
    "norm 1": (lambda r: dif.linalg.norm(r, 1), R),
    "norm inf axis": (lambda r: dif.linalg.norm(r, np.inf, axis=0), R),
    "cond": (dif.linalg.cond, A),
    "expm": (dif.linalg.expm, A / 4),
    "matrix_power": (lambda a: dif.linalg.matrix_power(a, 3), A),
    "multi_dot": (lambda a, b: dif.linalg.multi_dot([a, a, b]), A, B),
    "tensorsolve": (dif.linalg.tensorsolve, A, V[:4]),
    "solve_triangular": (lambda a, b: dif.linalg.solve_triangular(a, b, lower=True), np.tril(A), B),
    "eigvals": (lambda a: dif.sort(abs(dif.linalg.eigvals(a))), A),
    "polar": (lambda a: dif.linalg.polar(a)[0], A),
    "logm": (lambda a: dif.linalg.logm(a @ a.T), A),
    "sqrtm": (lambda a: dif.linalg.sqrtm(a @ a.T), A),
    "funm": (lambda a: dif.linalg.funm((a + a.T) / 8, np.tanh), A),
}

FFT = {
    **{n: (getattr(dif.fft, n), Z) for n in ("fft", "ifft", "hfft")},
    **{n: (getattr(dif.fft, n), V) for n in ("rfft", "ihfft")},
    **{n: (getattr(dif.fft, n), A * (1 + 0.5j)) for n in ("fft2", "ifft2", "fftn", "ifftn")},
    **{n: (getattr(dif.fft, n), A) for n in ("rfft2", "rfftn", "fftshift", "ifftshift")},
    **{n: (getattr(dif.fft, n), A[:, :3] + 0.3j) for n in ("irfft2", "irfftn")},
    "irfft": (dif.fft.irfft, Z),
    "fft padded": (lambda z: dif.fft.fft(z, 7, norm="ortho"), Z),
    "irfft odd": (lambda z: dif.fft.irfft(z, 7), Z),
    "rfft axis": (lambda a: dif.fft.rfft(a, axis=0), A),
}


@pytest.mark.parametrize("name", LINALG)
def test_linalg(name, device):
    f, *xs = LINALG[name]
    assert_agree(f(*(send(x, device) for x in xs)), f(*map(dif.tensor, xs)), device, name)
    assert_derivatives_agree(f, tuple(xs), device)


@pytest.mark.parametrize("name", FFT)
def test_fft(name, device):
    f, *xs = FFT[name]
    assert_agree(f(*(send(x, device) for x in xs)), f(*map(dif.tensor, xs)), device, name)
    assert_derivatives_agree(f, tuple(xs), device)


def image(*shape):
    return RNG.standard_normal(shape)


LAYERS = {
    "linear": (lambda: nn.Linear(4, 3, rng=0), image(5, 4)),
    "convolution": (lambda: nn.Conv2d(2, 3, 3, padding=1, rng=0), image(2, 2, 6, 6)),
    "strided": (lambda: nn.Conv1d(2, 4, 3, stride=2, rng=0), image(2, 2, 9)),
    "batch norm": (lambda: nn.BatchNorm2d(3), image(4, 3, 2, 2)),
    "layer norm": (lambda: nn.LayerNorm(4), image(3, 4)),
    "group norm": (lambda: nn.GroupNorm(2, 4), image(3, 4, 5)),
    "max pooling": (lambda: nn.MaxPool2d(2), image(2, 3, 6, 6)),
    "average pooling": (lambda: nn.AvgPool2d(3, 2, 1), image(2, 3, 6, 6)),
    "adaptive pooling": (lambda: nn.AdaptiveAvgPool2d(2), image(2, 3, 6, 5)),
    "attention": (lambda: nn.TransformerEncoderLayer(4, 2, 8, dropout=0.0, batch_first=True, rng=0), image(2, 3, 4)),
    "gelu": (nn.GELU, image(5)),
    "softmax": (lambda: nn.Softmax(-1), image(3, 4)),
    "silu": (nn.SiLU, image(5)),
}


@pytest.mark.parametrize("name", LAYERS)
def test_layers(name, device):
    make, x = LAYERS[name]

    def results(place):
        layer = make()
        layer = layer.to(place) if list(layer.parameters()) or hasattr(layer, "running_mean") else layer
        v = send(x, place).requires_grad_() if place == "cpu" else dif.tensor(x, device=place, requires_grad=True)
        y = layer(v)
        (y**2).sum().backward()
        return [y, v.grad, *(p.grad for p in layer.parameters())]

    assert_agree(results(device), results("cpu"), device, name)


@pytest.mark.parametrize("cell", ["RNN", "GRU", "LSTM"])
def test_recurrent_layers(cell, device):
    x = image(5, 2, 3)

    def results(place):
        layer = getattr(nn, cell)(3, 4, rng=0).to(place)
        y, _ = layer(send(x, place))
        (y**2).sum().backward()
        return [y, *(p.grad for p in layer.parameters())]

    assert_agree(results(device), results("cpu"), device, cell)


def test_losses_and_embedding(device):
    x, target, index = image(6, 4), RNG.integers(0, 4, 6), RNG.integers(0, 5, (3, 2))

    def results(place):
        table = nn.Embedding(5, 4, rng=0).to(place)
        v = dif.tensor(x, device=place, requires_grad=True)
        loss = (
            nn.functional.cross_entropy(v, send(target, place))
            + nn.functional.mse_loss(v, v * 0.5)
            + (table(send(index, place)) ** 2).sum()
        )
        loss.backward()
        return [loss, v.grad, *(p.grad for p in table.parameters())]

    assert_agree(results(device), results("cpu"), device, "losses")


@pytest.mark.parametrize("name", ["SGD", "Adam", "AdamW", "RMSprop", "Adagrad"])
def test_first_order_rules(name, device):
    def trained(place):
        w = dif.tensor(V, device=place, requires_grad=True)
        opt = getattr(optim, name)([w], lr=0.05)
        for _ in range(20):
            opt.zero_grad()
            (np.cos(w) * send(V[::-1].copy(), place)).sum().backward()
            opt.step()
        return w.detach()

    assert_agree(trained(device), trained("cpu"), device, name)


@pytest.mark.parametrize("method", ["bfgs", "l-bfgs", "newton-cg", "trust-ncg", "cg"])
def test_minimize(method, device):
    """On the device the variables are on; or it says that it works on the host only."""
    scale = send(np.arange(1.0, 5.0), device)
    r = optim.minimize(
        lambda x: ((x - 1) ** 2 * scale).sum() + ((x[1:] - x[:-1] ** 2) ** 2).sum(), send(V[:4], device), method=method
    )
    assert r.success and np.allclose(fetch(r.x), 1, atol=1e-5)
