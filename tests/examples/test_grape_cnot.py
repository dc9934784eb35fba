import numpy as np
from scipy.linalg import expm


def test_the_speed_limit(example):
    grape = example("grape_cnot")
    result = grape.main(small=True)
    assert result["infidelity"][0.45] > 2e-2 > result["bound"][0.45]
    assert result["infidelity"][0.6] < 1e-9
    for T, u in result["pulses"].items():                       # the same pulses by SciPy
        assert np.all(np.abs(u) <= grape.STRONGEST)
        U = np.eye(4)
        for row in u:
            U = expm(-1j * T / len(u) * (grape.DRIFT + np.tensordot(row, grape.CONTROLS, 1))) @ U
        fidelity = abs(np.trace(grape.CNOT @ U))**2 / 16
        np.testing.assert_allclose(1 - fidelity, result["infidelity"][T], atol=1e-12)
