"""Solvers on the device of their data: the same steps as on the host, and nothing but numbers comes over."""

import pickle

import numpy as np
import pytest

import difftensor as dif
import optim
from difftensor.errors import DeviceError

START = np.array([-1.2, 1.0, -1.2, 1.0])
BOUNDS = [(-2, 0.5), (-1, 2), (-2, 0.5), (-1, 2)]


@pytest.fixture
def there(device):
    return lambda a: dif.asarray(np.asarray(a, dtype=float), device=device)


def back(x):
    return x.to_device("cpu").numpy()


def rosenbrock(x):
    return dif.sum(100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2)


@pytest.mark.parametrize("bounds", [None, BOUNDS], ids=["free", "box"])
@pytest.mark.parametrize(
    "method", ["bfgs", "l-bfgs", "cg", "newton-cg", "trust-exact", "dogleg", "trust-ncg", "trust-krylov"]
)
def test_minimize_takes_the_steps_of_the_host(there, method, bounds):
    ours = optim.minimize(rosenbrock, there(START), method=method, bounds=bounds)
    host = optim.minimize(rosenbrock, START, method=method, bounds=bounds)
    assert ours.x.device == ours.jac.device == "cuda:0"
    assert ours.success and (ours.nit, ours.reason) == (host.nit, host.reason)
    np.testing.assert_allclose(back(ours.x), host.x, rtol=1e-9)
    assert "solved" in ours.report() and "cuda" in repr(ours)


def test_only_numbers_come_over(there, request):
    if request.config.getoption("--device") == "cuda":
        pytest.skip("the stand-in counts what crosses")
    from tests.standin import copies

    n = 10_000
    x0 = there(np.tile([-1.2, 1.0], n // 2))
    copies.reset()
    result = optim.minimize(lambda x: dif.sum((x - 1) ** 4 + (x - 1) ** 2), x0, method="l-bfgs")
    assert result.success
    # numbers of 8 bytes; never a vector of 80 kilobytes
    assert copies.bytes_to_host <= 8 * copies.to_host < 8 * n


def test_pytrees_and_complex_parameters(there, device):
    x0 = {"a": there([3.0, 4.0]), "b": dif.asarray(np.array([1 + 2j]), device=device)}
    x = optim.minimize(lambda p: dif.sum((p["a"] - 1) ** 2) + dif.sum(dif.abs(p["b"] - 1j) ** 2), x0).x
    assert x["a"].device == x["b"].device == device
    np.testing.assert_allclose(back(x["a"]), [1, 1], atol=1e-6)
    np.testing.assert_allclose(back(x["b"]), [1j], atol=1e-6)


def test_resume_through_a_file(there):
    first = optim.minimize(rosenbrock, there(START), options={"maxiter": 7})
    state = pickle.loads(pickle.dumps(first.state))
    rest = optim.minimize(rosenbrock, there(START), resume=state)
    whole = optim.minimize(rosenbrock, there(START))
    assert (back(rest.x) == back(whole.x)).all() and rest.nit == whole.nit


A = np.random.default_rng(0).normal(size=(30, 3))
Y = A @ np.array([1.0, 2.0, 3.0]) + 0.1 * np.sin(np.arange(30)) + 3.0 * (np.arange(30) % 7 == 0)


def residuals(A, y):
    return lambda x: A @ (x + 0.1 * x**3) - y


@pytest.mark.parametrize("loss", ["linear", "soft_l1", "huber", "cauchy", "arctan"])
@pytest.mark.parametrize("settings", [{}, {"bounds": (-1, 1.2)}, {"bounds": (-1, 1.2), "method": "lm"}],
                         ids=["free", "trf", "lm"])  # fmt: skip
def test_least_squares(there, loss, settings):
    settings = {**settings, "loss": loss, "f_scale": 0.5}
    ours = optim.least_squares(residuals(there(A), there(Y)), there([0.1, 0.1, 0.1]), **settings)
    host = optim.least_squares(residuals(A, Y), [0.1, 0.1, 0.1], **settings)
    assert ours.x.device == ours.fun.device == ours.jac.device == ours.grad.device == "cuda:0"
    assert ours.success and host.success
    np.testing.assert_allclose(back(ours.x), host.x, rtol=1e-7)


def test_curve_fit_of_data_on_a_device(there):
    def model(x, a, b):
        return a * dif.exp(-b * x)

    x = np.linspace(0, 4, 40)
    y = 2.5 * np.exp(-1.3 * x) + 0.01 * np.sin(9 * x)
    for settings in ({}, {"sigma": 0.1 + x}, {"sigma": np.diag(0.1 + x)}, {"p0": [2.0, 1.0], "fixed": ["a"]}):
        ours = optim.curve_fit(model, there(x), there(y), **settings)
        host = optim.curve_fit(model, x, y, **settings)
        np.testing.assert_allclose(ours.popt, host.popt, rtol=1e-9)
        np.testing.assert_allclose(ours.pcov, host.pcov, rtol=1e-6)
        np.testing.assert_allclose(ours.profile("b"), host.profile("b"), rtol=1e-5)
        np.testing.assert_allclose(ours.params, host.params, rtol=1e-9)
        assert ours.predict().device == "cuda:0" and "std. error" in ours.report()


def test_roots_and_fixed_points(there):
    a = there([4.0, 9.0])
    np.testing.assert_allclose(back(optim.root(lambda x: x * x - a, there([1.0, 1.0])).x), [2, 3], rtol=1e-12)
    x = optim.fixed_point(lambda x: np.cos(x), there([1.0, 2.0])).x
    np.testing.assert_allclose(back(x), 0.7390851332151607, rtol=1e-12)


def test_derivatives_of_solutions(there):
    def f(a, x0):
        return dif.sum(optim.minimize(lambda x: dif.sum((x - a) ** 4 + (x - a * a) ** 2), x0, tol=1e-10).x ** 2)

    a, x0 = np.array([1.0, 2.0]), np.array([1.0, 2.0])
    first = dif.grad(f)
    for derivative in (first, dif.grad(lambda a, x0: dif.sum(first(a, x0)))):
        np.testing.assert_allclose(back(derivative(there(a), there(x0))), derivative(a, x0), rtol=1e-6)
    roots = dif.grad(lambda a: dif.sum(optim.root(lambda x: x * x - a, there([1.0, 1.0])).x))(there([4.0, 9.0]))
    np.testing.assert_allclose(back(roots), [1 / 4, 1 / 6], rtol=1e-10)


@pytest.mark.parametrize("call", [
    lambda x: optim.minimize(rosenbrock, x, method="nelder-mead"),
    lambda x: optim.minimize(rosenbrock, x, constraints={"type": "eq", "fun": lambda x: x[0]}),
    lambda x: optim.minimize_batch(rosenbrock, x.reshape(2, 2)),
    lambda x: optim.root_scalar(lambda x: x, x0=x),
    lambda x: optim.least_squares(lambda y: y[:1] * x[0], dif.zeros(201, device="cuda:0")),
], ids=["nelder-mead", "constraints", "batch", "root_scalar", "sparse"])  # fmt: skip
def test_what_needs_the_host_says_so(there, call):
    with pytest.raises(DeviceError, match="host only.*cuda:0|host only; move"):
        call(there(START))
