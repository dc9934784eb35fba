"""Sequences of different lengths: padded to one array, or packed step by step, by PyTorch's names."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

import difftensor as dif

from ._fused import taken


class PackedSequence(NamedTuple):
    """The rows of all examples, step by step: first those of step 0, then of step 1 ..., longest example first.

    Attributes
    ----------
    data : array, shape (sum of lengths, ...)
    batch_sizes : ndarray
        How many examples each step still has.
    sorted_indices, unsorted_indices : ndarray or None
        From the order of the examples to the order by length, and back.
    """

    data: Any
    batch_sizes: np.ndarray
    sorted_indices: np.ndarray | None = None
    unsorted_indices: np.ndarray | None = None


def checked_lengths(lengths: Any, steps: int, batch: int) -> np.ndarray:
    """`lengths` as an array, if they fit ``(steps, batch)``."""
    found = np.asarray(lengths)
    if found.shape != (batch,) or found.dtype.kind not in "iu" or not (found >= 1).all() or not (found <= steps).all():
        raise ValueError(
            f"lengths must be {batch} integers from 1 to {steps}, one for each example, found {found.tolist()}"
        )
    return found


def _places(sizes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Step and example (by length) of each packed row."""
    return np.repeat(np.arange(len(sizes)), sizes), np.concatenate([np.arange(n) for n in sizes])


def pack_padded_sequence(input: Any, lengths: Any, batch_first: bool = False,
                         enforce_sorted: bool = True) -> PackedSequence:  # fmt: skip
    """Leave the padding out.

    Parameters
    ----------
    input : array, shape (time, batch, ...) or, with `batch_first`, (batch, time, ...)
    lengths : integers, shape (batch,)
    enforce_sorted : bool
        Raise if the lengths do not decrease.

    Returns
    -------
    PackedSequence

    Examples
    --------
    >>> import difftensor as dif
    >>> from difftensor import nn
    >>> packed = nn.pack_padded_sequence(dif.ones((4, 3, 2)), [2, 4, 1], enforce_sorted=False)
    >>> packed.data.shape, packed.batch_sizes.tolist()
    ((7, 2), [3, 2, 1, 1])
    """
    x = input.swapaxes(0, 1) if batch_first else input
    lengths = checked_lengths(lengths, *x.shape[:2])
    if enforce_sorted and (np.diff(lengths) > 0).any():
        raise ValueError("pack_padded_sequence: lengths must decrease; enforce_sorted=False sorts the examples")
    order = None if enforce_sorted else np.argsort(-lengths, kind="stable")
    by_length = lengths if order is None else lengths[order]
    sizes = (by_length > np.arange(by_length[0])[:, None]).sum(axis=1)
    steps, examples = _places(sizes)
    rows = taken(x, steps, examples if order is None else order[examples])
    return PackedSequence(rows, sizes, order, None if order is None else np.argsort(order))


def pad_packed_sequence(sequence: PackedSequence, batch_first: bool = False, padding_value: float = 0.0,
                        total_length: int | None = None) -> tuple[Any, np.ndarray]:  # fmt: skip
    """The padded array and the lengths: `pack_padded_sequence` back."""
    data, sizes, _, unsorted = sequence
    lengths = (np.arange(sizes[0])[:, None] < sizes).sum(axis=1)
    steps, examples = _places(sizes)
    rows = len(sizes) if total_length is None else total_length
    if rows < len(sizes):
        raise ValueError(f"pad_packed_sequence: total_length {rows} is less than the longest of {len(sizes)}")
    # the packed row of each place; a row of padding stands behind all others
    at = np.full((rows, sizes[0]), len(data))
    at[steps, examples] = np.arange(len(data))
    if unsorted is not None:
        at, lengths = at[:, unsorted], lengths[unsorted]
    padding = dif.full((1, *data.shape[1:]), padding_value, dtype=data.dtype, device=getattr(data, "device", None))
    padded = taken(dif.concatenate([data, padding if isinstance(data, dif.Tensor) else padding.numpy()]), at)
    return (padded.swapaxes(0, 1) if batch_first else padded), lengths


def repacked(y: Any, like: PackedSequence, batch_first: bool) -> PackedSequence:
    """Padded results as rows in the order of `like`."""
    y = y.swapaxes(0, 1) if batch_first else y
    steps, examples = _places(like.batch_sizes)
    order = like.sorted_indices
    return like._replace(data=taken(y, steps, examples if order is None else order[examples]))


def pad_sequence(sequences: Sequence, batch_first: bool = False, padding_value: float = 0.0) -> Any:
    """Arrays ``(length, ...)`` side by side: ``(longest, batch, ...)``, `padding_value` behind the shorter ones."""
    longest = max(len(x) for x in sequences)
    wide = [dif.pad(x, [(0, longest - len(x)), *[(0, 0)] * (x.ndim - 1)], constant_values=padding_value)
            for x in sequences]  # fmt: skip
    return dif.stack(wide, axis=0 if batch_first else 1)
