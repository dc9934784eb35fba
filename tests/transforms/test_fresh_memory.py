"""What a transformation hands out belongs to the caller: a write to it changes nothing else, nothing else changes it.

Each program writes to one array in place and then looks at another; the expected values are those without the write.
"""

import numpy as np
import pytest

import difftensor as dif

V = np.array([0.3, 0.5, 0.7])
VIEWS = [lambda a: a, lambda a: a.reshape(3, 1), lambda a: a[::-1], lambda a: a.T, np.ravel, np.real]


def values(a):
    return a.detach().numpy() if isinstance(a, dif.Tensor) else np.asarray(a)


@pytest.mark.parametrize("make", [np.array, dif.tensor])
@pytest.mark.parametrize("f", VIEWS)
def test_tangents_and_cotangents_are_not_handed_back(f, make):
    x, t = make(V), make(V + 1)
    expected = values(f(V + 1)).copy()
    _, push = dif.linearize(f, x)
    dy = push(t)
    _, pull = dif.vjp(f, x)
    w = f(t).copy()
    (g,) = pull(w)
    t *= 0
    w *= 0
    assert np.array_equal(values(dy), expected)
    assert np.array_equal(values(g), V + 1)


@pytest.mark.parametrize("f", VIEWS)
def test_nor_are_tracked_ones(f):
    def pushed(x):
        t = 2 * x
        _, dy = dif.jvp(f, (x,), (t,))
        t *= 3
        return np.sum(dy)

    def pulled(x):
        w = 2 * f(x)
        _, pull = dif.vjp(f, x)
        (g,) = pull(w)
        g *= 3
        return np.sum(w)

    assert np.array_equal(dif.grad(pushed)(V), [2.0, 2.0, 2.0])
    assert np.array_equal(dif.grad(pulled)(V), [2.0, 2.0, 2.0])


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("make", [np.array, dif.tensor])
def test_jvp_changes_and_keeps_none_of_its_arguments(make, stream):
    x, t = make(V), make(V + 1)

    def doubled(a):
        a *= 2
        return a

    y, dy = dif.jvp(doubled, (x,), (t,), stream=stream)
    assert np.array_equal(values(x), V) and np.array_equal(values(t), V + 1)
    y, dy = dif.jvp(lambda a: a, (x,), (t,), stream=stream)
    x *= 0
    t *= 0
    assert np.array_equal(values(y), V) and np.array_equal(values(dy), V + 1)


def test_two_gradients_are_two_arrays():
    def f(x):
        a, b = dif.grad(lambda a, b: np.sum((a + b) * x), argnums=(0, 1))(x, x)
        a *= 0
        return np.sum(b * b)

    assert np.allclose(dif.grad(f)(V), 2 * V)


def test_two_gradients_of_a_recorded_backward_are_two_arrays():
    v, w = (dif.tensor(V, requires_grad=True) for _ in range(2))
    ((v + w) ** 2).sum().backward(create_graph=True)
    g = v.grad
    g *= 0
    assert np.allclose(values(w.grad), 4 * V)


@pytest.mark.parametrize("make", [np.array, dif.tensor])
@pytest.mark.parametrize("f", [lambda w: w, lambda w: w + 0, lambda w: w.reshape(3)])
def test_backward_does_not_keep_the_cotangent(f, make):
    w, g = dif.tensor(V, requires_grad=True), make(V)
    f(w).backward(g)
    g *= 0
    assert np.array_equal(w.grad.numpy(), V)


def test_a_gradient_that_is_set_is_copied_and_has_the_dtype():
    w, g = dif.tensor(V, requires_grad=True), V.copy()
    w.grad = g
    g *= 0
    assert np.array_equal(w.grad.numpy(), V)
    with pytest.raises(ValueError, match="dtype complex128"):
        w.grad = dif.tensor(V * 1j)


def test_hooks_return_arrays_of_the_dtype():
    w = dif.tensor(V, requires_grad=True)
    y = w * 1
    y.register_hook(lambda g: [1.0, 2.0, 3.0])
    y.sum().backward()
    assert np.array_equal(w.grad.numpy(), [1.0, 2.0, 3.0])
    y = w * 1
    y.register_hook(lambda g: g * 1j)
    with pytest.raises(TypeError, match="complex128"):
        y.sum().backward()


def test_a_streamed_tangent_of_a_real_argument_is_real():
    with pytest.raises(TypeError, match="real"):
        dif.jvp(np.sin, (V,), (V * 1j,), stream=True)


WRITERS = {
    "vmap": dif.vmap,
    "vmap of rows": lambda f: lambda a: dif.vmap(f)(a.reshape(3, 1)),
    "vmap, one by one": lambda f: lambda a: dif.vmap(f, fallback="loop")(a.reshape(3, 1)),
    "nested vmap": lambda f: lambda a: dif.vmap(lambda row: (dif.vmap(f)(row), row)[1])(a.reshape(3, 1)),
    "taylor": lambda f: lambda a: dif.taylor(f, a, 2),
    "vjp": lambda f: lambda a: dif.vjp(f, a),
    "linearize": lambda f: lambda a: dif.linearize(f, a),
    "jacobian": dif.jacobian,
    "hvp": lambda f: lambda a: dif.hvp(lambda x: np.sum(f(x)))(a, a),
}


@pytest.mark.parametrize("make", [np.array, dif.tensor])
@pytest.mark.parametrize("name", WRITERS)
def test_a_function_that_writes_changes_no_argument(name, make):
    def doubled(x):
        x *= 2
        return x

    a = make(V)
    WRITERS[name](doubled)(a)
    assert np.array_equal(values(a), V)


@pytest.mark.parametrize("make", [np.array, dif.tensor])
@pytest.mark.parametrize("f", [lambda x: x, lambda x: x[::-1], lambda x: x.reshape(1, 2), lambda x: (x, x)])
def test_results_of_vmap_and_its_arguments_are_apart(f, make):
    a = make(np.arange(6.0).reshape(3, 2))
    y = dif.vmap(f)(a)
    first, last = (y[0], y[-1]) if isinstance(y, tuple) else (y, y)
    expected = values(last).copy()
    a *= 0
    assert np.array_equal(values(last), expected)
    if first is not last:
        first *= 0
        assert np.array_equal(values(last), expected)
