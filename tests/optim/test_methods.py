"""What all methods of `minimize` have in common, and what is special to some."""

import pickle

import numpy as np
import pytest
from scipy.optimize import lsq_linear

import difftensor as dif
import optim
from optim.search import Ray, SearchFailed, armijo, strong_wolfe, weak_wolfe
from optim.trust import Quadratic, exact, lanczos, steihaug

SMOOTH = ["bfgs", "l-bfgs", "cg", "newton-cg", "trust-exact", "trust-ncg", "trust-krylov", "dogleg"]


def rosenbrock(x):
    return dif.sum(100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2)


@pytest.mark.parametrize("method", SMOOTH)
def test_rosenbrock_in_ten_dimensions(method):
    result = optim.minimize(rosenbrock, np.tile([-1.2, 1.0], 5), method=method)
    assert result.success and result.method == method
    # from this start most methods end at the second minimizer, near (-1, 1, ..., 1), f = 3.98658
    assert min(abs(result.fun), abs(result.fun - 3.986579)) < 1e-5


@pytest.mark.parametrize("method", [*SMOOTH, "nelder-mead"])
def test_bounds(method):
    # the unconstrained minimizer is (1, 1); on x0 <= 0.5 the solution is (0.5, 0.25)
    result = optim.minimize(rosenbrock, [-1.2, 1.0], method=method, bounds=[(-2, 0.5), (None, None)])
    assert result.success, result.message
    np.testing.assert_allclose(result.x, [0.5, 0.25], atol=1e-5)


@pytest.mark.parametrize("method", SMOOTH)
def test_quadratic_with_many_bounds(method):
    from scipy.optimize import lsq_linear

    rng = np.random.default_rng(0)
    A, b = rng.normal(size=(20, 12)), 3 * rng.normal(size=20)
    result = optim.minimize(
        lambda x: 0.5 * dif.sum((A @ x - b) ** 2), np.full(12, 0.1), method=method, bounds=[(0, 0.3)] * 12
    )
    expected = lsq_linear(A, b, bounds=(0, 0.3), tol=1e-14).x
    assert result.success
    np.testing.assert_allclose(result.x, expected, atol=1e-6)


@pytest.mark.parametrize("method", SMOOTH)
def test_resume(method):
    whole = optim.minimize(rosenbrock, [-1.2, 1.0, 0.5], method=method)
    part = optim.minimize(rosenbrock, [-1.2, 1.0, 0.5], method=method, options={"maxiter": 4})
    rest = optim.minimize(rosenbrock, [-1.2, 1.0, 0.5], method=method, resume=pickle.loads(pickle.dumps(part.state)))
    assert (rest.x == whole.x).all()


def test_nelder_mead_needs_values_only():
    calls = []

    def fun(x):
        assert not isinstance(x, dif.Tensor)
        calls.append(x)
        return abs(x[0] - 1) + 2 * abs(x[1] + 0.5) + 0.1 * (x[0] - x[1]) ** 2

    result = optim.minimize(fun, [3.0, 2.0], method="nelder-mead")
    assert result.success and result.nfev == len(calls) and result.njev == 0
    assert result.fun <= 0.225 + 1e-6


def test_second_order_methods_take_own_derivatives():
    A = np.diag([1.0, 10.0, 100.0])

    def fun(x):
        return 0.5 * x @ (A @ x)

    for method, own in (("trust-exact", {"hess": lambda x: A}), ("trust-ncg", {"hessp": lambda x, p: A @ p})):
        result = optim.minimize(fun, np.ones(3), jac=lambda x: A @ x, method=method, **own)
        assert result.success and result.nhev > 0
        np.testing.assert_allclose(result.x, 0, atol=1e-6)
    with pytest.raises(TypeError, match="hess"):
        optim.minimize(fun, np.ones(3), jac=lambda x: A @ x, method="trust-exact")


def test_large_problem_by_products_only():
    n = 2000
    d = np.linspace(1, 50, n)
    result = optim.minimize(lambda x: dif.sum(d * (x - 1) ** 2 + 0.1 * (x - 1) ** 4), np.zeros(n), method="trust-ncg")
    assert result.success
    np.testing.assert_allclose(result.x, 1, atol=1e-6)


class _Model:
    """A model with a given Hessian, as the subproblem solvers see it."""

    def __init__(self, H, g):
        self.H, self.g, self.free, self.scale = H, g, None, np.ones(len(g))
        self.spectrum = np.linalg.eigh(H)
        self.along = self.spectrum[1].T @ g

    def spread(self, c):
        return self.spectrum[1] @ c

    def hvp(self, v):
        return self.H @ v


@pytest.mark.parametrize("shift", [6.0, 0.0, -3.0])
@pytest.mark.parametrize("radius", [0.1, 1.0, 20.0])
def test_trust_region_subproblem_optimality(shift, radius):
    rng = np.random.default_rng(5)
    H = rng.normal(size=(7, 7))
    H = H + H.T + shift * np.eye(7)
    g = rng.normal(size=7)
    model = _Model(H, g)
    p, boundary = exact(model, radius)
    # More and Sorensen: (H + lam) p = -g, lam >= 0, H + lam positive semidefinite, lam (radius - |p|) = 0
    lam = max(0.0, float(-(p @ (g + H @ p)) / (p @ p)))
    assert np.linalg.norm(p) <= radius * (1 + 2e-3)
    np.testing.assert_allclose(H @ p + lam * p, -g, atol=1e-6 * np.abs(H @ p).max() + 1e-9)
    assert np.linalg.eigvalsh(H)[0] + lam >= -1e-8
    assert boundary == (lam > 1e-8)
    value = g @ p + 0.5 * p @ H @ p
    q, _ = lanczos(model, radius)
    assert g @ q + 0.5 * q @ H @ q <= 0.9 * value + 1e-9  # solved to its own tolerance
    s, _ = steihaug(model, radius)
    assert g @ s + 0.5 * s @ H @ s < 0 and np.linalg.norm(s) <= radius * (1 + 1e-12)


