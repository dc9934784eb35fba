"""`optim.least_squares`: nonlinear least squares with bounds and robust losses."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

import difftensor as dif

from .. import implicit, vmapped
from .. import progress as progress_line
from ..bounds import Box
from ..layout import Layout
from ..loop import persist
from ..minimize import _adapt, configure
from ..result import Result
from .levenberg_marquardt import LevenbergMarquardt
from .problem import SquaresProblem, read_loss
from .reflective import TrustRegionReflective
from .sparse import SparseLevenbergMarquardt

METHODS = (None, "lm", "trf", "dogbox")


def least_squares(
    fun,
    x0,
    jac=None,
    bounds=(-np.inf, np.inf),
    method=None,
    ftol=0.0,
    xtol=0.0,
    gtol=1e-8,
    loss="linear",
    f_scale=1.0,
    max_nfev=None,
    args=(),
    *,
    callback=None,
    options=None,
    progress=False,
    resume=None,
    jac_sparsity="auto",
) -> Result:
    """Minimize a sum of squares, ``1/2 sum rho(r_i(x)^2)``.

    Parameters
    ----------
    fun : callable
        ``fun(x, *args) -> array``: the residuals, of any shape, or a pytree of them; complex residuals count as pairs
        of reals.
    x0 : array or pytree
    jac : callable, optional
        Your own Jacobian, shape (m, n), an array or a sparse array. None: difftensor differentiates.
    bounds : optional
        ``(lower, upper)``, each a number, or an array or a pytree like ``x0`` (of a dict entries may be missing); or an
        object with ``lb`` and ``ub``; or, for a dict, a dict of pairs ``(low, high)``.
    method : {"trf", "lm", "dogbox"}, optional
        "lm" is More's `LevenbergMarquardt`, which takes bounds by bending steps at them; "trf" is
        `TrustRegionReflective`, whose iterates stay between the bounds. "dogbox" is accepted so that SciPy's calls
        carry over, and runs "lm". With a sparse Jacobian "lm" is `SparseLevenbergMarquardt`, and "trf" works in a
        plane. None: "trf" with bounds, else "lm".
    ftol, xtol : float
        0 (off) by default: a small change is no proof of a solution.
    gtol : float
        Converged when the cosine between the residuals and every column of the Jacobian is at most this; a
        measure without units.
    loss : {"linear", "soft_l1", "huber", "cauchy", "arctan"} or callable
        ``rho(z) -> (rho, rho', rho'')`` of the squared scaled residual ``z = (r / f_scale)^2``.
    f_scale : float
        The residual at which the loss begins to bend.
    max_nfev : int, optional
    args : tuple
    callback, options, progress, resume
        As in `minimize`; options are those of `Stop` and of the method.
    jac_sparsity : "auto", None or sparse array of shape (m, n)
        Where the Jacobian may have entries. "auto": with more than 200 unknowns the pattern is read off the tape, and
        a Jacobian with fewer than 20 % of its entries is colored and treated as sparse. None: dense. A pattern is used
        as given, and an entry outside it is an error.

    Returns
    -------
    Result
        With SciPy's further fields ``cost``, ``fun`` (the residuals), ``jac``, ``grad`` and ``active_mask``.

    Notes
    -----
    Inside `difftensor.vmap` the problems of all examples are solved together by "lm", without bounds; the answer's
    fields are those of one example.

    References
    ----------
    .. [1] J. J. More, The Levenberg-Marquardt algorithm: implementation and theory, in Numerical Analysis, ed.
       G. A. Watson, Springer 1978, 105-116.
    .. [2] M. A. Branch, T. F. Coleman, Y. Li, A subspace, interior, and conjugate gradient method for large-scale
       bound-constrained minimization problems, SIAM J. Sci. Comput. 21 (1999) 1-23.

    Examples
    --------
    >>> import numpy as np, optim
    >>> result = optim.least_squares(lambda x: np.stack([10 * (x[1] - x[0] ** 2), 1 - x[0]]), [-1.2, 1.0])
    >>> result.success, result.x.round(9).tolist()
    (True, [1.0, 1.0])
    """
    if method not in METHODS:
        raise ValueError(f"optim: method must be one of {', '.join(METHODS[1:])}, got {method!r}")
    if dif.batching.inside_vmap():
        batch = vmapped.of_examples(fun, x0, args)
        if batch is not None:
            bounded = read_pair(bounds, x0) is not None
            further = {"jac": jac, "bounds": bounded, "ftol": ftol or None, "xtol": xtol or None, "max_nfev": max_nfev,
                       "callback": callback, "progress": progress, "resume": resume,
                       "method 'trf'": method == "trf"}  # fmt: skip
            rows = vmapped.Residuals(batch, fun, x0, args, read_loss(loss, f_scale), f_scale)
            return vmapped.least_squares(rows, gtol or 0.0, options or {}, further)
        with dif.batching.outside_vmap():  # the same problem for all examples
            return least_squares(fun, x0, jac, bounds, method, ftol, xtol, gtol, loss, f_scale, max_nfev, args,
                                 callback=callback, options=options, progress=progress, resume=resume,
                                 jac_sparsity=jac_sparsity)  # fmt: skip
    sparsity = _sparsity(jac_sparsity, jac)
    problem = SquaresProblem(
        fun, x0, args, jac=jac, box=read_pair(bounds, x0), loss=loss, f_scale=f_scale, sparsity=sparsity
    )
    tolerances = {"gtol": gtol or 0.0, "ftol": ftol or 0.0, "xtol": xtol or 0.0}  # SciPy's None is off
    settings = {**tolerances, "max_evaluations": max_nfev, **(options or {})}
    on_interrupt = settings.pop("on_interrupt", "raise")

    def solve():
        rule, choice = _pick(method, problem)
        rule, stop = configure(rule, settings)
        show = progress_line.line(stop.max_steps) if progress else None
        return persist(problem, rule, stop, state=resume, callback=_adapt(callback), progress=show,
                       on_interrupt=on_interrupt, choice=choice)  # fmt: skip

    return implicit.through(solve, problem, implicit.gradient_of_cost)


def _pick(method, problem):
    """The method, and why it was picked if nobody asked for it."""
    choice, sparse = "", problem.sparse  # looked for now, for both methods
    if method is None:
        method, choice = ("lm", "no bounds") if problem.box is None else ("trf", "there are bounds")
    if method == "trf":
        return TrustRegionReflective, choice
    return SparseLevenbergMarquardt if sparse else LevenbergMarquardt, choice


def _sparsity(given, jac):
    if isinstance(given, str) and given != "auto":
        raise ValueError(f"optim: jac_sparsity must be 'auto', None or a pattern, got {given!r}")
    return None if jac is not None else given


def read_pair(bounds, x0) -> Box | None:
    """The box of ``(lower, upper)``."""
    if bounds is None:
        return None
    layout = Layout(x0)
    if isinstance(bounds, Mapping):
        return Box.read(bounds, layout)
    if not hasattr(bounds, "lb") and len(bounds) != 2:
        raise ValueError(f"optim: bounds are (lower, upper) here, each a number or like x0; got {len(bounds)} entries")
    low, high = (bounds.lb, bounds.ub) if hasattr(bounds, "lb") else bounds
    return Box.of(_spread(low, layout, 0), _spread(high, layout, 1))


def _spread(bound, layout, side):
    """One side of the box as a vector: 0 the lower, 1 the upper."""
    if isinstance(bound, Mapping):
        box = Box.read(_pairs(bound, side), layout)
        return np.full(layout.size, (-np.inf, np.inf)[side]) if box is None else (box.lower, box.upper)[side]
    if dif.tree.is_leaf(bound) and np.ndim(bound) == 0:
        return np.full(layout.size, float(bound))
    return np.asarray(layout.pack(bound), dtype=float)


def _pairs(bound, side):
    if isinstance(bound, Mapping):
        return {name: _pairs(b, side) for name, b in bound.items()}
    return (None, bound) if side else (bound, None)
