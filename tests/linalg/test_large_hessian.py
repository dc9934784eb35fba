"""Second derivatives through matrices beyond the size up to which constant matrices are kept."""

import numpy as np

import difftensor as dif


def test_hessian_of_a_log_determinant_by_cholesky_of_150_rows():
    rng = np.random.default_rng(0)
    A = rng.normal(size=(150, 150))
    A, B = A @ A.T + 150 * np.eye(150), np.diag(rng.uniform(size=150))
    f = lambda p: np.sum(np.log(np.diag(np.linalg.cholesky(A * np.exp(p[0]) + p[1] * B))))
    p = np.array([0.3, 0.7])
    K = np.linalg.inv(A * np.exp(p[0]) + p[1] * B)  # f = log det / 2, so d2f = -tr(K dA K dB) / 2 and tr(K d2A) / 2
    D = [A * np.exp(p[0]), B]
    expected = [[-0.5 * np.trace(K @ D[i] @ K @ D[j]) for j in range(2)] for i in range(2)]
    expected[0][0] += 0.5 * np.trace(K @ D[0])
    np.testing.assert_allclose(dif.hessian(f)(p), expected, rtol=1e-11)
