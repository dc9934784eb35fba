"""Connectionist temporal classification: sequences of labels without their places in time.

A. Graves, S. Fernandez, F. Gomez, J. Schmidhuber, ICML 2006, section 4.1. ``log_alpha[s]`` is the logarithm of the
probability of the first steps along all paths that end at element s of the labels with blanks between them.
"""

from __future__ import annotations

from typing import Any

import numpy as np

import difftensor as dif

from ._fused import beside, constant, raw
from ._settings import Applied

NEVER = -1e30  # the logarithm of 0, finite, so that differences of two are numbers


def _labels(targets: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """Padded targets ``(N, S)``, of targets in that form or one after the other."""
    if targets.ndim == 2:
        return targets
    found = np.zeros((len(lengths), max(int(lengths.max(initial=0)), 1)), targets.dtype)
    ends = np.cumsum(lengths)
    for row, n, end in zip(found, lengths, ends):
        row[:n] = targets[end - n : end]
    return found


def ctc_loss(log_probs: Any, targets: Any, input_lengths: Any, target_lengths: Any, blank: int = 0,
             reduction: str = "mean", zero_infinity: bool = False) -> Any:  # fmt: skip
    """Minus the log-probability of all alignments of `targets`.

    Parameters
    ----------
    log_probs : array, shape (T, N, C) or (T, C)
        Logarithms of probabilities of the classes at each step, for example of `log_softmax`.
    targets : integers, shape (N, S), or all of them one after the other
        Without the blank.
    input_lengths, target_lengths : integers, shape (N,)
        These and the targets stay on the host: they say how large the arrays are.
    blank : int
    reduction : {"mean", "sum", "none"}
        "mean" divides by the lengths of the targets first.
    zero_infinity : bool
        Targets that are too long for their input cost 0 instead of infinity.

    Notes
    -----
    The derivative is that of the loss as a function of `log_probs`. PyTorch's adds ``exp(log_probs)``, which is right
    only behind `log_softmax`; there the two are equal.
    """
    if log_probs.ndim == 2:
        found = ctc_loss(log_probs[:, None], np.atleast_2d(raw(targets)), np.atleast_1d(raw(input_lengths)),
                         np.atleast_1d(raw(target_lengths)), blank, "none", zero_infinity)[0]  # fmt: skip
        return found / max(int(np.ravel(raw(target_lengths))[0]), 1) if reduction == "mean" else found
    steps, n, _ = log_probs.shape
    long, short = raw(input_lengths).reshape(-1), raw(target_lengths).reshape(-1)
    labels = _labels(raw(targets), short)
    if len(long) != n or len(short) != n or len(labels) != n or long.max() > steps or short.max() > labels.shape[1]:
        raise ValueError(f"ctc_loss: log_probs {log_probs.shape} with {len(long)} input_lengths up to {long.max()}, "
                         f"targets {labels.shape} with {len(short)} target_lengths up to {short.max()}")  # fmt: skip
    width = 2 * labels.shape[1] + 1
    path = np.full((n, width), blank)
    path[:, 1::2] = labels
    # a blank may be passed over between two labels that differ
    leaps = np.zeros((n, width), bool)
    leaps[:, 3::2] = labels[:, 1:] != labels[:, :-1]
    given = lambda v: constant(v, log_probs)  # noqa: E731
    leaps, first = given(leaps), given(np.arange(width) < 2)
    emit = dif.take_along_axis(log_probs, given(np.broadcast_to(path, (steps, n, width))), axis=-1)
    never = dif.full_like(emit[0].detach() if isinstance(emit, dif.Tensor) else emit[0], NEVER)
    alpha = dif.where(first, emit[0], NEVER)
    going = given((np.arange(steps)[:, None] < long)[:, :, None])
    for t in range(1, steps):
        one = dif.concatenate([never[:, :1], alpha[:, :-1]], axis=1)
        two = dif.where(leaps, dif.concatenate([never[:, :2], alpha[:, :-2]], axis=1), NEVER)
        new = emit[t] + dif.logaddexp(dif.logaddexp(alpha, one), two)
        alpha = dif.where(going[t], new, alpha)
    last = 2 * short  # the blank behind the last label
    ends = [dif.take_along_axis(alpha, given(i[:, None]), axis=1)[:, 0] for i in (last, np.maximum(last - 1, 0))]
    found = -dif.where(given(short > 0), dif.logaddexp(*ends), ends[0])
    impossible = (found.detach() if isinstance(found, dif.Tensor) else found) > -NEVER / 2
    found = dif.where(impossible, 0.0 if zero_infinity else np.inf, found)
    if reduction == "mean":
        return (found / beside(np.maximum(short, 1), found)).mean()
    if reduction not in ("sum", "none"):
        raise ValueError(f"reduction must be 'mean', 'sum' or 'none', got {reduction!r}")
    return found.sum() if reduction == "sum" else found


class CTCLoss(Applied):
    function = staticmethod(ctc_loss)
