"""Constrained problems of Hock and Schittkowski.

W. Hock, K. Schittkowski, Test Examples for Nonlinear Programming Codes, Lecture Notes in Economics and Mathematical
Systems 187, Springer 1981; numbers and best values are the book's. Starts outside the bounds are moved onto them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import inf, log, pi, sqrt

import numpy as np

import difftensor as dif


@dataclass(frozen=True)
class Program:
    """Minimize ``fun`` with ``equal(x) = 0``, ``atleast(x) >= 0`` and ``low <= x <= high``; ``best`` is the minimum."""

    number: int
    fun: Callable
    x0: np.ndarray
    best: float
    equal: Callable | None = None
    atleast: Callable | None = None
    low: np.ndarray | None = None
    high: np.ndarray | None = None

    @property
    def constraints(self):
        found = []
        if self.equal is not None:
            found.append({"type": "eq", "fun": lambda x: dif.stack(self.equal(*x))})
        if self.atleast is not None:
            found.append({"type": "ineq", "fun": lambda x: dif.stack(self.atleast(*x))})
        return found

    @property
    def bounds(self):
        return None if self.low is None else list(zip(self.low, self.high, strict=True))

    def objective(self, x):
        return self.fun(*x)

    def violation(self, x) -> float:
        worst = 0.0
        if self.equal is not None:
            worst = max(worst, *(abs(float(v)) for v in self.equal(*x)))
        if self.atleast is not None:
            worst = max(worst, *(-float(v) for v in self.atleast(*x)))
        if self.low is not None:
            worst = max(worst, float((self.low - x).max()), float((x - self.high).max()))
        return worst


def _program(number, fun, x0, best, equal=None, atleast=None, low=None, high=None):
    x0 = np.array(x0, dtype=float)
    if low is not None or high is not None:
        low = np.broadcast_to(np.asarray(-inf if low is None else low, dtype=float), x0.shape)
        high = np.broadcast_to(np.asarray(inf if high is None else high, dtype=float), x0.shape)
        x0 = np.clip(x0, low, high)
    return Program(number, fun, x0, best, equal, atleast, low, high)


def _banana(a, b):
    return 100 * (b - a**2) ** 2 + (1 - a) ** 2


def _hs100(a, b, c, d, e, f, g):
    return ((a - 10) ** 2 + 5 * (b - 12) ** 2 + c**4 + 3 * (d - 11) ** 2 + 10 * e**6 + 7 * f**2 + g**4 - 4 * f * g
            - 10 * f - 8 * g)  # fmt: skip


def _hs100_atleast(a, b, c, d, e, f, g):
    return [
        127 - 2 * a**2 - 3 * b**4 - c - 4 * d**2 - 5 * e,
        282 - 7 * a - 3 * b - 10 * c**2 - d + e,
        196 - 23 * a - b**2 - 6 * f**2 + 8 * g,
        -4 * a**2 - b**2 + 3 * a * b - 2 * c**2 - 5 * f + 11 * g,
    ]


def _hs113(a, b, c, d, e, f, g, h, i, j):
    return (a**2 + b**2 + a * b - 14 * a - 16 * b + (c - 10) ** 2 + 4 * (d - 5) ** 2 + (e - 3) ** 2 + 2 * (f - 1) ** 2
            + 5 * g**2 + 7 * (h - 11) ** 2 + 2 * (i - 10) ** 2 + (j - 7) ** 2 + 45)  # fmt: skip


def _hs113_atleast(a, b, c, d, e, f, g, h, i, j):
    return [
        105 - 4 * a - 5 * b + 3 * g - 9 * h,
        -10 * a + 8 * b + 17 * g - 2 * h,
        8 * a - 2 * b - 5 * i + 2 * j + 12,
        -3 * (a - 2) ** 2 - 4 * (b - 3) ** 2 - 2 * c**2 + 7 * d + 120,
        -5 * a**2 - 8 * b - (c - 6) ** 2 + 2 * d + 40,
        -0.5 * (a - 8) ** 2 - 2 * (b - 4) ** 2 - 3 * e**2 + f + 30,
        -(a**2) - 2 * (b - 2) ** 2 + 2 * a * b - 14 * e + 6 * f,
        3 * a - 6 * b - 12 * (i - 8) ** 2 + 7 * j,
    ]


def _hs78(a, b, c, d, e):
    return [a**2 + b**2 + c**2 + d**2 + e**2 - 10, b * c - 5 * d * e, a**3 + b**3 + 1]


R3 = sqrt(3)
PROGRAMS = [
    _program(1, _banana, [-2, 1], 0.0, low=[-inf, -1.5]),
    _program(5, lambda a, b: dif.sin(a + b) + (a - b) ** 2 - 1.5 * a + 2.5 * b + 1, [0, 0], -R3 / 2 - pi / 3,
             low=[-1.5, -3], high=[4, 3]),
    _program(6, lambda a, b: (1 - a) ** 2, [-1.2, 1], 0.0, equal=lambda a, b: [10 * (b - a**2)]),
    _program(7, lambda a, b: dif.log(1 + a**2) - b, [2, 2], -R3, equal=lambda a, b: [(1 + a**2) ** 2 + b**2 - 4]),
    _program(10, lambda a, b: a - b, [-10, 10], -1.0, atleast=lambda a, b: [-3 * a**2 + 2 * a * b - b**2 + 1]),
    _program(11, lambda a, b: (a - 5) ** 2 + b**2 - 25, [4.9, 0.1], -8.498464223, atleast=lambda a, b: [b - a**2]),
    _program(12, lambda a, b: 0.5 * a**2 + b**2 - a * b - 7 * a - 7 * b, [0, 0], -30.0,
             atleast=lambda a, b: [25 - 4 * a**2 - b**2]),
    _program(14, lambda a, b: (a - 2) ** 2 + (b - 1) ** 2, [2, 2], 9 - 2.875 * sqrt(7),
             equal=lambda a, b: [a - 2 * b + 1], atleast=lambda a, b: [1 - a**2 / 4 - b**2]),
    _program(15, _banana, [-2, 1], 306.5, atleast=lambda a, b: [a * b - 1, a + b**2], high=[0.5, inf]),
    _program(18, lambda a, b: 0.01 * a**2 + b**2, [2, 2], 5.0, atleast=lambda a, b: [a * b - 25, a**2 + b**2 - 25],
             low=[2, 0], high=[50, 50]),
    _program(19, lambda a, b: (a - 10) ** 3 + (b - 20) ** 3, [20.1, 5.84], -6961.81381,
             atleast=lambda a, b: [(a - 5) ** 2 + (b - 5) ** 2 - 100, 82.81 - (a - 6) ** 2 - (b - 5) ** 2],
             low=[13, 0], high=[100, 100]),
    _program(21, lambda a, b: 0.01 * a**2 + b**2 - 100, [-1, -1], -99.96, atleast=lambda a, b: [10 * a - b - 10],
             low=[2, -50], high=[50, 50]),
    _program(22, lambda a, b: (a - 2) ** 2 + (b - 1) ** 2, [2, 2], 1.0, atleast=lambda a, b: [2 - a - b, b - a**2]),
    _program(23, lambda a, b: a**2 + b**2, [3, 1], 2.0, low=-50, high=50,
             atleast=lambda a, b: [a + b - 1, a**2 + b**2 - 1, 9 * a**2 + b**2 - 9, a**2 - b, b**2 - a]),
    _program(24, lambda a, b: ((a - 3) ** 2 - 9) * b**3 / (27 * R3), [1, 0.5], -1.0, low=0.0,
             atleast=lambda a, b: [a / R3 - b, a + R3 * b, 6 - a - R3 * b]),
    _program(26, lambda a, b, c: (a - b) ** 2 + (b - c) ** 4, [-2.6, 2, 2], 0.0,
             equal=lambda a, b, c: [(1 + b**2) * a + c**4 - 3]),
    _program(27, lambda a, b, c: 0.01 * (a - 1) ** 2 + (b - a**2) ** 2, [2, 2, 2], 0.04,
             equal=lambda a, b, c: [a + c**2 + 1]),
    _program(28, lambda a, b, c: (a + b) ** 2 + (b + c) ** 2, [-4, 1, 1], 0.0,
             equal=lambda a, b, c: [a + 2 * b + 3 * c - 1]),
    _program(29, lambda a, b, c: -a * b * c, [1, 1, 1], -16 * sqrt(2),
             atleast=lambda a, b, c: [48 - a**2 - 2 * b**2 - 4 * c**2]),
    _program(30, lambda a, b, c: a**2 + b**2 + c**2, [1, 1, 1], 1.0, atleast=lambda a, b, c: [a**2 + b**2 - 1],
             low=[1, -10, -10], high=10),
    _program(31, lambda a, b, c: 9 * a**2 + b**2 + 9 * c**2, [1, 1, 1], 6.0, atleast=lambda a, b, c: [a * b - 1],
             low=[-10, 1, -10], high=[10, 10, 1]),
    _program(32, lambda a, b, c: (a + 3 * b + c) ** 2 + 4 * (a - b) ** 2, [0.1, 0.7, 0.2], 1.0,
             equal=lambda a, b, c: [1 - a - b - c], atleast=lambda a, b, c: [6 * b + 4 * c - a**3 - 3], low=0.0),
    _program(33, lambda a, b, c: (a - 1) * (a - 2) * (a - 3) + c, [0, 0, 3], sqrt(2) - 6, low=0.0, high=[inf, inf, 5],
             atleast=lambda a, b, c: [c**2 - b**2 - a**2, a**2 + b**2 + c**2 - 4]),
    _program(34, lambda a, b, c: -a, [0, 1.05, 2.9], -log(log(10)), low=0.0, high=[100, 100, 10],
             atleast=lambda a, b, c: [b - dif.exp(a), c - dif.exp(b)]),
    _program(35, lambda a, b, c: 9 - 8 * a - 6 * b - 4 * c + 2 * a**2 + 2 * b**2 + c**2 + 2 * a * b + 2 * a * c,
             [0.5, 0.5, 0.5], 1 / 9, atleast=lambda a, b, c: [3 - a - b - 2 * c], low=0.0),
    _program(36, lambda a, b, c: -a * b * c, [10, 10, 10], -3300.0, atleast=lambda a, b, c: [72 - a - 2 * b - 2 * c],
             low=0.0, high=[20, 11, 42]),
    _program(37, lambda a, b, c: -a * b * c, [10, 10, 10], -3456.0, low=0.0, high=42.0,
             atleast=lambda a, b, c: [72 - a - 2 * b - 2 * c, a + 2 * b + 2 * c]),
    _program(39, lambda a, b, c, d: -a, [2, 2, 2, 2], -1.0,
             equal=lambda a, b, c, d: [b - a**3 - c**2, a**2 - b - d**2]),
    _program(40, lambda a, b, c, d: -a * b * c * d, [0.8] * 4, -0.25,
             equal=lambda a, b, c, d: [a**3 + b**2 - 1, a**2 * d - c, d**2 - b]),
    _program(43, lambda a, b, c, d: a**2 + b**2 + 2 * c**2 + d**2 - 5 * a - 5 * b - 21 * c + 7 * d, [0] * 4, -44.0,
             atleast=lambda a, b, c, d: [8 - a**2 - b**2 - c**2 - d**2 - a + b - c + d,
                                         10 - a**2 - 2 * b**2 - c**2 - 2 * d**2 + a + d,
                                         5 - 2 * a**2 - b**2 - c**2 - 2 * a + b + d]),
    _program(48, lambda a, b, c, d, e: (a - 1) ** 2 + (b - c) ** 2 + (d - e) ** 2, [3, 5, -3, 2, -2], 0.0,
             equal=lambda a, b, c, d, e: [a + b + c + d + e - 5, c - 2 * (d + e) + 3]),
    _program(52, lambda a, b, c, d, e: (4 * a - b) ** 2 + (b + c - 2) ** 2 + (d - 1) ** 2 + (e - 1) ** 2, [2] * 5,
             1859 / 349, equal=lambda a, b, c, d, e: [a + 3 * b, c + d - 2 * e, b - e]),
    _program(63, lambda a, b, c: 1000 - a**2 - 2 * b**2 - c**2 - a * b - a * c, [2] * 3, 961.7151721, low=0.0,
             equal=lambda a, b, c: [8 * a + 14 * b + 7 * c - 56, a**2 + b**2 + c**2 - 25]),
    _program(65, lambda a, b, c: (a - b) ** 2 + (a + b - 10) ** 2 / 9 + (c - 5) ** 2, [-5, 5, 0], 0.9535288567,
             atleast=lambda a, b, c: [48 - a**2 - b**2 - c**2], low=[-4.5, -4.5, -5], high=[4.5, 4.5, 5]),
    _program(71, lambda a, b, c, d: a * d * (a + b + c) + c, [1, 5, 5, 1], 17.0140173, low=1.0, high=5.0,
             equal=lambda a, b, c, d: [a**2 + b**2 + c**2 + d**2 - 40],
             atleast=lambda a, b, c, d: [a * b * c * d - 25]),
    _program(76, lambda a, b, c, d: a**2 + 0.5 * b**2 + c**2 + 0.5 * d**2 - a * c + c * d - a - 3 * b + c - d,
             [0.5] * 4, -4.681818181, low=0.0,
             atleast=lambda a, b, c, d: [5 - a - 2 * b - c - d, 4 - 3 * a - b - 2 * c + d, b + 4 * c - 1.5]),
    _program(77, lambda a, b, c, d, e: (a - 1) ** 2 + (a - b) ** 2 + (c - 1) ** 2 + (d - 1) ** 4 + (e - 1) ** 6,
             [2] * 5, 0.24150513, equal=lambda a, b, c, d, e: [a**2 * d + dif.sin(d - e) - 2 * sqrt(2),
                                                      b + c**4 * d**2 - 8 - sqrt(2)]),
    _program(78, lambda a, b, c, d, e: a * b * c * d * e, [-2, 1.5, 2, -1, -1], -2.91970041, equal=_hs78),
    _program(80, lambda a, b, c, d, e: dif.exp(a * b * c * d * e), [-2, 2, 2, -1, -1], 0.0539498478, equal=_hs78,
             low=[-2.3, -2.3, -3.2, -3.2, -3.2], high=[2.3, 2.3, 3.2, 3.2, 3.2]),
    _program(100, _hs100, [1, 2, 0, 4, 0, 1, 1], 680.6300573, atleast=_hs100_atleast),
    _program(113, _hs113, [2, 3, 5, 5, 1, 2, 7, 3, 6, 10], 24.3062091, atleast=_hs113_atleast),
]  # fmt: skip
