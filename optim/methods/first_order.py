"""First-order rules as methods of `optim.minimize`."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace

import numpy as np

from .. import rules
from ..loop import Method, State
from ..stop import Reason


@dataclass(slots=True)
class RuleState(State):
    carried: object = None
    best: object = None  # the lowest point so far; these rules do not descend at every step


@dataclass(frozen=True)
class FirstOrder(Method):
    """One rule, applied to the exact gradient.

    Parameters
    ----------
    rule : str or Rule
        A name in `optim.rules.KERNELS`, or a Rule, for example made by `optim.rules.chain`.
    lr : float or callable, optional
        A number or a schedule.
    settings : dict
        Further settings of the rule.

    Notes
    -----
    With bounds every step is projected onto the box.
    """

    rule: object = "adam"
    lr: object = None
    settings: dict = field(default_factory=dict)

    bounds = True

    @property
    def name(self):
        return self.rule if isinstance(self.rule, str) else "first-order rule"

    def _rule(self):
        if isinstance(self.rule, rules.Rule):
            return self.rule
        return rules.rule(self.rule)(self.lr, **self.settings)

    def max_steps(self, n):
        return 20000

    def start(self, problem, x) -> RuleState:
        point = problem.at(x)
        return RuleState(point, problem.optimality(point), carried=self._rule().start(x), best=point)

    def step(self, problem, state) -> RuleState:
        point = state.point
        step, carried = self._rule().update(point.g, state.carried, point.x)
        x = point.x + step
        new = problem.at(x if problem.box is None else problem.box.project(x))
        if not math.isfinite(new.f):
            words = "the last step left the region where f is finite; x is the best point so far; choose a smaller lr"
            best = state.best
            return replace(state, point=best, optimality=problem.optimality(best),
                           stuck=Reason("stalled", False, words))  # fmt: skip
        best = new if new.f < state.best.f else state.best
        return RuleState(new, problem.optimality(new), float(np.abs(step).max()), carried=carried, best=best)

    def last(self, problem, state):
        best = state.best
        return replace(state, point=best, optimality=problem.optimality(best)) if best.f < state.point.f else state
