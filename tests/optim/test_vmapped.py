"""`optim.minimize` inside `dif.vmap`: against the same problems one by one, closed forms and derivatives of those."""

import mpmath
import numpy as np
import pytest

import difftensor as dif
import optim
from optim.batched.trust_exact import _first_radii, exact
from optim.rules import KERNELS
from optim.trust import exact as exact_of_one
from optim.trust import first_radius


def rosenbrock(x, b):
    return (1 - x[0]) ** 2 + b * (x[1] - x[0] ** 2) ** 2


STIFFNESS = np.array([1.0, 10.0, 100.0, 1000.0])


def parts(r):
    return r.x, r.fun, r.optimality, r.success, r.nit


@pytest.mark.parametrize("method", [None, "trust-exact", "bfgs"])
def test_as_many_single_problems(method):
    def solve(b):
        return parts(optim.minimize(lambda x: rosenbrock(x, b), np.array([-1.2, 1.0]), method=method, tol=1e-9))

    x, fun, optimality, success, nit = dif.vmap(solve)(STIFFNESS)
    np.testing.assert_allclose(x, 1.0, atol=1e-8)
    assert success.all() and (optimality <= 1e-9).all() and (fun < 1e-16).all()
    if method == "trust-exact":  # the same method: the same course
        single = [optim.minimize(rosenbrock, [-1.2, 1.0], (b,), method=method, tol=1e-9) for b in STIFFNESS]
        assert nit.tolist() == [r.nit for r in single]
        np.testing.assert_allclose(x, [r.x for r in single], atol=1e-12)


@pytest.mark.parametrize("rule", sorted(KERNELS))
def test_rules_take_the_course_of_single_problems(rule):
    a = np.random.default_rng(0).normal(size=(5, 3))
    options = {"lr": 0.05, "maxiter": 25}

    def solve(a):
        return optim.minimize(lambda x: dif.sum((x - a) ** 2 * np.arange(1.0, 4.0)), np.zeros(3), method=rule,
                              tol=0.0, options=options).x  # fmt: skip

    found = dif.vmap(solve)(a)
    for i in range(5):
        w = np.zeros(3)
        kernel = KERNELS[rule]
        settings = {**kernel.defaults, "lr": 0.05}
        state = kernel.start(w, settings)
        for t in range(1, 26):
            step, state = kernel.update(2 * (w - a[i]) * np.arange(1.0, 4.0), w, state, t, **settings)
            w = w + step
        np.testing.assert_allclose(found[i], w, rtol=1e-9, atol=1e-12)


def test_starts_and_data_in_any_combination():
    f = lambda x, c: (x[0] ** 2 - 1) ** 2 + (x[1] - c) ** 2  # noqa: E731  two minima, at x[0] = -1 and 1
    solve = lambda x0, c: optim.minimize(f, x0, (c,)).x  # noqa: E731
    starts, data = np.array([[0.5, 0.0], [-0.3, 1.0], [2.0, 2.0]]), np.array([1.0, 2.0, 3.0])
    both = dif.vmap(solve)(starts, data)
    np.testing.assert_allclose(both, np.stack([[1, -1, 1], data], axis=1), atol=1e-6)
    some = dif.vmap(solve, in_axes=(0, None))(starts, 5.0)
    np.testing.assert_allclose(some, [[1, 5], [-1, 5], [1, 5]], atol=1e-6)
    other = dif.vmap(solve, in_axes=(None, 0))(np.array([0.5, 0.0]), data)
    np.testing.assert_allclose(other, np.stack([np.ones(3), data], axis=1), atol=1e-6)
    turned = dif.vmap(solve, in_axes=(1, 0), out_axes=1)(starts.T, data)
    np.testing.assert_allclose(turned, both.T, atol=1e-12)


def test_nested_and_neighboring_batches():
    f = lambda x, a, b: dif.sum((x - a) ** 2) + b * dif.sum(x**4)  # noqa: E731
    solve = lambda a, b: optim.minimize(lambda x: f(x, a, b), np.zeros(2)).x  # noqa: E731
    a, b = np.random.default_rng(1).normal(size=(3, 2)), np.array([0.0, 0.5])
    table = dif.vmap(dif.vmap(solve, in_axes=(None, 0)), in_axes=(0, None))(a, b)
    assert table.shape == (3, 2, 2)
    np.testing.assert_allclose(table[:, 0], a, atol=1e-6)
    single = [[optim.minimize(f, np.zeros(2), (u, v)).x for v in b] for u in a]
    np.testing.assert_allclose(table, single, atol=1e-5)

    sizes = []

    def inner(a):  # the outer batch is none of the problem's business
        r = optim.minimize(lambda x: sizes.append(x.shape) or dif.sum((x - a) ** 2), np.zeros(2))
        return r.x

    sums = dif.vmap(lambda s: s * dif.vmap(inner)(a))(np.array([1.0, 2.0]))
    np.testing.assert_allclose(sums, [a, 2 * a], atol=1e-6)

    def alike(s):  # a problem that is the same for all examples is solved once, by itself
        r = optim.minimize(lambda x: dif.sum((x - 3.0) ** 2), np.zeros(2))
        assert isinstance(r.x, np.ndarray)
        return s * r.x

    np.testing.assert_allclose(dif.vmap(alike)(b), np.outer(b, [3, 3]), atol=1e-6)


