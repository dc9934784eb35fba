"""First-order rules for stochastic problems: pairs of pure functions, composed by `chain`.

A `Rule` is ``start(x) -> state`` and ``update(g, state, x) -> (step, state)``; the next point is ``x + step``. All
of them work on arrays of any shape, elementwise except `clip_by_norm`.
"""

from . import schedules
from .chain import Rule, add_decayed_weights, chain, clip, clip_by_norm, rule, scale, scale_by_schedule
from .kernels import KERNELS, Kernel

adadelta = rule("adadelta")
adagrad = rule("adagrad")
adam = rule("adam")
adamax = rule("adamax")
adamw = rule("adamw")
nadam = rule("nadam")
radam = rule("radam")
rmsprop = rule("rmsprop")
rprop = rule("rprop")
sgd = rule("sgd")

__all__ = [
    "KERNELS", "Kernel", "Rule", "adadelta", "adagrad", "adam", "adamax", "adamw", "add_decayed_weights", "chain",
    "clip", "clip_by_norm", "nadam", "radam", "rmsprop", "rprop", "rule", "scale", "scale_by_schedule",
    "schedules", "sgd",
]  # fmt: skip
