import numpy as np
import pytest


def test_start_value_and_gradient(example):
    gp = example("mauna_loa_gp")
    result = gp.main(small=True)
    assert abs(result["start"] - gp.PUBLISHED["at the start"]) < 1e-6
    # the gradient after a few iterations against differences of the plain function
    x, h = np.log(result["theta"]), 1e-5
    direction = np.cos(np.arange(11))
    slope = float(np.asarray(gp.log_likelihood(x + h * direction) - gp.log_likelihood(x - h * direction))) / (2 * h)
    assert abs(-result["gradient"] @ direction - slope) < 1e-4 * max(1, abs(slope))


@pytest.mark.slow
def test_fitted_value_is_that_of_scikit_learn(example):
    gp = example("mauna_loa_gp")
    assert abs(gp.main()["fitted"] - gp.PUBLISHED["fitted"]) < 1e-4
