"""Profile likelihood of one parameter."""

from __future__ import annotations

import math

import numpy as np

import difftensor as dif

from ..bounds import Box
from ..loop import run
from ..place import like
from ..stop import Stop
from .levenberg_marquardt import LevenbergMarquardt
from .problem import SquaresProblem


def profile(fit, i, quantile):
    """Where ``tau(b_i) = sign sqrt((S(b_i) - S) / s^2)`` reaches plus and minus ``quantile``; Bates and Watts 6.1."""
    problem, best = fit.result._problem, fit.result.state.point
    variance = fit.variance
    if not np.isfinite(variance) or not math.isfinite(fit.standard_errors[i]):
        return -math.inf, math.inf
    others = np.arange(problem.n) != i
    box = problem.box

    def tau(value, start):
        """The profile t and the refitted other parameters."""

        def place(rest, value=value):
            return dif.concatenate([rest[:i], like(np.array([value]), rest), rest[i:]])

        if problem.n == 1:
            point = problem.at(np.array([value]))
            return math.sqrt(max(point.f - best.f, 0.0) * 2 / variance), start
        inner = SquaresProblem(
            lambda rest: problem.objective(place(rest)), problem.place(start), loss=problem.rho or "linear",
            f_scale=problem.f_scale, box=None if box is None else Box.of(box.lower[others], box.upper[others]),
            must_depend=False,
        )  # fmt: skip
        result = run(inner, LevenbergMarquardt(polish=False), Stop(gtol=1e-6, verify=False, max_steps=100))
        return math.sqrt(max(result.cost - best.f, 0.0) * 2 / variance), result.state.point.x

    ends = []
    for sign in (-1, 1):
        limit = math.inf if box is None else abs((box.lower if sign < 0 else box.upper)[i] - best.x[i])
        ends.append(best.x[i] + sign * _reach(tau, best.x, i, others, sign, quantile, fit.standard_errors[i], limit))
    return float(ends[0]), float(ends[1])


def _reach(tau, x, i, others, sign, quantile, unit, limit):
    """The distance at which tau reaches the quantile: secant steps on a nearly linear function, bracketed."""
    low, t_low, high, t_high = 0.0, 0.0, math.inf, math.inf
    distance, rest = quantile * unit, x[others]
    for _ in range(40):
        distance = min(distance, limit)
        t, rest = tau(x[i] + sign * distance, rest)
        if abs(t - quantile) <= 1e-6 * quantile:
            return distance
        if t < quantile:
            if distance >= limit or distance > 1e6 * unit:
                return limit
            low, t_low = distance, t
        else:
            high, t_high = distance, t
        if high < math.inf:
            distance = low + (high - low) * (quantile - t_low) / (t_high - t_low)
            distance = min(max(distance, low + 0.05 * (high - low)), high - 0.05 * (high - low))
        else:
            distance = distance * min(max(quantile / t, 1.2), 3.0) if t > 0 else 2 * distance
    return distance
