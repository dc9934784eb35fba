"""Constrained minimization against the Hock-Schittkowski collection and closed forms."""

import warnings

import numpy as np
import pytest
from scipy.optimize import LinearConstraint, NonlinearConstraint

import difftensor as dif
import optim

from .problems.hock_schittkowski import PROGRAMS


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda p: f"hs{p.number}")
def test_hock_schittkowski(program):
    result = optim.minimize(program.objective, program.x0, bounds=program.bounds, constraints=program.constraints)
    assert result.success, result.message
    assert abs(result.fun - program.best) <= 1e-6 * max(1, abs(program.best))
    assert program.violation(result.x) <= 1e-6


def test_scipys_constraint_objects():
    # the point of the disk of radius 1 in the half-plane x + y <= 1 that is nearest to (2, 0.5)
    def fun(x):
        return (x[0] - 2) ** 2 + (x[1] - 0.5) ** 2

    disk = NonlinearConstraint(lambda x: x[0] ** 2 + x[1] ** 2, -np.inf, 1.0)
    half = LinearConstraint([[1.0, 1.0]], -np.inf, 1.0)
    result = optim.minimize(fun, [0.0, 0.0], constraints=[disk, half])
    assert result.success and result.method == "slsqp"
    np.testing.assert_allclose(result.x, [1, 0], atol=1e-7)


def test_multipliers_satisfy_the_kkt_conditions():
    program = next(p for p in PROGRAMS if p.number == 43)
    result = optim.minimize(program.objective, program.x0, constraints=program.constraints)
    # the book's multipliers: 1, 0, 2
    np.testing.assert_allclose(result.multipliers, [1, 0, 2], atol=1e-5)


def test_contradicting_constraints_are_said():
    result = optim.minimize(
        lambda x: x[0] ** 2, [0.3],
        constraints=[{"type": "ineq", "fun": lambda x: x[0] - 2}, {"type": "ineq", "fun": lambda x: 1 - x[0]}],
    )  # fmt: skip
    assert not result.success and result.reason == "infeasible" and "contradict" in result.message


def test_wrong_constraints_raise():
    with pytest.raises(ValueError, match="'eq' or 'ineq'"):
        optim.minimize(lambda x: x[0] ** 2, [1.0], constraints={"type": "equal", "fun": lambda x: x[0]})
    with pytest.raises(ValueError, match="takes no constraints"):
        optim.minimize(lambda x: x[0] ** 2, [1.0], method="bfgs", constraints={"type": "eq", "fun": lambda x: x[0]})


def test_pytree_with_constraint():
    result = optim.minimize(
        lambda p: (p["a"] - 1) ** 2 + np.sum(p["b"] ** 2), {"a": 0.0, "b": np.ones(2)},
        constraints={"type": "eq", "fun": lambda p: p["a"] + p["b"][0] - 3},
    )  # fmt: skip
    # minimize (a - 1)^2 + b^2 with a + b = 3: a = 2, b = 1
    np.testing.assert_allclose(result.x["a"], 2, atol=1e-7)
    np.testing.assert_allclose(result.x["b"], [1, 0], atol=1e-6)


def test_derivative_of_a_constrained_solution():
    # the projection of (t, 1) onto the unit circle is (t, 1) / |(t, 1)|
    def solution(t):
        result = optim.minimize(
            lambda x: (x[0] - t) ** 2 + (x[1] - 1.0) ** 2, [0.5, 0.5], tol=1e-10,
            constraints={"type": "eq", "fun": lambda x: x[0] ** 2 + x[1] ** 2 - 1},
        )  # fmt: skip
        return result.x[0]

    t = 1.7
    np.testing.assert_allclose(dif.grad(solution)(t), (1 + t**2) ** -1.5, rtol=1e-6)
    np.testing.assert_allclose(dif.grad(dif.grad(solution))(t), -3 * t * (1 + t**2) ** -2.5, rtol=1e-5)


def test_derivative_with_respect_to_a_constraint():
    # the nearest point of the circle of squared radius t to (2, 1) is sqrt(t / 5) (2, 1)
    def solution(t):
        return optim.minimize(
            lambda x: (x[0] - 2) ** 2 + (x[1] - 1) ** 2, [0.5, 0.5], tol=1e-10,
            constraints={"type": "ineq", "fun": lambda x: t - x[0] ** 2 - x[1] ** 2},
        ).x[0]  # fmt: skip

    np.testing.assert_allclose(dif.grad(solution)(3.0), 1 / np.sqrt(15), rtol=1e-7)


