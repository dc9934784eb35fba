"""No silent trip to the host: what crosses in loops of a thousand steps is what the user reads.

One number comes back per derivative: whether all of it is finite (the strong zero); ``dif.cuda.strong_zero(False)``
takes it away.
"""

import contextlib

import numpy as np
import pytest

import difftensor as dif
import optim
from tests.cuda.agreement import send

STEPS = 1000


@contextlib.contextmanager
def spied(request):
    """The stand-in's counts, or with a GPU a spy on all that leads CuPy's arrays to the host."""
    if request.config.getoption("--device") != "cuda":
        from tests.standin import copies

        copies.reset()
        yield copies
        return
    from tests.cuda.spy import Spy

    with Spy() as spy:
        yield spy


@pytest.fixture
def spy(request, device):
    return lambda: spied(request)


def start(device):
    rng = np.random.default_rng(0)
    return send(rng.standard_normal((16, 4)), device), send(rng.standard_normal(16), device)


def test_training(spy, device):
    a, b = start(device)
    w = dif.zeros(4, device=device).requires_grad_()
    opt = optim.Adam([w], lr=1e-2)
    read = []

    def step():
        loss = ((np.tanh(a @ w) - b) ** 2).mean()
        opt.zero_grad()
        loss.backward()
        opt.step()
        return loss

    step()
    with spy() as seen, dif.cuda.strong_zero(False):
        for k in range(STEPS):
            loss = step()
            if k % 100 == 0:
                read.append(loss.item())
    assert seen.to_host == len(read) == 10
    assert read[-1] < read[0]
    with spy() as seen:
        for _ in range(10):
            step()
    assert seen.to_host == 10  # one byte per derivative


def test_functional_training(spy, device):
    a, b = start(device)
    loss = dif.value_and_grad(lambda w: ((a @ w - b) ** 2).sum())
    w = dif.zeros(4, device=device)
    with spy() as seen, dif.cuda.strong_zero(False):
        for _ in range(STEPS):
            value, g = loss(w)
            w = w - 1e-3 * g
    assert seen.to_host == seen.to_device == 0
    assert value.item() < (b**2).sum().item()


def test_simulation(spy, device):
    """A wave on a ring in place, and the derivative of its energy in the first state, through 1000 steps."""

    def energy(u0):
        u, v = u0.copy(), dif.zeros_like(u0)
        for _ in range(STEPS):
            lap = dif.roll(u, 1) - 2 * u + dif.roll(u, -1)
            v += 0.1 * lap
            u += 0.1 * v
            u[0] = 0.0
        return (u * u).sum()

    u0 = send(np.sin(np.linspace(0, 6, 32)), device)
    energy(u0)
    with spy() as seen, dif.cuda.strong_zero(False):
        g = dif.grad(energy)(u0)
    assert seen.to_host == seen.to_device == 0
    assert g.device == device and np.isfinite(g.to_device("cpu").numpy()).all()


def test_gathering_and_scattering(spy, device):
    i = send(np.random.default_rng(0).integers(0, 4, 20), device)
    x = send(np.linspace(0, 1, 4), device)
    f = dif.grad(lambda x: (np.sin(x[i]) * x[i[::-1]]).sum())
    with spy() as seen, dif.cuda.strong_zero(False):
        for _ in range(100):
            x = x - 0.01 * f(x)
    assert seen.to_host == seen.to_device == 0
