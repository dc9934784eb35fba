"""optim.minimize: the call, its answers, and what it does with bad input."""

import pickle

import numpy as np
import pytest

import difftensor as dif
import optim

GRADIENT_METHODS = ["bfgs", "l-bfgs"]


def rosenbrock(x):
    return (1 - x[0]) ** 2 + 100 * (x[1] - x[0] ** 2) ** 2


@pytest.mark.parametrize("method", GRADIENT_METHODS)
def test_rosenbrock(method):
    result = optim.minimize(rosenbrock, [-1.2, 1.0], method=method)
    assert result.success and result.status == 0 and result.method == method
    np.testing.assert_allclose(result.x, [1, 1], atol=1e-6)
    assert isinstance(result.x, np.ndarray) and isinstance(result.fun, float)
    assert len(result.trace) == result.nit + 1 and result.trace.f[-1] == result.fun


@pytest.mark.parametrize("method", GRADIENT_METHODS)
def test_quadratic_matches_linear_solve(method):
    rng = np.random.default_rng(7)
    A = rng.normal(size=(6, 6))
    A = A @ A.T + np.eye(6)
    b = rng.normal(size=6)
    result = optim.minimize(lambda x: 0.5 * x @ (A @ x) - b @ x, np.zeros(6), method=method, tol=1e-9)
    np.testing.assert_allclose(result.x, np.linalg.solve(A, b), atol=1e-8)


def test_pytree_of_parameters_comes_back_in_its_structure():
    x0 = {"a": 0.0, "b": np.zeros((2, 2)), "c": [np.ones(3), 2.0]}

    def fun(p):
        return (p["a"] - 1) ** 2 + np.sum((p["b"] - 2) ** 2) + np.sum(p["c"][0] ** 2) + (p["c"][1] + 3) ** 2

    result = optim.minimize(fun, x0)
    assert result.success and set(result.x) == {"a", "b", "c"}
    np.testing.assert_allclose(result.x["a"], 1, atol=1e-7)
    np.testing.assert_allclose(result.x["b"], np.full((2, 2), 2.0), atol=1e-7)
    np.testing.assert_allclose(result.x["c"][1], -3, atol=1e-7)
    assert np.shape(result.x["a"]) == () and result.jac["b"].shape == (2, 2)


def test_complex_parameters_are_pairs_of_reals():
    target = np.array([1 + 2j, -3j])
    result = optim.minimize(lambda z: np.sum((z - target).real ** 2 + 2 * (z - target).imag ** 2), np.zeros(2, complex))
    assert result.x.dtype == complex
    np.testing.assert_allclose(result.x, target, atol=1e-6)


def test_tensor_in_tensor_out():
    result = optim.minimize(rosenbrock, dif.asarray(np.array([-1.2, 1.0])))
    assert isinstance(result.x, dif.Tensor)
    np.testing.assert_allclose(result.x.numpy(), [1, 1], atol=1e-6)


def test_args_and_own_gradient():
    def fun(x, a):
        return np.sum((x - a) ** 2)

    result = optim.minimize(fun, np.zeros(3), args=(np.arange(3.0),), jac=lambda x, a: 2 * (x - a))
    np.testing.assert_allclose(result.x, np.arange(3.0), atol=1e-8)
    both = optim.minimize(lambda x: (np.sum(x**2), 2 * x), np.ones(3), jac=True)
    np.testing.assert_allclose(both.x, 0, atol=1e-8)


@pytest.mark.parametrize("method", GRADIENT_METHODS)
def test_bounds_first_order_conditions(method):
    bounds = [(-2, 0.5), (None, 0.1)]
    result = optim.minimize(rosenbrock, [-1.2, 0.0], method=method, bounds=bounds)
    assert result.success
    x, g = result.x, np.asarray(dif.grad(rosenbrock)(result.x))
    assert (x <= [0.5, 0.1]).all()
    # at a bound the gradient points out, elsewhere it vanishes
    for i, high in enumerate([0.5, 0.1]):
        assert (x[i] == high and g[i] <= 0) or abs(g[i]) < 1e-5


def test_bounds_for_a_pytree():
    result = optim.minimize(
        lambda p: (p["a"] - 1) ** 2 + np.sum((p["b"] - 2) ** 2),
        {"a": 0.0, "b": np.zeros(2)},
        bounds={"a": (None, 0.5)},
    )
    np.testing.assert_allclose(result.x["a"], 0.5)
    np.testing.assert_allclose(result.x["b"], 2, atol=1e-7)


def test_saddle_is_left():
    # the gradient vanishes at the start, a saddle; minima at x = +-1
    result = optim.minimize(lambda x: (x[0] ** 2 - 1) ** 2 + x[1] ** 2, [0.0, 0.0])
    assert result.success and abs(abs(result.x[0]) - 1) < 1e-5


