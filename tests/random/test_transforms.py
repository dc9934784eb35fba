"""Draws inside transformations: vmap, checkpoints, streaming jvp, Taylor series, loops."""

import numpy as np
import pytest

import difftensor as dif
from difftensor.errors import BatchedValueError


def fresh(seed=7):
    return dif.random.default_rng(seed)


# vmap: every example has draws of its own ---------------------------------------------------------------------------

BATCHED = {
    "normal": lambda g, v: g.normal(v, 0.1, 3), "random": lambda g, v: g.random(3), "no size": lambda g, v: g.gumbel(v),
    "gamma": lambda g, v: g.gamma(v + 0.5, size=3), "beta": lambda g, v: g.beta(v + 0.5, 2.0, 3),
    "vonmises": lambda g, v: g.vonmises(v, v, 3), "wald": lambda g, v: g.wald(v + 1.0, 1.0, 3),
    "poisson": lambda g, v: g.poisson(20 * v + 50, 3), "binomial": lambda g, v: g.binomial(1000, (v + 1) / 8, 3),
    "integers": lambda g, v: g.integers(1000, size=3), "choice": lambda g, v: g.choice(1000, 3),
    "choice without replacement": lambda g, v: g.choice(1000, 3, replace=False),
    "permutation": lambda g, v: g.permutation(50), "dirichlet": lambda g, v: g.dirichlet([1.0, 2.0], 3),
    "multivariate_normal": lambda g, v: g.multivariate_normal(np.ones(2), np.eye(2) * (v + 1), 3),
    "multinomial": lambda g, v: g.multinomial(1000, [0.2, 0.8], 3), "triangular": lambda g, v: g.triangular(0, v, 4, 3),
    "noncentral_chisquare": lambda g, v: g.noncentral_chisquare(v + 0.5, 1.0, 3),
    "hypergeometric": lambda g, v: g.hypergeometric(1000, 2000, 500, 3),
    "negative_binomial": lambda g, v: g.negative_binomial(v + 50, 0.3, 3),
    "single": lambda g, v: g.random(3, dtype=np.float32),
}  # fmt: skip


@pytest.mark.parametrize("name", BATCHED)
def test_every_example_has_draws_of_its_own(name):
    f, rng = BATCHED[name], fresh()
    y = dif.vmap(lambda v: f(rng, v))(np.arange(4.0))
    one = f(fresh(), 1.0)
    assert isinstance(rng.normal(), dif.Tensor)
    assert y.shape == (4, *one.shape) and y.dtype == one.dtype
    rows = y.reshape(4, -1)
    assert len({tuple(r) for r in rows.tolist()}) == 4


def test_examples_take_the_words_one_after_the_other():
    y = dif.vmap(lambda v: fresh().normal(0.0, 1.0, 3) + 0 * v)(np.zeros(4))
    np.testing.assert_array_equal(y, fresh().standard_normal((4, 3)).numpy())


def test_parameters_that_differ_between_examples():
    rng, rates = fresh(), np.array([0.1, 5.0, 60.0])
    for draw in (lambda v: rng.poisson(v, 4000), lambda v: rng.gamma(v, 1.0, 4000), lambda v: rng.exponential(v, 4000)):
        np.testing.assert_allclose(dif.vmap(draw)(rates).mean(axis=1), rates, rtol=0.15)
    p = np.array([[0.1, 0.9], [0.5, 0.5], [1.0, 0.0]])
    k = dif.vmap(lambda p: rng.choice(2, 4000, p=p))(p)
    np.testing.assert_allclose(k.mean(axis=1), p[:, 1], atol=0.03)
    k = dif.vmap(lambda p: rng.multinomial(10, p, 4000))(p)
    np.testing.assert_allclose(k.mean(axis=1), 10 * p, atol=0.15)
    low, high = np.array([0, 10, -5]), np.array([3, 20, 5])
    k = dif.vmap(lambda a, b: rng.integers(a, b, 4000))(low, high)
    assert k.min(axis=1).tolist() == low.tolist() and k.max(axis=1).tolist() == (high - 1).tolist()


def test_one_axis_of_parameters_inside():
    rng = fresh()
    means, spread = np.array([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]), np.array([1e-6, 1e-3, 1.0])
    y = dif.vmap(lambda m: rng.normal(m, spread, (500, 3)))(means)
    assert y.shape == (2, 500, 3)
    np.testing.assert_allclose(y.mean(axis=1), means, atol=0.2)
    np.testing.assert_allclose(y.std(axis=1), np.broadcast_to(spread, (2, 3)), rtol=0.15)


