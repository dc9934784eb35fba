"""`optim.minimize`: one door to every method."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, replace
from inspect import signature
from numbers import Number

import numpy as np

import difftensor as dif

from . import implicit, vmapped
from . import progress as progress_line
from .constrained.problem import ConstrainedProblem
from .loop import Method, persist
from .methods import RULES, TABLE, FirstOrder
from .problem import Problem
from .result import Result
from .rules import KERNELS
from .stop import Stop

# SciPy's option names and ours.
STOP_NAMES = {
    "maxiter": "max_steps", "maxfun": "max_evaluations", "maxfev": "max_evaluations",
    "gtol": "gtol", "ftol": "ftol", "xtol": "xtol", "f_target": "target", "target": "target",
    "max_steps": "max_steps", "max_evaluations": "max_evaluations", "max_seconds": "max_seconds",
    "verify": "verify",
}  # fmt: skip
METHOD_NAMES = {"maxcor": "memory"}
SYNONYMS = {"sqp": "slsqp", "trust-constr": "slsqp", "l-bfgs-b": "l-bfgs", "lbfgs": "l-bfgs"}
DENSE = 500  # up to here an n x n matrix costs less than the function, for most functions


def minimize(
    fun,
    x0,
    args=(),
    method=None,
    jac=None,
    hess=None,
    hessp=None,
    bounds=None,
    constraints=(),
    tol=None,
    callback=None,
    options=None,
    *,
    progress=False,
    resume=None,
) -> Result:
    """Minimize a function of one or more variables.

    Parameters
    ----------
    fun : callable
        ``fun(x, *args) -> float``, written with NumPy's or difftensor's functions; ``x`` has the structure of
        ``x0``. With ``jac=True`` it returns ``(value, gradient)``.
    x0 : array or pytree of arrays
        The start. A list of plain numbers is an array; complex arrays count as pairs of reals.
    args : tuple
        Further arguments of ``fun``.
    method : str or Method, optional
        A name in `optim.methods.TABLE` or an instance of one of its classes. None picks by size, bounds and
        constraints; the result says what was picked and why.
    jac, hess, hessp : callable, optional
        Your own gradient, Hessian and Hessian-vector product. None: difftensor differentiates.
    bounds : optional
        Pairs ``(low, high)`` per element, None where there is no bound; an object with ``lb`` and ``ub``; for a
        pytree, a tree of those.
    constraints : optional
        SciPy's dictionaries or constraint objects.
    tol : float, optional
        Sets ``gtol``.
    callback : callable, optional
        ``callback(x)``, or ``callback(intermediate_result)`` if that is its argument's name. StopIteration stops, and
        so does the answer True.
    options : dict, optional
        Fields of `optim.Stop` (SciPy's names work too), of the method, and ``on_interrupt``: "raise" (the
        KeyboardInterrupt carries the ``result`` so far) or "return".
    progress : bool
        Show a line with f, the gradient, the step and the evaluations.
    resume : State, optional
        ``result.state`` of an earlier run, to continue bit for bit.

    Returns
    -------
    Result
        NumPy in, NumPy out; Tensors where ``x0`` has Tensors.

    Raises
    ------
    TypeError, ValueError
        For a wrong call: a function that is not scalar or does not depend on x, no parameters, a start outside
        the bounds, an unknown method or option. A numerical failure is a Result with ``success=False``.

    Notes
    -----
    Inside `difftensor.vmap` the problems of all examples are solved together, by "trust-exact" (the default up to 100
    variables), "bfgs" (up to 500) or a first-order rule; the answer is a `BatchResult`, each field that of one example.

    ``success`` is True only where the first-order conditions hold within ``gtol`` (1e-6 by default), or where
    the decrease that is left lies below what f resolves in float64.

    Examples
    --------
    >>> import optim
    >>> rosenbrock = lambda x: (1 - x[0]) ** 2 + 100 * (x[1] - x[0] ** 2) ** 2
    >>> result = optim.minimize(rosenbrock, [-1.2, 1.0])
    >>> result.success, result.x.round(6).tolist()
    (True, [1.0, 1.0])
    """
    own = {"jac": jac, "hess": hess, "hessp": hessp, "bounds": bounds}
    constrained = constraints is not None and (hasattr(constraints, "lb") or len(constraints) > 0)
    if dif.batching.inside_vmap():
        further = {**own, "callback": callback, "progress": progress, "resume": resume}
        batch = vmapped.of_examples(fun, x0, args)
        if batch is not None:
            further["constraints"] = constrained
            return _of_batch(vmapped.Examples(batch, fun, x0, args), method, tol, options, further)
        with dif.batching.outside_vmap():  # the same problem for all examples
            return minimize(fun, x0, args, method, constraints=constraints, tol=tol, options=options, **further)
    settings = _settings(tol, options)
    on_interrupt = settings.pop("on_interrupt", "raise")
    show = settings.pop("disp", False)
    if constrained:
        problem: Problem = ConstrainedProblem(fun, x0, args, constraints=constraints, **own)
    else:
        problem, constraints = Problem(fun, x0, args, **own), ()
    method, choice = pick(method, problem, constraints)
    method, stop = configure(method, settings)

    def solve():
        return persist(
            problem,
            method,
            stop,
            state=resume,
            callback=_adapt(callback),
            progress=progress_line.line(stop.max_steps) if progress or show else None,
            on_interrupt=on_interrupt,
            choice=choice,
        )

    return implicit.through(solve, problem, implicit.lagrange if constraints else implicit.gradient)


def _settings(tol, options):
    if options is not None and not isinstance(options, Mapping):
        raise TypeError(f"optim: options must be a dict, got {options!r}")
    settings = dict(options or {})
    if tol is not None:
        settings.setdefault("gtol", tol)
    return settings


def _of_batch(problem, method, tol, options, further):
    settings = _settings(tol, options)
    further["progress"] |= bool(settings.pop("disp", False))
    further["on_interrupt"] = settings.pop("on_interrupt", "raise") != "raise"
    method, choice = vmapped.default(problem.n) if method is None else pick(method, problem, ())
    method, stop = configure(method, settings)
    return vmapped.minimize(problem, method, stop, choice, further)


def pick(method, problem, constraints):
    """The method's class or instance, and why it was picked if nobody asked for it."""
    if isinstance(method, Method):
        return method, ""
    if isinstance(method, str):
        name = SYNONYMS.get(method.lower(), method.lower())
        if name in RULES:
            return FirstOrder(name), ""
        if name not in TABLE:
            raise ValueError(f"optim: unknown method {method!r}; there are {', '.join(sorted((*TABLE, *RULES)))}")
        chosen, choice = TABLE[name], ""
    elif isinstance(method, type) and issubclass(method, Method):
        chosen, choice = method, ""
    elif method is None and constraints:
        chosen, choice = TABLE["slsqp"], "there are constraints"
    elif method is None:
        if problem.n <= DENSE:
            chosen, choice = TABLE["bfgs"], f"{problem.n} variables: a dense inverse Hessian is affordable"
        else:
            chosen, choice = TABLE["l-bfgs"], f"{problem.n} variables: too many for a dense matrix"
    else:
        raise TypeError(f"optim: method must be a name or a Method, got {method!r}")
    if problem.box is not None and not chosen.bounds:
        able = ", ".join(sorted(name for name, other in TABLE.items() if other.bounds))
        raise ValueError(f"optim: method {chosen.name!r} takes no bounds; these do: {able}")
    if constraints and not chosen.constraints:
        raise ValueError(f"optim: method {chosen.name!r} takes no constraints; 'slsqp' does")
    if chosen.constraints and not constraints:
        chosen, choice = TABLE["bfgs"], f"{chosen.name} was asked for, but there are no constraints"
    return chosen, choice


