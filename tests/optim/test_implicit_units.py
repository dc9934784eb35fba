"""Derivatives of solutions, and whether there are any, do not depend on units."""

import numpy as np
import pytest

import difftensor as dif
import optim

A = np.array([[4.0, 1.0, 0.5], [1.0, 3.0, -0.7], [0.5, -0.7, 2.0]])
SLOPES = np.linalg.inv(A)  # of the minimizer of u.Au/2 - a.u


@pytest.mark.parametrize("units", [(1.0, 1.0, 1.0), (1e-12, 1.0, 1e12), (1e9, 1e-9, 1e3), (1e-8, 1e-8, 1e8)])
@pytest.mark.parametrize("size", [1.0, 1e-20, 1e20])
def test_minimizers_in_other_units(units, size):
    units, a = np.array(units), np.array([1.0, -2.0, 0.5])

    def energy(x, a):
        u = x / units
        return size * (0.5 * u @ (A @ u) - a @ u)

    def solution(a):
        x = units * (SLOPES @ (a.detach() if isinstance(a, dif.Tensor) else a))
        return dif.implicit.root(lambda x: dif.grad(energy)(x, a), x) / units

    np.testing.assert_allclose(dif.jacobian(solution)(a), SLOPES, rtol=1e-9)

    def rows(a):
        x = np.stack([units * (SLOPES @ a0) for a0 in (np.array([1.0, -2.0, 0.5]), np.array([0.0, 1.0, 2.0]))])
        shift = np.stack([np.zeros(3), np.array([-1.0, 3.0, 1.5])])

        def equations(x):
            return dif.stack([dif.grad(energy)(x[i], a + shift[i]) for i in range(2)])

        return dif.implicit.root(equations, x, method="rows") / units

    np.testing.assert_allclose(dif.jacobian(rows)(a), [SLOPES, SLOPES], rtol=1e-9)


@pytest.mark.parametrize("units", [(1.0, 1.0), (1e-12, 1e12), (1e8, 1e8)])
@pytest.mark.parametrize("sizes", [(1.0, 1.0), (1e-15, 1e15)])
def test_roots_of_equations_in_other_units(units, sizes):
    units, sizes = np.array(units), np.array(sizes)

    def root(a, J):
        def equations(x):
            return sizes * (J @ (x / units) - a * np.array([1.0, 2.0]))

        x = units * np.linalg.lstsq(J, np.array([1.0, 2.0]), rcond=None)[0]
        return dif.implicit.root(equations, x) / units

    regular = np.array([[2.0, 1.0], [1.0, 3.0]])
    slopes = dif.jacobian(lambda a: root(a, regular))(1.0)
    np.testing.assert_allclose(slopes, np.linalg.solve(regular, [1.0, 2.0]), rtol=1e-9)
    with pytest.raises(np.linalg.LinAlgError, match="singular"):  # in any units
        dif.jacobian(lambda a: root(a, np.array([[1.0, 2.0], [2.0, 4.0]])))(1.0)


def test_a_fit_with_parameters_of_very_different_size():
    t = np.linspace(0, 1, 20)

    def fitted(y):
        fit = optim.curve_fit(lambda x, a, b: 1e12 * a + 1e-12 * b * x, t, y, [1e-12, 1e12])
        return fit.popt * np.array([1e12, 1e-12])

    y = 2.0 + 3.0 * t
    expected = np.linalg.pinv(np.stack([np.ones(20), t], axis=1))
    np.testing.assert_allclose(dif.jacobian(fitted)(y), expected, rtol=1e-8, atol=1e-10)


def test_on_a_device(device):
    J = dif.asarray(np.array([[2.0, 1.0], [1.0, 3.0]]), device=device)
    units = dif.asarray(np.array([1e-12, 1e12]), device=device)

    def root(a):
        x = units * dif.linalg.solve(J, dif.asarray(np.array([1.0, 2.0]), device=device))
        return dif.implicit.root(lambda x: J @ (x / units) - a, x) / units

    a = dif.asarray(np.array([1.0, 2.0]), device=device)
    slopes = dif.jacobian(root)(a).to_device("cpu").numpy()
    np.testing.assert_allclose(slopes, np.linalg.inv([[2.0, 1.0], [1.0, 3.0]]), rtol=1e-9)
