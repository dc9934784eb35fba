"""L-BFGS with a closure; how a method of `optim.methods` becomes stepwise."""

from __future__ import annotations

from dataclasses import replace

import difftensor as dif

from ..loop import run
from ..methods import LBFGS as LBFGSMethod
from ..place import values
from ..problem import Problem
from ..stop import Stop
from .optimizer import Optimizer
from .reals import count, reals, shaped


class LBFGS(Optimizer):
    """L-BFGS, one call of `step` for up to ``max_iter`` of its iterations; the closure evaluates the loss.

    Parameters
    ----------
    params : iterable of Tensor
        One group.
    lr : float
        Kept for PyTorch's signature; the strong Wolfe search finds the step.
    max_iter, max_eval : int
        The most steps, and evaluations of the closure, of one call; no limit of these by default.
    tolerance_grad : float
        Stop within a call when no gradient component is larger.
    tolerance_change : float
        Kept for PyTorch's signature: a small change is no reason to stop here.
    history_size : int
    line_search_fn : {None, "strong_wolfe"}
        Kept for PyTorch's signature: the search is that of strong Wolfe conditions either way.

    Notes
    -----
    The adapter that makes every `optim.methods` algorithm stepwise: parameters are one vector, the closure is its
    value and gradient. `step` needs a closure that computes the loss, calls ``backward`` and returns the loss;
    gradients are zeroed before. The vector and the method's memory are where the parameters are; complex parameters
    count as pairs of reals.
    """

    def __init__(
        self, params, lr=1.0, max_iter=20, max_eval=None, tolerance_grad=1e-7, tolerance_change=1e-9, history_size=10,
        line_search_fn=None,
    ):  # fmt: skip
        if line_search_fn not in (None, "strong_wolfe"):
            raise ValueError(f"optim: LBFGS has the line search 'strong_wolfe' only, got {line_search_fn!r}")
        super().__init__(params, {"lr": lr, "max_iter": max_iter, "max_eval": max_eval,
                                  "tolerance_grad": tolerance_grad, "tolerance_change": tolerance_change,
                                  "history_size": history_size, "line_search_fn": line_search_fn})  # fmt: skip
        if len(self.param_groups) != 1:
            raise ValueError("optim: LBFGS takes one parameter group")
        self.result = None

    def step(self, closure=None):
        if closure is None:
            raise ValueError("optim: LBFGS needs a closure that computes the loss and its gradients")
        group = self.param_groups[0]
        tensors = group["params"]
        first = []

        def fun(x):
            _scatter(tensors, x)
            self.zero_grad()  # or those of different points would add up
            with dif.enable_grad():
                loss = closure()
            if loss is None:
                raise TypeError("optim: the closure of LBFGS returned None; it must return the loss")
            if all(p.grad is None for p in tensors):
                raise ValueError("optim: after the closure no parameter has a gradient; it must call loss.backward()")
            first.append(loss)
            return float(loss.detach() if isinstance(loss, dif.Tensor) else loss), _gather(map(_gradient_of, tensors))

        method = LBFGSMethod(memory=group["history_size"])
        stop = Stop(
            gtol=group["tolerance_grad"],
            max_steps=group["max_iter"],
            max_evaluations=group.get("max_eval"),
            verify=False,
        )
        problem = Problem(fun, _gather(tensors), jac=True)
        self.result = run(problem, method, stop, state=self._again(problem))
        self.state["memory"] = {"last": self.result.state}
        _scatter(tensors, self.result.x)
        return first[0]

    def _again(self, problem):
        """The state of the last call, at the parameters as they are now."""
        if "memory" not in self.state:
            return None
        point = problem.at(problem.x0)
        return replace(self.state["memory"]["last"], point=point, optimality=problem.optimality(point), stuck=None)


def _gather(tensors):
    """The values in one vector: where the tensors are, on the host if they are on several devices."""
    tensors = [reals(t.detach()).astype(float) for t in tensors]
    if len({t.device for t in tensors}) > 1:
        tensors = [t.to_device("cpu") for t in tensors]
    return values(dif.concatenate(tensors))


def _gradient_of(p):
    return dif.zeros_like(p.detach()) if p.grad is None else p.grad


def _scatter(tensors, x):
    first = 0
    with dif.no_grad():
        for p in tensors:
            size = count(p)
            p[...] = shaped(dif.asarray(x[first : first + size]).to_device(p.device), p)
            first += size
