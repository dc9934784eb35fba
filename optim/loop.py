"""The one loop that drives every method."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace

import numpy as np

from . import result
from .point import Point
from .stop import Doubt, Reason


@dataclass(slots=True)
class State:
    """Where a method stands. Methods add what they carry from step to step.

    Attributes
    ----------
    point : Point
    optimality : float
        How far the conditions of a solution are from holding.
    step : float
        The step length along the direction, or the trust radius.
    stuck : Reason or None
        Set by a method that cannot move any more.
    k : int
        Steps taken so far.
    extent : array, shape (n,)
        How large every variable has been.
    escapes : int
        How often the run has gone on from a lower point that the method did not see.
    """

    point: Point
    optimality: float
    step: float = 0.0
    stuck: Reason | None = None
    k: int = 0
    extent: object = None
    escapes: int = 0


class Method:
    """An algorithm: frozen settings and three functions.

    A method is a frozen dataclass that derives from this class and sets

    - ``name``: what users call it;
    - ``start(problem, x) -> State``;
    - ``step(problem, state) -> State``: a new state, or one with ``stuck`` set to the reason;
    - ``optimality(problem, x)``: the equations a solution satisfies, differentiable, from which the derivative
      of the solution follows (`optim.implicit`).
    """

    name = "method"
    bounds = False  # takes simple bounds
    constraints = False  # takes general constraints
    order = 1  # derivatives it uses
    on_host = False  # its vectors are NumPy's arrays, wherever the function runs

    def start(self, problem, x) -> State:
        raise NotImplementedError

    def step(self, problem, state) -> State:
        raise NotImplementedError

    def finish(self, problem, state) -> State:
        """A last touch at a solution."""
        return state

    def restart(self, problem, x) -> State:
        """A start from where a run has come to."""
        return self.start(problem, x)

    def escape(self, problem, state, direction) -> State | None:
        """A start beyond a saddle, along a direction of negative curvature."""
        lower = _descend(problem, state.point, direction)
        return None if lower is None else self.restart(problem, lower.x)

    def explain(self, problem, state, reason) -> Reason:
        """What a run without success ended for, seen from its last state."""
        return reason

    def last(self, problem, state) -> State:
        """The best state so far, for methods that do not descend at every step."""
        return state

    def doubt(self, problem, state) -> Doubt | None:
        """A reason not to believe that a point within ``gtol`` is a solution, or None."""
        return problem.doubt(state.point, state.extent)

    def max_steps(self, n: int) -> int:
        """How many steps are enough for any problem this method can solve."""
        return max(2000, 200 * n)

    def second_thoughts(self) -> tuple:
        """Variants of this method to try from the start where it lost its way."""
        return ()

    def extras(self, problem, state) -> dict:
        """Fields of the Result that only this method has."""
        return {}


@np.errstate(all="ignore")  # a trial step may overflow; what is not finite is dealt with
def run(problem, method, stop, *, state=None, callback=None, progress=None, on_interrupt="raise", choice=""):
    """Step until ``stop`` says so; returns a `Result`.

    Parameters
    ----------
    problem : Problem
    method : Method
    stop : Stop
    state : State, optional
        Where to continue from.
    callback : callable, optional
        Called with the Result so far after every step; may raise StopIteration.
    progress : callable, optional
        Called with ``(k, state, problem)`` after every step; has a ``close``.
    on_interrupt : {"raise", "return"}
        What a KeyboardInterrupt does. The exception carries the result so far as its ``result``.
    """
    if on_interrupt not in ("raise", "return"):
        raise ValueError(f"optim: on_interrupt must be 'raise' or 'return', got {on_interrupt!r}")
    begun = time.perf_counter()
    if stop.max_steps is None:
        stop = replace(stop, max_steps=method.max_steps(problem.n))
    trace = result.Trace()

    def so_far(reason):
        return result.make(problem, method, state, reason, trace, state.k, time.perf_counter() - begun, choice)

    try:
        if method.on_host:
            problem.come_home()
        if state is None:
            state = method.start(problem, problem.x0)
            state.extent = abs(problem.x0)
        else:
            state = _resumed(problem, method, state)
        first = state.k
        trace.add(state.point.f, state.optimality, state.step, problem.nfev, 0.0)
        reason = stop.before(problem, state, 0, begun)
        while True:
            if reason is not None and reason.success and stop.verify:
                state, stop, reason = _believe(problem, method, stop, state, reason, trace.optimality[0])
                reason = reason or stop.limits(problem, state, state.k - first, begun)
            if reason is not None:
                break
            old, state = state, method.step(problem, state)
            state.k = old.k + (state.stuck is None)
            state.extent, state.escapes = np.maximum(old.extent, abs(state.point.x)), max(old.escapes, state.escapes)
            if state.stuck is None:
                trace.add(state.point.f, state.optimality, state.step, problem.nfev, time.perf_counter() - begun)
                if progress is not None:
                    progress(state.k, state, problem)
                if callback is not None:
                    callback(so_far(Reason("callback", False, "running")))
            reason = stop.before(problem, state, state.k - first, begun) or stop.between(old, state)
        if reason.success:
            state = method.finish(problem, state)
        else:
            state = method.last(problem, state)
            reason = method.explain(problem, state, reason)
    except StopIteration:
        state, reason = method.last(problem, state), Reason("callback", False, "the callback asked to stop")
    except KeyboardInterrupt as interrupt:
        if state is None:
            raise
        reason = Reason("interrupted", False, f"interrupted after {state.k} steps; x is the best point so far")
        state = method.last(problem, state)
        if on_interrupt == "raise":
            interrupt.result = so_far(reason)
            interrupt.add_note("optim: the result so far is the `result` attribute of this exception")
            raise
    except (ArithmeticError, ValueError) as error:  # most often a factorization that fails at a trial point
        if len(trace):
            state = method.last(problem, state)
            error.result = so_far(Reason("error", False, f"{type(error).__name__} after {state.k} steps"))
            error.add_note(
                f"optim: raised after {state.k} steps; the result so far is the `result` attribute of this exception. "
                "A function may return infinity where it cannot be evaluated, and steps will be shortened"
            )
        raise
    finally:
        if progress is not None:
            progress.close()
    return so_far(reason)


MOST_ESCAPES = 20
LEAST = 1e-140  # the squares of smaller gradients underflow
LOST = ("stalled", "saddle", "max steps")


def persist(problem, method, stop, *, state=None, **watch) -> result.Result:
    """`run`; where a method loses its way, its second thoughts are tried from the start, and the best kept."""
    found = run(problem, method, stop, state=state, **watch)
    if state is not None or stop.max_steps is not None or stop.max_evaluations is not None:
        return found
    for other in method.second_thoughts():
        if found.reason not in LOST:
            break
        again = run(problem, other, stop, **watch)
        if again.success or again.state.point.f < found.state.point.f:
            again.choice += f"; {other} after a run that ended differently: {found.reason}"
            found = again
    return found


def _believe(problem, method, stop, state, reason, first):
    """Whether a point that looks like a solution is one; else where to go on, or that it is none."""
    if reason.status not in ("converged", "float64 limit"):
        return state, stop, reason
    doubt = method.doubt(problem, state)
    if doubt is None:
        return state, stop, reason
    if doubt.direction is not None:
        new = method.escape(problem, state, doubt.direction)
        if new is not None:
            return _after(new, state), stop, None
    if doubt.beyond is not None:
        if state.escapes < MOST_ESCAPES:
            new = method.restart(problem, doubt.beyond)
            new.escapes = state.escapes + 1
            return _after(new, state), stop, None
        return state, stop, Reason("stalled", False, doubt.words)
    # Small is relative: go on for as long as the gradient can be made smaller.
    gtol = 0.1 * min(state.optimality, stop.gtol)
    if reason.status == "converged" and gtol > max(1e-16 * min(1.0, first), LEAST):
        return state, replace(stop, gtol=gtol), None
    return state, stop, Reason("saddle" if doubt.direction is not None else "stalled", False, doubt.words)


def _resumed(problem, method, state):
    """The state of an earlier run, as one of this problem."""
    if not hasattr(state, "point"):
        raise TypeError(f"optim: resume takes result.state of an earlier run, got {type(state).__name__}")
    made = type(method).start.__annotations__.get("return")  # as it is written there
    if type(state).__name__ != made:
        raise ValueError(f"optim: the {type(state).__name__} to resume from is not of the method {method.name!r}, "
                         f"which goes on from a {made}; give the method of the earlier run")  # fmt: skip
    if state.point.x.shape != problem.x0.shape:
        raise ValueError(f"optim: the state to resume from has {state.point.x.size} variables, x0 has {problem.n}")
    state.point.problem = problem
    return state


def _after(new, state):
    new.k, new.extent = state.k + 1, np.maximum(state.extent, abs(new.point.x))
    return new


def _descend(problem, point, direction):
    """A clearly lower point along a direction of negative curvature, on either side."""
    unit = direction / float(abs(direction).max())
    size = 1.0 + float(abs(point.x).max())
    for t in (1e-1, 1e-2, 1e-3, 1e-4):
        for sign in (1.0, -1.0):
            x = point.x + (sign * t * size) * unit
            new = problem.at(x if problem.box is None else problem.box.project(x))
            if new.f < point.f - problem.noise(point):
                return new
    return None
