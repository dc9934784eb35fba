"""Solvers on the device of their data: the same steps as on the host, and nothing but numbers comes over."""

import pickle

import numpy as np
import pytest
from scipy.optimize import LinearConstraint, NonlinearConstraint

import difftensor as dif
import optim

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
def test_minimize_takes_the_steps_of_the_host(there, method, bounds, request):
    ours = optim.minimize(rosenbrock, there(START), method=method, bounds=bounds)
    host = optim.minimize(rosenbrock, START, method=method, bounds=bounds)
    assert ours.x.device == ours.jac.device == "cuda:0"
    assert ours.success and ours.reason == host.reason
    if request.config.getoption("--device") == "standin":
        assert ours.nit == host.nit
        np.testing.assert_allclose(back(ours.x), host.x, rtol=1e-9)
    else:  # a GPU rounds otherwise, and steps enlarge the differences: the first are the same, and so is the solution
        first = [np.array([float(f) for f in r.trace.f[:8]]) for r in (ours, host)]
        np.testing.assert_allclose(*first, rtol=1e-6)
        np.testing.assert_allclose(back(ours.x), host.x, atol=1e-5)
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


def falling(k, p):
    """p (p - 1) ... (p - k + 1), the factor of the k-th derivative of a power."""
    return np.prod(p - np.arange(k))


def nth(f, k):
    """The k-th derivative of f, each element of which depends on the same element of its argument."""
    for _ in range(k):
        f = (lambda g: dif.grad(lambda a: dif.sum(g(a))))(f)
    return f


A0 = np.array([2.0, 3.0])
POWERS = {  # solutions that are powers of a
    "minimize": (1 / 3, lambda a, one: optim.minimize(lambda x: dif.sum(x**4 / 4 - a * x), one).x),
    "minimize in a box": (
        1 / 3, lambda a, one: optim.minimize(lambda x: dif.sum(x**4 / 4 - a * x), one, bounds=[(0, 9), (0, 9)]).x),
    "root": (1 / 2, lambda a, one: optim.root(lambda x: x * x - a, one).x),
    "fixed point": (1 / 2, lambda a, one: optim.fixed_point(lambda x: 0.5 * (x + a / x), one).x),
    "scalar roots": (1 / 2, lambda a, one: optim.root_scalar(lambda x: x * x - a, x0=one).x),
    "least squares": (
        1 / 2, lambda a, one: optim.least_squares(lambda x: dif.concatenate([x * x - a, x**4 - a * a]), one).x),
    "a batch": (1 / 3, lambda a, one: optim.minimize_batch(
        lambda x, a: dif.sum(x**4 / 4 - a * x), one[:, None], (a,)).x[:, 0]),
    "projection": (-1, lambda a, one: optim.minimize(
        lambda x: dif.sum((x - a) ** 2), 0.4 * one, constraints={"type": "eq", "fun": lambda x: a * x - 1}).x),
}  # fmt: skip


@pytest.mark.parametrize("name", POWERS)
@pytest.mark.parametrize("place", ["host", "device"])
def test_derivatives_of_solutions_to_order_five(there, name, place):
    p, solution = POWERS[name]
    send, fetch = (there, back) if place == "device" else (np.array, np.array)
    for k in range(1, 6):
        found = fetch(nth(lambda a: solution(a, send(np.ones(2))), k)(send(A0)))
        np.testing.assert_allclose(found, falling(k, p) * A0 ** (p - k), rtol=1e-9, err_msg=f"order {k}")


def test_bounds_that_hold_a_solution(there):
    """x0 stays at 0.1; x1 = a - 0.05."""
    def solution(a):
        return optim.minimize(
            lambda x: (x[0] - a) ** 2 + (x[1] - a) ** 2 + x[0] * x[1], there([0, 0]), bounds=[(None, 0.1), (None, None)]
        ).x

    a = there(2.0)
    assert float(dif.grad(lambda a: solution(a)[0])(a)) == 0
    np.testing.assert_allclose(float(dif.grad(lambda a: solution(a)[1])(a)), 1.0, rtol=1e-12)


def test_many_unknowns_need_no_matrix(there):
    n = 600

    def norm(a, x0):
        x = optim.minimize(lambda x: dif.sum((x - a) ** 2 + 0.1 * x**4), x0, method="l-bfgs", tol=1e-8).x
        return dif.sum(x**2)

    a = np.sin(np.arange(n) / 30.0)
    for k in (1, 2):
        ours = nth(lambda a: norm(a, there(np.zeros(n))), k)(there(a))
        np.testing.assert_allclose(back(ours), nth(lambda a: norm(a, np.zeros(n)), k)(a), rtol=1e-9, atol=1e-12)


def test_functions_on_a_device_under_constraints(there):
    """The vector is on the host; the function, the constraints and their derivatives are on the device."""
    x0 = np.array([0.4, 0.4, 0.2])
    W = np.array([[1.0, 2.0, 3.0]])
    for constraint in (
        {"type": "eq", "fun": lambda x: dif.sum(x) - 1},
        {"type": "ineq", "fun": lambda x: 1 - dif.sum(x * x), "jac": lambda x: -2 * x},
        LinearConstraint(W, -1, 1),
        NonlinearConstraint(lambda x: x[0] * x[1], 0.1, 0.2),
    ):
        for bounds in (None, [(0, 0.45), (None, None), (None, None)]):
            ours = optim.minimize(rosenbrock, there(x0), constraints=constraint, bounds=bounds)
            host = optim.minimize(rosenbrock, x0, constraints=constraint, bounds=bounds)
            assert ours.success and ours.x.device == "cuda:0" and ours.nit == host.nit
            np.testing.assert_allclose(back(ours.x), host.x, rtol=1e-9, atol=1e-12)
            np.testing.assert_allclose(ours.multipliers, host.multipliers, rtol=1e-7, atol=1e-10)


