"""Orders that depend on memory, ``"A"`` and ``"K"``: NumPy's own on random layouts, alone and under transformations."""

import numpy as np
import pytest

import difftensor as dif

CALLS = {
    "ravel": lambda x, order: x.ravel(order),
    "flatten": lambda x, order: x.flatten(order),
    "copy": lambda x, order: x.copy(order).ravel("K"),
    "np.copy": lambda x, order: np.copy(x, order=order).ravel("K"),
    "np.reshape": lambda x, order: np.reshape(x, -1, order="A" if order == "K" else order),
}


def layouts(count):
    """Arrays with permuted, reversed, skipping and broadcast axes."""
    rng = np.random.default_rng(20261120)
    for _ in range(count):
        n = rng.integers(1, 5)
        a = rng.normal(size=rng.integers(1, 4, size=n)).transpose(rng.permutation(n))
        if rng.random() < 0.5:
            a = a[tuple(slice(None, None, int(rng.choice([1, -1, 2]))) for _ in range(n))]
        if rng.random() < 0.4:
            a = np.broadcast_to(a, (2, *a.shape))
        yield a.transpose(rng.permutation(a.ndim))


@pytest.mark.parametrize("order", "CFAK")
@pytest.mark.parametrize("call", CALLS)
def test_elements_come_in_numpys_order(call, order):
    for a in layouts(100):
        expected = CALLS[call](a, order)
        assert np.array_equal(CALLS[call](dif.asarray(a), order).numpy(), expected), (a.shape, a.strides)


@pytest.mark.parametrize("order", "CFAK")
@pytest.mark.parametrize("call", CALLS)
def test_transformations_keep_it(call, order):
    a, t = np.random.default_rng(3).normal(size=(2, 2, 3, 4))

    def f(x):
        return CALLS[call](x.T[::2], order)

    slopes = dif.jvp(f, (a[0],), (t[0],), stream=True)[1], dif.jvp(f, (a[0],), (t[0],))[1]
    assert all(np.array_equal(dy, f(t[0])) for dy in slopes)
    assert np.array_equal(dif.vmap(f)(a), np.stack([f(x) for x in a]))


@pytest.mark.parametrize("reps", [(4, 1), (2, 1, 1), 1, (1, 3)])
def test_tiles_can_be_written_to(reps):
    """Repeated along new axes, too, where a view would do."""

    def f(m, x):
        y = m.tile(x, reps)
        y[0] = y[-1] * 5.0
        return y.sum()

    for a in (np.arange(1.0, 4.0), np.ones((1, 3)), np.ones((2, 3))):
        assert f(dif, dif.tensor(a)).item() == f(np, a)
        assert dif.jvp(lambda x: f(np, x), (a,), (a,), stream=True)[1] == f(np, a)
        assert np.vdot(dif.grad(lambda x: f(np, x))(a), a) == f(np, a)
        assert dif.vmap(lambda x: f(np, x))(np.stack([a, 2 * a])).tolist() == [f(np, a), 2 * f(np, a)]


@pytest.mark.parametrize("f", [np.nan_to_num, lambda x: np.interp(x, [0.0, 1.0], [0.0, 2.0])])
def test_numbers_where_numpy_returns_numbers(f):
    """``op=`` gives a number another name, and changes an array."""
    x = dif.tensor([0.3, 0.2]).sum()
    y = z = f(x)
    y += 1.0
    assert dif.isscalar(y) and y.item() == z.item() + 1.0 == f(0.5) + 1.0


a = np.arange(6.0).reshape(2, 3)
RESULTS = {
    "stack": lambda m, a: m.stack([a, 2 * a], axis=-1),
    "stack in the middle": lambda m, a: m.stack([a, 2 * a], axis=1),
    "take": lambda m, a: m.take(a, np.array([2, 0]), axis=1),
    "meshgrid": lambda m, a: m.meshgrid(a[0], a[1])[0],
    "meshgrid ij": lambda m, a: m.meshgrid(a[0], a[1], indexing="ij")[1],
    "insert": lambda m, a: m.insert(a, 1, 5.0, axis=1),
    "delete": lambda m, a: m.delete(a, [0, 1], axis=1),
    "delete one": lambda m, a: m.delete(a, 1, axis=1),
    "full": lambda m, a: m.full((2, 3), a[0]),
    "ascontiguousarray": lambda m, a: m.ascontiguousarray(a.T),
    "asfortranarray": lambda m, a: m.asfortranarray(a),
    "asarray": lambda m, a: m.asarray(a, order="F"),
    "array": lambda m, a: m.array(a, order="F"),
    "astype": lambda m, a: a.astype(np.float32, order="F"),
    "astype C": lambda m, a: a.T.astype(np.float32, order="C"),
    "pad": lambda m, a: m.pad(a, 1, mode="edge"),
}


@pytest.mark.parametrize("name", RESULTS)
@pytest.mark.parametrize("tracked", [False, True])
def test_results_lie_in_memory_as_numpys(name, tracked):
    """So that a reshape of them is a view, and a write through it reaches them, where that is so with NumPy."""
    y = RESULTS[name](np, a)
    t = RESULTS[name](dif, dif.tensor(a, requires_grad=tracked))
    assert t._data.strides == y.strides
    np.testing.assert_array_equal(t.detach().numpy(), y)


def test_a_write_through_a_reshape_of_columns():
    def f(x):
        y = np.stack([x, x * x], axis=-1)
        z = y.reshape(-1)
        z[1::2] = z[::2] * 3.0
        return (y * [1.0, 2.0]).sum()

    x = np.array([0.3, 0.7])
    assert f(dif.tensor(x)).item() == f(x)
    np.testing.assert_allclose(dif.grad(f)(x), [7.0, 7.0])
    np.testing.assert_allclose(dif.vmap(f)(np.stack([x, 2 * x])), [f(x), f(2 * x)])
