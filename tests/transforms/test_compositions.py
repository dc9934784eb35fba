"""Transformations of transformations: pairs and triples, each against a reference made of values one level below.

A transformation T of a function f is compared with what it should be in terms of values of f, by differences,
loops and plain iterations. f itself is transformed already, and was compared in the same way: no level trusts itself.
"""

import zlib
from itertools import product

import numpy as np
import pytest

import difftensor as dif
from difftensor.errors import BatchedValueError, MissingDerivativeError

X = np.array([0.7, -0.4, 1.1])
V = np.array([0.3, -1.0, 0.6])
C = np.array([1.0, 0.5, -0.7])

pytestmark = pytest.mark.filterwarnings("ignore::difftensor.errors.LostGradientWarning")


# The programs, R^3 -> R^3 ---------------------------------------------------------------------------------------------


def elementwise(x):
    return dif.sin(x) * x[::-1] + np.exp(-0.1 * x)


def writes(x):
    u = dif.zeros(3)
    u[0] = x[0] * x[1]
    u[1:] += np.sin(x[:2])
    row = u[:2]
    row *= 0.5 + x[2]
    u[1] = u[1] * u[0]
    return u


def loop(x):
    for i in range(4):
        x = x + 0.1 * i * np.tanh(np.roll(x, 1)) * x
    return x


def linalg(x):
    return dif.linalg.solve(3 * np.eye(3) + dif.outer(x, x[::-1]), np.cos(x))


def through_complex(x):
    z = x + 1j * dif.roll(x, 1)
    w = dif.exp(0.3j * z) * dif.conj(z)
    return w.real * w.imag + dif.abs(w)


PROGRAMS = {f.__name__: f for f in (elementwise, writes, loop, linalg, through_complex)}


# The transformations: ours, and what they mean ------------------------------------------------------------------------


def values(f):
    def g(x):
        y = f(np.asarray(x))
        return np.asarray(y.detach() if isinstance(y, dif.Tensor) else y)

    return g


def difference(f, x, v, h=3e-3):
    """The derivative of f at x along v, by central differences of order six."""
    weights = {1: 45, 2: -9, 3: 1}
    return sum(w * (f(x + k * h * v) - f(x - k * h * v)) for k, w in weights.items()) / (60 * h)


def along_axes(f):
    return lambda x: np.stack([difference(f, x, e) for e in np.eye(3)], axis=-1)


def grad(f):
    return dif.grad(lambda x: dif.sum(C * f(x)))


def jvp(f):
    return lambda x: dif.jvp(f, (x,), (V,))[1]


def streaming(f):
    return lambda x: dif.jvp(f, (x,), (V,), stream=True)[1]


def vmap(f):
    return lambda x: C @ dif.vmap(f)(dif.stack([x, 0.5 * x, x[::-1]]))


def rows(f):
    return lambda x: C @ np.stack([f(x), f(0.5 * x), f(x[::-1])])


def checkpointed(f):
    def g(x):
        for _ in dif.checkpointed(range(3), memory=1):
            x = 0.5 * x + 0.2 * f(x)
        return x

    return g


def repeated(f):
    def g(x):
        for _ in range(3):
            x = 0.5 * x + 0.2 * f(x)
        return x

    return g


def custom_vjp(f):
    g = dif.custom_vjp(lambda x: f(x))
    g.defvjp(lambda x: (g(x), x), lambda x, c: dif.vjp(f, x)[1](c))
    return g


def custom_jvp(f):
    g = dif.custom_jvp(lambda x: f(x))
    g.defjvp(lambda primals, tangents: dif.jvp(f, primals, tangents))
    return g


def implicit(f):
    solve = iterated(values(f))
    return lambda x: dif.implicit.fixed_point(lambda y, x: x + 0.05 * dif.sin(f(y)), solve, x)


def iterated(f):
    def g(x):
        y = 0 * X
        for _ in range(40):
            y = x + 0.05 * np.sin(f(y))
        return y

    return g


def jacobian(f):
    return lambda x: dif.jacobian(f)(x) @ V


def hessian(f):
    return lambda x: dif.hessian(lambda x: dif.sum(C * f(x)))(x) @ V


