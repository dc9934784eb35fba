"""Adding rows where an index names some of them more than once: NumPy's own loop is the reference."""

import numpy as np
import pytest

from difftensor._backend.rows import add_rows

SHAPES = [(4, 500, (11,)), (125, 500, (3,)), (50, 30000, (11,)), (7, 900, ()), (5, 90, (2, 3))]


@pytest.mark.parametrize("m, k, tail", SHAPES)
def test_as_numpy_adds(m, k, tail):
    rng = np.random.default_rng(k)
    index, values = rng.integers(-m, m, k), rng.standard_normal((k, *tail))
    ours = rng.standard_normal((m, *tail))
    numpy = ours.copy()
    np.add.at(numpy, index, values)
    assert add_rows(ours, index, values)
    np.testing.assert_allclose(ours, numpy, rtol=1e-12, atol=1e-11)


def test_some_columns_of_the_rows():
    rng = np.random.default_rng(1)
    ours, index, values = np.zeros((4, 9)), rng.integers(0, 4, 300), rng.standard_normal((300, 3))
    numpy = ours.copy()
    np.add.at(numpy, (index, slice(3, 6)), values)
    assert add_rows(ours, (index, slice(3, 6)), values)
    np.testing.assert_allclose(ours, numpy, rtol=1e-12)
    column = ours.copy()
    np.add.at(numpy, (index, 2), values[:, 0])
    assert add_rows(column, (index, 2), values[:, 0])
    np.testing.assert_allclose(column, numpy, rtol=1e-12)


@pytest.mark.parametrize(
    "buffer, index, values",
    [
        (np.zeros((3, 2)), np.array([0, 3]).repeat(50), np.ones((100, 2))),  # out of bounds: NumPy's error
        (np.zeros((3, 2), np.float32), np.zeros(100, int), np.ones((100, 2), np.float32)),
        (np.zeros((3, 2)), np.zeros(100, int), np.ones(2)),  # broadcast
        (np.zeros((3, 100)), (slice(None), np.zeros(100, int)), np.ones((3, 100))),
        (np.zeros(()), np.zeros(100, int), np.ones(100)),
        (np.zeros((3, 2)), np.zeros(100, bool), np.ones((100, 2))),
    ],
)
def test_what_is_left_to_numpy(buffer, index, values):
    before = buffer.copy()
    assert not add_rows(buffer, index, values)
    assert np.array_equal(buffer, before)