def test_pytrees_scalars_and_complex_parameters():
    def solve(a):
        fun = lambda p: (p["u"] - a) ** 2 + dif.sum(abs(p["v"] - 1j * a) ** 2)  # noqa: E731
        r = optim.minimize(fun, {"u": 0.0, "v": np.zeros(2, dtype=complex)})
        return r.x["u"], r.x["v"]

    a = np.array([1.0, -2.0, 0.5])
    u, v = dif.vmap(solve)(a)
    assert u.shape == (3,) and v.dtype == complex
    np.testing.assert_allclose(u, a, atol=1e-6)
    np.testing.assert_allclose(v, np.outer(1j * a, [1, 1]), atol=1e-6)


def test_the_function_runs_once_for_all():
    calls = []

    def solve(b):
        return optim.minimize(lambda x: calls.append(1) or rosenbrock(x, b), np.array([-1.2, 1.0])).x

    counts = []
    for size in (2, 200):
        calls.clear()
        dif.vmap(solve)(np.full(size, 100.0))
        counts.append(len(calls))
    assert counts[0] == counts[1]


def test_no_success_that_is_none():
    def saddle(s):
        return parts(optim.minimize(lambda x: s * x[0] ** 2 + x[0] ** 4 + x[1] ** 2, np.zeros(2)))[3]

    assert dif.vmap(saddle)(np.array([1.0, -1.0])).tolist() == [True, False]

    def away(s):  # exp(-x) has no minimum; with s = 1 there is one
        return optim.minimize(lambda x: dif.exp(-x[0]) + s * x[0] ** 2, np.zeros(1)).success

    assert dif.vmap(away)(np.array([0.0, 1.0])).tolist() == [False, True]

    def undefined(x0):
        r = optim.minimize(lambda x: dif.sum(x - dif.log(x)), x0)
        return r.x, r.success

    x, success = dif.vmap(undefined)(np.array([[2.0], [-1.0]]))
    assert success.tolist() == [True, False]
    np.testing.assert_allclose(x, [[1.0], [-1.0]], atol=1e-6)

    def short(b):
        r = optim.minimize(lambda x: rosenbrock(x, b), np.array([-1.2, 1.0]), options={"maxiter": 8})
        assert "of 4 problems solved" in r.message
        return r.success, r.nit

    success, nit = dif.vmap(short)(STIFFNESS)
    assert success.tolist() == [True, False, False, False] and nit.tolist() == [7, 8, 8, 8]


# The minimum of x^4/4 + x^2/2 - a x is where x^3 + x = a.
ROOTS = np.array([0.5, 1.0, 2.0])
DATA = ROOTS**3 + ROOTS


def quartic(a):
    return optim.minimize(lambda x: x[0] ** 4 / 4 + x[0] ** 2 / 2 - a * x[0], np.ones(1), tol=1e-10).x[0]


def test_derivatives_of_solutions_outside_and_inside():
    slopes = 1 / (3 * ROOTS**2 + 1)
    np.testing.assert_allclose(dif.grad(lambda a: dif.sum(dif.vmap(quartic)(a)))(DATA), slopes, rtol=1e-9)
    np.testing.assert_allclose(dif.vmap(dif.grad(quartic))(DATA), slopes, rtol=1e-9)
    np.testing.assert_allclose(dif.jacobian(dif.vmap(quartic))(DATA), np.diag(slopes), rtol=1e-9, atol=1e-14)
    np.testing.assert_allclose(dif.jvp(dif.vmap(quartic), (DATA,), (np.ones(3),))[1], slopes, rtol=1e-9)
    second = -6 * ROOTS * slopes**3
    np.testing.assert_allclose(dif.vmap(dif.grad(dif.grad(quartic)))(DATA), second, rtol=1e-8)
    total = lambda a: dif.sum(dif.vmap(quartic)(a))  # noqa: E731
    np.testing.assert_allclose(dif.hessian(total)(DATA), np.diag(second), rtol=1e-8, atol=1e-12)


def test_fourth_derivative_of_the_solutions():
    g = quartic
    for _ in range(4):
        g = dif.grad(g)

    def fourth(near, t):
        return float(mpmath.diff(lambda t: mpmath.findroot(lambda z: z**3 + z - t, near), t, 4))

    np.testing.assert_allclose(dif.vmap(g)(DATA), list(map(fourth, ROOTS, DATA)), rtol=1e-8)


