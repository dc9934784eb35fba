"""Raw counts: Poisson, binomial, hypergeometric and their like, in array code.

Small means by inversion, large ones by transformed rejection; two words are reserved for each number. W. Hoermann, The
transformed rejection method for generating Poisson random variables, Insurance: Mathematics and Economics 12 (1993)
39-45 (PTRS); The generation of binomial random variates, Journal of Statistical Computation and Simulation 46 (1993)
101-110 (BTRS).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from difftensor._backend import Device, device_of
from difftensor.random import _noise
from difftensor.random._gamma import standard_gamma
from difftensor.random._philox import Philox
from difftensor.random._rejection import SECOND_LANE, reject
from difftensor.special._declare import forward_of

_SMALL_MEAN = 10.0  # both papers' bound for the transformed rejection
_LONGEST = 60  # of a climb: the probability of 60 or more at mean 10 is 2e-26
_ATTEMPTS = 40  # more than 0.6 are accepted: 0.4^40 < 10^-15
_gammaln = forward_of("gammaln")
_xlog1py, _xlogy = forward_of("xlog1py"), forward_of("xlogy")
MOST = np.int64(2**63 - 1)


def _remainder(k: Any) -> Any:
    """log k! - (k log k - k), by Stirling's series where log k! is large (DLMF 5.11.1)."""
    far = np.maximum(k, 1e5)
    stirling = 0.5 * np.log(2 * np.pi * far) + 1 / (12 * far)
    return _noise.where(k < 1e5, _gammaln(k + 1.0) - _xlogy(k, k) + k, stirling)


def _deviance(k: Any, mean: Any) -> Any:
    """k log(k / mean) + mean - k, without cancellation near the mean."""
    d = (k - mean) / mean
    return mean * (_xlog1py(1 + d, d) - d)


def _log_poisson(k: Any, mean: Any) -> Any:
    return -_remainder(k) - _deviance(k, mean)


def _log_binomial(k: Any, n: Any, p: Any) -> Any:
    rest = n - k
    return _remainder(n) - _remainder(k) - _remainder(rest) - _deviance(k, n * p) - _deviance(rest, n * (1 - p))


def _taken(mask: Any, *vs: Any) -> list:
    return [v[mask] if np.ndim(v) else v for v in vs]


def _decided(xp: Any, quick: Any, hopeless: Any, decide: Callable, *arrays: Any) -> Any:
    """Acceptance by the squeeze, else by the density: on the CPU only where it is needed."""
    if xp is not np:
        with np.errstate(all="ignore"):
            return quick | (~hopeless & decide(*arrays))
    open_ = np.flatnonzero(~(quick | hopeless))
    if open_.size:
        quick[open_] = decide(*_taken(open_, *arrays))
    return quick


def _climb(u: Any, first: Any, factor: Callable) -> Any:
    """How many terms of the distribution function that starts with `first` lie below u."""
    k = np.zeros_like(u, dtype=np.int64)
    term = total = first
    for j in range(1, _LONGEST):
        above = u >= total
        if u.__class__ is np.ndarray and not above.any():
            break
        k += above
        term = term * factor(j)
        total = total + term
    return k


def _in_two(small: Any, low: Callable, high: Callable) -> Any:
    """`low` where `small`, `high` elsewhere; only what is needed where `small` can be read."""
    if device_of(small).kind == "cpu":
        if np.all(small):
            return low()
        if not np.any(small):
            return high()
    return _noise.where(small, low(), high())


def poisson(source: Philox, shape: tuple, device: Device, mean: Any) -> Any:
    """Raw Poisson numbers."""
    n = math.prod(shape)
    start = source.reserve(2 * n)
    small = mean < _SMALL_MEAN

    def low() -> Any:
        u = _noise.uniform(np, source.words(start, n, device, SECOND_LANE)).reshape(shape)
        m = np.minimum(mean, _SMALL_MEAN)
        return _climb(u, np.exp(-m), lambda j: m / j)

    def high() -> Any:
        m = np.maximum(mean, _SMALL_MEAN)
        b = 0.931 + 2.53 * np.sqrt(m)
        return reject(source, start, shape, device, 2, _ATTEMPTS, _propose_poisson, m, b)

    return _in_two(small, low, high)


