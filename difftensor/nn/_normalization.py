"""Normalization over the batch, the layer, groups of channels, or instances."""

from __future__ import annotations

from functools import lru_cache
from math import prod
from typing import Any

import numpy as np

import difftensor as dif

from ._fused import fused
from ._module import Module, parameter
from ._settings import Applied


@lru_cache(maxsize=256)
def _standardizing(axes: tuple, eps: float) -> Any:
    """x minus its mean over `axes`, divided by its standard deviation; the mean and the variance besides."""

    def plain(x: Any) -> Any:
        mean = x.mean(axis=axes, keepdims=True)
        d = x - mean
        var = (d * d).mean(axis=axes, keepdims=True)
        return d / dif.sqrt(var + eps), mean, var

    def forward(x: np.ndarray) -> tuple:
        mean = x.mean(axis=axes, keepdims=True)
        y = x - mean
        var = np.mean(y * y, axis=axes, keepdims=True)
        r = 1 / np.sqrt(var + np.asarray(eps, var.dtype))
        y *= r
        return (y, mean, var), (y, r)

    def backward(saved: tuple, gs: tuple) -> tuple:
        # the tangent space of y is orthogonal to 1 and to y; mean and variance are handed out detached
        y, r = saved
        g = gs[0]
        d = g - g.mean(axis=axes, keepdims=True)
        d -= y * np.mean(g * y, axis=axes, keepdims=True)
        d *= r
        return (d,)

    return fused(plain, forward, backward)


def _standardized(x: Any, axes: tuple, eps: float) -> Any:
    axes = tuple(a - x.ndim if a >= 0 else a for a in axes)
    y, mean, var = _standardizing(axes, float(eps))(x)
    return (y, mean.detach(), var.detach()) if isinstance(mean, dif.Tensor) else (y, mean, var)


def _per_channel(v: Any, ndim: int) -> Any:
    return v.reshape(-1, *[1] * (ndim - 2))


def _affine(y: Any, weight: Any, bias: Any, ndim: int | None = None) -> Any:
    shaped = (lambda v: v) if ndim is None else (lambda v: _per_channel(v, ndim))
    y = y if weight is None else y * shaped(weight)
    return y if bias is None else y + shaped(bias)


def layer_norm(x: Any, normalized_shape: Any, weight: Any = None, bias: Any = None, eps: float = 1e-5) -> Any:
    """Standardized over the last axes, of shape `normalized_shape`; J. L. Ba et al., arXiv:1607.06450."""
    shape = (normalized_shape,) if isinstance(normalized_shape, int) else tuple(normalized_shape)
    if x.shape[x.ndim - len(shape) :] != shape:
        raise ValueError(f"layer_norm: the last axes of {x.shape} are not {shape}")
    return _affine(_standardized(x, tuple(range(-len(shape), 0)), eps)[0], weight, bias)


def rms_norm(x: Any, normalized_shape: Any, weight: Any = None, eps: float | None = None) -> Any:
    """Divided by the root mean square over the last axes; B. Zhang, R. Sennrich, arXiv:1910.07467, eq. 4."""
    shape = (normalized_shape,) if isinstance(normalized_shape, int) else tuple(normalized_shape)
    if x.shape[x.ndim - len(shape) :] != shape:
        raise ValueError(f"rms_norm: the last axes of {x.shape} are not {shape}")
    eps = float(np.finfo(x.dtype).eps) if eps is None else eps
    y = x / dif.sqrt((x * x).mean(axis=tuple(range(-len(shape), 0)), keepdims=True) + eps)
    return y if weight is None else y * weight


def group_norm(x: Any, num_groups: int, weight: Any = None, bias: Any = None, eps: float = 1e-5) -> Any:
    """Standardized over groups of channels and space; Y. Wu, K. He, arXiv:1803.08494."""
    n, c = x.shape[:2]
    if c % num_groups:
        raise ValueError(f"group_norm: {c} channels cannot be put in {num_groups} groups")
    grouped = x.reshape((n, num_groups, -1))
    return _affine(_standardized(grouped, (-1,), eps)[0].reshape(x.shape), weight, bias, x.ndim)


def instance_norm(x: Any, running_mean: Any = None, running_var: Any = None, weight: Any = None, bias: Any = None,
                  use_input_stats: bool = True, momentum: float = 0.1, eps: float = 1e-5) -> Any:  # fmt: skip
    """Standardized over space, for each example and channel; D. Ulyanov et al., arXiv:1607.08022.

    Without `use_input_stats` by the running moments, which are not changed here: `nn.InstanceNorm2d` does that.
    """
    if not use_input_stats:
        return batch_norm(x, running_mean, running_var, weight, bias, False, momentum, eps)
    return _affine(_standardized(x, tuple(range(2 - x.ndim, 0)), eps)[0], weight, bias, x.ndim)