TRANSFORMATIONS = {
    "grad": (grad, lambda f: lambda x: C @ along_axes(f)(x)),
    "jvp": (jvp, lambda f: lambda x: difference(f, x, V)),
    "stream": (streaming, lambda f: lambda x: difference(f, x, V)),
    "vmap": (vmap, rows),
    "checkpoint": (dif.checkpoint, lambda f: f),
    "checkpointed": (checkpointed, repeated),
    "custom_vjp": (custom_vjp, lambda f: f),
    "custom_jvp": (custom_jvp, lambda f: f),
    "implicit": (implicit, iterated),
    "jacobian": (jacobian, lambda f: lambda x: difference(f, x, V)),
    "hessian": (hessian, lambda f: lambda x: C @ difference(along_axes(f), x, V)),
}
# what may not stand inside a streaming jvp, which keeps no tape
DERIVATIVES = {"grad", "jvp", "stream", "jacobian", "hessian"}


def check(names, program):
    """The outermost transformation of the rest, against its meaning in values of the rest."""
    inner = PROGRAMS[program]
    for name in reversed(names[1:]):
        inner = TRANSFORMATIONS[name][0](inner)
    ours, meaning = TRANSFORMATIONS[names[0]]
    expected = meaning(values(inner))
    try:
        found = values(ours(inner))(X)
    except MissingDerivativeError as error:
        assert "stream" in names, "only a streaming jvp may refuse"
        assert "stream=" in str(error)
        assert not DERIVATIVES.isdisjoint(names[names.index("stream") + 1 :])
        return
    try:
        expected = expected(X)
    except MissingDerivativeError:
        return
    scale = max(1.0, np.abs(expected).max())
    np.testing.assert_allclose(found, expected, rtol=0, atol=scale * (2e-6 if names[0] == "hessian" else 1e-8))


@pytest.mark.parametrize("program", PROGRAMS)
@pytest.mark.parametrize("name", TRANSFORMATIONS)
def test_alone(name, program):
    check((name,), program)


@pytest.mark.parametrize("names", list(product(TRANSFORMATIONS, repeat=2)), ids="-".join)
def test_pairs(names):
    for program in PROGRAMS:
        check(names, program)


def turn(names):
    return zlib.crc32("-".join(names).encode())


TRIPLES = list(product(TRANSFORMATIONS, repeat=3))