def _propose_poisson(xp: Any, w: list, m: Any, b: Any) -> tuple:
    """PTRS; its names."""
    u, v = _noise.centered(xp, w[0]) - 0.5, _noise.centered(xp, w[1])
    a = -0.059 + 0.02483 * b
    us = 0.5 - abs(u)
    k = xp.floor((2 * a / us + b) * u + m + 0.43)
    quick = (us >= 0.07) & (v <= 0.9277 - 3.6224 / (b - 2))
    hopeless = (k < 0) | ((us < 0.013) & (v > us))

    def decide(v: Any, us: Any, k: Any, m: Any, a: Any, b: Any) -> Any:
        inverse_alpha = 1.1239 + 1.1328 / (b - 3.4)
        return np.log(v * inverse_alpha / (a / (us * us) + b)) <= _log_poisson(np.maximum(k, 0.0), m)

    accepted = _decided(xp, quick, hopeless, decide, v, us, k, m, a, b)
    return xp.where(accepted, k, 0.0).astype(xp.int64), accepted


def binomial(source: Philox, shape: tuple, device: Device, n: Any, p: Any) -> Any:
    """Raw binomial numbers."""
    size = math.prod(shape)
    start = source.reserve(2 * size)
    flipped = p > 0.5
    n = n * 1.0
    p = _noise.where(flipped, 1 - p, p)
    small = n * p < _SMALL_MEAN

    def low() -> Any:
        u = _noise.uniform(np, source.words(start, size, device, SECOND_LANE)).reshape(shape)
        m = _noise.where(small, n, 0.0)
        odds = p / (1 - p)
        return _climb(u, np.exp(m * np.log1p(-p)), lambda j: odds * np.maximum(m - (j - 1), 0.0) / j)

    def high() -> Any:
        m, q = _noise.where(small, 100.0, n), _noise.where(small, 0.5, p)
        return reject(source, start, shape, device, 2, _ATTEMPTS, _propose_binomial, m, q)

    k = _in_two(small, low, high)
    return _noise.where(flipped, n - k, k).astype(np.int64)


def _propose_binomial(xp: Any, w: list, n: Any, p: Any) -> tuple:
    """BTRS; its names."""
    u, v = _noise.centered(xp, w[0]) - 0.5, _noise.centered(xp, w[1])
    spq = np.sqrt(n * p * (1 - p))
    b = 1.15 + 2.53 * spq
    a = -0.0873 + 0.0248 * b + 0.01 * p
    us = 0.5 - abs(u)
    k = xp.floor((2 * a / us + b) * u + n * p + 0.5)
    quick = (us >= 0.07) & (v <= 0.92 - 4.2 / b)
    hopeless = (k < 0) | (k > n)

    def decide(v: Any, us: Any, k: Any, n: Any, p: Any, a: Any, b: Any, spq: Any) -> Any:
        alpha = (2.83 + 5.1 / b) * spq
        mode = np.floor((n + 1) * p)
        within = np.minimum(np.maximum(k, 0.0), n)
        height = _log_binomial(within, n, p) - _log_binomial(mode, n, p)
        return np.log(v * alpha / (a / (us * us) + b)) <= height

    accepted = _decided(xp, quick, hopeless, decide, v, us, k, n, p, a, b, spq)
    return xp.where(accepted, k, 0.0).astype(xp.int64), accepted


def negative_binomial(source: Philox, shape: tuple, device: Device, n: Any, p: Any) -> Any:
    """Raw numbers: Poisson of a gamma variable of shape n and scale (1 - p) / p."""
    x, extra = standard_gamma(source, shape, device, n * 1.0)
    mean = (x if extra is None else x * np.exp(extra)) * ((1 - p) / p)
    return poisson(source, shape, device, mean)


def whole(x: Any) -> Any:
    """`x`, a floating array of whole numbers, as int64; the largest of those where it is beyond."""
    return _noise.where(x >= 2.0**63, MOST, np.minimum(x, 2.0**63 - 1024).astype(np.int64))


def geometric(source: Philox, shape: tuple, device: Device, p: Any) -> Any:
    """Raw numbers of trials: E / -log(1 - p), rounded up."""
    e = source.fill(_noise.exponential, shape, device)
    with np.errstate(divide="ignore"):
        return whole(np.maximum(np.ceil(e / -np.log1p(-(p * 1.0))), 1.0))


