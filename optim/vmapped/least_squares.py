"""`optim.least_squares` inside `difftensor.vmap`."""

from __future__ import annotations

from functools import partial

import difftensor as dif

from .. import batched
from ..batched import SMALL
from ..result import Result


def least_squares(problem, gtol, settings, given):
    """Minimize the sums of squares of all examples by Levenberg-Marquardt.

    Parameters
    ----------
    problem : Residuals
    gtol : float
    settings : dict
        Options of `optim.least_squares`: ``maxiter``, ``verify``, and those of the method.
    given : dict
        Further arguments, which have no meaning for a batch.

    Returns
    -------
    Result
        Seen as that of one example; ``fun`` are the residuals.
    """
    settings = dict(settings)
    most, verify = settings.pop("maxiter", 2000), settings.pop("verify", True)
    own = {name: settings.pop(name) for name in ("factor", "scaled", "polish") if name in settings}
    refused = sorted([*settings, *(name for name, value in given.items() if value is not None and value is not False)])
    if refused:
        raise dif.errors.BatchedValueError(
            f"optim.least_squares inside vmap has no {', '.join(refused)}; dif.vmap(f, fallback='loop') runs the "
            "examples one by one"
        )
    batch = problem.batch
    own["polish"] = own.get("polish", True) and problem.rho is None

    def solve():
        problem.nfev = 0
        ends = batched.Watch().run(partial(batched.levenberg_marquardt, **own), problem, gtol, most)
        return ends, ends.solved(problem, gtol, verify and problem.n <= SMALL)

    ends, solved, x, watched = problem.solutions(solve)

    def each(rows):
        return batch.each(rows.reshape(batch.shape))

    fun = problem.value(x)
    return Result(
        x=problem.layout.unpack(x), cost=problem.one(x) if watched else each(ends.f), fun=fun,
        optimality=each(ends.size), success=each(solved), nit=each(ends.nit), nfev=problem.nfev, method="lm",
        message=batched.words("lm", solved), _problem=problem,
        _watched=watched,
    )  # fmt: skip
