"""Robust losses: ``rho(z)`` of the squared, scaled residual, with two derivatives."""

from __future__ import annotations

import numpy as np


def linear(z):
    return z, np.ones_like(z), np.zeros_like(z)


def soft_l1(z):
    t = 1 + z
    return 2 * z / (np.sqrt(t) + 1), t**-0.5, -0.5 * t**-1.5  # 2 (sqrt(t) - 1), to the last digit


def huber(z):
    far = z > 1
    safe = np.where(far, z, 1.0)
    return (
        np.where(far, 2 * np.sqrt(safe) - 1, z),
        np.where(far, safe**-0.5, 1.0),
        np.where(far, -0.5 * safe**-1.5, 0.0),
    )


def cauchy(z):
    t = 1 + z
    return np.log1p(z), 1 / t, -1 / t**2


def arctan(z):
    t = 1 + z**2
    return np.arctan(z), 1 / t, -2 * z / t**2


LOSSES = {"linear": linear, "soft_l1": soft_l1, "huber": huber, "cauchy": cauchy, "arctan": arctan}
