"""The collection of More, Garbow and Hillstrom: 38 sums of squares.

J. J. More, B. S. Garbow, K. E. Hillstrom, Testing unconstrained optimization software, ACM Trans. Math. Softw. 7
(1981) 17-41. All 35 problems at the sizes of the paper's tables, Watson's at three sizes and Chebyquad at two. Numbers
in comments are the paper's. Starts are ``factor * x0`` with factors 1, 10 and 100 (Watson's, whose x0 is 0, start at
``factor`` times ones beyond the first).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

import difftensor as dif


@dataclass(frozen=True)
class SumOfSquares:
    """Residuals ``r(x)``, the start, and the values of ``sum r^2`` at the known minimizers, the lowest first."""

    name: str
    residuals: Callable
    x0: np.ndarray
    minima: tuple

    def fun(self, x):
        r = self.residuals(x)
        return dif.sum(r * r)

    def start(self, factor: float):
        if factor != 1 and not self.x0.any():
            return np.full_like(self.x0, factor)
        return factor * self.x0

    def solved(self, f: float) -> bool:
        """Whether ``f`` is the value at a known minimizer, to 1e-6 absolute and relative."""
        return any(abs(f - low) <= 1e-6 * (1 + low) for low in self.minima)


PROBLEMS: list[SumOfSquares] = []


def problem(x0, *minima, name=None):
    def add(residuals):
        label = name or residuals.__name__
        PROBLEMS.append(SumOfSquares(label, residuals, np.array(x0, dtype=float), minima))
        return residuals

    return add


def _stack(*values):
    return dif.stack(values)


@problem([-1.2, 1], 0.0)  # (1)
def rosenbrock(x):
    return _stack(10 * (x[1] - x[0] ** 2), 1 - x[0])


@problem([0.5, -2], 0.0, 48.98425367924004)  # (2)
def freudenstein_roth(x):
    a, b = x[0], x[1]
    return _stack(-13 + a + ((5 - b) * b - 2) * b, -29 + a + ((b + 1) * b - 14) * b)


@problem([0, 1], 0.0)  # (3)
def powell_badly_scaled(x):
    return _stack(1e4 * x[0] * x[1] - 1, dif.exp(-x[0]) + dif.exp(-x[1]) - 1.0001)


@problem([1, 1], 0.0)  # (4)
def brown_badly_scaled(x):
    return _stack(x[0] - 1e6, x[1] - 2e-6, x[0] * x[1] - 2)


@problem([1, 1], 0.0)  # (5)
def beale(x):
    return np.array([1.5, 2.25, 2.625]) - x[0] * (1 - x[1] ** np.array([1, 2, 3]))


@problem([0.3, 0.4], 124.36218235561)  # (6)
def jennrich_sampson(x):
    i = np.arange(1, 11)
    return 2 + 2 * i - (dif.exp(i * x[0]) + dif.exp(i * x[1]))


@problem([-1, 0, 0], 0.0)  # (7)
def helical_valley(x):
    # theta is the angle in turns, between -1/4 and 3/4 as the paper has it
    theta = dif.arctan(x[1] / x[0]) / (2 * np.pi) + (0.5 if x[0] < 0 else 0.0)
    return _stack(10 * (x[2] - 10 * theta), 10 * (dif.sqrt(x[0] ** 2 + x[1] ** 2) - 1), x[2])


BARD_Y = np.array([0.14, 0.18, 0.22, 0.25, 0.29, 0.32, 0.35, 0.39, 0.37, 0.58, 0.73, 0.96, 1.34, 2.10, 4.39])


@problem([1, 1, 1], 8.214877306578985e-3)  # (8); 17.4286 at (0.8406, -inf, -inf)
def bard(x):
    u = np.arange(1, 16)
    v = 16 - u
    return BARD_Y - (x[0] + u / (v * x[1] + np.minimum(u, v) * x[2]))


GAUSSIAN_Y = [0.0009, 0.0044, 0.0175, 0.0540, 0.1295, 0.2420, 0.3521]
GAUSSIAN_Y = np.array([*GAUSSIAN_Y, 0.3989, *GAUSSIAN_Y[::-1]])


@problem([0.4, 1, 0], 1.127932769618657e-8)  # (9)
def gaussian(x):
    t = (8 - np.arange(1, 16)) / 2
    return x[0] * dif.exp(-x[1] * (t - x[2]) ** 2 / 2) - GAUSSIAN_Y


MEYER_Y = np.array([34780, 28610, 23650, 19630, 16370, 13720, 11540, 9744, 8261, 7030, 6005, 5147, 4427, 3820,
                    3307, 2872.0])  # fmt: skip


@problem([0.02, 4000, 250], 87.94585517)  # (10)
def meyer(x):
    t = 45 + 5 * np.arange(1, 17)
    return x[0] * dif.exp(x[1] / (t + x[2])) - MEYER_Y


@problem([5, 2.5, 0.15], 0.0)  # (11), with the minus sign that the paper's formula lacks
def gulf(x):
    t = np.arange(1, 100) / 100
    y = 25 + (-50 * np.log(t)) ** (2 / 3)
    return dif.exp(-(dif.abs(y - x[1]) ** x[2]) / x[0]) - t


@problem([0, 10, 20], 0.0)  # (12)
def box_three_dimensional(x):
    t = 0.1 * np.arange(1, 11)
    return dif.exp(-t * x[0]) - dif.exp(-t * x[1]) - x[2] * (np.exp(-t) - np.exp(-10 * t))


@problem([3, -1, 0, 1], 0.0)  # (13)
def powell_singular(x):
    a, b, c, d = x[0], x[1], x[2], x[3]
    return _stack(a + 10 * b, 5**0.5 * (c - d), (b - 2 * c) ** 2, 10**0.5 * (a - d) ** 2)


@problem([-3, -1, -3, -1], 0.0)  # (14)
def wood(x):
    a, b, c, d = x[0], x[1], x[2], x[3]
    return _stack(10 * (b - a**2), 1 - a, 90**0.5 * (d - c**2), 1 - c, 10**0.5 * (b + d - 2), (b - d) / 10**0.5)


KOWALIK_Y = np.array([0.1957, 0.1947, 0.1735, 0.1600, 0.0844, 0.0627, 0.0456, 0.0342, 0.0323, 0.0235, 0.0246])
KOWALIK_U = np.array([4, 2, 1, 0.5, 0.25, 0.167, 0.125, 0.1, 0.0833, 0.0714, 0.0625])


@problem([0.25, 0.39, 0.415, 0.39], 3.0750560385e-4)  # (15); 1.02734e-3 at (inf, -14.07, -inf, -inf)
def kowalik_osborne(x):
    u = KOWALIK_U
    return KOWALIK_Y - x[0] * (u**2 + u * x[1]) / (u**2 + u * x[2] + x[3])


@problem([25, 5, -5, -1], 85822.20162635)  # (16)
def brown_dennis(x):
    t = np.arange(1, 21) / 5
    return (x[0] + t * x[1] - np.exp(t)) ** 2 + (x[2] + x[3] * np.sin(t) - np.cos(t)) ** 2


OSBORNE_1_Y = np.array([
    0.844, 0.908, 0.932, 0.936, 0.925, 0.908, 0.881, 0.850, 0.818, 0.784, 0.751, 0.718, 0.685, 0.658, 0.628,
    0.603, 0.580, 0.558, 0.538, 0.522, 0.506, 0.490, 0.478, 0.467, 0.457, 0.448, 0.438, 0.431, 0.424, 0.420,
    0.414, 0.411, 0.406,
])  # fmt: skip


@problem([0.5, 1.5, -1, 0.01, 0.02], 5.464894697e-5)  # (17)
def osborne_1(x):
    t = 10.0 * np.arange(33)
    return OSBORNE_1_Y - (x[0] + x[1] * dif.exp(-t * x[3]) + x[2] * dif.exp(-t * x[4]))


@problem([1, 2, 1, 1, 1, 1], 0.0, 5.655649925e-3)  # (18)
def biggs_exp6(x):
    t = 0.1 * np.arange(1, 14)
    y = np.exp(-t) - 5 * np.exp(-10 * t) + 3 * np.exp(-4 * t)
    return x[2] * dif.exp(-t * x[0]) - x[3] * dif.exp(-t * x[1]) + x[5] * dif.exp(-t * x[4]) - y


OSBORNE_2_Y = np.array([
    1.366, 1.191, 1.112, 1.013, 0.991, 0.885, 0.831, 0.847, 0.786, 0.725, 0.746, 0.679, 0.608, 0.655, 0.616,
    0.606, 0.602, 0.626, 0.651, 0.724, 0.649, 0.649, 0.694, 0.644, 0.624, 0.661, 0.612, 0.558, 0.533, 0.495,
    0.500, 0.423, 0.395, 0.375, 0.372, 0.391, 0.396, 0.405, 0.428, 0.429, 0.523, 0.562, 0.607, 0.653, 0.672,
    0.708, 0.633, 0.668, 0.645, 0.632, 0.591, 0.559, 0.597, 0.625, 0.739, 0.710, 0.729, 0.720, 0.636, 0.581,
    0.428, 0.292, 0.162, 0.098, 0.054,
])  # fmt: skip


@problem([1.3, 0.65, 0.65, 0.7, 0.6, 3, 5, 7, 2, 4.5, 5.5], 4.01377362935477e-2)  # (19)
def osborne_2(x):
    t = np.arange(65) / 10
    model = x[0] * dif.exp(-t * x[4])
    for k in range(1, 4):
        model = model + x[k] * dif.exp(-((t - x[7 + k]) ** 2) * x[4 + k])
    return OSBORNE_2_Y - model


def watson(x):
    n = x.shape[0]
    t = (np.arange(1, 30) / 29)[:, None]
    j = np.arange(n)
    powers = t**j
    slopes = np.where(j > 0, j * t ** np.maximum(j - 1, 0), 0.0)
    r = dif.matmul(slopes, x) - dif.matmul(powers, x) ** 2 - 1
    return dif.concatenate([r, x[:1], (x[1] - x[0] ** 2 - 1).reshape(1)])


problem(np.zeros(6), 2.287670053552372e-3, name="watson_6")(watson)  # (20)
problem(np.zeros(9), 1.399760138e-6, name="watson_9")(watson)
problem(np.zeros(12), 4.72238e-10, name="watson_12")(watson)


@problem([-1.2, 1] * 5, 0.0)  # (21)
def extended_rosenbrock(x):
    return dif.concatenate([10 * (x[1::2] - x[::2] ** 2), 1 - x[::2]])


@problem([3, -1, 0, 1] * 3, 0.0)  # (22)
def extended_powell_singular(x):
    a, b, c, d = x[::4], x[1::4], x[2::4], x[3::4]
    return dif.concatenate([a + 10 * b, 5**0.5 * (c - d), (b - 2 * c) ** 2, 10**0.5 * (a - d) ** 2])


@problem(np.arange(1, 11), 7.08765146709e-5)  # (23)
def penalty_1(x):
    return dif.concatenate([1e-5**0.5 * (x - 1), (dif.sum(x**2) - 0.25).reshape(1)])


@problem(np.full(10, 0.5), 2.93660517411e-4)  # (24)
def penalty_2(x):
    n = x.shape[0]
    i = np.arange(2, n + 1)
    y = np.exp(i / 10) + np.exp((i - 1) / 10)
    e = dif.exp(x / 10)
    return dif.concatenate([
        x[:1] - 0.2,
        1e-5**0.5 * (e[1:] + e[:-1] - y),
        1e-5**0.5 * (e[1:] - np.exp(-0.1)),
        (dif.sum(np.arange(n, 0, -1) * x**2) - 1).reshape(1),
    ])  # fmt: skip


@problem(1 - np.arange(1, 11) / 10, 0.0)  # (25)
def variably_dimensioned(x):
    weighted = dif.sum(np.arange(1, x.shape[0] + 1) * (x - 1)).reshape(1)
    return dif.concatenate([x - 1, weighted, weighted**2])


@problem(np.full(10, 0.1), 0.0, 2.795056121876e-5)  # (26)
def trigonometric(x):
    n = x.shape[0]
    c = dif.cos(x)
    return n - dif.sum(c) + np.arange(1, n + 1) * (1 - c) - dif.sin(x)


@problem(np.full(10, 0.5), 0.0, 1.0)  # (27)
def brown_almost_linear(x):
    n = x.shape[0]
    return dif.concatenate([x[:-1] + dif.sum(x) - (n + 1), (dif.prod(x) - 1).reshape(1)])


T10 = np.arange(1, 11) / 11


def _shifted(x):
    """The neighbors of every element below and above, with 0 beyond the ends."""
    zero = np.zeros(1)
    return dif.concatenate([zero, x[:-1]]), dif.concatenate([x[1:], zero])


@problem(T10 * (T10 - 1), 0.0)  # (28)
def discrete_boundary_value(x):
    below, above = _shifted(x)
    return 2 * x - below - above + (x + T10 + 1) ** 3 / (2 * 11**2)


@problem(T10 * (T10 - 1), 0.0)  # (29)
def discrete_integral_equation(x):
    cube = (x + T10 + 1) ** 3
    kernel = np.minimum.outer(T10, T10) * (1 - np.maximum.outer(T10, T10))
    return x + dif.matmul(kernel, cube) / 22


@problem(np.full(10, -1), 0.0)  # (30)
def broyden_tridiagonal(x):
    below, above = _shifted(x)
    return (3 - 2 * x) * x - below - 2 * above + 1


I10 = np.arange(10)
BAND = ((I10[None] >= I10[:, None] - 5) & (I10[None] <= I10[:, None] + 1) & (I10[None] != I10[:, None])) * 1.0


@problem(np.full(10, -1), 0.0, 3.0572784)  # (31)
def broyden_banded(x):
    return x * (2 + 5 * x**2) + 1 - dif.matmul(BAND, x * (1 + x))


@problem(np.ones(10), 10.0)  # (32), m = 20: m - n
def linear_full_rank(x):
    total = dif.sum(x) * (2 / 20)
    return dif.concatenate([x - total - 1, -total - np.ones(10)])


@problem(np.ones(10), 20 * 19 / (2 * 41))  # (33), m = 20: m (m - 1) / (2 (2 m + 1))
def linear_rank_1(x):
    return np.arange(1, 21) * dif.sum(np.arange(1, 11) * x) - 1


@problem(np.ones(10), (400 + 60 - 6) / (2 * 37))  # (34), m = 20: (m^2 + 3 m - 6) / (2 (2 m - 3))
def linear_rank_1_zero_columns_and_rows(x):
    weights = np.r_[0, np.arange(1, 19), 0]
    return weights * dif.sum(np.arange(2, 10) * x[1:-1]) - 1


def chebyquad(x):
    n = x.shape[0]
    z = 2 * x - 1
    old, new, rows = 1.0, z, []
    for i in range(1, n + 1):
        integral = -1 / (i**2 - 1) if i % 2 == 0 else 0.0
        rows.append(dif.sum(new) / n - integral)
        old, new = new, 2 * z * new - old
    return dif.stack(rows)


problem(np.arange(1, 9) / 9, 3.51687372568e-3, name="chebyquad_8")(chebyquad)  # (35)
problem(np.arange(1, 11) / 11, 4.77271369637e-3, 6.50395480e-3, name="chebyquad_10")(chebyquad)