def batch_norm(x: Any, running_mean: Any, running_var: Any, weight: Any = None, bias: Any = None,
               training: bool = False, momentum: float = 0.1, eps: float = 1e-5) -> Any:  # fmt: skip
    """Standardized over batch and space, by the batch's own moments in training, else by the running ones.

    Running moments are not changed here: `nn.BatchNorm2d` does that. S. Ioffe, C. Szegedy, arXiv:1502.03167.
    """
    if training or running_mean is None:
        y = _standardized(x, _over(x), eps)[0]
        return _affine(y, weight, bias, x.ndim)
    scale = 1 / dif.sqrt(running_var + eps)
    scale = scale if weight is None else scale * weight
    shift = -running_mean * scale
    return _affine(x, scale, shift if bias is None else shift + bias, x.ndim)


def _over(x: Any) -> tuple:
    return (-x.ndim, *range(2 - x.ndim, 0))


def local_response_norm(x: Any, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0) -> Any:
    """Divided by ``(k + alpha mean of squares over `size` channels)^beta``; A. Krizhevsky et al., NeurIPS 2012, 3.3."""
    squares = dif.pad(x * x, [(0, 0), (size // 2, (size - 1) // 2), *[(0, 0)] * (x.ndim - 2)])
    c = x.shape[1]
    total = squares[:, :c]
    for i in range(1, size):
        total = total + squares[:, i : i + c]
    return x / (k + (alpha / size) * total) ** beta


class _Norm(Module):
    axes: tuple[int, ...] = (2,)
    counts = True
    running_mean: Any = None
    running_var: Any = None
    num_batches_tracked: Any = None

    def __init__(self, num_features: int, eps: float = 1e-5, momentum: float | None = 0.1, affine: bool = True,
                 track_running_stats: bool = True, bias: bool = True, device: Any = None,
                 dtype: Any = None):  # fmt: skip
        self.num_features, self.eps, self.momentum = num_features, eps, momentum
        self.affine, self.track_running_stats = affine, track_running_stats
        self.weight = parameter(np.ones(num_features), dtype, device) if affine else None
        self.bias = parameter(np.zeros(num_features), dtype, device) if affine and bias else None
        if track_running_stats:
            self.register_buffer("running_mean", dif.zeros(num_features, dtype=dtype, device=device))
            self.register_buffer("running_var", dif.ones(num_features, dtype=dtype, device=device))
            self.register_buffer("num_batches_tracked", dif.zeros((), dtype=np.int64, device=device))

    def _check(self, x: Any) -> None:
        if x.ndim not in self.axes or x.shape[1] != self.num_features:
            raise ValueError(
                f"{type(self).__name__}({self.num_features}): input of shape {x.shape}; it needs "
                f"{' or '.join(map(str, self.axes))} axes and {self.num_features} channels on axis 1"
            )

    def _note(self, mean: Any, var: Any, count: int) -> None:
        """The running moments; the variance without bias."""
        if not (self.training and self.track_running_stats):
            return
        with dif.no_grad():
            if self.counts or self.momentum is None:
                self.num_batches_tracked = self.num_batches_tracked.copy()
                self.num_batches_tracked += 1
            m: Any = self.momentum
            if m is None:
                m = (1 / self.num_batches_tracked).astype(self.running_mean.dtype)
            var = var.reshape(-1) * (count / max(count - 1, 1))
            self.running_mean = (1 - m) * self.running_mean + m * mean.reshape(-1)
            self.running_var = (1 - m) * self.running_var + m * var


class _BatchNorm(_Norm):
    def forward(self, x: Any) -> Any:
        self._check(x)
        if not (self.training or self.running_mean is None):
            return batch_norm(x, self.running_mean, self.running_var, self.weight, self.bias, False, 0.0, self.eps)
        count = x.size // max(x.shape[1], 1)
        if count == 1 and self.training:
            raise ValueError(f"{type(self).__name__}: one value per channel has no variance; input {x.shape}")
        y, mean, var = _standardized(x, _over(x), self.eps)
        self._note(mean, var, count)
        return _affine(y, self.weight, self.bias, x.ndim)


class BatchNorm1d(_BatchNorm):
    """Batch normalization of ``(N, C)`` or ``(N, C, L)``."""

    axes = (2, 3)


class BatchNorm2d(_BatchNorm):
    """Batch normalization of ``(N, C, H, W)``.

    Parameters
    ----------
    num_features : int
        C.
    eps : float
    momentum : float or None
        The weight of a new batch in the running moments; None averages all batches.
    affine : bool
        Learn a factor and a shift per channel.
    track_running_stats : bool
        Keep running moments, for `eval`. Inside `dif.grad(f)(model)` they change on the copy that f sees.
    """

    axes = (4,)


class BatchNorm3d(_BatchNorm):
    """Batch normalization of ``(N, C, D, H, W)``."""

    axes = (5,)


class _InstanceNorm(_Norm):
    counts = False  # PyTorch has the counter here too and leaves it at 0; without momentum it is needed

    def __init__(self, num_features: int, eps: float = 1e-5, momentum: float | None = 0.1, affine: bool = False,
                 track_running_stats: bool = False, bias: bool = True, device: Any = None,
                 dtype: Any = None):  # fmt: skip
        super().__init__(num_features, eps, momentum, affine, track_running_stats, bias, device, dtype)

    def forward(self, x: Any) -> Any:
        if x.ndim == self.axes[0] - 1:
            return self.forward(x[None])[0]
        self._check(x)
        if not self.training and self.running_mean is not None:
            return batch_norm(x, self.running_mean, self.running_var, self.weight, self.bias, False, 0.0, self.eps)
        y, mean, var = _standardized(x, tuple(range(2 - x.ndim, 0)), self.eps)
        self._note(mean.mean(axis=0), var.mean(axis=0), prod(x.shape[2:]))
        return _affine(y, self.weight, self.bias, x.ndim)


class InstanceNorm1d(_InstanceNorm):
    """Instance normalization of ``(N, C, L)``."""

    axes = (3,)


class InstanceNorm2d(_InstanceNorm):
    """Instance normalization of ``(N, C, H, W)``."""

    axes = (4,)


class InstanceNorm3d(_InstanceNorm):
    """Instance normalization of ``(N, C, D, H, W)``."""

    axes = (5,)


class LayerNorm(Module):
    """`nn.functional.layer_norm` with a learnt factor and shift per element."""

    def __init__(self, normalized_shape: Any, eps: float = 1e-5, elementwise_affine: bool = True, bias: bool = True,
                 device: Any = None, dtype: Any = None):  # fmt: skip
        self.normalized_shape = (normalized_shape,) if isinstance(normalized_shape, int) else tuple(normalized_shape)
        self.eps = eps
        self.weight = parameter(np.ones(self.normalized_shape), dtype, device) if elementwise_affine else None
        self.bias = parameter(np.zeros(self.normalized_shape), dtype, device) if elementwise_affine and bias else None

    def forward(self, x: Any) -> Any:
        return layer_norm(x, self.normalized_shape, self.weight, self.bias, self.eps)


class RMSNorm(Module):
    """`nn.functional.rms_norm` with a learnt factor per element."""

    def __init__(self, normalized_shape: Any, eps: float | None = None, elementwise_affine: bool = True,
                 device: Any = None, dtype: Any = None):  # fmt: skip
        self.normalized_shape = (normalized_shape,) if isinstance(normalized_shape, int) else tuple(normalized_shape)
        self.eps = eps
        self.weight = parameter(np.ones(self.normalized_shape), dtype, device) if elementwise_affine else None

    def forward(self, x: Any) -> Any:
        return rms_norm(x, self.normalized_shape, self.weight, self.eps)


class GroupNorm(Module):
    """`nn.functional.group_norm` with a learnt factor and shift per channel."""

    def __init__(self, num_groups: int, num_channels: int, eps: float = 1e-5, affine: bool = True, bias: bool = True,
                 device: Any = None, dtype: Any = None):  # fmt: skip
        self.num_groups, self.num_channels, self.eps = num_groups, num_channels, eps
        self.weight = parameter(np.ones(num_channels), dtype, device) if affine else None
        self.bias = parameter(np.zeros(num_channels), dtype, device) if affine and bias else None

    def forward(self, x: Any) -> Any:
        return group_norm(x, self.num_groups, self.weight, self.bias, self.eps)


class LocalResponseNorm(Applied):
    function = staticmethod(local_response_norm)

    @classmethod
    def required(cls) -> tuple[str, ...]:
        return ("size",)
