"""In which order examples come: one epoch's indices from a generator."""

from __future__ import annotations

from typing import Any

import numpy as np


class Sampler:
    """``indices(n, rng)`` returns the indices of one epoch over n examples."""

    def indices(self, n: int, rng: Any) -> np.ndarray:
        raise NotImplementedError(f"{type(self).__name__} must define indices(n, rng)")


class SequentialSampler(Sampler):
    """From the first to the last."""

    def indices(self, n: int, rng: Any) -> np.ndarray:
        return np.arange(n)


class RandomSampler(Sampler):
    """A permutation, or with ``replacement=True`` independent draws; `count` of them (all by default)."""

    def __init__(self, replacement: bool = False, count: int | None = None):
        self.replacement, self.count = replacement, count

    def indices(self, n: int, rng: Any) -> np.ndarray:
        count = n if self.count is None else self.count
        return rng.integers(n, size=count) if self.replacement else rng.permutation(n)[:count]


class WeightedSampler(Sampler):
    """Draws with probabilities proportional to `weights`."""

    def __init__(self, weights: Any, count: int | None = None, replacement: bool = True):
        self.weights = np.asarray(weights, dtype=float)
        if self.weights.ndim != 1 or not (self.weights >= 0).all() or not self.weights.sum() > 0:
            raise ValueError("WeightedSampler: weights must be a vector of numbers that are not negative, not all zero")
        self.count, self.replacement = count, replacement

    def indices(self, n: int, rng: Any) -> np.ndarray:
        if len(self.weights) != n:
            raise ValueError(f"WeightedSampler: {len(self.weights)} weights for {n} examples")
        count = n if self.count is None else self.count
        return rng.choice(n, size=count, replace=self.replacement, p=self.weights / self.weights.sum())
