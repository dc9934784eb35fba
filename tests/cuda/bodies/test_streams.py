"""tests/transforms/test_stream.py on the device."""

from tests.transforms.test_stream import *  # noqa: F403

HOST = {
    "test_a_reshape_is_a_view_of_value_and_tangent_or_of_neither": "the memory order of stacked examples",
    "test_an_argument_without_axes_stays_an_array": "numbers, which are arrays without axes there",
    "test_matrix_functions_and_gradients_through": "a Schur form",
    "test_what_f_uses_of_its_surroundings_can_be_differentiated": "closures over ndarrays",
}
