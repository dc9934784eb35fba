"""Many starts; the trace as a picture."""

import numpy as np
import pytest

import optim


def rastrigin(x):
    return np.sum(x**2 - 10 * np.cos(2 * np.pi * x) + 10)


def test_finds_the_lowest_minimum_and_counts_the_others():
    result = optim.multistart(rastrigin, bounds=[(-3, 3)] * 2, starts=60, rng=3)
    assert result.success and abs(result.fun) < 1e-9
    np.testing.assert_allclose(result.x, 0, atol=1e-6)
    assert len(result.runs) == 60 and len(result.minima) > 5
    assert sum(count for _, _, count in result.minima) == sum(run.success for run in result.runs)


def test_starts_of_ones_own_and_pytrees():
    result = optim.multistart(
        lambda p: (p["a"] ** 2 - 1) ** 2 + 0.1 * p["a"], {"a": 0.9}, starts=np.array([[0.9], [-0.9]])
    )
    assert result.x["a"] < 0


def test_needs_a_region():
    with pytest.raises(ValueError, match="x0 or bounds"):
        optim.multistart(rastrigin)


@pytest.mark.interop("matplotlib")
def test_plot_trace():
    pytest.importorskip("matplotlib").use("Agg")
    axes = optim.plot_trace(optim.minimize(rastrigin, [0.3, 0.2]))
    assert len(axes) == 3 and axes[0].get_title().startswith("bfgs")
