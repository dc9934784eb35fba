"""Losses: functions and modules, by PyTorch's names and with its defaults. Targets are never silently broadcast."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

import difftensor as dif

from ._activations import logsigmoid
from ._fused import constant
from ._settings import Applied


def reduced(values: Any, reduction: str) -> Any:
    if reduction == "mean":
        return values.mean()
    if reduction == "sum":
        return values.sum()
    if reduction == "none":
        return values
    raise ValueError(f"reduction must be 'mean', 'sum' or 'none', got {reduction!r}")


def same_shape(name: str, x: Any, target: Any) -> Any:
    if not isinstance(target, dif.Tensor):
        target = dif.asarray(target, device=x.device) if isinstance(x, dif.Tensor) else np.asarray(target)
    if target.shape != x.shape:
        raise ValueError(f"{name}: input {x.shape} and target {target.shape} must have the same shape; broadcasting "
                         "them would average over pairs that do not belong together")  # fmt: skip
    return target if target.dtype == x.dtype or target.dtype.kind != "iub" else target.astype(x.dtype)


def _weighted(name: str, values: Any, weight: Any, reduction: str) -> Any:
    """Reduced with weights of the elements; the mean is that of the weights."""
    if weight is None:
        return reduced(values, reduction)
    weight = same_shape(name, values, weight)
    total = reduced(values * weight, "sum" if reduction == "mean" else reduction)
    return total / weight.sum() if reduction == "mean" else total


def check_classes(name: str, weight: Any, classes: int, label_smoothing: float = 0.0) -> None:
    if weight is not None and weight.shape != (classes,):
        raise ValueError(f"{name}: weight of shape {weight.shape}, but there are {classes} classes")
    if not 0 <= label_smoothing <= 1:
        raise ValueError(f"{name}: label_smoothing must be between 0 and 1, got {label_smoothing}")


def of_class(weight: Any, index: Any) -> Any:
    """Weights by labels, which inside vmap are no index of an ndarray."""
    return (dif.asarray(weight) if isinstance(index, dif.Tensor) else weight)[index]


def mse_loss(input: Any, target: Any, reduction: str = "mean", weight: Any = None) -> Any:
    """``(input - target)^2``; the mean is weighted."""
    return _weighted("mse_loss", (input - same_shape("mse_loss", input, target)) ** 2, weight, reduction)


def l1_loss(input: Any, target: Any, reduction: str = "mean", weight: Any = None) -> Any:
    """``|input - target|``; the mean is weighted."""
    return _weighted("l1_loss", dif.abs(input - same_shape("l1_loss", input, target)), weight, reduction)


def smooth_l1_loss(input: Any, target: Any, reduction: str = "mean", beta: float = 1.0) -> Any:
    """``d^2 / (2 beta)`` for distances d below beta, ``d - beta / 2`` above."""
    if beta == 0:
        return l1_loss(input, target, reduction)
    return huber_loss(input, target, reduction, beta) / beta


def huber_loss(input: Any, target: Any, reduction: str = "mean", delta: float = 1.0, weight: Any = None) -> Any:
    """``d^2 / 2`` for distances d below delta, ``delta (d - delta / 2)`` above; times `weight`, the mean by number."""
    d = dif.abs(input - same_shape("huber_loss", input, target))
    values = dif.where(d < delta, 0.5 * d * d, delta * (d - 0.5 * delta))
    return reduced(values if weight is None else values * same_shape("huber_loss", values, weight), reduction)


def binary_cross_entropy(input: Any, target: Any, weight: Any = None, reduction: str = "mean") -> Any:
    """``-t log(p) - (1 - t) log(1 - p)``; logarithms are bounded by -100, as in PyTorch."""
    t = same_shape("binary_cross_entropy", input, target)
    log = lambda p: dif.where(p == 0, -100.0, dif.maximum(dif.log(dif.where(p == 0, 1.0, p)), -100.0))  # noqa: E731
    values = -(t * log(input) + (1 - t) * log(1 - input))
    return reduced(values if weight is None else values * weight, reduction)


def binary_cross_entropy_with_logits(input: Any, target: Any, weight: Any = None, reduction: str = "mean",
                                     pos_weight: Any = None) -> Any:  # fmt: skip
    """`binary_cross_entropy` of ``sigmoid(input)``, without overflow."""
    t = same_shape("binary_cross_entropy_with_logits", input, target)
    up = 1.0 if pos_weight is None else pos_weight
    values = -(up * t * logsigmoid(input) + (1 - t) * logsigmoid(-input))
    return reduced(values if weight is None else values * weight, reduction)


def kl_div(input: Any, target: Any, reduction: str = "mean", log_target: bool = False) -> Any:
    """``t (log t - input)``: `input` holds log-probabilities. "batchmean" sums and divides by the first axis."""
    t = same_shape("kl_div", input, target)
    values = dif.exp(t) * (t - input) if log_target else dif.special.xlogy(t, t) - t * input
    return values.sum() / input.shape[0] if reduction == "batchmean" else reduced(values, reduction)


def poisson_nll_loss(input: Any, target: Any, log_input: bool = True, full: bool = False, eps: float = 1e-8,
                     reduction: str = "mean") -> Any:  # fmt: skip
    """Minus the log-likelihood of counts; `full` adds Stirling's approximation of log(target!) where target > 1."""
    t = same_shape("poisson_nll_loss", input, target)
    values = dif.exp(input) - t * input if log_input else input - t * dif.log(input + eps)
    if full:
        safe = dif.where(t > 1, t, 1.0)
        stirling = safe * dif.log(safe) - safe + 0.5 * dif.log(2 * math.pi * safe)
        values = values + dif.where(t > 1, stirling, 0.0)
    return reduced(values, reduction)