def test_derivative_with_respect_to_what_all_share():
    def mean_error(w):
        solve = lambda a: optim.minimize(lambda x: dif.sum((x - a) ** 2) + w * dif.sum(x**2), np.zeros(2)).x  # noqa: E731
        return dif.sum(dif.vmap(solve)(a) ** 2)

    a = np.random.default_rng(3).normal(size=(4, 2))
    # x = a / (1 + w)
    np.testing.assert_allclose(dif.grad(mean_error)(0.5), -2 * (a**2).sum() / 1.5**3, rtol=1e-9)


def test_derivative_of_the_least_value():
    def least(a):
        return optim.minimize(lambda x: dif.sum((x - a) ** 2) + 0.5 * dif.sum(x**2), np.zeros(2)).fun

    a = np.array([[1.0, 2.0], [-1.0, 0.3]])
    # (1/3) |a|^2
    np.testing.assert_allclose(dif.vmap(dif.grad(least))(a), 2 / 3 * a, rtol=1e-7)


def test_what_is_not_solved_counts_as_constant_and_says_so():
    solve = lambda s: optim.minimize(lambda x: s * dif.exp(-x[0]) + (1 - s) * (x[0] - 2 * s) ** 2, np.zeros(1)).x[0]  # noqa: E731
    with pytest.warns(dif.errors.LostGradientWarning, match="1 of 2 problems"):
        slopes = dif.grad(lambda s: dif.sum(dif.vmap(solve)(s)))(np.array([0.0, 1.0]))
    assert slopes[1] == 0 and slopes[0] == pytest.approx(2.5)  # at s = 0: 2 (x - 2 s) = e^-x s / (1 - s)


def test_problems_outside_of_their_domain_do_not_spoil_the_others():
    def solve(x0, w):
        return optim.minimize(lambda x: dif.sum(w * x - dif.log(x)), x0).x[0]

    starts = np.array([[2.0], [-1.0], [0.5]])
    with pytest.warns(dif.errors.LostGradientWarning, match="1 of 3"), np.errstate(all="ignore"):
        slope = dif.grad(lambda w: dif.sum(dif.vmap(solve, in_axes=(0, None))(starts, w)))(2.0)
    np.testing.assert_allclose(slope, -2 / 4, rtol=1e-9)  # x = 1 / w, twice


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"method": "dogleg"}, "'dogleg' has no form"),
        ({"method": "nelder-mead"}, "'nelder-mead' has no form"),
        ({"bounds": [(0, 1), (0, 1)]}, "no bounds"),
        ({"constraints": {"type": "eq", "fun": lambda x: x[0]}}, "no constraints"),
        ({"callback": print}, "no callback"),
        ({"options": {"ftol": 1e-3}}, "no ftol"),
        ({"method": "bfgs", "options": {"search": "armijo"}}, "no search"),
        ({"method": "trust-exact", "options": {"scaled": True}}, "no scaled"),
        ({"method": optim.methods.FirstOrder(optim.rules.sgd(0.1))}, "by name"),
    ],
)
def test_what_has_no_form_for_a_batch_says_so(settings, words):
    def solve(b):
        return optim.minimize(lambda x: rosenbrock(x, b), np.array([0.5, 0.5]), **settings).x

    with pytest.raises(dif.errors.BatchedValueError, match=words):
        dif.vmap(solve)(STIFFNESS[:2])


def test_one_by_one_on_request():
    def solve(a):
        return optim.minimize(lambda x: dif.sum((x - a) ** 2), np.ones(2), method="newton-cg").x

    a = np.array([[0.1, 0.2], [1.0, -1.0], [2.0, 0.5]])
    with pytest.warns(UserWarning, match="one by one"):
        np.testing.assert_allclose(dif.vmap(solve, fallback="loop")(a), a, atol=1e-6)


def test_large_problems_want_a_rule_by_name():
    def solve(a, method=None):
        options = {"lr": 0.3} if method else None
        return optim.minimize(lambda x: dif.sum((x - a) ** 2), np.zeros(600), method=method, options=options).x

    a = np.random.default_rng(4).normal(size=(2, 600))
    with pytest.raises(dif.errors.BatchedValueError, match="first-order rule"):
        dif.vmap(solve)(a)
    np.testing.assert_allclose(dif.vmap(lambda a: solve(a, "sgd"))(a), a, atol=1e-5)


class _Given:
    """The spectrum of a model, as the solver of one problem wants to see it."""

    def __init__(self, values, along):
        self.spectrum, self.along = (values, None), along

    def spread(self, c):
        return c


