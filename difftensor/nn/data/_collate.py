"""Examples put together to a batch."""

from __future__ import annotations

from typing import Any

import numpy as np

import difftensor as dif


def collate(examples: list) -> Any:
    """Stack arrays and numbers; tuples, lists and dicts are stacked item by item, other things stay a list.

    Examples
    --------
    >>> from difftensor import nn
    >>> x, label = nn.data.collate([([0.0, 1.0], "a"), ([2.0, 3.0], "b")])
    >>> x[0].tolist(), label
    ([0.0, 2.0], ['a', 'b'])
    """
    first = examples[0]
    if isinstance(first, dict):
        return {k: collate([e[k] for e in examples]) for k in first}
    if isinstance(first, (tuple, list)):
        columns = [collate(list(c)) for c in zip(*examples, strict=True)]
        return type(first)(*columns) if hasattr(first, "_fields") else type(first)(columns)
    if isinstance(first, dif.Tensor):
        return dif.stack(examples)
    if isinstance(first, (np.ndarray, np.generic, int, float, complex)):
        return np.stack([np.asarray(e) for e in examples])
    if hasattr(first, "__dlpack__"):  # tensors of other libraries
        return np.stack([np.from_dlpack(e) for e in examples])
    return list(examples)


def to_tensors(batch: Any) -> Any:
    """Floating arrays in a batch become Tensors; integers stay indices, other libraries' tensors come by DLPack."""
    if isinstance(batch, dict):
        return {k: to_tensors(v) for k, v in batch.items()}
    if isinstance(batch, (tuple, list)):
        items = [to_tensors(v) for v in batch]
        return type(batch)(*items) if hasattr(batch, "_fields") else type(batch)(items)
    if hasattr(batch, "__dlpack__") and not isinstance(batch, (dif.Tensor, np.ndarray, np.generic)):
        batch = dif.from_dlpack(batch)
    if isinstance(batch, np.ndarray) and batch.dtype.kind in "fc":
        return dif.asarray(batch)
    return batch
