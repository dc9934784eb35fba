import numpy as np
import pytest


def test_start_value_and_gradient(example):
    gp = example("mauna_loa_gp")
    result = gp.main(small=True)
    assert abs(result["start"] - gp.PUBLISHED["at the start"]) < 1e-6
    # the gradient after a few iterations against differences of the plain function
    x, h = np.log(result["theta"]), 1e-3                         # K's condition leaves 1e-9 of the value as noise
    f = lambda s: float(np.asarray(gp.log_likelihood(x + s * direction)))
    direction = np.cos(np.arange(11))
    slope = (8 * (f(h) - f(-h)) - f(2 * h) + f(-2 * h)) / (12 * h)
    assert abs(-result["gradient"] @ direction - slope) < 1e-5


@pytest.mark.slow
def test_fitted_value_is_that_of_scikit_learn(example):
    gp = example("mauna_loa_gp")
    assert abs(gp.main()["fitted"] - gp.PUBLISHED["fitted"]) < 1e-4