def configure(method, settings: Mapping):
    """Sort options into the method's settings and a `Stop`."""
    own = {field.name for field in fields(method)}
    if isinstance(method, FirstOrder) and method.name in RULES:
        own |= set(KERNELS[method.name].defaults)
        theirs = {k: settings[k] for k in settings if k in KERNELS[method.name].defaults and k != "lr"}
        method = replace(method, settings={**method.settings, **theirs})
        settings = {k: v for k, v in settings.items() if k not in theirs}
    for_stop: dict = {}
    for_method, unknown = {}, []
    for name, value in settings.items():
        ours = METHOD_NAMES.get(name, name)
        if ours in own:
            for_method[ours] = value
        elif name in STOP_NAMES:
            if value is not None and not isinstance(value, (Number, np.bool_)):
                raise TypeError(f"optim: option {name!r} must be a number, got {value!r}")
            if value is not None or name not in ("gtol", "ftol", "xtol"):  # None is the default, as in SciPy
                for_stop[STOP_NAMES[name]] = value
        else:
            unknown.append(name)
    if unknown:
        known = sorted(own | set(STOP_NAMES) | {"on_interrupt", "disp"})
        raise TypeError(f"optim: unknown options {unknown} for {method.name}; known are {', '.join(known)}")
    if isinstance(method, type):
        method = method(**for_method)
    elif for_method and isinstance(method, FirstOrder):
        method = replace(method, **for_method)
    elif for_method:
        raise TypeError(f"optim: give {sorted(for_method)} to the {type(method).__name__} instance itself")
    return method, Stop(**for_stop)


def _adapt(callback):
    """SciPy's two kinds of callback as a function of the Result so far."""
    if callback is None:
        return None
    if not callable(callback):
        raise TypeError(f"optim: callback must be a function or None, got {callback!r}")
    try:
        names = signature(callback).parameters
    except (TypeError, ValueError):  # written in C
        names = {}
    if "intermediate_result" in names:
        return lambda so_far: callback(intermediate_result=so_far)

    def on_x(so_far):
        answer = callback(so_far.x)
        if isinstance(answer, (bool, np.bool_)) and answer:  # as in SciPy's older methods
            raise StopIteration

    return on_x
