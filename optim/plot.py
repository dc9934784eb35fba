"""Pictures of a run."""

from __future__ import annotations

import numpy as np


def plot_trace(result, axes=None):
    """Plot f above its best value, the optimality measure and the step over the evaluations.

    Parameters
    ----------
    result : Result
    axes : sequence of three matplotlib axes, optional

    Returns
    -------
    list of matplotlib axes
    """
    import matplotlib.pyplot as plt

    trace = result.trace
    if axes is None:
        _, axes = plt.subplots(3, 1, sharex=True, figsize=(6, 7), layout="constrained")
    f = np.asarray(trace.f)
    above = f - f.min()
    floor = above[above > 0].min(initial=1e-300) if (above > 0).any() else 1e-16
    rows = (
        (np.maximum(above, floor), "f above its best"),
        (np.maximum(trace.optimality, 1e-300), "optimality"),
        (np.maximum(trace.step, 1e-300), "step"),
    )
    for ax, (values, label) in zip(axes, rows, strict=True):
        ax.semilogy(trace.nfev, values, ".-")
        ax.set_ylabel(label)
    axes[0].set_title(f"{result.method}: {result.reason}")
    axes[-1].set_xlabel("evaluations")
    return list(axes)
