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
