import numpy as np


def test_mode_errors_and_posterior(example):
    lynx = example("hudson_bay_lynx")
    result = lynx.main(small=True)
    assert result["success"]
    # the independent computation (SciPy, differences) is printed with six and four digits
    np.testing.assert_allclose(result["mode"], lynx.MODE, rtol=3e-6)
    np.testing.assert_allclose(result["errors"], lynx.LAPLACE, rtol=2e-4)
    # mode and mean of a skew posterior differ: theta and z0 within 0.2 standard errors of the means
    assert np.all(np.abs(result["mode"] - lynx.PUBLISHED)[:6] < 0.2 * result["errors"][:6])
    assert np.all(np.abs(result["away"]) < 4)


def test_gradient_of_the_integration_is_the_difference_quotient(example):
    import difftensor as dif

    lynx = example("hudson_bay_lynx")
    x = np.log(lynx.PRIOR_MEAN)
    gradient = dif.grad(lynx.energy)(x)
    direction = np.cos(np.arange(8))
    h = 1e-4
    f = lambda s: float(np.asarray(lynx.energy(x + s * direction)))
    slope = (f(-2 * h) - 8 * f(-h) + 8 * f(h) - f(2 * h)) / (12 * h)
    np.testing.assert_allclose(gradient @ direction, slope, rtol=1e-8)
