"""Cross-entropy, of logits and of log-probabilities."""

from __future__ import annotations

from typing import Any

import numpy as np

import difftensor as dif

from ._activations import log_softmax
from ._fused import constant, fused
from ._losses import check_classes, of_class, reduced, same_shape
from ._settings import Applied


def _xent_plain(index: np.ndarray) -> Any:
    return lambda x: -dif.take_along_axis(log_softmax(x, -1), index[:, None], axis=1).mean()


def _xent_forward(index: np.ndarray) -> Any:
    def forward(x: np.ndarray) -> tuple:
        z = x - x.max(axis=1, keepdims=True)
        chosen = z[np.arange(len(index)), index]
        p = np.exp(z, out=z)
        s = np.add.reduce(p, axis=1, keepdims=True)
        p /= s
        return (np.log(s[:, 0]) - chosen).mean(), p

    return forward


def _xent_backward(index: np.ndarray) -> Any:
    def backward(p: np.ndarray, g: Any) -> tuple:
        d = p * (g / len(index))
        d[np.arange(len(index)), index] -= g / len(index)
        return (d,)

    return backward


def cross_entropy(input: Any, target: Any, weight: Any = None, ignore_index: int = -100, reduction: str = "mean",
                  label_smoothing: float = 0.0) -> Any:  # fmt: skip
    """The surprise at `target` under ``softmax(input)``.

    Parameters
    ----------
    input : array, shape (C,), (N, C) or (N, C, d1, ...)
        Logits.
    target : array
        Classes, integers of shape (), (N,) or (N, d1, ...); or probabilities of the shape of `input`.
    weight : array, shape (C,), optional
        Of the classes.
    ignore_index : int
        Targets that do not count.
    reduction : {"mean", "sum", "none"}
        The mean is weighted.
    label_smoothing : float
        This share of the target is spread evenly.
    """
    axis = 1 if input.ndim > 1 else 0
    check_classes("cross_entropy", weight, input.shape[axis], label_smoothing)
    labels: Any = target if isinstance(target, dif.Tensor) and target.dtype.kind == "f" else constant(target, input)
    if labels.dtype.kind in "iu":
        usual = weight is None and not label_smoothing and reduction == "mean" and input.ndim == 2
        usual = usual and not 0 <= ignore_index < input.shape[1]
        if (usual and isinstance(labels, np.ndarray) and labels.shape == input.shape[:1] and labels.size
                and 0 <= labels.min() and labels.max() < input.shape[1]):  # fmt: skip
            return fused(_xent_plain(labels), _xent_forward(labels), _xent_backward(labels))(input)
        return nll_loss(log_softmax(input, axis), labels, weight, ignore_index, reduction, label_smoothing)
    target = same_shape("cross_entropy", input, target)
    if label_smoothing:
        target = target * (1 - label_smoothing) + label_smoothing / input.shape[axis]
    terms = -target * log_softmax(input, axis)
    if weight is not None:
        terms = terms * dif.reshape(weight, (-1, *[1] * (input.ndim - axis - 1)))
    values = terms.sum(axis=axis)
    return values.sum() / max(values.size, 1) if reduction == "mean" else reduced(values, reduction)


def nll_loss(input: Any, target: Any, weight: Any = None, ignore_index: int = -100, reduction: str = "mean",
             label_smoothing: float = 0.0) -> Any:  # fmt: skip
    """Minus the log-probability ``input`` (N, C, ...) of the class `target` (N, ...); see `cross_entropy`."""
    axis = 1 if input.ndim > 1 else 0
    index = constant(target, input)
    classes = input.shape[axis]
    check_classes("nll_loss", weight, classes, label_smoothing)
    if index.shape != input.shape[:axis] + input.shape[axis + 1 :]:
        raise ValueError(
            f"nll_loss: input {input.shape} has classes on axis {axis}; target {index.shape} must have the other axes"
        )
    counts = index != ignore_index
    index = dif.where(counts, index, 0)
    w = counts.astype(input.dtype)
    if not isinstance(index, np.ndarray):  # to look would be a trip to the host: what is out of range costs NaN
        known = (index >= 0) & (index < classes)
        index, w = dif.where(known, index, 0), dif.where(known, w, np.nan)
    elif index.size and not 0 <= index.min() <= index.max() < classes:
        raise IndexError(f"nll_loss: targets between {index.min()} and {index.max()}, but there are {classes} classes")
    w = w if weight is None else w * of_class(weight, index)
    values = -dif.take_along_axis(input, dif.expand_dims(index, axis), axis=axis).squeeze(axis) * w
    if label_smoothing:
        each = input if weight is None else input * dif.reshape(weight, (-1, *[1] * (input.ndim - axis - 1)))
        spread = -each.sum(axis=axis) * counts.astype(input.dtype)
        values = (1 - label_smoothing) * values + (label_smoothing / classes) * spread
    return values.sum() / w.sum() if reduction == "mean" else reduced(values, reduction)


class CrossEntropyLoss(Applied):
    function = staticmethod(cross_entropy)


class NLLLoss(Applied):
    function = staticmethod(nll_loss)