def test_nested():
    rng = fresh()
    y = dif.vmap(
        lambda a: dif.vmap(lambda b: rng.normal(a * b, 1e-9, 2) + 0 * rng.standard_gamma(a + b + 1))(np.arange(3.0))
    )(np.arange(4.0))
    assert y.shape == (4, 3, 2)
    np.testing.assert_allclose(y[..., 0], np.outer(np.arange(4), np.arange(3)), atol=1e-7)
    assert len(set((y - np.outer(np.arange(4), np.arange(3))[..., None]).ravel().tolist())) == 24


def test_orders_of_batched_arrays():
    rng, x = fresh(), np.arange(24.0).reshape(4, 6)
    for f in (rng.permutation, rng.permuted, lambda v: rng.choice(v, 6, replace=False), shuffled(rng)):
        y = dif.vmap(f)(x)
        np.testing.assert_array_equal(np.sort(y, axis=1), x)
        assert len({tuple(r % 6) for r in y}) > 1
    y = dif.vmap(lambda v: rng.permutation(v, axis=1))(x.reshape(2, 3, 4))
    assert (np.sort(y, axis=2) == x.reshape(2, 3, 4)).all()


def shuffled(rng):
    def f(v):
        v = v.copy()
        rng.shuffle(v)
        return v

    return f


def test_what_has_one_order_only_raises():
    rng = fresh()
    for thing in (np.arange(3.0), [1, 2, 3]):
        with pytest.raises(BatchedValueError, match="pass a Tensor"):
            dif.vmap(lambda v, thing=thing: (rng.shuffle(thing), v)[1])(np.arange(2.0))


def test_gradients_of_examples():
    """Each example's derivative is that of its own draws."""
    rng = fresh()
    g = dif.vmap(dif.grad(lambda s: rng.normal(0.0, s, 3).sum()))(np.ones(4))
    np.testing.assert_allclose(g, fresh().standard_normal((4, 3)).numpy().sum(axis=1))
    rng = fresh()
    a = np.array([0.4, 1.0, 7.0])
    g = dif.vmap(dif.grad(lambda a: rng.gamma(a, 1.0, 3).sum()))(a)
    together = dif.grad(lambda a: fresh().gamma(a[:, None], 1.0, (3, 3)).sum())(a)
    np.testing.assert_allclose(g, together, rtol=1e-12)


# Code that is run again ---------------------------------------------------------------------------------------------


def looped(form):
    """Six random steps, and the loop that makes them."""
    rng = fresh(3)

    def step(u, i=0):
        return (
            u
            + 0.1 * np.sin(u) * rng.normal(0.0, 1.0, 4) * rng.standard_gamma(2.0 + 0.1 * u)
            + 0.01 * rng.poisson(9.0, 4)
        )

    def f(u):
        if form == "plain":
            for _ in range(6):
                u = step(u)
        elif form == "checkpoint":
            once = dif.checkpoint(step)
            for _ in range(6):
                u = once(u)
        elif form == "nested checkpoints":
            twice = dif.checkpoint(lambda u: dif.checkpoint(step)(step(u)))
            for _ in range(3):
                u = twice(u)
        elif form == "generator as an argument":
            once = dif.checkpoint(lambda u, g: step(u))
            for _ in range(6):
                u = once(u, rng)
        elif form == "checkpoint_loop":
            u = dif.checkpoint_loop(step, u, 6, memory=2)
        else:
            for _ in dif.checkpointed(range(6), memory=2):
                u = step(u)
        return (u * u).sum()

    return f, rng


FORMS = ["checkpoint", "nested checkpoints", "generator as an argument", "checkpoint_loop", "checkpointed"]
U = np.array([0.3, 1.0, 2.0, 2.5])


@pytest.mark.parametrize("form", FORMS)
def test_what_runs_again_sees_the_same_draws(form):
    plain, usual = looped("plain")
    f, rng = looped(form)
    np.testing.assert_allclose(dif.grad(f)(U), dif.grad(plain)(U), rtol=1e-12)
    assert rng.state == usual.state  # and leaves the generator where the plain loop leaves it
    np.testing.assert_allclose(dif.grad(f)(U), dif.grad(plain)(U), rtol=1e-12)  # the next draws


@pytest.mark.parametrize("form", FORMS)
def test_second_derivatives_of_what_runs_again(form):
    np.testing.assert_allclose(
        dif.hessian(looped(form)[0])(U), dif.hessian(looped("plain")[0])(U), rtol=1e-9, atol=1e-9
    )