def logseries(source: Philox, shape: tuple, device: Device, p: Any) -> Any:
    """A. W. Kemp, Efficient generation of logarithmically distributed pseudo-random variables, Applied Statistics 30
    (1981) 249-253, algorithm LK: two words."""
    v = source.fill(_noise.centered, shape, device)
    u = source.fill(_noise.centered, shape, device)
    q = -np.expm1(np.log1p(-(p * 1.0)) * u)
    with np.errstate(divide="ignore", invalid="ignore"):
        large = np.floor(1 + np.log(v) / np.log(q))
    k = _noise.where(v >= q, 1.0, _noise.where(v <= q * q, np.maximum(large, 1.0), 2.0))
    return whole(_noise.where(v >= p, 1.0, k))


def zipf(source: Philox, shape: tuple, device: Device, a: Any) -> Any:
    """L. Devroye, Non-Uniform Random Variate Generation, Springer 1986, section X.6.1: two words."""
    start = source.reserve(2 * math.prod(shape))
    a = np.minimum(a, 1024.0)  # from there on all draws are 1
    return reject(source, start, shape, device, 2, 64, _propose_zipf, a - 1, 2.0 ** (a - 1))


def _propose_zipf(xp: Any, w: list, less: Any, b: Any) -> tuple:
    lowest = np.exp(-less * np.log(2.0**63))  # of which the power below is still an int64
    u = _noise.uniform(xp, w[0])
    u = u * lowest + (1 - u)
    x = xp.floor(u ** (-1 / less))
    fine = (x >= 1) & (x < 2.0**63)
    x = xp.where(fine, x, 1.0)
    # (1 + 1/x)^(a-1) - 1 and its like without cancellation
    grown = np.expm1(less * np.log1p(1 / x))
    accepted = fine & (_noise.uniform(xp, w[1]) * x * grown / (b - 1) <= (grown + 1) / b)
    return x.astype(xp.int64), accepted


def hypergeometric(source: Philox, shape: tuple, device: Device, good: Any, bad: Any, sample: Any) -> Any:
    """E. Stadlober, The ratio of uniforms approach for generating discrete random variates, Journal of Computational
    and Applied Mathematics 31 (1990) 181-189, algorithm HRUE: two words."""
    start = source.reserve(2 * math.prod(shape))
    # of small numbers only one proposal in four is accepted: 0.76^150 < 10^-17
    k = reject(source, start, shape, device, 2, 150, _propose_hypergeometric, good * 1.0, bad * 1.0, sample * 1.0)
    total = good + bad
    k = _noise.where(good > bad, np.minimum(sample, total - sample) - k, k)
    return _noise.where(2 * sample > total, good - k, k).astype(np.int64)


def _propose_hypergeometric(xp: Any, w: list, good: Any, bad: Any, sample: Any) -> tuple:
    """The number of the rarer kind in the smaller of the sample and what it leaves."""
    total = good + bad
    few, many, m = np.minimum(good, bad), np.maximum(good, bad), np.minimum(sample, total - sample)
    share = few / np.maximum(total, 1.0)
    center = m * share + 0.5
    spread = np.sqrt((total - m) * m * share * (1 - share) / np.maximum(total - 1, 1.0) + 0.5)
    # 2 sqrt(2/e) and 3 - 2 sqrt(3/e): the hat of the ratio of uniforms
    width = 2 * math.sqrt(2 / math.e) * spread + (3 - 2 * math.sqrt(3 / math.e))
    mode = np.floor((m + 1) * (few + 1) / (total + 2))
    end = np.minimum(np.minimum(m, few) + 1, np.floor(center + 16 * spread))
    u, v = _noise.centered(xp, w[0]), _noise.centered(xp, w[1])
    x = center + width * (v - 0.5) / u
    fine = (x >= 0) & (x < end)
    k = xp.floor(xp.where(fine, x, 0.0))

    def height(k: Any) -> Any:
        return (
            _gammaln(k + 1) + _gammaln(few - k + 1) + _gammaln(m - k + 1) + _gammaln(np.maximum(many - m + k, 0.0) + 1)
        )

    accepted = fine & (2 * xp.log(u) <= height(mode) - height(k))
    return k.astype(xp.int64), accepted
