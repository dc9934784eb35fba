"""scikit-learn: estimators take constants as arrays; what would be lost in an estimator raises."""

import numpy as np
import pytest

import difftensor as dif
from difftensor.errors import TrackedValueError

pytestmark = pytest.mark.interop("sklearn")


def fits(x):
    """Numbers that estimators find in the rows of `x`."""
    from sklearn.cluster import KMeans
    from sklearn.decomposition import PCA
    from sklearn.linear_model import LinearRegression
    from sklearn.metrics import mean_squared_error
    from sklearn.preprocessing import StandardScaler

    yield lambda: PCA(2).fit(x).explained_variance_
    yield lambda: StandardScaler().fit_transform(x)
    yield lambda: LinearRegression().fit(x[:, :2], x[:, 2]).coef_
    yield lambda: LinearRegression().fit(np.eye(3), np.ones(3)).predict(x)
    yield lambda: KMeans(2, n_init=1, random_state=0).fit(x).inertia_
    yield lambda: mean_squared_error(x, 2.0 * x)


def test_constants_are_arrays(rng):
    x = rng.normal(size=(20, 3))
    for ours, theirs in zip(fits(dif.tensor(x)), fits(x), strict=True):
        np.testing.assert_array_equal(ours(), theirs())


def test_estimators_lose_no_derivative(rng):
    for fit in fits(dif.tensor(rng.normal(size=(20, 3)), requires_grad=True)):
        with pytest.raises(TrackedValueError, match=r"detach\(\)"):
            fit()


def test_splits_are_differentiated(rng):
    from sklearn.model_selection import train_test_split

    x = rng.normal(size=(20, 3))
    gradient = dif.grad(lambda x: (train_test_split(x, random_state=0)[0] ** 2).sum())(x)
    train, test = train_test_split(np.arange(20), random_state=0)
    np.testing.assert_allclose(gradient[train], 2 * x[train])
    assert not gradient[test].any()


def test_principal_components_agree(rng):
    """PCA written with difftensor; d variance_k = v_k^T dC v_k for a simple eigenvalue of the covariance C."""
    from sklearn.decomposition import PCA

    x, dx = rng.normal(size=(2, 30, 3)) * [3.0, 2.0, 1.0]

    def variances(x):
        return np.linalg.svd(x - x.mean(axis=0), compute_uv=False) ** 2 / (len(x) - 1)

    pca = PCA().fit(x)
    np.testing.assert_allclose(variances(x), pca.explained_variance_, rtol=1e-12)
    centered = x - x.mean(axis=0)
    dcov = (centered.T @ dx + dx.T @ centered) / (len(x) - 1)
    expected = [v @ dcov @ v for v in pca.components_]
    np.testing.assert_allclose(dif.jvp(variances, (x,), (dx,))[1], expected, rtol=1e-10)
