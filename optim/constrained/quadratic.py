"""Convex quadratic programs by the dual active-set method."""

from __future__ import annotations

import numpy as np


class Infeasible(Exception):
    """The linear constraints contradict each other."""


def solve(B, g, A, c, equalities):
    """Minimize ``p.Bp/2 + g.p`` with ``A p + c = 0`` in the first rows and ``>= 0`` in the others.

    Parameters
    ----------
    B : array, shape (n, n)
        Positive definite.
    g : array, shape (n,)
    A : array, shape (m, n)
    c : array, shape (m,)
    equalities : int

    Returns
    -------
    p : array, shape (n,)
    u : array, shape (m,)
        Multipliers: ``B p + g = A^T u``, those of inequalities not negative.

    Raises
    ------
    Infeasible

    Notes
    -----
    Goldfarb and Idnani's method [1]_, algorithm of section 3: from the free minimum, violated constraints are
    added one by one; each addition moves along the projection of the constraint's normal, dropping
    constraints whose multipliers reach zero. Factors are computed anew at every step, O(n^3).

    References
    ----------
    .. [1] D. Goldfarb, A. Idnani, A numerically stable dual method for solving strictly convex quadratic
       programs, Math. Program. 27 (1983) 1-33.
    """
    from scipy.linalg import solve_triangular

    n, m = len(g), len(c)
    L = np.linalg.cholesky(B)
    p = -_solve(L, g)
    rows = np.maximum(np.sqrt(np.einsum("ij,ij->i", A, A)), 1e-300)
    tolerance = 1e-12 * (np.abs(c) + rows * (1.0 + float(np.abs(p).max(initial=0.0))))
    active, u, signs = [], np.zeros(0), np.ones(m)
    for _ in range(10 * (n + m) + 50):
        s = A.dot(p) + c
        missed = np.where(np.arange(m) < equalities, np.abs(s), -s)
        missed[active] = -np.inf
        missed = np.where(missed > tolerance, missed / rows, -np.inf)
        # equalities first: they stay
        pending = missed[:equalities]
        k = int(np.argmax(pending)) if equalities and pending.max() > -np.inf else int(np.argmax(missed)) if m else 0
        if m == 0 or missed[k] == -np.inf:
            full = np.zeros(m)
            full[active] = u * signs[active]
            return p, full
        signs[k] = -1.0 if k < equalities and s[k] > 0 else 1.0
        normal, gap, new = signs[k] * A[k], signs[k] * s[k], 0.0
        while True:
            bent = solve_triangular(L, normal, lower=True)
            if active:
                N = solve_triangular(L, (signs[active, None] * A[active]).T, lower=True)
                r = np.linalg.lstsq(N, bent, rcond=None)[0]
                rest = bent - N.dot(r)
            else:
                r, rest = np.zeros(0), bent
            z = solve_triangular(L, rest, lower=True, trans="T")
            droppable = [i for i in range(len(active)) if active[i] >= equalities and r[i] > 1e-14]
            first = min((u[i] / r[i] for i in droppable), default=np.inf)
            independent = float(rest.dot(rest)) > 1e-20 * float(bent.dot(bent))
            second = -gap / float(z.dot(normal)) if independent else np.inf
            t = min(first, second)
            if t == np.inf:
                raise Infeasible
            u, new = u - t * r, new + t
            if independent:
                p = p + t * z
                gap += t * float(z.dot(normal))
            if t == second:
                active, u = [*active, k], np.append(u, new)
                break
            out = min(droppable, key=lambda i: abs(u[i]))
            active, u = active[:out] + active[out + 1 :], np.delete(u, out)
    raise Infeasible


def _solve(L, v):
    from scipy.linalg import solve_triangular

    return solve_triangular(L, solve_triangular(L, v, lower=True), lower=True, trans="T")


def elastic(B, g, A, c, equalities, general, penalty):
    """The same with the first ``general`` constraints relaxed at the price ``penalty`` per unit.

    Always feasible; returns the step, the multipliers and the relaxation left.
    """
    n, E, I = len(g), equalities, general - equalities
    k = 2 * E + I
    scale = max(float(np.abs(B).max()), 1.0)
    wide = np.zeros((n + k, n + k))
    wide[:n, :n] = B
    wide[n:, n:] = 1e-8 * scale * np.eye(k)
    price = np.concatenate([g, np.full(k, penalty)])
    rows = np.zeros((len(c) + k, n + k))
    rows[: len(c), :n] = A
    rows[:E, n : n + E], rows[:E, n + E : n + 2 * E] = np.eye(E), -np.eye(E)
    rows[E:general, n + 2 * E :] = np.eye(I)
    rows[len(c) :, n:] = np.eye(k)
    p, u = solve(wide, price, rows, np.concatenate([c, np.zeros(k)]), E)
    return p[:n], u[: len(c)], float(p[n:].sum())
