"""Levenberg-Marquardt for every problem of a batch."""

from __future__ import annotations

import numpy as np

from .ends import Ends
from .trust_exact import boundary_multipliers

MOST_CLOSING = 20
FAST = 0.05  # a closing step shorter than this share of the last: Gauss-Newton converges well


@np.errstate(all="ignore")  # a trial step may overflow; what is not finite is not accepted
def levenberg_marquardt(problem, gtol, most, *, factor=1.0, scaled=True, polish=True):
    """`optim.squares.LevenbergMarquardt` without bounds, step by step for all rows.

    Notes
    -----
    The problem gives ``residuals`` and ``jacobians`` of some rows. Every row has a trust radius, a scaling and closing
    Gauss-Newton (or Newton) steps of its own; an iteration is one batched evaluation of the residuals, and Jacobians of
    the rows that moved.
    """
    x = problem.x0.copy()
    count, n = x.shape
    eps = np.finfo(x.dtype).eps
    r = problem.residuals(x)
    f = problem.costs(r)
    J = np.zeros((count, r.shape[1], n))
    columns, radius = np.zeros((count, n)), np.full(count, np.nan)
    size, nit = np.full(count, np.inf), np.zeros(count, dtype=int)
    stuck, limit = np.zeros(count, dtype=bool), np.zeros(count, dtype=bool)
    at_work = np.isfinite(f) & (nit < most)
    fresh = at_work.copy()
    model: dict = {}
    while True:
        new = np.flatnonzero(fresh)
        if new.size:
            J[new] = problem.jacobians(x[new], new)
            size[new] = problem.cosines(r[new], J[new])
            at_work[new] &= np.isfinite(J[new]).all(axis=(1, 2)) & (size[new] > gtol) & (nit[new] < most)
            new = new[at_work[new]]
            norms = np.sqrt(np.einsum("bij,bij->bj", J[new], J[new]))
            columns[new] = np.maximum(columns[new], norms if scaled else 1.0)
            _factor(model, problem, r, J, columns, new, count)
            lost = new[model["best"][new] <= problem.noise(x[new], r[new], J[new])]
            limit[lost], at_work[lost] = True, False
        rows = np.flatnonzero(at_work)
        if not rows.size:
            break
        D = np.where(columns[rows] > 0, columns[rows], 1.0)
        length = np.linalg.norm(D * x[rows], axis=1)
        radius[rows] = np.where(np.isnan(radius[rows]), factor * np.where(length > 0, length, 1.0), radius[rows])
        p, predicted, inside, slope = _step(model, rows, D, radius[rows])
        span = np.linalg.norm(D * p, axis=1)
        trial = x[rows] + p
        r_new = problem.residuals(trial, rows)
        f_new = problem.costs(r_new)
        decrease = f[rows] - f_new
        ratio = np.where(np.isfinite(f_new) & (predicted > 0), decrease / predicted, -np.inf)
        radius[rows] = _resized(radius[rows], span, ratio, inside, slope, decrease, f_new)
        good = ratio > 1e-4
        least = eps * np.maximum(length, np.linalg.norm(r[rows], axis=1))
        over = ~good & ~((span > least) & (radius[rows] > least))
        stuck[rows[over]], at_work[rows[over]] = True, False
        at = rows[good]
        x[at], r[at], f[at] = trial[good], r_new[good], f_new[good]
        nit[at] += 1
        fresh = np.zeros(count, dtype=bool)
        fresh[at] = True
        g = np.where(np.isfinite(size), size, 0.0)[:, None]
        problem.watch(problem, x, f, g, nit, stuck, at_work)
    ends = Ends(x, f, size, nit, stuck | limit, problem.noise(x, r, J), limit)
    if polish:
        _close(problem, ends, r, J, np.flatnonzero((size <= gtol) | ends.stuck))
    return ends


def _factor(model, problem, r, J, columns, rows, count):
    """Singular values of ``J D^{-1}``, and the residuals along them; those lost in rounding are zero."""
    if not rows.size and model:
        return
    rs, Js = problem.scaled(r[rows], J[rows])
    A = Js / np.where(columns[rows] > 0, columns[rows], 1.0)[:, None, :]
    if A.shape[1] > 2 * A.shape[2] + 1:  # all that matters is in the triangle of [A r]
        R = np.linalg.qr(np.concatenate([A, rs[:, :, None]], axis=2), mode="r")
        A, rs = R[:, :, :-1], R[:, :, -1]
    U, s, Vt = np.linalg.svd(A, full_matrices=False)
    keep = s > s.max(axis=1, initial=0.0)[:, None] * np.finfo(s.dtype).eps * max(A.shape[1:])
    s = np.where(keep, s, 0.0)
    b = np.where(keep, np.einsum("bij,bi->bj", U, rs), 0.0)
    for name, value in (("s", s), ("Vt", Vt), ("b", b), ("best", 0.5 * (b * b).sum(axis=1))):
        if name not in model:
            model[name] = np.zeros((count, *value.shape[1:]))
        model[name][rows] = value


