"""Ordinary Python against finite differences: loops, branches, recursion, generators, exceptions, containers."""

import contextlib
import dataclasses
import functools
import itertools
import math

import numpy as np
import pytest

import difftensor as dif
from difftensor.testing import check_grads


def newton_sqrt(x):
    """A while loop whose length depends on the value."""
    y = x
    while abs(y * y - x) > 1e-14 * x:
        y = 0.5 * (y + x / y)
    return y


def collatz_like(x):
    """Branches taken by value: another path for every argument."""
    steps = 0
    while x < 50.0:
        if steps % 2:
            x = x * 1.7 + 1.0
        elif x > 7.0:
            x = x + np.sin(x)
        else:
            x = x * x
        steps += 1
    return x


def horner(x):
    total = 0.0
    for c in (1.0, -2.0, 0.5, 3.0):
        total = total * x + c
    return total


def power_by_squaring(x, n=13):
    if n == 0:
        return 1.0
    half = power_by_squaring(x, n // 2)
    return half * half * (x if n % 2 else 1.0)


def ackermann_like(x, depth=6):
    if depth == 0:
        return np.cos(x)
    return ackermann_like(x * 0.9, depth - 1) + ackermann_like(np.sin(x), depth - 2 if depth > 1 else 0)


def generated(x):
    def orbit():
        y = x
        while True:
            yield y
            y = 3.7 * y * (1 - y)

    return sum(itertools.islice(orbit(), 5))


def tried(x):
    """The failing branch has changed nothing when the other one goes on."""
    total = x * 0.0
    for k in range(4):
        try:
            if k % 2:
                raise ValueError(k)
            total = total + x**k
        except ValueError as error:
            total = total + error.args[0] * np.exp(-x)
        finally:
            total = total * 1.1
    return total


def with_closures(x):
    def scaled_by(a):
        return lambda y: a * np.tanh(y)

    f = functools.reduce(lambda g, h: lambda y: h(g(y)), [scaled_by(x * k) for k in (1.0, 2.0, 3.0)])
    return f(0.4)


def with_dict(x):
    state = {"x": x, "history": []}
    for k in range(3):
        state["x"] = np.sin(state["x"]) + k
        state["history"].append(state["x"])
    state |= {f"x{k}": v for k, v in enumerate(state.pop("history"))}
    return state["x0"] * state["x2"] + state["x"]


@dataclasses.dataclass
class Particle:
    position: object
    velocity: object

    def step(self, h):
        self.velocity = self.velocity - h * np.sin(self.position)
        self.position = self.position + h * self.velocity
        return self


def with_objects(x):
    p = Particle(x, 0.3 * x)
    for _ in range(20):
        p.step(0.1)
    return p.position * p.velocity


def sorted_by_value(x):
    parts = sorted([x, x * x, 2.0 - x, np.sin(5 * x)])
    return parts[0] * 2 + parts[-1] * 3


def with_early_return(x):
    for k in range(100):
        x = x + 1.0 / (k + x)
        if x > 3.0:
            return x * k
    return x


def with_zip_and_comprehensions(x):
    rows = [[x * i + j for j in range(3)] for i in range(3)]
    return sum(a * b for row in zip(*rows, strict=True) for a, b in itertools.combinations(row, 2))


def with_context_managers(x):
    with contextlib.ExitStack() as stack:
        stack.enter_context(np.errstate(all="ignore"))
        stack.callback(lambda: None)
        return np.log(x) * max(x, 1.0) + min(x, 0.5)


def with_match(x):
    match (x > 0.5, [x, x * x]):
        case (np.True_ | True, [a, b]):
            return a * b
        case _:
            return x


def with_floor(x):
    """Piecewise: the integer part is a constant."""
    n = int(x.item() if hasattr(x, "item") else x)
    return (x - n) ** 2 * (n + 1)


def continued_fraction(x):
    y = x
    for k in range(30, 0, -1):
        y = k + x / y
    return y


SCALARS = {
    f.__name__: f
    for f in (
        *(newton_sqrt, collatz_like, horner, power_by_squaring, ackermann_like, generated, tried, with_closures),
        *(with_dict, with_objects, sorted_by_value, with_early_return, with_zip_and_comprehensions),
        *(with_context_managers, with_match, with_floor, continued_fraction),
    )
}


@pytest.mark.parametrize("name", SCALARS)
@pytest.mark.parametrize("x", [0.7, 1.3, 2.6])
def test_programs_of_a_number(name, x):
    check_grads(SCALARS[name], np.float64(x), order=2, rtol=1e-5)


def test_different_lengths_in_one_function():
    """The tape is that of the call: another argument, another length."""
    lengths = []

    def f(x):
        n = 0
        while x < 100.0:
            x, n = x * 1.5, n + 1
        lengths.append(n)
        return x

    for x in (1.0, 10.0, 99.0, 200.0):
        assert dif.grad(f)(x) == pytest.approx(1.5 ** lengths[-1], rel=1e-14)
    assert len(set(lengths)) == 4


# Arrays -------------------------------------------------------------------------------------------------------------


def leapfrog(u):
    q, p = u[:2], u[2:]
    for _ in range(10):
        p = p - 0.05 * q / np.sum(q * q) ** 1.5
        q = q + 0.1 * p
        p = p - 0.05 * q / np.sum(q * q) ** 1.5
    return np.concatenate([q, p])


def runge_kutta(u):
    def rhs(u):
        x, y = u
        return dif.array([x - x * y, x * y - y])

    h = 0.1
    for _ in range(5):
        k1 = rhs(u)
        k2 = rhs(u + h / 2 * k1)
        k3 = rhs(u + h / 2 * k2)
        k4 = rhs(u + h * k3)
        u = u + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
    return u


def filled_by_rows(x):
    u = dif.zeros((4, x.size))
    u[0] = x
    for i in range(3):
        u[i + 1] = np.sin(u[i]) + u[i, ::-1]
    return u


def written_through_views(x):
    u = dif.zeros(2 * x.size)
    left, right = u[: x.size], u[x.size :]
    left[:] = x**2
    right += left * 3.0
    u *= 2.0
    left[0] = right[1]
    return u


def gauss_elimination(a):
    a = a + 4 * np.eye(len(a))
    n = len(a)
    lower, upper = dif.eye(n), a.copy()
    for k in range(n):
        for i in range(k + 1, n):
            lower[i, k] = upper[i, k] / upper[k, k]
            upper[i] -= lower[i, k] * upper[k]
    return np.prod(np.diagonal(upper))


def gram_schmidt(a):
    basis = []
    for v in a + 2 * np.eye(len(a)):
        for q in basis:
            v = v - (q @ v) * q
        basis.append(v / np.sqrt(v @ v))
    return np.stack(basis)


def heat(u):
    for _ in range(6):
        u = u + 0.2 * (np.roll(u, 1) - 2 * u + np.roll(u, -1))
    return u**2


def masked(x):
    y = x.copy()
    y[y < 0] = 0.0
    y[[0, -1]] *= 3.0
    return y * x


def enumerated(x):
    return sum(k * v**2 for k, v in enumerate(x)) + math.prod(x)


ARRAYS = {
    "leapfrog": (leapfrog, (4,)),
    "runge_kutta": (runge_kutta, (2,)),
    "filled_by_rows": (filled_by_rows, (3,)),
    "written_through_views": (written_through_views, (3,)),
    "gauss_elimination": (gauss_elimination, (4, 4)),
    "gram_schmidt": (gram_schmidt, (3, 3)),
    "heat": (heat, (7,)),
    "masked": (masked, (5,)),
    "enumerated": (enumerated, (4,)),
}


def plain(f):
    """`f` on ndarrays too, where programs that create Tensors return Tensors."""
    return lambda x: f(x if isinstance(x, dif.Tensor) else dif.tensor(x))


@pytest.mark.parametrize("name", ARRAYS)
def test_programs_of_arrays(name, rng):
    f, shape = ARRAYS[name]
    check_grads(
        plain(f), rng.uniform(0.3, 1.2, shape) * np.where(rng.random(shape) < 0.3, -1, 1) + 0.05, order=2, rtol=1e-5
    )


def test_gauss_elimination_gives_the_gradient_of_the_determinant(rng):
    a = rng.standard_normal((4, 4))
    m = a + 4 * np.eye(4)
    found = dif.grad(plain(gauss_elimination))(a)
    np.testing.assert_allclose(found, np.linalg.det(m) * np.linalg.inv(m).T, rtol=1e-11)


def test_leapfrog_is_symplectic(rng):
    """J^T Omega J = Omega for the flow of any Hamiltonian under leapfrog: a property of the exact Jacobian."""
    j = dif.jacobian(leapfrog)(rng.uniform(0.5, 1.0, 4))
    omega = np.block([[np.zeros((2, 2)), np.eye(2)], [-np.eye(2), np.zeros((2, 2))]])
    np.testing.assert_allclose(j.T @ omega @ j, omega, atol=1e-12)


# Containers ---------------------------------------------------------------------------------------------------------


def test_nested_containers_as_arguments_and_results():
    def f(params, scale):
        return {"y": np.tanh(params["w"] @ params["b"][0]) * scale, "parts": (params["b"][1] ** 2, [scale])}

    params = {"w": np.array([[0.3, -0.2], [0.1, 0.4]]), "b": [np.array([1.0, 2.0]), 0.7]}
    check_grads(f, (params, 1.5), order=2)


def test_gradients_have_the_structure_of_the_arguments():
    @dataclasses.dataclass
    class Model:
        slope: object
        offset: object

    g = dif.grad(lambda m, x: ((m.slope * x + m.offset) ** 2).sum())(Model(np.array([2.0, 1.0]), 0.5), np.ones(2))
    assert isinstance(g, Model)
    np.testing.assert_array_equal(g.slope, [5.0, 3.0])
    assert g.offset == 8.0


def test_arguments_that_are_not_differentiated_are_handed_through():
    seen = []

    def f(x, mode, options, verbose=False):
        seen.append((mode, options, verbose))
        return x * options["a"]

    options = {"a": 3.0, "text": "no number"}
    assert dif.grad(f)(2.0, "mode", options, verbose=True) == 3.0
    assert seen[0][0] == "mode"
    assert seen[0][1] is options
    assert seen[0][2] is True


def test_aux_values_come_out_as_they_went_in():
    def f(x):
        return (x * x).sum(), {"x2": x * x, "note": "text", "n": 3}

    (value, aux), g = dif.value_and_grad(f, has_aux=True)(np.array([1.0, 2.0]))
    assert value == 5.0
    assert isinstance(aux["x2"], np.ndarray)
    assert aux["note"] == "text"
    assert aux["n"] == 3
    np.testing.assert_array_equal(g, [2, 4])


def test_global_state_and_memoization():
    """A cache that hands out a Tensor of an earlier call hands out a constant."""
    cache = {}

    def f(x):
        key = round(float(x.item()), 6)
        if key not in cache:
            cache[key] = np.exp(x)
        return x * cache[key]

    first = dif.grad(f)(1.0)
    second = dif.grad(f)(1.0)
    assert first == pytest.approx(2 * math.e)
    assert second == pytest.approx(math.e)


def test_numpy_functions_and_difftensor_functions_mix(rng):
    x = rng.uniform(0.5, 1.0, 3)
    check_grads(lambda x: np.sin(x) + dif.exp(x) * np.ones(3) - [1.0, 2.0, 3.0] @ x, x)
