"""Dropout. Generators are drawn from in the order of the calls; inside `dif.vmap` all examples share one mask.

On a GPU the masks are drawn there: the same in each run, but others than on the CPU, unless `rng` is one of
`dif.random`.
"""

from __future__ import annotations

import math
from typing import Any

from . import init
from ._fused import beside
from ._module import Module


def _mask(x: Any, shape: tuple, p: float, rng: init.Rng) -> Any:
    return beside(init.generator_beside(rng, x).random(shape) >= p, x)


def _checked(name: str, p: float) -> None:
    if not 0 <= p <= 1:
        raise ValueError(f"{name}: p is a probability, got {p}")


def dropout(x: Any, p: float = 0.5, training: bool = True, rng: init.Rng = None) -> Any:
    """Elements are zero with probability `p`, the others divided by ``1 - p``; x itself unless `training`."""
    _checked("dropout", p)
    if not training or p == 0:
        return x
    return x * (_mask(x, x.shape, p, rng) * (1 / (1 - p) if p < 1 else 0.0))


def feature_dropout(x: Any, p: float = 0.5, training: bool = True, rng: init.Rng = None) -> Any:
    """Whole channels ``(N, C, ...)`` are zero with probability `p`."""
    _checked("feature_dropout", p)
    if not training or p == 0:
        return x
    return x * (_mask(x, (*x.shape[:2], *[1] * (x.ndim - 2)), p, rng) * (1 / (1 - p) if p < 1 else 0.0))


def feature_alpha_dropout(x: Any, p: float = 0.5, training: bool = False, rng: init.Rng = None) -> Any:
    """`alpha_dropout` of whole channels ``(N, C, ...)``."""
    return alpha_dropout(x, p, training, rng, (*x.shape[:2], *[1] * (x.ndim - 2)))


def alpha_dropout(x: Any, p: float = 0.5, training: bool = False, rng: init.Rng = None,
                  shape: tuple | None = None) -> Any:  # fmt: skip
    """Dropout that keeps mean 0 and variance 1 behind `selu`; G. Klambauer et al., arXiv:1706.02515, section 3.

    `shape` is that of the mask, which is broadcast.
    """
    _checked("alpha_dropout", p)
    if not training or p == 0:
        return x
    low = -1.7580993408473766  # -scale alpha of selu
    a = 1 / math.sqrt((1 - p) * (1 + p * low**2)) if p < 1 else 0.0
    kept = _mask(x, x.shape if shape is None else shape, p, rng)
    return a * (x * kept + low * (1 - kept)) - a * p * low


class Dropout(Module):
    """`nn.functional.dropout` in training, the identity else.

    Parameters
    ----------
    p : float
    rng : Generator or int, optional
        Draws the masks; its state is saved in the checkpoints of `nn.fit`.
    """

    function = staticmethod(dropout)

    def __init__(self, p: float = 0.5, inplace: bool = False, rng: init.Rng = None):
        _checked(type(self).__name__, p)
        self.p, self.rng = p, init.generator(rng)

    def forward(self, x: Any) -> Any:
        return type(self).function(x, self.p, self.training, self.rng)


class _ChannelDropout(Dropout):
    single = 0  # the number of axes of one example without a batch
    function = staticmethod(feature_dropout)

    def forward(self, x: Any) -> Any:
        return super().forward(x[None])[0] if x.ndim == self.single else super().forward(x)


class Dropout1d(_ChannelDropout):
    """Drops whole channels of ``(N, C, L)`` or ``(C, L)``."""

    single = 2


class Dropout2d(_ChannelDropout):
    """Drops whole channels of ``(N, C, H, W)``; three axes are taken for ``(N, C, L)``, as in PyTorch."""


class Dropout3d(_ChannelDropout):
    """Drops whole channels of ``(N, C, D, H, W)`` or ``(C, D, H, W)``."""

    single = 4


class AlphaDropout(Dropout):
    """`nn.functional.alpha_dropout` in training, the identity else."""

    function = staticmethod(alpha_dropout)


class FeatureAlphaDropout(Dropout):
    """`nn.functional.feature_alpha_dropout` in training, the identity else."""

    function = staticmethod(feature_alpha_dropout)
