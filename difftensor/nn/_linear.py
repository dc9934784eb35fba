"""Linear, Bilinear, Embedding, and layers without parameters that arrange arrays."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

import difftensor as dif

from . import init
from ._fused import beside, constant, taken
from ._module import Module, parameter


def linear(x: Any, weight: Any, bias: Any = None) -> Any:
    """``x @ weight.T + bias``; `x` is ``(..., in)``, `weight` ``(out, in)``."""
    if x.ndim != 2:
        x2 = x.reshape(-1, x.shape[-1])
        return linear(x2, weight, bias).reshape((*x.shape[:-1], weight.shape[0]))
    y = (weight @ x.T).T  # not x @ weight.T: the gradient of the weight then comes out in the weight's memory order
    return y if bias is None else y + bias


def bilinear(x1: Any, x2: Any, weight: Any, bias: Any = None) -> Any:
    """``y_o = sum_ij x1_i weight_oij x2_j + bias_o``."""
    y = dif.einsum("...oj,...j->...o", dif.einsum("...i,oij->...oj", x1, weight), x2)
    return y if bias is None else y + bias


def _check_index(name: str, index: Any, weight: Any) -> None:
    """Negative indices are mistakes here, as in PyTorch; on a GPU to look would be a trip to the host."""
    if index.dtype.kind not in "iu":
        raise TypeError(f"{name}: indices must be integers, found {index.dtype}")
    if isinstance(index, np.ndarray) and index.size and not 0 <= index.min() <= index.max() < weight.shape[0]:
        raise IndexError(f"{name}: indices from {index.min()} to {index.max()}, but there are {weight.shape[0]} rows")


def embedding(index: Any, weight: Any, padding_idx: int | None = None) -> Any:
    """Rows of `weight` ``(number, dimension)``; the row `padding_idx` gets no gradient."""
    index = constant(index, weight)
    _check_index("embedding", index, weight)
    y = weight[index]
    if padding_idx is None:
        return y
    return dif.where((index == padding_idx % weight.shape[0])[..., None], y.detach(), y)


def embedding_bag(index: Any, weight: Any, offsets: Any = None, mode: str = "mean", per_sample_weights: Any = None,
                  padding_idx: int | None = None) -> Any:  # fmt: skip
    """Sums, means or maxima of rows of `weight`, a bag each.

    Parameters
    ----------
    index : integers, shape (bags, n), or (m,) with `offsets`
    weight : array, shape (number, dimension)
    offsets : integers, shape (bags,), optional
        Where bags begin.
    mode : {"mean", "sum", "max"}
    per_sample_weights : array of the shape of `index`, optional
        Factors; for sums only.
    padding_idx : int, optional
        These indices do not count.
    """
    if mode not in ("mean", "sum", "max") or (per_sample_weights is not None and mode != "sum"):
        raise ValueError(f"embedding_bag: mode {mode!r} must be 'mean', 'sum' or 'max'; weights go with 'sum' only")
    index = np.asarray(index)
    _check_index("embedding_bag", index, weight)
    if index.ndim == 2:
        bags, at = np.broadcast_to(np.arange(len(index))[:, None], index.shape).ravel(), index.ravel()
        count = len(index)
    else:
        starts, at = np.asarray(() if offsets is None else offsets, int), index
        if not (starts.size and starts[0] == 0 and (np.diff(starts) >= 0).all() and starts[-1] <= len(at)):
            raise ValueError(f"embedding_bag: {len(at)} indices in a row need offsets that begin with 0 and rise to at "
                             f"most {len(at)}, got {offsets}")  # fmt: skip
        count, bags = len(starts), np.searchsorted(starts, np.arange(len(index)), side="right") - 1
    factors = None if per_sample_weights is None else per_sample_weights.reshape(-1)
    if padding_idx is not None:
        keep = np.flatnonzero(at != padding_idx % weight.shape[0])
        at, bags, factors = at[keep], bags[keep], None if factors is None else taken(factors, keep)
    sizes = np.bincount(bags, minlength=count)
    if mode == "max":
        first = np.concatenate([[0], np.cumsum(sizes)[:-1]])
        found = [taken(weight, at[a : a + n]).max(axis=0) if n else weight[0] * 0.0 for a, n in zip(first, sizes)]
        return dif.stack(found)
    rows = taken(weight, at)
    rows = rows if factors is None else rows * factors[:, None]
    total = dif.zeros((count, weight.shape[1]), dtype=rows.dtype, device=getattr(weight, "device", None))
    np.add.at(total, constant(bags, rows), rows)
    total = total if isinstance(rows, dif.Tensor) else total.numpy()
    return total if mode == "sum" else total / beside(np.maximum(sizes, 1), rows)[:, None]


def one_hot(index: Any, num_classes: int = -1) -> np.ndarray:
    """Rows of the identity matrix, as integers."""
    index = np.asarray(index)
    return np.eye(index.max() + 1 if num_classes < 0 else num_classes, dtype=np.int64)[index]


class Linear(Module):
    """``y = x @ weight.T + bias``.

    Parameters
    ----------
    in_features, out_features : int
    bias : bool
    dtype, device
        Of the parameters; float64 on the CPU by default.
    rng : Generator or int, optional
        Draws the initial weights, uniform within ``1 / sqrt(in_features)``.

    Examples
    --------
    >>> import difftensor as dif
    >>> from difftensor import nn
    >>> nn.Linear(3, 2)(dif.ones((5, 3))).shape
    (5, 2)
    """

    def __init__(self, in_features: int, out_features: int, bias: bool = True, device: Any = None, dtype: Any = None,
                 rng: init.Rng = None):  # fmt: skip
        rng = init.generator(rng)
        self.in_features, self.out_features = in_features, out_features
        bound = 1 / math.sqrt(in_features) if in_features else 0.0
        self.weight = parameter(rng.uniform(-bound, bound, (out_features, in_features)), dtype, device)
        self.bias = parameter(rng.uniform(-bound, bound, out_features), dtype, device) if bias else None

    def forward(self, x: Any) -> Any:
        return linear(x, self.weight, self.bias)


class Bilinear(Module):
    """``y_o = sum_ij x1_i weight_oij x2_j + bias_o``; parameters as in `Linear`."""

    def __init__(self, in1_features: int, in2_features: int, out_features: int, bias: bool = True, device: Any = None,
                 dtype: Any = None, rng: init.Rng = None):  # fmt: skip
        rng = init.generator(rng)
        bound = 1 / math.sqrt(in1_features)
        shape = (out_features, in1_features, in2_features)
        self.weight = parameter(rng.uniform(-bound, bound, shape), dtype, device)
        self.bias = parameter(rng.uniform(-bound, bound, out_features), dtype, device) if bias else None

    def forward(self, x1: Any, x2: Any) -> Any:
        return bilinear(x1, x2, self.weight, self.bias)


class Embedding(Module):
    """Vectors that stand for integers.

    Parameters
    ----------
    num_embeddings, embedding_dim : int
    padding_idx : int, optional
        This row is zero and is not trained.
    """

    def __init__(self, num_embeddings: int, embedding_dim: int, padding_idx: int | None = None, device: Any = None,
                 dtype: Any = None, rng: init.Rng = None):  # fmt: skip
        values = init.generator(rng).normal(size=(num_embeddings, embedding_dim))
        if padding_idx is not None:
            values[padding_idx] = 0.0
        self.num_embeddings, self.embedding_dim, self.padding_idx = num_embeddings, embedding_dim, padding_idx
        self.weight = parameter(values, dtype, device)

    @classmethod
    def from_pretrained(cls, embeddings: Any, freeze: bool = True, padding_idx: int | None = None) -> Embedding:
        """A layer with these weights ``(number, dimension)``, which are not trained unless ``freeze=False``."""
        made = cls(embeddings.shape[0], embeddings.shape[1], padding_idx, rng=0)
        made.weight = dif.tensor(embeddings, requires_grad=not freeze)
        return made

    def forward(self, index: Any) -> Any:
        return embedding(index, self.weight, self.padding_idx)


class EmbeddingBag(Module):
    """`nn.functional.embedding_bag` with weights.

    Parameters
    ----------
    num_embeddings, embedding_dim : int
    mode : {"mean", "sum", "max"}
    padding_idx : int, optional
        This row is zero and does not count.
    """

    def __init__(self, num_embeddings: int, embedding_dim: int, mode: str = "mean", padding_idx: int | None = None,
                 device: Any = None, dtype: Any = None, rng: init.Rng = None):  # fmt: skip
        values = init.generator(rng).normal(size=(num_embeddings, embedding_dim))
        if padding_idx is not None:
            values[padding_idx] = 0.0
        self.num_embeddings, self.embedding_dim = num_embeddings, embedding_dim
        self.mode, self.padding_idx = mode, padding_idx
        self.weight = parameter(values, dtype, device)

    def forward(self, index: Any, offsets: Any = None, per_sample_weights: Any = None) -> Any:
        return embedding_bag(index, self.weight, offsets, self.mode, per_sample_weights, self.padding_idx)


class Identity(Module):
    """Returns its argument; takes any arguments when made."""

    def __init__(self, *args: Any, **kwargs: Any):
        pass

    def forward(self, x: Any) -> Any:
        return x


class Flatten(Module):
    """Axes `start_dim` to `end_dim` become one."""

    def __init__(self, start_dim: int = 1, end_dim: int = -1):
        self.start_dim, self.end_dim = start_dim, end_dim

    def forward(self, x: Any) -> Any:
        first, last = self.start_dim % x.ndim, self.end_dim % x.ndim
        return x.reshape((*x.shape[:first], math.prod(x.shape[first : last + 1]), *x.shape[last + 1 :]))


class Unflatten(Module):
    """Axis `dim` becomes several."""

    def __init__(self, dim: int, unflattened_size: tuple):
        self.dim, self.unflattened_size = dim, tuple(unflattened_size)

    def forward(self, x: Any) -> Any:
        d = self.dim % x.ndim
        return x.reshape((*x.shape[:d], *self.unflattened_size, *x.shape[d + 1 :]))


class CosineSimilarity(Module):
    """The cosine of the angle between vectors along `dim`."""

    def __init__(self, dim: int = 1, eps: float = 1e-8):
        self.dim, self.eps = dim, eps

    def forward(self, x1: Any, x2: Any) -> Any:
        return cosine_similarity(x1, x2, self.dim, self.eps)


def cosine_similarity(x1: Any, x2: Any, dim: int = 1, eps: float = 1e-8) -> Any:
    """The cosine of the angle between vectors along `dim`; norms below `eps` count as `eps`."""
    x1, x2 = dif.broadcast_arrays(x1, x2)  # an axis of length 1 that meets a longer one counts as often
    n1 = dif.maximum(dif.linalg.norm(x1, axis=dim), eps)
    n2 = dif.maximum(dif.linalg.norm(x2, axis=dim), eps)
    return dif.sum(x1 * x2, axis=dim) / (n1 * n2)
