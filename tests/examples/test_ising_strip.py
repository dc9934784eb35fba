import numpy as np


def test_strip_at_the_critical_point(example):
    ising = example("ising_strip")
    result = ising.main(small=True)
    assert abs(result["f"] - 0.9323288953175849) < 1e-14
    assert abs(result["energy"] + np.sqrt(2)) < 1e-12           # self-duality, for every width
    assert abs(result["heat"] - ising.HEAT) < 1e-11
    h, f = 1e-3, lambda K: ising.kaufman(10, K)                 # the 1.325886 is this quotient
    assert abs(ising.KC**2 * (f(ising.KC + h) - 2 * f(ising.KC) + f(ising.KC - h)) / h**2 - 1.325886) < 1e-6
    assert abs(result["charge"] - 0.5) < 5e-3                  # from widths up to 8
    for L, (K, height) in result["peaks"].items():              # the peak by differences of Kaufman's sum
        f = lambda K, L=L: ising.kaufman(L, K)
        second = lambda K, h, f=f: (f(K + h) - 2 * f(K) + f(K - h)) / h**2
        heat = lambda K, second=second: K**2 * (4 * second(K, h) - second(K, 2 * h)) / 3
        np.testing.assert_allclose(heat(K), height, rtol=1e-7)
        assert heat(K) > max(heat(K - 0.01), heat(K + 0.01))
