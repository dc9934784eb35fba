import numpy as np


def test_orszag_and_the_critical_point(example):
    flow = example("orr_sommerfeld")
    result = flow.main(small=True)
    assert abs(result["c"].real - flow.ORSZAG.real) < 6e-9 and abs(result["c"].imag - flow.ORSZAG.imag) < 6e-9
    assert abs(result["R"] - flow.CRITICAL["R"]) < 6e-3
    assert abs(result["alpha"] - flow.CRITICAL["alpha"]) < 2e-5  # Orszag's last digit is off by one

    im, h = flow.growth(flow.orr_sommerfeld(30)), 1e-4           # another resolution, differences
    a, b = np.array([result["alpha"], np.log(result["R"])]), np.array([h, 0])
    assert abs(im(a)) < 1e-10 and abs(im(a + b) - im(a - b)) / (2 * h) < 1e-6
    p = np.array([1.0, np.log(1e4)])
    for k, e in enumerate(np.eye(2) * h):
        difference = (8 * (im(p + e) - im(p - e)) - im(p + 2 * e) + im(p - 2 * e)) / (12 * h)
        np.testing.assert_allclose(result["slope"][k], difference, rtol=1e-6)
