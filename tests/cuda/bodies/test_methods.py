"""tests/optim/test_methods.py on the device."""

from tests.optim.test_methods import *  # noqa: F403

HOST = {
    "test_quadratic_with_many_bounds": "beside SciPy",
    "test_nelder_mead_needs_values_only": "nelder-mead",
    "test_a_simplex_leaves_a_bound_that_does_not_hold_it": "nelder-mead",
    "test_conjugate_directions_within_a_face_of_the_box": "closures over ndarrays",
}