def test_subproblems_of_rows_are_those_of_one():
    rng = np.random.default_rng(5)
    values = np.sort(rng.normal(size=(300, 4)) * 10.0 ** rng.integers(-3, 3, size=(300, 1)), axis=1)
    along = rng.normal(size=(300, 4)) * 10.0 ** rng.integers(-3, 3, size=(300, 1))
    along[::7, 0] = 0.0  # the hard case
    values[::5] = np.abs(values[::5])
    values[::5].sort(axis=1)
    radius = 10.0 ** rng.uniform(-3, 3, size=300)
    c, inside = exact(values, along, radius)
    for i in range(300):
        one, boundary = exact_of_one(_Given(values[i], along[i]), radius[i])
        assert inside[i] == (not boundary)
        np.testing.assert_allclose(c[i], one, rtol=1e-10, atol=1e-12 * radius[i])


def test_first_radii_of_rows_are_those_of_one():
    """Of quadratics every radius is good; of others the batched rules take the same steps as the single ones."""
    rng = np.random.default_rng(6)
    curvature = rng.normal(size=400) * 10.0 ** rng.integers(-2, 3, size=400)
    cubic = rng.normal(size=400) * 10.0 ** rng.integers(-3, 3, size=400) * (rng.random(400) < 0.8)
    slope, radius = 10.0 ** rng.uniform(-2, 2, size=400), 10.0 ** rng.uniform(-2, 2, size=400)

    class Lines:
        def values(self, x, rows):
            t = -x[:, 0]
            f = 1.0 - slope[rows] * t + 0.5 * curvature[rows] * t**2 + cubic[rows] * t**3
            return np.where(t > 50, np.inf, f)

    rows, one = np.arange(400), np.ones((400, 1))
    with np.errstate(all="ignore"):  # as its caller does
        found = _first_radii(Lines(), 0 * one, one[:, 0], slope[:, None], rows, curvature[:, None], slope[:, None],
                             radius)  # fmt: skip
    for i in rows:
        value = lambda t, i=i: float(Lines().values(np.array([[-t]]), np.array([i]))[0])  # noqa: E731
        np.testing.assert_allclose(found[i], first_radius(value, 1.0, slope[i], curvature[i], radius[i]), rtol=1e-12)


def test_the_first_radius_is_where_the_model_holds():
    tried = []

    def model(t):
        tried.append(t)
        return 1.0 - t + 0.5 * t**2

    assert first_radius(model, 1.0, 1.0, 1.0, 0.01) == 0.01 and len(tried) == 1  # never wrong
    wall = lambda t: model(t) if t < 1e-3 else np.inf  # noqa: E731
    assert first_radius(wall, 1.0, 1.0, 1.0, 1.0) < 1e-2
    bent = lambda t: model(t) + 100 * t**3  # noqa: E731  # agrees to 0.5 up to t = 0.07
    t = first_radius(bent, 1.0, 1.0, 1.0, 10.0)
    assert 0.5 < (1 - bent(t)) / (1 - model(t)) < 1.5


def test_a_line_shows_the_course(capsys):
    def solve(b):
        return optim.minimize(lambda x: rosenbrock(x, b), np.array([-1.2, 1.0]), progress=True).x

    dif.vmap(solve)(STIFFNESS)
    assert "0 of 4 left" in capsys.readouterr().err


def test_other_solvers_say_what_to_do():
    with pytest.raises(dif.errors.BatchedValueError) as caught:
        dif.vmap(lambda a: optim.minimize(lambda x: dif.sum((x - a) ** 2), np.zeros(2), method="cg").x)(np.ones((3, 2)))
    assert "fallback='loop'" in str(caught.value)


@pytest.mark.parametrize("method", [None, "bfgs", "adam"])
def test_on_a_device(device, method):
    """The functions run where their data are; results are there, too."""
    a = np.array([[0.1, 0.2], [1.0, -1.0], [2.0, 0.5]])

    def parts(x0, a):
        options = {"lr": 0.1} if method == "adam" else None
        r = optim.minimize(lambda x: dif.sum((x - a) ** 2) + (x[0] * x[1]) ** 2, x0, method=method, options=options,
                           tol=1e-8)  # fmt: skip
        return r.x, r.success

    def sent(v):
        return dif.asarray(v, device=device)

    solve = dif.vmap(parts, in_axes=(None, 0))
    x, success = solve(sent(np.ones(2)), sent(a))
    assert x.device == "cuda:0" and success.all()
    np.testing.assert_allclose(x.to_device("cpu").numpy(), solve(np.ones(2), a)[0], atol=1e-9)

    def total(x0, a):
        return dif.sum(solve(x0, a)[0] ** 2)

    slopes = dif.grad(total, 1)(sent(np.ones(2)), sent(a))
    assert slopes.device == "cuda:0"
    np.testing.assert_allclose(slopes.to_device("cpu").numpy(), dif.grad(total, 1)(np.ones(2), a), rtol=1e-7)
