"""NIST's 27 nonlinear regression sets: models as functions, data read from the files of the collection.

Statistical Reference Datasets, https://www.itl.nist.gov/div898/strd/nls/nls_main.shtml
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

import difftensor as dif

FOLDER = Path(__file__).parents[1] / "data" / "nist_strd"


@dataclass(frozen=True)
class Regression:
    """One set: ``y = model(x, *b)``, two starts, certified parameters and their standard deviations."""

    name: str
    model: Callable
    x: np.ndarray
    y: np.ndarray
    starts: tuple
    certified: np.ndarray
    deviations: np.ndarray
    sum_of_squares: float


def _misra1a(x, b1, b2):
    return b1 * (1 - dif.exp(-b2 * x))


def _misra1b(x, b1, b2):
    return b1 * (1 - (1 + b2 * x / 2) ** (-2))


def _misra1c(x, b1, b2):
    return b1 * (1 - (1 + 2 * b2 * x) ** (-0.5))


def _misra1d(x, b1, b2):
    return b1 * b2 * x / (1 + b2 * x)


def _chwirut(x, b1, b2, b3):
    return dif.exp(-b1 * x) / (b2 + b3 * x)


def _lanczos(x, b1, b2, b3, b4, b5, b6):
    return b1 * dif.exp(-b2 * x) + b3 * dif.exp(-b4 * x) + b5 * dif.exp(-b6 * x)


def _gauss(x, b1, b2, b3, b4, b5, b6, b7, b8):
    first = b3 * dif.exp(-((x - b4) ** 2) / b5**2)
    return b1 * dif.exp(-b2 * x) + first + b6 * dif.exp(-((x - b7) ** 2) / b8**2)


def _dan_wood(x, b1, b2):
    return b1 * x**b2


def _kirby2(x, b1, b2, b3, b4, b5):
    return (b1 + b2 * x + b3 * x**2) / (1 + b4 * x + b5 * x**2)


def _hahn1(x, b1, b2, b3, b4, b5, b6, b7):
    return (b1 + b2 * x + b3 * x**2 + b4 * x**3) / (1 + b5 * x + b6 * x**2 + b7 * x**3)


def _nelson(x, b1, b2, b3):
    return b1 - b2 * x[0] * dif.exp(-b3 * x[1])


def _mgh17(x, b1, b2, b3, b4, b5):
    return b1 + b2 * dif.exp(-x * b4) + b3 * dif.exp(-x * b5)


def _roszman1(x, b1, b2, b3, b4):
    return b1 - b2 * x - dif.arctan(b3 / (x - b4)) / np.pi


def _enso(x, b1, b2, b3, b4, b5, b6, b7, b8, b9):
    turn = 2 * np.pi * x
    year = b2 * dif.cos(turn / 12) + b3 * dif.sin(turn / 12)
    second = b5 * dif.cos(turn / b4) + b6 * dif.sin(turn / b4)
    return b1 + year + second + b8 * dif.cos(turn / b7) + b9 * dif.sin(turn / b7)


def _mgh09(x, b1, b2, b3, b4):
    return b1 * (x**2 + x * b2) / (x**2 + x * b3 + b4)


def _mgh10(x, b1, b2, b3):
    return b1 * dif.exp(b2 / (x + b3))


def _rat42(x, b1, b2, b3):
    return b1 / (1 + dif.exp(b2 - b3 * x))


def _rat43(x, b1, b2, b3, b4):
    return b1 / ((1 + dif.exp(b2 - b3 * x)) ** (1 / b4))


def _eckerle4(x, b1, b2, b3):
    return (b1 / b2) * dif.exp(-0.5 * ((x - b3) / b2) ** 2)


def _bennett5(x, b1, b2, b3):
    return b1 * (b2 + x) ** (-1 / b3)


MODELS = {
    "Misra1a": _misra1a, "Chwirut2": _chwirut, "Chwirut1": _chwirut, "Lanczos3": _lanczos, "Gauss1": _gauss,
    "Gauss2": _gauss, "DanWood": _dan_wood, "Misra1b": _misra1b, "Kirby2": _kirby2, "Hahn1": _hahn1,
    "Nelson": _nelson, "MGH17": _mgh17, "Lanczos1": _lanczos, "Lanczos2": _lanczos, "Gauss3": _gauss,
    "Misra1c": _misra1c, "Misra1d": _misra1d, "Roszman1": _roszman1, "ENSO": _enso, "MGH09": _mgh09,
    "Thurber": _hahn1, "BoxBOD": _misra1a, "Rat42": _rat42, "MGH10": _mgh10, "Eckerle4": _eckerle4,
    "Rat43": _rat43, "Bennett5": _bennett5,
}  # fmt: skip


def read(name: str) -> Regression:
    """The set called ``name``."""
    lines = (FOLDER / f"{name}.dat").read_text().splitlines()
    rows = [
        [float(v) for v in line.split("=")[1].split()]
        for line in lines
        if re.match(r"\s*b\d+\s*=(\s+[-+.\dEe]+){4}\s*$", line)
    ]
    table = np.array(rows)
    start = max(i for i, line in enumerate(lines) if line.startswith("Data:")) + 1
    data = np.array([[float(v) for v in line.split()] for line in lines[start:] if line.strip()])
    total = next(line for line in lines if "Residual Sum of Squares" in line)
    y, x = data[:, 0], data[:, 1:].T
    if name == "Nelson":
        y = np.log(y)  # the model is for log(y)
    return Regression(
        name, MODELS[name], x if name == "Nelson" else x[0], y, (table[:, 0], table[:, 1]), table[:, 2], table[:, 3],
        float(total.split(":")[1]),
    )  # fmt: skip


ALL = [read(name) for name in MODELS]