@pytest.mark.parametrize("form", FORMS)
def test_forward_mode_of_what_runs_again(form):
    expected, found = (dif.jvp(looped(k)[0], (U,), (np.ones(4),)) for k in ("plain", form))
    np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_draws_between_the_pass_and_the_sweep():
    """The generator has moved on when the sweep comes; afterwards it stands where it stood."""
    rng = fresh()
    w = dif.tensor(1.0, requires_grad=True)
    y = dif.checkpoint(lambda w: (w * rng.normal(size=3)).sum())(w)
    later = rng.normal(size=2)
    state = rng.state
    y.backward()
    assert rng.state == state
    assert w.grad.item() == pytest.approx(fresh().normal(size=3).sum().item())
    assert not (later == fresh().normal(size=2)).any()


def test_a_generator_that_is_made_inside():
    f = dif.checkpoint(lambda w: (w * fresh(5).normal(size=3)).sum())
    np.testing.assert_allclose(dif.grad(f)(2.0), fresh(5).normal(size=3).sum().item())


# Forward ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("draw", [
    lambda v: fresh().normal(0.0, v, 3), lambda v: fresh().gamma(v, 1.0, 3), lambda v: fresh().beta(v, 2.0, 3),
    lambda v: fresh().wald(v, 1.0, 3), lambda v: fresh().vonmises(0.0, v, 3),
])  # fmt: skip
def test_forward_is_reverse(draw):
    for run in (lambda f, v: dif.jvp(f, (v,), (1.0,))[1], lambda f, v: dif.linearize(f, v)[1](1.0)):
        np.testing.assert_allclose(run(draw, 1.3), dif.jacobian(draw, mode="rev")(1.3), rtol=1e-11)


def test_taylor_series_of_a_sample():
    """Three coefficients of a gamma variable in its shape, against nested derivatives."""
    draw = lambda a: fresh().gamma(a, 1.0, 3)
    found = dif.taylor(draw, 1.7, order=2)
    expected = [draw(1.7), dif.jacobian(draw)(1.7), dif.jacobian(dif.jacobian(draw))(1.7)]
    scale = [1, 1, 2]
    for c, e, k in zip(found, expected, scale, strict=True):
        np.testing.assert_allclose(np.asarray(c), np.asarray(e) / k, rtol=1e-9)


def test_an_evolution_with_noise_is_differentiated_pathwise():
    """Geometric Brownian motion by Euler's scheme: dS/dmu at fixed noise, against the product that it is."""
    dt, n = 0.01, 50

    def final(mu):
        rng, s = fresh(), 1.0
        for _ in range(n):
            s = s + s * (mu * dt + rng.normal(0.0, 0.2 * dt**0.5))
        return s

    rng = fresh()
    factors = 1 + 0.05 * dt + np.array([rng.normal(0.0, 0.2 * dt**0.5).item() for _ in range(n)])
    assert float(dif.grad(final)(0.05)) == pytest.approx(np.prod(factors) * (dt / factors).sum(), rel=1e-12)


# Derivatives that call their function more than once ----------------------------------------------------------------

V = np.array([1.0, -2.0, 0.5, 3.0])
SEVERAL = {
    "jacobian": lambda f: dif.jacobian(f, argnums=(0, 1))(U, V), "rows": lambda f: dif.jacobian(f, mode="rev")(U, V),
    "hessian": lambda f: dif.hessian(lambda x, y: f(x, y).sum(), argnums=(0, 1))(U, V),
    "hvp": lambda f: dif.hvp(lambda x: f(x, V).sum())(U, V),
    "ggn_vp": lambda f: dif.ggn_vp(lambda x: f(x, V), lambda y: (y**4).sum())(U, V),
    "sparse": lambda f: dif.sparse_jacobian(lambda x: f(x, V), mode="rev")(U).toarray(),
    "sparse_hessian": lambda f: dif.sparse_hessian(lambda x: f(x, V).sum())(U).toarray(),
}  # fmt: skip


@pytest.mark.parametrize("name", SEVERAL)
def test_all_calls_for_one_derivative_see_the_same_draws(name):
    def model(rng):
        return lambda x, y: x**2 * y**2 * rng.normal(size=4) + rng.gamma(2.0, 1.0, 4) * x

    rng = fresh()
    found = SEVERAL[name](model(rng))
    assert rng.state["position"] == 12  # those of one call
    expected = SEVERAL[name](lambda x, y: model(fresh())(x, y))
    for a, b in zip(dif.tree.leaves(found), dif.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12)
