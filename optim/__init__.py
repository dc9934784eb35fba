"""Optimization for functions that difftensor differentiates: minimize, fit, find roots."""

from .bounds import Box
from .methods import (
    BFGS, LBFGS, Dogleg, NelderMead, NewtonCG, NonlinearCG, TrustExact, TrustKrylov, TrustNCG,
)
from .minimize import minimize
from .problem import Problem
from .result import Result
from .roots.fixed_point import fixed_point
from .roots.root import root
from .roots.scalar import root_scalar
from .squares.curve_fit import curve_fit
from .squares.fit import Fit
from .squares.least_squares import least_squares
from .squares.levenberg_marquardt import LevenbergMarquardt
from .stop import Stop

__all__ = [
    "BFGS",
    "LBFGS",
    "Box",
    "LevenbergMarquardt",
    "Problem",
    "Result",
    "Stop",
    "curve_fit", "least_squares",
    "minimize",
]