@pytest.mark.parametrize("names", [t for t in TRIPLES if turn(t) % 8 == 0], ids="-".join)
def test_triples(names):
    check(names, list(PROGRAMS)[turn(names) // 8 % len(PROGRAMS)])


@pytest.mark.slow
@pytest.mark.parametrize("names", [t for t in TRIPLES if turn(t) % 8], ids="-".join)
def test_all_triples(names):
    check(names, list(PROGRAMS)[turn(names) // 8 % len(PROGRAMS)])


# Perturbation confusion -----------------------------------------------------------------------------------------------

SLOPES = {
    "grad": lambda f: dif.grad(f),
    "jvp": lambda f: lambda x: dif.jvp(f, (x,), (1.0,))[1],
    "stream": lambda f: lambda x: dif.jvp(f, (x,), (1.0,), stream=True)[1],
    "jacobian": lambda f: lambda x: dif.jacobian(f)(x),
    "vmapped": lambda f: lambda x: dif.vmap(dif.grad(f))(dif.stack([x, 2 * x]))[0],
    "under vmap": lambda f: dif.grad(lambda x: dif.vmap(f)(dif.stack([x, 0 * x]))[0]),
    "checkpoint": lambda f: dif.grad(dif.checkpoint(f)),
    "loop": lambda f: dif.grad(lambda x: dif.checkpoint_loop(lambda u, i: f(u), x, 1)),
    "checkpointed": lambda f: dif.grad(lambda x: sum(f(x) for _ in dif.checkpointed(range(1)))),
    "taylor": lambda f: lambda x: dif.taylor(f, x, 1)[1],
}
OUTERMOST = {"taylor"}  # asks for plain functions: nothing differentiates it


@pytest.mark.parametrize("outer", SLOPES)
@pytest.mark.parametrize("inner", [name for name in SLOPES if name not in OUTERMOST])
def test_perturbation_confusion(outer, inner):
    """d/dx x (d/dy (x + y))(y = 1) = 1, d/dx x (d/dy x y^2)(y = x) = 6 x^2."""
    D, d = SLOPES[outer], SLOPES[inner]
    cases = [
        (lambda x: x * d(lambda y: x + y)(1.0), 1.0),
        (lambda x: x * d(lambda y: x * y * y)(x), 6 * 1.3**2),
        (lambda x: x * d(lambda y: x * x + 0 * y)(2.0), 0.0),
    ]
    for f, expected in cases:
        try:
            found = D(f)(1.3)
        except MissingDerivativeError as error:
            assert outer in ("stream", "taylor"), error  # noqa: PT017
            return
        except BatchedValueError as error:  # a checkpoint runs example by example, and sees the batch in its closure
            assert "fallback" in str(error) or "surroundings" in str(error)  # noqa: PT017
            assert (outer, inner) in product(("vmapped", "under vmap"), ("checkpoint", "loop")), error  # noqa: PT017
            return
        np.testing.assert_allclose(np.asarray(found), expected, rtol=1e-13, atol=1e-13)


# Peers ----------------------------------------------------------------------------------------------------------------


def chain(xp, x):
    a = xp.outer(x, xp.sin(x)) + 3 * xp.eye(3)
    return xp.sum(xp.tanh(xp.linalg.solve(a, xp.cos(x))) * xp.exp(0.3 * x)) ** 2


MATRIX = np.stack([X, V, C, X * V])


@pytest.mark.peers("jax")
def test_against_jax():
    jax = pytest.importorskip("jax")
    from jax import numpy as jnp

    jax.config.update("jax_enable_x64", True)
    ours, theirs = (lambda x: chain(dif, x)), (lambda x: chain(jnp, x))
    compared = [
        (dif.hessian(ours)(X), jax.hessian(theirs)(X)),
        (dif.vmap(dif.grad(ours))(MATRIX), jax.vmap(jax.grad(theirs))(MATRIX)),
        (dif.vmap(dif.hessian(ours))(MATRIX), jax.vmap(jax.hessian(theirs))(MATRIX)),
        (
            dif.grad(lambda m: dif.sum(dif.vmap(ours)(m) ** 2))(MATRIX),
            jax.grad(lambda m: jnp.sum(jax.vmap(theirs)(m) ** 2))(MATRIX),
        ),
        (
            dif.jvp(dif.vmap(dif.grad(ours)), (MATRIX,), (MATRIX[::-1].copy(),))[1],
            jax.jvp(jax.vmap(jax.grad(theirs)), (MATRIX,), (MATRIX[::-1],))[1],
        ),
        (
            dif.jacobian(dif.checkpoint(dif.grad(ours)))(X),
            jax.jacrev(jax.checkpoint(jax.grad(theirs)))(X),
        ),
        (
            dif.grad(lambda x: dif.jvp(dif.checkpoint(ours), (x,), (V,))[1] ** 2)(X),
            jax.grad(lambda x: jax.jvp(theirs, (x,), (jnp.asarray(V),))[1] ** 2)(X),
        ),
        (
            dif.jacobian(dif.hessian(ours))(X),
            jax.jacfwd(jax.hessian(theirs))(X),
        ),
    ]
    for a, b in compared:
        np.testing.assert_allclose(a, np.asarray(b), rtol=1e-9, atol=1e-9)


@pytest.mark.peers("torch")
def test_against_pytorch():
    torch = pytest.importorskip("torch")
    func = torch.func

    def theirs(x):
        a = torch.outer(x, torch.sin(x)) + 3 * torch.eye(3, dtype=x.dtype)
        return torch.sum(torch.tanh(torch.linalg.solve(a, torch.cos(x))) * torch.exp(0.3 * x)) ** 2

    ours = lambda x: chain(dif, x)  # noqa: E731
    x, m, v = torch.tensor(X), torch.tensor(MATRIX), torch.tensor(V)
    compared = [
        (dif.hessian(ours)(X), func.hessian(theirs)(x)),
        (dif.vmap(dif.grad(ours))(MATRIX), func.vmap(func.grad(theirs))(m)),
        (dif.vmap(dif.hessian(ours))(MATRIX), torch.stack([func.hessian(theirs)(row) for row in m])),
        (dif.hvp(ours)(X, V), func.jvp(func.grad(theirs), (x,), (v,))[1]),
        # in reverse only: PyTorch's forward mode over forward mode through linalg.solve differs from JAX's and ours
        (dif.jvp(dif.hessian(ours), (X,), (V,))[1], func.jacrev(func.jacrev(func.grad(theirs)))(x) @ v),
    ]
    for a, b in compared:
        np.testing.assert_allclose(a, b.numpy(), rtol=1e-9, atol=1e-9)