def test_hard_case():
    H = np.diag([-2.0, 1.0, 3.0])
    g = np.array([0.0, 1.0, 1.0])
    p, boundary = exact(_Model(H, g), 2.0)
    assert boundary and abs(np.linalg.norm(p) - 2.0) < 1e-9
    np.testing.assert_allclose(p[1:], [-1 / 3, -1 / 5], rtol=1e-9)


FUNCTIONS = {
    # the three functions of More and Thuente's section 5 with known difficulties
    "first": lambda a: -a / (a**2 + 2.0),
    "second": lambda a: (a + 0.004) ** 5 - 2 * (a + 0.004) ** 4,
    "yanai": lambda a: 1e-3 * dif.sqrt((1 - a) ** 2 + 1e-2**2) + (1 - 1e-3) * dif.sqrt(a**2 + 1e-3**2),
}


@pytest.mark.parametrize("name", sorted(FUNCTIONS))
@pytest.mark.parametrize("first", [1e-3, 0.1, 10.0, 1e3])
@pytest.mark.parametrize("search", [strong_wolfe, weak_wolfe, armijo])
def test_searches_keep_their_conditions(name, first, search):
    problem = optim.Problem(lambda x: FUNCTIONS[name](x[0]), np.array([0.0]))
    origin = problem.at(np.array([0.0]))
    ray = Ray(problem, origin, np.array([1.0]))
    if not ray.slope < 0:
        ray = Ray(problem, origin, np.array([-1.0]))
    alpha, point = search(ray, first)
    assert point.f <= ray.f + 1e-4 * alpha * ray.slope
    slope = ray.slope_at(point)
    if search is strong_wolfe:
        assert abs(slope) <= 0.9 * abs(ray.slope)
    if search is weak_wolfe:
        assert slope >= 0.5 * ray.slope


def test_search_along_an_ascent_fails_in_words():
    problem = optim.Problem(lambda x: dif.sum(abs(x)), np.zeros(2))
    with pytest.raises(SearchFailed, match="no decrease"):
        armijo(Ray(problem, problem.at(np.zeros(2)), np.ones(2), slope=-1.0))


def test_method_instances_and_choice():
    result = optim.minimize(rosenbrock, [-1.2, 1.0], method=optim.methods.LBFGS(memory=3))
    assert result.success and result.method == "l-bfgs"
    small = optim.minimize(rosenbrock, [-1.2, 1.0])
    assert small.method == "bfgs" and "2 variables" in small.choice
    large = optim.minimize(lambda x: dif.sum((x - 1) ** 2), np.zeros(3000))
    assert large.method == "l-bfgs" and "3000" in large.choice


def test_quadratic_model_decrease():
    problem = optim.Problem(rosenbrock, np.array([-1.2, 1.0]))
    point = problem.at(np.array([-1.2, 1.0]))
    p = np.array([0.1, -0.2])
    model = Quadratic(problem, point, np.ones(2))
    H = dif.hessian(rosenbrock)(point.x)
    np.testing.assert_allclose(model.decrease(p, dense=False), -(point.g @ p + 0.5 * p @ H @ p))


def bounded_least_squares(seed):
    """A, b, bounds, a start and the solution."""
    rng = np.random.default_rng(seed)
    n = rng.integers(1, 6)
    A, b = rng.normal(size=(n + 3, n)), rng.normal(size=n + 3) * 2
    low = np.where(rng.random(n) < 0.6, rng.uniform(-0.6, 0, n), -np.inf)
    high = np.where(rng.random(n) < 0.6, rng.uniform(0, 0.6, n), np.inf)
    x0 = np.clip(rng.uniform(-0.3, 0.3, n), low, high)
    return A, b, list(zip(low, high)), x0, lsq_linear(A, b, (low, high), method="bvls", tol=1e-14).x


@pytest.mark.parametrize("seed", [2, 3, 5, 6, 8, 12])
def test_conjugate_directions_within_a_face_of_the_box(seed):
    """What bounds hold does not enter the next direction (it ruined it: 15000 steps without an end)."""
    A, b, bounds, x0, x = bounded_least_squares(seed)
    result = optim.minimize(lambda x: 0.5 * np.sum((A @ x - b) ** 2), x0, bounds=bounds, method="cg", tol=1e-9)
    assert result.success and result.nfev < 150
    np.testing.assert_allclose(result.x, x, atol=1e-8)


@pytest.mark.parametrize("seed", [0, 4, 7, 8, 13, 19])
def test_a_simplex_leaves_a_bound_that_does_not_hold_it(seed):
    """The edge at a negative lower bound pointed outwards, so that the simplex was flat there and stayed."""
    A, b, bounds, x0, x = bounded_least_squares(seed)

    def fit(b):
        return optim.minimize(lambda x: 0.5 * np.sum((A @ x - b) ** 2), x0, bounds=bounds, method="nelder-mead")

    assert fit(b).success
    np.testing.assert_allclose(fit(b).x, x, atol=1e-5)
    held = np.array([v in pair for v, pair in zip(fit(b).x, bounds)])  # exactly there, and so in derivatives
    expected = np.zeros_like(A.T)
    expected[~held] = np.linalg.pinv(A[:, ~held])
    np.testing.assert_allclose(dif.jacobian(lambda b: fit(b).x)(b), expected, atol=1e-8)