def test_plateau_is_left_or_no_success():
    for x0 in (60.0, 1000.0):  # the gradient is exactly zero; from the first start values show the well
        result = optim.minimize(lambda x: np.sum(-np.exp(-((x - 3) ** 2))), [x0])
        assert result.success == (abs(result.x[0] - 3) < 1e-3) == (x0 == 60.0)


def test_unbounded_below():
    result = optim.minimize(lambda x: -np.exp(x[0]), [1.0])
    assert not result.success


def test_nan_at_the_start_is_an_answer():
    with np.errstate(invalid="ignore"):
        result = optim.minimize(lambda x: np.sum(np.log(x)), [-1.0])
    assert not result.success and result.reason == "not finite" and "x0" in result.message


def test_nan_on_the_way_shortens_the_step():
    with np.errstate(invalid="ignore", divide="ignore"):
        result = optim.minimize(lambda x: np.sum(1e3 * x - np.log(x)), [5.0])
    assert result.success
    np.testing.assert_allclose(result.x, 1e-3, rtol=1e-4)


def test_wrong_calls_raise_with_advice():
    with pytest.raises(ValueError, match="outside the bounds"):
        optim.minimize(rosenbrock, [3.0, 1.0], bounds=[(0, 1), (0, 2)])
    with pytest.raises(ValueError, match="no numbers"):
        optim.minimize(lambda x: 0.0, [])
    with pytest.raises(ValueError, match="least_squares"):
        optim.minimize(lambda x: x**2, [1.0, 2.0])
    with pytest.raises(ValueError, match="does not depend on x"):
        optim.minimize(lambda x: dif.asarray(3.0), [1.0, 2.0])
    with pytest.raises(ValueError, match="unknown method"):
        optim.minimize(rosenbrock, [1.0, 2.0], method="newtonn")
    with pytest.raises(TypeError, match="unknown options"):
        optim.minimize(rosenbrock, [1.0, 2.0], options={"gtoll": 1})
    with pytest.raises(TypeError, match="return"):
        optim.minimize(lambda x: None, [1.0])
    with pytest.raises(ValueError, match="contradict"):
        optim.minimize(rosenbrock, [1.0, 2.0], bounds=[(1, 0), (0, 3)])


def test_limits_are_reported_and_not_called_success():
    result = optim.minimize(rosenbrock, [-1.2, 1.0], options={"maxiter": 3})
    assert not result.success and result.nit == 3 and result.reason == "max steps"
    result = optim.minimize(rosenbrock, [-1.2, 1.0], options={"maxfev": 5})
    assert not result.success and result.reason == "max evaluations"


@pytest.mark.parametrize("method", GRADIENT_METHODS)
def test_resume_is_bit_for_bit_through_a_file(method):
    whole = optim.minimize(rosenbrock, [-1.2, 1.0], method=method)
    part = optim.minimize(rosenbrock, [-1.2, 1.0], method=method, options={"maxiter": 7})
    state = pickle.loads(pickle.dumps(part.state))
    rest = optim.minimize(rosenbrock, [-1.2, 1.0], method=method, resume=state)
    assert (rest.x == whole.x).all() and rest.fun == whole.fun and rest.nit == whole.nit


def test_callbacks_of_both_kinds():
    seen = []
    optim.minimize(rosenbrock, [-1.2, 1.0], callback=lambda x: seen.append(x.copy()))
    assert len(seen) > 5

    def stop(intermediate_result):
        if intermediate_result.fun < 1:
            raise StopIteration

    result = optim.minimize(rosenbrock, [-1.2, 1.0], callback=stop)
    assert result.reason == "callback" and not result.success and result.fun < 1


def test_keyboard_interrupt_keeps_the_best_point():
    def callback(intermediate_result):
        if intermediate_result.nit == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt) as caught:
        optim.minimize(rosenbrock, [-1.2, 1.0], callback=callback)
    assert caught.value.result.nit == 5 and caught.value.result.fun < rosenbrock([-1.2, 1.0])
    result = optim.minimize(rosenbrock, [-1.2, 1.0], callback=callback, options={"on_interrupt": "return"})
    assert result.reason == "interrupted" and not result.success and result.nit == 5


def test_result_reads_like_scipys():
    result = optim.minimize(rosenbrock, [-1.2, 1.0])
    assert result["fun"] == result.fun and "success" in result and set(result.keys()) > {"x", "nfev", "njev", "nit"}
    assert "solved" in result.report() and "nfev" in repr(result)
    restored = pickle.loads(pickle.dumps(result))
    assert restored.fun == result.fun


def test_covariance_is_the_inverse_hessian():
    A = np.array([[2.0, 0.3], [0.3, 1.0]])
    result = optim.minimize(lambda x: 0.5 * x @ (A @ x), np.ones(2))
    np.testing.assert_allclose(result.covariance(), np.linalg.inv(A), rtol=1e-10)


def test_progress_line_shows_the_course(capsys):
    optim.minimize(rosenbrock, [-1.2, 1.0], progress=True)
    assert "nfev=" in capsys.readouterr().err