def gaussian_nll_loss(input: Any, target: Any, var: Any, full: bool = False, eps: float = 1e-6,
                      reduction: str = "mean") -> Any:  # fmt: skip
    """Minus the log-likelihood of normal variables of mean `input` and variance `var`, at least `eps`."""
    t = same_shape("gaussian_nll_loss", input, target)
    var = dif.full_like(constant(input, input), var) if isinstance(var, (int, float)) else var
    if var.shape == input.shape[:-1]:
        var = var[..., None]
    held = constant(var, input)
    if isinstance(held, np.ndarray) and (held < 0).any():
        raise ValueError("gaussian_nll_loss: variances must not be negative")
    v = var + dif.maximum(eps - held, 0.0)  # bounded below; the gradient passes
    v = v if isinstance(held, np.ndarray) else dif.where(held < 0, np.nan, v)  # to look would be a trip to the host
    values = 0.5 * (dif.log(v) + (input - t) ** 2 / v)
    return reduced(values + 0.5 * math.log(2 * math.pi) if full else values, reduction)


def soft_margin_loss(input: Any, target: Any, reduction: str = "mean") -> Any:
    """``log(1 + exp(-target input))``, targets 1 and -1."""
    return reduced(-logsigmoid(same_shape("soft_margin_loss", input, target) * input), reduction)


def hinge_embedding_loss(input: Any, target: Any, margin: float = 1.0, reduction: str = "mean") -> Any:
    """Distances where target is 1, ``max(0, margin - distance)`` where it is -1."""
    t = constant(same_shape("hinge_embedding_loss", input, target), input)
    return reduced(dif.where(t == 1, input, _positive(margin - input)), reduction)


def margin_ranking_loss(input1: Any, input2: Any, target: Any, margin: float = 0.0, reduction: str = "mean") -> Any:
    """``max(0, -target (input1 - input2) + margin)``."""
    t = same_shape("margin_ranking_loss", input1, target)
    return reduced(_at_least_zero(margin - t * (input1 - input2)), reduction)


def cosine_embedding_loss(input1: Any, input2: Any, target: Any, margin: float = 0.0, reduction: str = "mean") -> Any:
    """``1 - cos`` where target is 1, ``max(0, cos - margin)`` where it is -1; vectors along the last axis."""
    eps = 1e-12  # PyTorch's
    cos = (input1 * input2).sum(-1) / dif.sqrt(((input1**2).sum(-1) + eps) * ((input2**2).sum(-1) + eps))
    return reduced(dif.where(constant(target, cos) == 1, 1 - cos, _positive(cos - margin)), reduction)


def triplet_margin_loss(anchor: Any, positive: Any, negative: Any, margin: float = 1.0, p: float = 2.0,
                        eps: float = 1e-6, swap: bool = False, reduction: str = "mean") -> Any:  # fmt: skip
    """``max(0, |anchor - positive| - |anchor - negative| + margin)`` in p-norms along the last axis."""
    distance = lambda a, b: pairwise_distance(a, b, p, eps)  # noqa: E731
    return triplet_margin_with_distance_loss(anchor, positive, negative, distance, margin, swap, reduction)


def pairwise_distance(x1: Any, x2: Any, p: float = 2.0, eps: float = 1e-6, keepdim: bool = False) -> Any:
    """The p-norm of ``x1 - x2 + eps`` along the last axis."""
    return dif.linalg.norm(x1 - x2 + eps, ord=p, axis=-1, keepdims=keepdim)


