"""An isolated eigenvalue beside degenerate ones: a ground state below a multiplet."""

import numpy as np
import pytest

import difftensor as dif


@pytest.fixture
def system(rng):
    """H0 with eigenvalues 0, 1, 1, 1, two perturbations, and the ground state's energy as a function of their sizes."""
    q = np.linalg.qr(rng.normal(size=(4, 4)))[0]
    h0 = q @ np.diag([0.0, 1.0, 1.0, 1.0]) @ q.T
    v = [m + m.T for m in rng.normal(size=(2, 4, 4))]
    energy = lambda t: dif.linalg.eigvalsh((h0 + h0.T) / 2 + t[0] * v[0] + t[1] * v[1])[0]  # noqa: E731
    # second-order perturbation theory: E_ij = 2 sum_n <0|V_i|n><n|V_j|0> / (E_0 - E_n)
    ground, rest = q[:, 0], q[:, 1:]
    elements = [rest.T @ m @ ground for m in v]
    return energy, np.array([[-2 * a @ b for b in elements] for a in elements])


def test_second_derivatives_are_those_of_perturbation_theory(system):
    energy, expected = system
    t = np.zeros(2)
    np.testing.assert_allclose(dif.hessian(energy)(t), expected, rtol=1e-10)
    np.testing.assert_allclose(dif.hvp(energy)(t, np.array([1.0, 2.0])), expected @ [1.0, 2.0], rtol=1e-10)
    np.testing.assert_allclose(dif.jacobian(dif.grad(energy), mode="rev")(t), expected, rtol=1e-10)
    np.testing.assert_allclose(dif.vmap(dif.hessian(energy))(np.zeros((3, 2))), [expected] * 3, rtol=1e-10)


def test_the_multiplet_itself_has_no_second_derivative(system):
    h0 = np.diag([0.0, 1.0, 1.0])
    v = np.array([[0.0, 1.0, 0.5], [1.0, 0.0, 0.3], [0.5, 0.3, 0.0]])
    with pytest.raises(dif.errors.DegenerateError):
        dif.hessian(lambda t: dif.linalg.eigvalsh(h0 + t * v)[1])(0.0)


@pytest.mark.parametrize("degenerate", [True, False])
def test_pullbacks_in_many_directions_are_checked_each(rng, degenerate):
    a = np.diag([1.0, 2.0, 2.0, 3.0]) + (0 if degenerate else 0.1 * np.arange(16.0).reshape(4, 4))
    for f in (lambda a: dif.linalg.eigh(a)[1], lambda a: dif.linalg.svd(a)[0], lambda a: dif.linalg.svd(a)[1]):
        g = dif.grad(lambda a, f=f: dif.sum(f(a) ** 2 * np.arange(1.0, 5.0)[:, None] if f(a).ndim == 2 else f(a) ** 3))
        every = lambda a, g=g: dif.vmap(dif.vjp(g, a)[1])(np.eye(16).reshape(16, 4, 4))[0]  # noqa: E731
        if degenerate:
            with pytest.raises(dif.errors.DegenerateError):
                every(a)
        else:
            np.testing.assert_allclose(
                np.asarray(every(a)).reshape(4, 4, 4, 4), dif.jacobian(g, mode="fwd")(a), atol=1e-8
            )
