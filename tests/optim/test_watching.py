"""Callbacks and interruptions: what they see, and what they leave behind."""

import functools

import numpy as np
import pytest

import difftensor as dif
import optim

START = np.full(4, -1.2)


def rosenbrock(x):
    return np.sum(100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2)


def interrupted(after):
    """The function, and an impatient user."""
    calls = []

    def f(x):
        calls.append(1)
        if len(calls) == after:
            raise KeyboardInterrupt
        return rosenbrock(x)

    return f


def spoil(x):
    x[...] = 0.0


def spoil_result(intermediate_result):
    spoil(intermediate_result.x)
    if intermediate_result.jac is not None:
        spoil(intermediate_result.jac)


@pytest.mark.parametrize("callback", [spoil, spoil_result])
@pytest.mark.parametrize("method", ["bfgs", "l-bfgs", "trust-exact", "nelder-mead"])
def test_what_a_callback_does_to_x_stays_with_it(callback, method):
    result = optim.minimize(rosenbrock, START, method=method, callback=callback)
    assert (result.x == optim.minimize(rosenbrock, START, method=method).x).all()


def test_a_result_that_is_changed_does_not_change_its_state():
    first = optim.minimize(rosenbrock, START, options={"maxiter": 5})
    x = first.x.copy()
    first.x[:] = 7.0
    assert (optim.minimize(rosenbrock, START, resume=first.state, options={"maxiter": 0}).x == x).all()
    t = np.linspace(0, 1, 9)
    fit = optim.curve_fit(lambda t, a, b: a * np.exp(b * t), t, 2 * np.exp(t) + 0.1 * np.sin(9 * t))
    interval = fit.profile("a")
    fit.popt[:] = 0.0
    assert fit.profile("a") == interval


class Watch:
    def __init__(self):
        self.values = []

    def __call__(self, intermediate_result):
        self.values.append(intermediate_result.fun)

    def method(self, intermediate_result):
        self(intermediate_result)


@pytest.mark.parametrize("form", ["object", "method", "partial"])
def test_forms_of_a_callback_that_takes_the_result(form):
    watch = Watch()
    callback = {
        "object": watch,
        "method": watch.method,
        "partial": functools.partial(lambda w, intermediate_result: w(intermediate_result), watch),
    }[form]
    result = optim.minimize(rosenbrock, START, callback=callback)
    assert watch.values == result.trace.f[1:]


@pytest.mark.parametrize("how", ["interrupt", "callback"])
def test_rules_that_do_not_descend_give_their_best_point(how):
    """Too long steps across a narrow valley: the last point is not the lowest."""

    def f(x):
        return 30 * x[0] ** 2 + abs(x[1])

    def stop(intermediate_result):
        if intermediate_result.nit == 6:
            raise StopIteration if how == "callback" else KeyboardInterrupt

    result = optim.minimize(f, [1.0, 1.0], method="adam", callback=stop, options={"lr": 0.9, "on_interrupt": "return"})
    assert result.reason == ("callback" if how == "callback" else "interrupted")
    assert result.fun == min(result.trace.f) < result.trace.f[-1] and f(result.x) == result.fun


def test_an_interrupted_search_from_many_starts_keeps_all():
    one = optim.minimize(rosenbrock, START).nfev
    result = optim.multistart(interrupted(one + 20), START, starts=5, rng=0, options={"on_interrupt": "return"})
    assert result.success and [run.reason for run in result.runs][-1] == "interrupted" and len(result.runs) == 2
    with pytest.raises(KeyboardInterrupt) as caught:
        optim.multistart(interrupted(one + 20), START, starts=5, rng=0)
    assert caught.value.result.success and caught.value.result.fun == result.fun


def test_the_course_of_a_fit_can_be_drawn():
    fit = optim.curve_fit(lambda t, a: a * t, [1.0, 2.0], [1.0, 3.0])
    pytest.importorskip("matplotlib").use("Agg")
    assert optim.plot_trace(fit)[0].get_title().startswith("lm")


def test_tensors_are_copied_too():
    x0 = dif.asarray(START.copy())
    result = optim.minimize(rosenbrock, x0, callback=lambda x: spoil(x))
    assert result.success and (x0.numpy() == START).all()


@pytest.mark.parametrize("method", [None, "l-bfgs", "trust-exact", "adam"])
def test_a_function_that_raises_on_the_way_does_not_lose_what_was_found(method):
    def likelihood(x):  # cannot be factorized outside the ellipse x0 x1 > 1/4
        L = np.linalg.cholesky(dif.array([[x[0], 0.5], [0.5, x[1]]]))
        return np.sum(np.log(np.diagonal(L))) + 0.05 * np.sum((x - 0.3) ** 2)

    options = {"lr": 2.0, "maxiter": 500} if method == "adam" else {}
    with pytest.raises(np.linalg.LinAlgError) as caught:
        optim.minimize(likelihood, [20.0, 30.0], method=method, options=options)
    result = caught.value.result
    assert (
        result.reason == "error"
        and not result.success
        and result.fun == min(result.trace.f) <= likelihood(np.array([20.0, 30.0]))
    )
    assert "may return infinity" in caught.value.__notes__[-1]

    def infinite(x):
        try:
            return likelihood(x)
        except np.linalg.LinAlgError:
            return np.inf

    assert optim.minimize(infinite, [20.0, 30.0], method=method, options=options).fun <= result.fun
