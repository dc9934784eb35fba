"""Where the problems of a batch ended, and which of them are solved."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .. import verdict


@dataclass
class Ends:
    """The last points, row by row.

    Attributes
    ----------
    x : ndarray, shape (B, n)
    f, size : ndarray, shape (B,)
        Values, and largest gradient components.
    nit : ndarray of int, shape (B,)
    stuck : ndarray of bool, shape (B,)
        No step lowered f any more.
    noise : ndarray, shape (B,), optional
        What values of f do not resolve; by default some roundings of f.
    resolved : ndarray of bool, shape (B,), optional
        Where the method's own model promises less than that.
    """

    x: np.ndarray
    f: np.ndarray
    size: np.ndarray
    nit: np.ndarray
    stuck: np.ndarray
    noise: np.ndarray | None = None
    resolved: np.ndarray | None = None

    @np.errstate(all="ignore")  # problems that are not solved may be anywhere
    def solved(self, problem, gtol, look):
        """Which problems are solved: by their gradient or to the limit of float64, and if ``look`` by their Hessians.

        The conditions are those of `optim.minimize` (see `optim.verdict`), and a point where the search got stuck has
        less to gain than f can resolve.
        """
        solved = np.isfinite(self.f) & ((self.size <= gtol) | (self.stuck & look))
        rows = np.flatnonzero(solved)
        if look and rows.size:
            solved[rows] = self._minima(problem, rows, gtol)
        return solved

    def _minima(self, problem, rows, gtol):
        x, f, eps = self.x[rows], self.f[rows], np.finfo(self.x.dtype).eps
        g, H = problem.gradients(x, rows), problem.hessians(x, rows)
        d = np.sqrt(np.abs(np.einsum("bii->bi", H)))
        d = np.where(d > 0, d, 1.0)  # badly scaled variables must not hide small eigenvalues
        scaled = H / d[:, :, None] / d[:, None, :]
        finite = np.isfinite(scaled).all(axis=(1, 2))
        values, vectors = np.linalg.eigh(np.where(finite[:, None, None], scaled, np.eye(x.shape[1])))
        seen = values > 100 * x.shape[1] * eps * np.abs(values).max(axis=1, keepdims=True)
        along = np.einsum("bij,bi->bj", vectors, g / d)
        p = -np.einsum("bij,bj->bi", vectors, along / np.where(seen, values, 1.0)) / d
        noise = 100 * eps * np.abs(f) if self.noise is None else self.noise[rows]
        noise = noise + 0.5 * eps**2 * np.einsum("bii,bi->b", np.abs(H), x * x)
        settled = (np.abs(p) <= verdict.SETTLED * np.abs(x)).all(axis=1)
        if not settled.all():
            gained = problem.values(problem.x0[rows], rows) - f
            settled |= 0.5 * np.abs(p * g).sum(axis=1) <= np.maximum(noise, verdict.GAINED * gained)
        known = finite & seen.all(axis=1) & settled
        # along eigenvectors whose curvature changes on Newton's way, as along flat ones, values have to tell
        change = np.einsum("bij,bi->bj", vectors, np.einsum("bij,bj->bi", problem.hessians(x + p, rows), p) / d) + along
        still = (np.abs(change) <= verdict.AGREE * np.abs(along)) | (
            np.abs(along) <= eps * np.abs(g / d).max(axis=1)[:, None]
        )
        known &= still.all(axis=1) | (np.abs(p) <= 10 * eps * np.abs(x)).all(axis=1)
        resolved = (self.size[rows] <= gtol) | (known & (0.5 * np.abs(p * g).sum(axis=1) <= noise))
        if self.resolved is not None:
            resolved |= self.resolved[rows]
        open_ = np.flatnonzero(~known & resolved)
        known[open_] = self._believed(problem, rows[open_], g[open_], H[open_], noise[open_])
        return known & resolved

    def _believed(self, problem, rows, g, H, noise):
        """`optim.verdict` on the rows that the short test leaves open, asked together."""
        n = self.x.shape[1]
        looks = [
            verdict.Look(self.x[i], float(self.f[i]), g[k], H[k], problem.x0[i], problem.watch.extent[i],
                         np.ones(n, dtype=bool), float(noise[k]))
            for k, i in enumerate(rows)
        ]  # fmt: skip

        def answer(kind, which, asked):
            at = rows[which]
            if kind == "level":
                return [False] * len(asked)  # single runs measure the rounding of f
            x = problem.x0[at] if kind == "start" else np.stack([a[0] for a in asked])
            if kind == "value":
                return [float(v) for v in problem.values(x, at)]
            if kind == "start":
                return list(zip(problem.values(x, at), problem.gradients(x, at), strict=True))
            if kind == "product":
                return [h @ a[1] for h, a in zip(problem.hessians(x, at), asked, strict=True)]
            return list(zip(problem.gradients(x, at), problem.hessians(x, at), strict=True))

        return [found is None for found in verdict.answered_together([verdict.doubt(look) for look in looks], answer)]


def words(name, solved) -> str:
    """How many problems ``name`` solved, and which is the first that is not."""
    text = f"{name}: {int(solved.sum())} of {len(solved)} problems solved"
    return text if solved.all() else f"{text}; the first that is not is number {int(np.argmin(solved))}"
