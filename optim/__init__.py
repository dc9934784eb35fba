"""Optimization for functions that difftensor differentiates: minimize, fit, find roots, train.

Two habits: `minimize`, `least_squares`, `curve_fit`, `root` take a function and return a result; `SGD`, `Adam` and
their kin hold parameters and take a step when told to.
"""

from . import lr_scheduler, methods, rules
from .batch import BatchResult, minimize_batch
from .bounds import Box
from .minimize import minimize
from .multistart import multistart
from .plot import plot_trace
from .problem import Problem
from .result import Result
from .roots.fixed_point import fixed_point
from .roots.root import root
from .roots.scalar import root_scalar
from .squares.curve_fit import curve_fit
from .squares.fit import Fit
from .squares.least_squares import least_squares
from .stepwise import (
    LBFGS,
    SGD,
    Adadelta,
    Adagrad,
    Adam,
    Adamax,
    AdamW,
    NAdam,
    Optimizer,
    RAdam,
    RMSprop,
    Rprop,
    clip_grad_norm_,
    clip_grad_value_,
)
from .stop import Stop

__all__ = [
    "LBFGS", "SGD", "Adadelta", "Adagrad", "Adam", "AdamW", "Adamax", "BatchResult", "Box", "Fit", "NAdam",
    "Optimizer", "Problem", "RAdam", "RMSprop", "Result", "Rprop", "Stop", "clip_grad_norm_", "clip_grad_value_",
    "curve_fit", "fixed_point", "least_squares", "lr_scheduler", "methods", "minimize", "minimize_batch",
    "multistart", "plot_trace", "root", "root_scalar", "rules",
]  # fmt: skip