def triplet_margin_with_distance_loss(
    anchor: Any,
    positive: Any,
    negative: Any,
    distance_function: Any = None,
    margin: float = 1.0,
    swap: bool = False,
    reduction: str = "mean",
) -> Any:
    """`triplet_margin_loss` for any function of two arrays; `pairwise_distance` by default."""
    distance = pairwise_distance if distance_function is None else distance_function
    near, far = distance(anchor, positive), distance(anchor, negative)
    if swap:
        far = dif.minimum(far, distance(positive, negative))
    return reduced(_at_least_zero(near - far + margin), reduction)


def multilabel_margin_loss(input: Any, target: Any, reduction: str = "mean") -> Any:
    """``sum_{i, j} max(0, 1 - x_j + x_i) / C`` over classes j in the target, which -1 ends, and i that are not."""
    if input.ndim == 1:
        found = multilabel_margin_loss(input[None], constant(target, input)[None], "none")
        return found[0] if reduction == "none" else reduced(found, reduction)
    t = constant(target, input)
    counts = dif.cumulative_sum((t < 0).astype(int), axis=1) == 0
    inside = ((t[:, :, None] == constant(np.arange(input.shape[1]), input)) & counts[:, :, None]).any(axis=1)
    chosen = dif.take_along_axis(input, dif.where(counts, t, 0), axis=1)
    terms = _positive(1 - chosen[:, :, None] + input[:, None, :])
    terms = terms * (counts[:, :, None] & ~inside[:, None, :])
    return reduced(terms.sum(axis=(1, 2)) / input.shape[1], reduction)


def multi_margin_loss(input: Any, target: Any, p: int = 1, margin: float = 1.0, weight: Any = None,
                      reduction: str = "mean") -> Any:  # fmt: skip
    """``sum_{i != t} max(0, margin - x_t + x_i)^p / C``."""
    if input.ndim == 1:
        found = multi_margin_loss(input[None], constant(target, input)[None], p, margin, weight, "none")
        return found[0] if reduction == "none" else reduced(found, reduction)
    check_classes("multi_margin_loss", weight, input.shape[1])
    t = constant(target, input)
    chosen = dif.take_along_axis(input, t[:, None], axis=1)
    terms = _at_least_zero(margin - chosen + input) ** p
    terms = terms * (constant(np.arange(input.shape[1]), input) != t[:, None])
    if weight is not None:
        terms = terms * of_class(weight, t)[:, None]
    return reduced(terms.sum(axis=1) / input.shape[1], reduction)


def multilabel_soft_margin_loss(input: Any, target: Any, weight: Any = None, reduction: str = "mean") -> Any:
    """`binary_cross_entropy_with_logits`, averaged over the last axis first."""
    values = binary_cross_entropy_with_logits(input, target, weight, "none")
    return reduced(values.mean(axis=-1), reduction)


def _positive(x: Any) -> Any:
    """``max(0, x)`` with derivative 0 at 0."""
    return dif.where(x > 0, x, 0.0)


def _at_least_zero(x: Any) -> Any:
    """``max(0, x)`` with derivative 1 at 0, as PyTorch's clamp_min has it."""
    return dif.where(x >= 0, x, 0.0)


class MSELoss(Applied):
    function = staticmethod(mse_loss)


class L1Loss(Applied):
    function = staticmethod(l1_loss)


class SmoothL1Loss(Applied):
    function = staticmethod(smooth_l1_loss)


class HuberLoss(Applied):
    function = staticmethod(huber_loss)


class BCELoss(Applied):
    function = staticmethod(binary_cross_entropy)


class BCEWithLogitsLoss(Applied):
    function = staticmethod(binary_cross_entropy_with_logits)


class KLDivLoss(Applied):
    function = staticmethod(kl_div)


class PoissonNLLLoss(Applied):
    function = staticmethod(poisson_nll_loss)


class GaussianNLLLoss(Applied):
    function = staticmethod(gaussian_nll_loss)


class SoftMarginLoss(Applied):
    function = staticmethod(soft_margin_loss)


class HingeEmbeddingLoss(Applied):
    function = staticmethod(hinge_embedding_loss)


class MarginRankingLoss(Applied):
    function = staticmethod(margin_ranking_loss)


class CosineEmbeddingLoss(Applied):
    function = staticmethod(cosine_embedding_loss)


class TripletMarginLoss(Applied):
    function = staticmethod(triplet_margin_loss)


class MultiMarginLoss(Applied):
    function = staticmethod(multi_margin_loss)


class MultiLabelSoftMarginLoss(Applied):
    function = staticmethod(multilabel_soft_margin_loss)


class MultiLabelMarginLoss(Applied):
    function = staticmethod(multilabel_margin_loss)


class TripletMarginWithDistanceLoss(Applied):
    function = staticmethod(triplet_margin_with_distance_loss)


class PairwiseDistance(Applied):
    function = staticmethod(pairwise_distance)