@pytest.mark.parametrize("x0", [{"a": 0.0, "b": np.zeros(2)}, np.zeros((3, 1)), np.zeros(3, dtype=np.float32)])
def test_a_linear_constraint_acts_on_the_vector_of_all_elements(x0):
    """The nearest point to (1, 2, 3) of the plane x0 + 2 x1 + x2 = 2; a matrix x0 was multiplied as a matrix."""

    def distance(x):
        flat = dif.tree.ravel(x)[0]
        return dif.sum((flat - np.arange(1, 4)) ** 2)

    result = optim.minimize(distance, x0, constraints=LinearConstraint([[1.0, 2.0, 1.0]], 2.0, 2.0))
    x = dif.tree.ravel(result.x)[0]
    np.testing.assert_allclose(x, [0, 0, 2], atol=1e-6)
    if not isinstance(x0, dict):
        assert result.x.dtype == x0.dtype and result.x.shape == x0.shape
    with pytest.raises(ValueError, match="2 columns, and x0 has 3"):
        optim.minimize(distance, x0, constraints=LinearConstraint([[1.0, 2.0]], 2.0, 2.0))


def test_a_constraint_without_return():
    with pytest.raises(TypeError, match="`return`"):
        optim.minimize(dif.sum, [0.0], constraints={"type": "eq", "fun": lambda x: None})


@pytest.mark.parametrize("seed", [20, 85, *range(8)])
def test_derivatives_where_bounds_and_constraints_hold_together(seed):
    """Quadratic programs; a variable that a step left one rounding away from its bound moved with the parameters."""
    rng = np.random.default_rng(seed)
    n = rng.integers(2, 7)
    A, c = rng.normal(size=(n, n)), rng.normal(size=n) * 2
    Q = A @ A.T + 0.1 * np.eye(n)
    equalities, inequalities = rng.integers(0, n // 2 + 1), rng.integers(0, 4)
    E, inside = rng.normal(size=(equalities, n)), rng.uniform(-0.5, 0.5, n)
    G = rng.normal(size=(inequalities, n))
    h = G @ inside - rng.uniform(0, 1, inequalities)
    low, high = np.where(rng.random(n) < 0.5, -1, -np.inf), np.where(rng.random(n) < 0.5, 1, np.inf)
    constraints = [{"type": "eq", "fun": lambda x: E @ (x - inside)}] * int(equalities > 0)
    constraints += [{"type": "ineq", "fun": lambda x: G @ x - h}] * int(inequalities > 0)
    x0 = rng.uniform(-1, 1, n)

    def solution(c):
        return optim.minimize(
            lambda x: 0.5 * x @ Q @ x + c @ x, x0, bounds=list(zip(low, high)), constraints=constraints, tol=1e-10
        ).x

    x = solution(c)
    held = np.concatenate([E, G[np.abs(G @ x - h) < 1e-9], np.eye(n)[np.minimum(x - low, high - x) < 1e-9]])
    Z = np.linalg.svd(held)[2][np.linalg.matrix_rank(held) if len(held) else 0 :].T  # where x can move
    expected = -Z @ np.linalg.solve(Z.T @ Q @ Z, Z.T)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", dif.errors.LostGradientWarning)  # in a corner nothing moves
        found = dif.jacobian(solution)(c)
    np.testing.assert_allclose(found, expected, atol=1e-7)


@pytest.mark.parametrize(
    ("constraints", "bounds", "x", "missed"),
    [
        # between x >= 2 and x <= 1 the squares of the violations are least in the middle
        ([lambda x: x[0] - 2, lambda x: 1 - x[0]], None, [1.5, None], {"constraints[0]": 0.5, "constraints[1]": 0.5}),
        # the corner of the box that is nearest to the line
        ([lambda x: x[0] + x[1] - 5], [(0, 1), (0, 1)], [1.0, 1.0], {"constraints[0]": 3.0}),
        ([lambda x: dif.stack([x[0] - 1, -1 - x[0], x[1]])], None, [0.0, None],
         {"constraints[0][0]": 1.0, "constraints[0][1]": 1.0}),
    ],
)  # fmt: skip
def test_infeasible_problems_end_at_the_least_violation(constraints, bounds, x, missed):
    given = [{"type": "ineq", "fun": fun} for fun in constraints]
    result = optim.minimize(lambda x: x[0] ** 2 + x[1] ** 2, [0.3, 0.2], constraints=given, bounds=bounds)
    assert not result.success and result.reason == "infeasible"
    for found, expected in zip(result.x, x, strict=True):
        assert expected is None or abs(found - expected) < 1e-6
    assert abs(result.maxcv - max(missed.values())) < 1e-6
    for name, amount in missed.items():
        assert f"{name} by {amount:.3g}" in result.message
    assert "constraints[0][2]" not in result.message