def _step(model, rows, D, radius):
    """The step within the radius, the decrease it promises, whether it ends inside, and its slope."""
    s, b = model["s"][rows], model["b"][rows]
    c = np.where(s > 0, -b / np.where(s > 0, s, 1.0), 0.0)
    inside = np.linalg.norm(c, axis=1) <= radius
    out = np.flatnonzero(~inside)
    if out.size:
        values = np.where(s[out] > 0, s[out] ** 2, 1.0)  # along what is lost in rounding the gradient is zero
        lam = boundary_multipliers(values, s[out] * b[out], radius[out], np.zeros(out.size))
        c[out] = -s[out] * b[out] / (values + lam[:, None])
    p = np.einsum("bij,bi->bj", model["Vt"][rows], c) / D
    slope, Jp = (s * b * c).sum(axis=1), s * c
    return p, -(slope + 0.5 * (Jp * Jp).sum(axis=1)), inside, slope


def _resized(radius, span, ratio, inside, slope, decrease, f_new):
    """Section 4 of More's paper, as for one problem."""
    shrink = np.where(np.isfinite(f_new) & (decrease < 0), 0.5 * slope / (slope + decrease), 0.5)
    shrunk = np.clip(shrink, 0.1, 0.5) * np.minimum(radius, span)
    grown = np.where(ratio > 0.75, np.maximum(radius, 2.0 * span), radius)
    return np.where(ratio < 0.25, shrunk, np.where(inside, 2.0 * span, grown))


def _close(problem, ends, r, J, rows):
    """Gauss-Newton steps from solutions as long as they shrink; Newton steps where those shrink slowly."""
    x, f = ends.x[rows].copy(), ends.f[rows].copy()
    r, J = r[rows].copy(), J[rows].copy()
    last, newton = np.full(rows.size, np.inf), np.zeros(rows.size, dtype=bool)
    left = np.arange(rows.size)
    for _ in range(MOST_CLOSING):
        p, span = _closing(problem, x[left], r[left], J[left], rows[left], newton[left])
        slow = (span > FAST * last[left]) & ~newton[left]
        if slow.any():
            newton[left[slow]], last[left[slow]] = True, np.inf
            again = left[slow]
            p[slow], span[slow] = _closing(problem, x[again], r[again], J[again], rows[again], newton[again])
        on = (span < 0.5 * last[left]) & (x[left] + p != x[left]).any(axis=1)
        left, p, span = left[on], p[on], span[on]
        if not left.size:
            break
        trial = x[left] + p
        r_new = problem.residuals(trial, rows[left])
        f_new = problem.costs(r_new)
        good = f_new <= f[left] + problem.noise(x[left], r[left], J[left])
        left, trial = left[good], trial[good]
        if not left.size:
            break
        last[left] = span[good]
        x[left], r[left], f[left] = trial, r_new[good], f_new[good]
        J[left] = problem.jacobians(trial, rows[left])
        ends.x[rows[left]], ends.f[rows[left]] = trial, f_new[good]
        ends.size[rows[left]] = np.minimum(ends.size[rows[left]], problem.cosines(r[left], J[left]))


def _closing(problem, x, r, J, rows, newton):
    """Full steps and their lengths in units of the parameters' own scales; NaN where there is none."""
    model: dict = {}
    columns = np.sqrt(np.einsum("bij,bij->bj", J, J))
    D = np.where(columns > 0, columns, 1.0)
    every = np.arange(len(x))
    _factor(model, problem, r, J, columns, every, len(x))
    p = _step(model, every, D, np.full(len(x), np.inf))[0]
    at = np.flatnonzero(newton)
    if at.size:
        H = problem.hessians(x[at], rows[at]) / D[at][:, :, None] / D[at][:, None, :]
        values, vectors = np.linalg.eigh(np.where(np.isfinite(H), H, 0.0))
        rs, Js = problem.weighted(r[at], J[at])
        along = np.einsum("bij,bi->bj", vectors, np.einsum("bij,bi->bj", Js, rs) / D[at])
        step = -np.einsum("bij,bj->bi", vectors, along / values) / D[at]
        p[at] = np.where((values[:, :1] > 0) & np.isfinite(step), step, np.nan)
    return p, np.linalg.norm(D * p, axis=1)
