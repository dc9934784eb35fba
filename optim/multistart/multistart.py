"""`optim.multistart`: local runs from many starts, for functions with several minima."""

from __future__ import annotations

import numpy as np

from ..bounds import Box
from ..layout import Layout
from ..minimize import minimize
from ..place import host, like


def multistart(fun, x0=None, bounds=None, starts=20, *, rng=None, **settings):
    """Minimize from many starts and return the best result.

    Parameters
    ----------
    fun : callable
        As in `minimize`.
    x0 : array or pytree
        The first start; needed for its structure unless ``bounds`` is a list of pairs.
    bounds : optional
        As in `minimize`; the starts fill the box. Without bounds they are scattered around ``x0`` with a spread of
        ``1 + |x0|``.
    starts : int or array, shape (k, n)
        How many starts, or the starts themselves.
    rng : int or Generator, optional
        A Generator of `dif.random` gives the seed.
    **settings
        Further arguments of `minimize`, such as ``method``.

    Returns
    -------
    Result
        The best one, with ``runs``: all results, the lowest first; and ``minima``: the distinct minimizers among
        those that succeeded, as ``(x, f, how often)``.

    Notes
    -----
    The starts are a Latin hypercube [1]_: every variable's range is cut into as many slices as there are starts and
    each slice is used once.

    References
    ----------
    .. [1] M. D. McKay, R. J. Beckman, W. J. Conover, A comparison of three methods for selecting values of input
       variables, Technometrics 21 (1979) 239-245.

    Examples
    --------
    >>> import numpy as np, optim
    >>> f = lambda x: np.sum(x**2 - 10 * np.cos(2 * np.pi * x) + 10)
    >>> result = optim.multistart(f, bounds=[(-5, 5)] * 2, starts=60, rng=1)
    >>> bool(abs(result.fun) < 1e-8)
    True
    """
    if x0 is None:
        if bounds is None:
            raise ValueError("optim: multistart needs x0 or bounds")
        x0 = np.array([_middle(*pair) for pair in bounds])
    layout = Layout(x0)
    if np.ndim(starts) == 2 and np.shape(starts)[1] != layout.size or np.ndim(starts) == 0 and not starts >= 1:
        raise ValueError(f"optim: starts must be a number of starts, or an array of shape (k, {layout.size}), got "
                         f"{starts if np.ndim(starts) == 0 else f'shape {np.shape(starts)}'}")  # fmt: skip
    center = layout.pack(x0)
    points = starts if np.ndim(starts) == 2 else _scatter(host(center), Box.read(bounds, layout), starts, rng)
    runs = []
    try:
        for point in points:
            start = layout.restore(like(np.array(point, dtype=center.dtype), center))
            runs.append(minimize(fun, start, bounds=bounds, **settings))
            if runs[-1].reason == "interrupted":
                break
    except KeyboardInterrupt as interrupt:
        if hasattr(interrupt, "result"):
            interrupt.result = _best([*runs, interrupt.result])
        raise
    return _best(runs)


def _best(runs):
    """The best of some runs, which knows the others."""
    runs.sort(key=lambda run: (not run.success, run.fun if np.isfinite(run.fun) else np.inf))
    best = runs[0]
    if not best.success:
        best = min(runs, key=lambda run: run.fun if np.isfinite(run.fun) else np.inf)
    best.runs, best.minima = runs, _distinct(runs)
    best.nfev_total = sum(run.nfev for run in runs)
    return best


def _middle(low, high):
    """A number between two bounds, either of which may be missing."""
    low, high = (-np.inf if low is None else low), (np.inf if high is None else high)
    if np.isfinite(low) and np.isfinite(high):
        return 0.5 * (low + high)
    return low + 1.0 if np.isfinite(low) else high - 1.0 if np.isfinite(high) else 0.0


def _scatter(center, box, count, rng):
    if hasattr(rng, "bit_generator") and not isinstance(rng, np.random.Generator):  # of dif.random
        rng = int(rng.integers(2**63))
    rng = np.random.default_rng(rng)
    n = len(center)
    slices = np.stack([rng.permutation(count) for _ in range(n)], axis=1)
    share = (slices + rng.random((count, n))) / count
    spread = 1.0 + np.abs(center)
    low, high = center - spread, center + spread
    if box is not None:
        low = np.where(np.isfinite(box.lower), box.lower, np.minimum(low, box.upper - spread))
        high = np.where(np.isfinite(box.upper), box.upper, np.maximum(high, box.lower + spread))
    points = low + share * (high - low)
    points[0] = center
    return points


def _distinct(runs):
    found = []
    for run in runs:
        if not run.success:
            continue
        x = run.state.point.x
        for known in found:
            if np.abs(known[0] - x).max() <= 1e-4 * (1 + np.abs(x).max()) and abs(known[1] - run.fun) <= 1e-6 * (
                1 + abs(run.fun)
            ):
                known[2] += 1
                break
        else:
            found.append([x, run.fun, 1])
    return [tuple(entry) for entry in found]