def test_nelder_mead_with_a_function_on_a_device(there):
    def fun(p):
        return rosenbrock(dif.concatenate([p["u"], p["v"].reshape(1)]))

    ours = optim.minimize(fun, {"u": there([0.3, 0.1]), "v": there(0.2)}, method="nelder-mead")
    assert ours.success and ours.x["u"].device == ours.x["v"].device == "cuda:0"
    np.testing.assert_allclose(back(ours.x["u"]), [1, 1], atol=1e-6)


def test_lbfgs_step_by_step_stays_on_the_device(there, request):
    n = 1000

    def trained(place):
        w = dif.tensor(np.tile([-1.2, 1.0], n // 2), device=place, requires_grad=True)
        v = dif.tensor(np.ones((3, 2)), device=place, requires_grad=True)
        opt = optim.LBFGS([w, v], max_iter=15)

        def closure():
            opt.zero_grad()
            loss = rosenbrock(w) / n + dif.sum((v - 3) ** 2)
            loss.backward()
            return loss

        for _ in range(3):
            opt.step(closure)
        assert all(a.device == place for pair in opt.state["memory"]["last"].pairs for a in map(dif.asarray, pair[:2]))
        return w.detach(), v.detach()

    host = trained("cpu")
    if request.config.getoption("--device") == "standin":
        from tests.standin import copies

        copies.reset()
    ours = trained("cuda:0")
    if request.config.getoption("--device") == "standin":
        assert copies.bytes_to_host <= 64 * copies.to_host  # numbers, never the vector
    rtol = 1e-9 if request.config.getoption("--device") == "standin" else 1e-5  # 45 steps enlarge a GPU's roundings
    for a, b in zip(ours, host, strict=True):
        np.testing.assert_allclose(back(a), b.numpy(), rtol=rtol)


@pytest.mark.parametrize("method", ["newton", "adam"])
def test_batches(there, method):
    def fun(p, a, common):
        return (p["u"] - a) ** 2 + dif.sum((p["v"] - common) ** 4 + (p["v"] - common) ** 2)

    a, common = np.arange(4.0), np.array([1.0, 2.0])
    settings = {"method": method, "in_axes": (0, None), "max_steps": 50}
    start = {"u": np.zeros(4), "v": np.ones((4, 2))}
    host = optim.minimize_batch(fun, start, (a, common), **settings)
    ours = optim.minimize_batch(fun, dif.tree.map(there, start), (there(a), there(common)), **settings)
    assert ours.x["u"].device == "cuda:0" and (ours.nit == host.nit).all()
    for name in "uv":
        np.testing.assert_allclose(back(ours.x[name]), host.x[name], rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("start", [{"bracket": (0, 10.0)}, {"bracket": (np.zeros(3), np.full(3, 9.5))}, {"x0": 1.0}],
                         ids=["numbers", "arrays", "newton"])  # fmt: skip
def test_scalar_roots(there, start):
    c = np.array([2.0, 9.0, 0.5])
    sent = dif.tree.map(lambda v: there(v) if isinstance(v, np.ndarray) else v, start)
    ours = optim.root_scalar(lambda x, c: x**2 - c, args=(there(c),), **sent)
    assert ours.success and ours.x.device == "cuda:0"
    np.testing.assert_allclose(back(ours.x), np.sqrt(c), rtol=1e-12)
    lost = optim.root_scalar(lambda x, c: x**2 + c, args=(there(c),), x0=1.0)
    assert not lost.success and "3 of 3 roots are missing" in lost.message
    with pytest.raises(ValueError, match="same sign at both ends"):
        optim.root_scalar(lambda x, c: x**2 - c, args=(there(c),), bracket=(4, 5))


def test_sparse_least_squares(there, device):
    """The Jacobian is SciPy's, on the host; the residuals and the sweeps are on the device."""
    n = 220
    y = np.sin(np.arange(n) / 20) + 0.1 * np.cos(np.arange(n) * 3.0)
    index = np.arange(n)[::-1][:50].copy()

    def residuals(y, index):
        return lambda x: dif.concatenate([x - y, 3 * (x[1:] - x[:-1]), 0.1 * x[2:] ** 2 * x[:-2], 0.1 * x[index]])

    def fit(y, index, x0):
        return optim.least_squares(residuals(y, index), x0)

    sent = dif.asarray(index, device=device)
    ours, host = fit(there(y), sent, there(np.zeros(n))), fit(y, index, np.zeros(n))
    assert ours.success and ours.method == host.method == "lm, sparse" and ours.x.device == "cuda:0"
    np.testing.assert_allclose(back(ours.x), host.x, rtol=1e-9, atol=1e-12)
    ours = dif.grad(lambda y: dif.sum(fit(y, sent, there(np.zeros(n))).x ** 2))(there(y))
    host = dif.grad(lambda y: dif.sum(fit(y, index, np.zeros(n)).x ** 2))(y)
    np.testing.assert_allclose(back(ours), host, rtol=1e-9, atol=1e-12)
