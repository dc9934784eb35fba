"""Attention; A. Vaswani et al., arXiv:1706.03762."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

import difftensor as dif

from . import init
from ._activations import softmax
from ._dropout import dropout
from ._fused import constant
from ._linear import Linear, linear
from ._module import Module, parameter


def _bias_of(mask: Any, masked: bool, x: Any) -> Any:
    """A mask as numbers to add to the scores of `x`; of booleans those equal to `masked` become -inf."""
    if isinstance(mask, dif.Tensor) and mask.dtype.kind == "f":
        return mask
    mask = constant(mask, x)
    if mask.dtype.kind == "f":
        return mask.astype(x.dtype)
    if mask.dtype.kind != "b":
        raise TypeError(f"attention: masks are of booleans or floats, found {mask.dtype}")
    return dif.where(mask == masked, -np.inf, 0.0).astype(x.dtype)


def _attend(q: Any, k: Any, v: Any, bias: Any, p: float, training: bool, rng: init.Rng, scale: float | None) -> tuple:
    scores = (q * (1 / math.sqrt(q.shape[-1]) if scale is None else scale)) @ k.swapaxes(-1, -2)
    if bias is None:
        weights = softmax(scores, -1)
    else:  # a query that sees no key at all gets zeros
        blind = (constant(bias, q) == -np.inf).all(axis=-1, keepdims=True)
        if isinstance(blind, np.ndarray) and not blind.any():
            weights = softmax(scores + bias, -1)
        else:
            weights = dif.where(blind, 0.0, softmax(scores + dif.where(blind, 0.0, bias), -1))
    return dropout(weights, p, training, rng) @ v, weights


def scaled_dot_product_attention(
    query: Any,
    key: Any,
    value: Any,
    attn_mask: Any = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    rng: init.Rng = None,
) -> Any:
    """``softmax(query key.T / sqrt(E) + mask) value`` over the last two axes (length, E).

    Parameters
    ----------
    attn_mask : array, optional
        Booleans (True: takes part) or numbers that are added to the scores.
    is_causal : bool
        Each position sees itself and those before.
    """
    bias = None if attn_mask is None else _bias_of(attn_mask, False, query)
    if is_causal:
        seen = np.tril(np.ones((query.shape[-2], key.shape[-2]), bool))
        bias = _bias_of(seen, False, query)
    return _attend(query, key, value, bias, dropout_p, True, rng, scale)[0]


class MultiheadAttention(Module):
    """Attention in `num_heads` subspaces.

    Parameters
    ----------
    embed_dim, num_heads : int
        Heads divide the dimension.
    dropout : float
        On the weights.
    bias : bool
    add_bias_kv, add_zero_attn : bool
        One more key and value: learnt, or zero.
    kdim, vdim : int, optional
        Dimensions of keys and values, `embed_dim` by default.
    batch_first : bool
        Arrays are (batch, length, features) instead of (length, batch, features).

    Notes
    -----
    ``y, weights = attention(query, key, value)``; in masks of booleans True means hidden, as in PyTorch.
    """

    def __init__(self, embed_dim: int, num_heads: int, dropout: float = 0.0, bias: bool = True,
                 add_bias_kv: bool = False, add_zero_attn: bool = False, kdim: int | None = None,
                 vdim: int | None = None, batch_first: bool = False, device: Any = None, dtype: Any = None,
                 rng: init.Rng = None):  # fmt: skip
        if embed_dim % num_heads:
            raise ValueError(f"MultiheadAttention: {num_heads} heads do not divide embed_dim {embed_dim}")
        self.embed_dim, self.num_heads, self.dropout, self.batch_first = embed_dim, num_heads, dropout, batch_first
        self.rng = rng = init.generator(rng)
        e, k, v = embed_dim, kdim or embed_dim, vdim or embed_dim

        def xavier(rows: int, columns: int) -> dif.Tensor:
            bound = math.sqrt(6 / (rows + columns))
            return parameter(rng.uniform(-bound, bound, (rows, columns)), dtype, device)

        if k == v == e:
            self.in_proj_weight = xavier(3 * e, e)
        else:
            self.q_proj_weight, self.k_proj_weight, self.v_proj_weight = xavier(e, e), xavier(e, k), xavier(e, v)
        self.in_proj_bias = parameter(np.zeros(3 * e), dtype, device) if bias else None
        self.out_proj = Linear(e, e, bias, device, dtype, rng)
        if self.out_proj.bias is not None:
            init.zeros_(self.out_proj.bias)
        self.add_zero_attn = add_zero_attn
        self.bias_k = self.bias_v = None
        if add_bias_kv:
            deviation = math.sqrt(2 / (1 + e))  # xavier_normal_ as PyTorch counts fans of (1, 1, e)
            draw = lambda: parameter(rng.normal(0.0, deviation, (1, 1, e)), dtype, device)  # noqa: E731
            self.bias_k, self.bias_v = draw(), draw()

    def _projected(self, q: Any, k: Any, v: Any) -> list:
        b = [None] * 3 if self.in_proj_bias is None else dif.split(self.in_proj_bias, 3)
        if "in_proj_weight" not in self.__dict__:
            weights = [self.q_proj_weight, self.k_proj_weight, self.v_proj_weight]
        elif q is k is v:  # one product instead of three
            return dif.split(linear(q, self.in_proj_weight, self.in_proj_bias), 3, axis=-1)
        else:
            weights = dif.split(self.in_proj_weight, 3)
        return [linear(x, w, bias) for x, w, bias in zip((q, k, v), weights, b)]

    def forward(
        self,
        query: Any,
        key: Any,
        value: Any,
        key_padding_mask: Any = None,
        need_weights: bool = True,
        attn_mask: Any = None,
        average_attn_weights: bool = True,
        is_causal: bool = False,
    ) -> tuple:
        if query.ndim == 2:
            one = lambda x: x[None]  # noqa: E731
            padding = None if key_padding_mask is None else one(constant(key_padding_mask, query))
            q, k, v = one(query), *((one(key), one(value)))
            q, k, v = (q, q, q) if query is key is value else (q, k, v)
            y, w = self._batched(q, k, v, padding, attn_mask, is_causal)
            y, w = y[0], w[0]
        else:
            same = query is key is value
            turn = (lambda x: x) if self.batch_first else (lambda x: x.swapaxes(0, 1))
            q = turn(query)
            k, v = (q, q) if same else (turn(key), turn(value))
            y, w = self._batched(q, k, v, key_padding_mask, attn_mask, is_causal)
            y = turn(y)
        return y, (w.mean(axis=-3) if average_attn_weights else w) if need_weights else None

    def _batched(self, q: Any, k: Any, v: Any, padding: Any, mask: Any, causal: bool) -> tuple:
        n, length, heads = q.shape[0], q.shape[1], self.num_heads
        split = lambda x: x.reshape(n, x.shape[1], heads, -1).swapaxes(1, 2)  # noqa: E731
        qs, ks, vs = self._projected(q, k, v)
        if self.bias_k is not None:
            ks, vs = (dif.concatenate([x, dif.broadcast_to(b, (n, 1, self.embed_dim))], axis=1)
                      for x, b in ((ks, self.bias_k), (vs, self.bias_v)))  # fmt: skip
        if self.add_zero_attn:
            ks, vs = (dif.pad(x, ((0, 0), (0, 1), (0, 0))) for x in (ks, vs))
        more = ks.shape[1] - k.shape[1]  # keys that no mask knows
        qs, ks, vs = map(split, (qs, ks, vs))
        bias = None
        if causal and mask is None:
            mask = ~np.tril(np.ones((length, k.shape[1]), bool))
        if mask is not None:
            bias = _bias_of(mask, True, q)
            if bias.ndim == 3:  # one for each head of each example
                bias = bias.reshape(n, heads, *bias.shape[1:])
        if padding is not None:
            hidden = _bias_of(padding, True, q)[:, None, None, :]
            bias = hidden if bias is None else bias + hidden
        if more and bias is not None:
            bias = dif.pad(bias, [*[(0, 0)] * (bias.ndim - 1), (0, more)])
        y, weights = _attend(qs, ks, vs, bias, self.dropout, self.training, self.rng, None)
        return self.out_proj(y.swapaxes(1, 2).reshape(n, length, self.embed_dim)), weights
