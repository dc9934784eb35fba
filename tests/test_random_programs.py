"""Random programs of broadcasting, indexing, views, writes, products and reductions, against central differences.

Each program is a function of its seed alone; the operations are drawn while it runs, from what it has computed so far.
"""

import numpy as np
import pytest

import difftensor as dif
from difftensor.testing import check_grads

SHAPES = [((3,), (3,)), ((2, 3), (3,)), ((), (3,)), ((3, 3), (3,)), ((1, 3), (2, 1))]


def fits(a, b):
    try:
        return np.prod(np.broadcast_shapes(a.shape, b.shape)) < 300
    except ValueError:
        return False


def first_replaced(a):
    y = a.copy()
    if y.ndim:
        y[0] = np.cos(y[-1])
    return y


def written_through_a_view(a):
    y = a.copy()
    if y.ndim:
        v = y[1:]
        v *= 0.5
        v += y[:1]
    return y


def written(a):
    if a.ndim:
        a[..., 0] = a[..., 0] * 0.3
    return a


ONE = [
    lambda a: np.sin(a),
    lambda a: np.exp(-a * a),
    lambda a: np.sqrt(a * a + 1),
    lambda a: a.sum(axis=-1) if a.ndim else a,
    lambda a: a.max(axis=0) if a.ndim else a,
    lambda a: a.reshape(-1),
    lambda a: a.T,
    lambda a: a[..., ::-1] if a.ndim else a,
    lambda a: a[np.array([0, -1, 0])] if a.ndim else a,
    lambda a: a[:, None] * a if a.ndim == 1 and a.size < 15 else a * a,
    first_replaced,
    written_through_a_view,
]
TWO = [
    lambda a, b: a * b if fits(a, b) else a * 2,
    lambda a, b: a + b if fits(a, b) else a - 1,
    lambda a, b: np.tanh(a) / (1 + b * b) if fits(a, b) else np.tanh(a),
    lambda a, b: np.where(a > b, a, b) if fits(a, b) else a,
    lambda a, b: a @ b if a.ndim == 2 and b.ndim in (1, 2) and a.shape[1] == b.shape[0] else a,
    lambda a, b: np.concatenate([a.ravel(), b.ravel()])[:40],
    lambda a, b: a.mean() * b,
]


def program(seed):
    def f(*xs):
        rng = np.random.default_rng(seed)
        leaves = [x if isinstance(x, dif.Tensor) else dif.tensor(x) for x in xs]
        pool = list(leaves)
        for _ in range(rng.integers(5, 25)):
            a, b = (pool[i] for i in rng.integers(len(pool), size=2))
            k = rng.integers(len(ONE) + len(TWO) + 1)
            if k == len(ONE) + len(TWO):  # in place, also into views of the arguments
                y = written(a) if all(a is not x for x in leaves) else a * 0.7
            else:
                y = ONE[k](a) if k < len(ONE) else TWO[k - len(ONE)](a, b)
            pool.append(y if y.size <= 200 else y.ravel()[:7])
        return sum(np.sin(p).sum() for p in pool[-4:])

    return f


def check(seed):
    rng = np.random.default_rng(seed)
    xs = tuple(np.asarray(rng.standard_normal(shape)) for shape in SHAPES[seed % len(SHAPES)])
    try:
        check_grads(program(seed), xs, order=1 + (seed % 3 == 0), rtol=1e-5)
    except ValueError as error:
        if "check_grads" not in str(error):  # a kink close by is no failure
            raise
        return 0
    return 1


@pytest.mark.parametrize("block", range(10))
def test_random_programs(block):
    assert sum(map(check, range(20 * block, 20 * block + 20))) >= 19


@pytest.mark.slow
@pytest.mark.parametrize("block", range(10))
def test_many_random_programs(block):
    assert sum(map(check, range(1000 + 500 * block, 1500 + 500 * block))) >= 490
