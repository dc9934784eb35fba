"""Optimization for functions that difftensor differentiates: minimize, fit, find roots."""

from .bounds import Box
from .methods import BFGS, LBFGS
from .minimize import minimize
from .problem import Problem
from .result import Result
from .stop import Stop

__all__ = ["BFGS", "LBFGS", "Box", "Problem", "Result", "Stop", "minimize"]
