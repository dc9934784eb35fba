import numpy as np


def test_published_regressions(example):
    glm = example("glm_cox")
    result = glm.main(small=True)
    np.testing.assert_allclose(result["spector"], glm.SPECTOR, rtol=6e-8, atol=5e-9)
    for ties, published in glm.COX.items():
        np.testing.assert_allclose(result["cox"][ties], published, atol=6e-9)
    for link, (*_, deviance) in glm.LINKS.items():
        assert abs(result["deviance"][link] - deviance) < 6e-3
    np.testing.assert_allclose(result["longley"], glm.LONGLEY, rtol=1e-10)
    np.testing.assert_allclose(result["longley_errors"], glm.LONGLEY_ERRORS, rtol=1e-10)


def test_information_of_the_logit_in_closed_form(example):
    import difftensor as dif

    glm = example("glm_cox")
    rng = np.random.default_rng(0)
    X, y, p = rng.normal(size=(20, 3)), rng.integers(2, size=20), rng.normal(size=3)
    q = 1 / (1 + np.exp(-X @ p))
    np.testing.assert_allclose(dif.hessian(glm.logit(X, y))(p), -X.T @ ((q * (1 - q))[:, None] * X), rtol=1e-11)
