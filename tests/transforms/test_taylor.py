"""Taylor series where values are infinite: the line itself is not."""

import numpy as np

import difftensor as dif


def test_infinite_numbers_move_along_the_line_too():
    x, v = np.array([np.inf, 1.0]), np.array([0.5, 2.0])
    np.testing.assert_array_equal(dif.taylor(lambda x: 3 * x, x, 2, v), [[np.inf, 3.0], [1.5, 6.0], [0.0, 0.0]])
    np.testing.assert_array_equal(dif.taylor(np.sum, x, 2, v), [np.inf, 2.5, 0.0])
    with np.errstate(invalid="ignore"):  # of inf * 0, in a branch that is not taken
        found = dif.taylor(lambda x: np.where(x > 5, 1.0, x * x), x, 2, v)
    np.testing.assert_allclose(found, [[1.0, 1.0], [0.0, 4.0], [0.0, 4.0]])


def test_infinite_results_that_do_not_move():
    np.testing.assert_array_equal(dif.taylor(lambda x: np.array([np.inf, 1.0]), 1.0, 1), [[np.inf, 1.0], [0.0, 0.0]])
