"""What a run found, how it went and why it ended."""

from __future__ import annotations

from typing import Any

import numpy as np

import difftensor as dif

from .place import host
from .stop import CODES


class Trace:
    """The course of a run, one entry per step, as lists.

    Attributes
    ----------
    f, optimality, step, nfev, seconds : list
        The value, the optimality measure (the largest gradient component for most methods), the step length
        along the search direction or the trust radius, the evaluations so far, and the time.
    """

    __slots__ = ("f", "nfev", "optimality", "seconds", "step")

    def __init__(self):
        self.f, self.optimality, self.step, self.nfev, self.seconds = [], [], [], [], []

    def add(self, f, optimality, step, nfev, seconds):
        self.f.append(f)
        self.optimality.append(optimality)
        self.step.append(step)
        self.nfev.append(nfev)
        self.seconds.append(seconds)

    def __len__(self):
        return len(self.f)

    def __getstate__(self):
        return {name: getattr(self, name) for name in self.__slots__}

    def __setstate__(self, state):
        for name, value in state.items():
            setattr(self, name, value)


class Result:
    """The result of an optimization; SciPy's field names, and the reason in words.

    Attributes
    ----------
    x
        The best point found, in the structure of ``x0``.
    fun : float
    jac
        The gradient there, in the structure of ``x0``.
    success : bool
        True only where the conditions of a solution hold as far as float64 can tell.
    status : int
        0 for success; see `optim.stop.CODES`.
    reason : str
        Why the run ended: "converged", "float64 limit", "stalled", ...
    message : str
        The same in a sentence, with advice.
    nit, nfev, njev, nhev : int
    optimality : float
        The measure that ``gtol`` is compared with.
    method : str
        The method that ran, and ``choice``, why it was chosen.
    state
        What ``minimize(..., resume=result.state)`` continues from, bit for bit; can be pickled.
    trace : Trace
    seconds : float
    """

    x: Any
    success: bool
    reason: str
    message: str
    method: str
    choice: str
    state: Any
    optimality: float
    nit: int
    nfev: int
    njev: int
    nhev: int
    seconds: float

    def __init__(self, **fields):
        self.__dict__.update(fields)

    def __getitem__(self, name):
        try:
            return self.__dict__[name]
        except KeyError:
            raise KeyError(f"{name}; this result has {', '.join(self.keys())}") from None

    def __contains__(self, name):
        return name in self.__dict__

    def __iter__(self):
        return iter(self.keys())

    def keys(self):
        return [name for name in self.__dict__ if not name.startswith("_")]

    def get(self, name, default=None):
        return self.__dict__.get(name, default)

    def __getstate__(self):
        return {name: value for name, value in self.__dict__.items() if name not in ("_problem", "_tied")}

    def __setstate__(self, state):
        self.__dict__.update(state)

    def covariance(self):
        """The covariance of the parameters if ``fun`` is a negative log-likelihood: the inverse Hessian.

        Returns
        -------
        array, shape (n, n)
            In the order of the flattened parameters, where they are.

        Raises
        ------
        ValueError
            If the Hessian is not positive definite: the data do not determine the parameters there.
        """
        problem = self.__dict__.get("_problem")
        if problem is None:
            raise ValueError("optim: this result came from a file without its function; run a step to have it again")
        if "_tied" in self.__dict__:  # somebody watches from outside
            return np.linalg.inv(dif.hessian(problem.objective)(self._tied))
        H = host(problem.hessian(self.state.point.x))
        try:
            factor = np.linalg.cholesky(H)
        except np.linalg.LinAlgError:
            raise ValueError(
                "optim: the Hessian is not positive definite at the solution, so some direction of the "
                "parameters is not determined; fix a parameter or add a prior"
            ) from None
        inverse = np.linalg.inv(factor)
        return problem.place(inverse.T @ inverse)

    def report(self) -> str:
        """The result as a text to print."""
        lines = [
            f"{'solved' if self.success else 'NOT SOLVED'} ({self.reason}): {self.message}",
            f"method      {self.method}" + (f" ({self.choice})" if self.get("choice") else ""),
            f"f           {self.state.point.f:.15g}" if hasattr(self.state, "point") else "",
            f"optimality  {self.optimality:.3g}",
            f"work        {self.nit} steps, {self.nfev} values, {self.njev} gradients, {self.nhev} Hessian "
            f"products, {self.seconds:.3g} s",
        ]
        return "\n".join([*lines, f"x           {_short(self.x)}"])

    def __repr__(self):
        width = max(len(name) for name in self.keys())
        rows = []
        for name in self.keys():
            value = self.__dict__[name]
            if name in ("state", "trace"):
                value = f"<{type(value).__name__}>"
            rows.append(f"{name:>{width}}: {_short(value)}")
        return "\n".join(rows)


def _short(value) -> str:
    if isinstance(value, np.ndarray):
        return np.array2string(value, threshold=20, prefix=" " * 12)
    return repr(value) if hasattr(value, "device") else str(value)  # a Tensor says where it is


def make(problem, method, state, reason, trace, k, seconds, choice="") -> Result:
    """The Result of a run that ended at ``state``."""
    point, restore, place = state.point, problem.layout.restore, problem.place
    g = point._g
    fields = dict(  # noqa: C408  reads like a call of Result
        # copies: what a callback or a user does to them must not reach the run
        x=restore(place(point.x.copy())), fun=point.f, jac=None if g is None else restore(place(g.copy())),
        success=reason.success, status=CODES[reason.status], reason=reason.status, message=reason.words,
        nit=k, nfev=problem.nfev, njev=problem.njev, nhev=problem.nhev, optimality=state.optimality,
        method=method.name, choice=choice, state=state, trace=trace, seconds=seconds, _problem=problem,
    )  # fmt: skip
    fields.update(method.extras(problem, state))
    return Result(**fields)
