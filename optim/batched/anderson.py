"""Anderson's acceleration for every fixed point of a batch."""

from __future__ import annotations

import numpy as np

from .ends import Ends

MOST_RETREATS = 50  # halvings of a step that led out of where the map is finite


@np.errstate(all="ignore")
def anderson(problem, xtol, most, *, memory=5, damping=1.0):
    """`optim.fixed_point` for all rows: every row has a past of its own, which it forgets where the map is not finite.

    Parameters
    ----------
    problem : Examples
        With ``maps(x, rows)``, the map of some rows.
    """
    x = problem.x0.copy()
    count, n = x.shape
    r = problem.maps(x) - x
    size = _gap(x, r)
    nit = np.zeros(count, dtype=int)
    best, best_r, best_size = x.copy(), r.copy(), size.copy()
    dX, dR = np.zeros((memory, count, n)), np.zeros((memory, count, n))  # the newest last; zero where forgotten
    lost = ~np.isfinite(size)
    at_work = ~lost & (size > xtol)
    while at_work.any():
        rows = np.flatnonzero(at_work)
        new = x[rows] + damping * r[rows]
        if memory:
            A = np.moveaxis(dR[:, rows], 0, 2)
            gamma = np.einsum("bki,bi->bk", np.linalg.pinv(A, rcond=1e-10), r[rows])
            new = new - np.einsum("bik,bk->bi", np.moveaxis(dX[:, rows], 0, 2) + damping * A, gamma)
        r_new = problem.maps(new, rows) - new
        share = damping
        for _ in range(MOST_RETREATS):
            bad = np.flatnonzero(~np.isfinite(_gap(new, r_new)))
            if not bad.size:
                break
            share *= 0.5
            at = rows[bad]
            dX[:, at] = dR[:, at] = 0.0
            new[bad] = best[at] + share * best_r[at]
            r_new[bad] = problem.maps(new[bad], at) - new[bad]
            x[at], r[at] = new[bad], r_new[bad]  # no difference to what led here
        finite = np.isfinite(_gap(new, r_new))
        lost[rows[~finite]] = True
        rows, new, r_new = rows[finite], new[finite], r_new[finite]
        if memory:
            dX[:-1, rows], dR[:-1, rows] = dX[1:, rows], dR[1:, rows]
            dX[-1, rows], dR[-1, rows] = new - x[rows], r_new - r[rows]
        x[rows], r[rows], size[rows] = new, r_new, _gap(new, r_new)
        nit[rows] += 1
        lower = rows[size[rows] < best_size[rows]]
        best[lower], best_r[lower], best_size[lower] = x[lower], r[lower], size[lower]
        at_work = ~lost & (size > xtol) & (nit < most)
        problem.watch(problem, x, size, size[:, None], nit, lost, at_work)
    return Ends(best, best_size, best_size, nit, lost)


def _gap(x, r):
    return (np.abs(r) / np.maximum(np.abs(x), 1.0)).max(axis=1)
