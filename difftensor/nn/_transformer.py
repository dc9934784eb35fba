"""Transformer blocks; A. Vaswani et al., arXiv:1706.03762, figure 1."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np

from . import init
from ._activations import gelu, relu
from ._attention import MultiheadAttention
from ._containers import ModuleList
from ._dropout import Dropout
from ._linear import Linear
from ._module import Module
from ._normalization import LayerNorm

_BY_NAME = {"relu": relu, "gelu": gelu}


class _Layer(Module):
    def _common(
        self,
        d: int,
        heads: int,
        width: int,
        p: float,
        activation: Any,
        eps: float,
        batch_first: bool,
        norm_first: bool,
        bias: bool,
        made: dict,
        rng: Any,
        decodes: bool = False,
    ) -> None:
        self.self_attn = MultiheadAttention(d, heads, p, bias, batch_first=batch_first, rng=rng, **made)
        if decodes:
            self.multihead_attn = MultiheadAttention(d, heads, p, bias, batch_first=batch_first, rng=rng, **made)
        self.linear1 = Linear(d, width, bias, rng=rng, **made)
        self.dropout = Dropout(p, rng=rng)
        self.linear2 = Linear(width, d, bias, rng=rng, **made)
        self.norm_first = norm_first
        self.activation: Callable = _BY_NAME[activation] if isinstance(activation, str) else activation
        self.norm1, self.norm2 = LayerNorm(d, eps, bias=bias, **made), LayerNorm(d, eps, bias=bias, **made)
        if decodes:
            self.norm3, self.dropout3 = LayerNorm(d, eps, bias=bias, **made), Dropout(p, rng=rng)
        self.dropout1, self.dropout2 = Dropout(p, rng=rng), Dropout(p, rng=rng)

    def _feed_forward(self, x: Any) -> Any:
        return self.linear2(self.dropout(self.activation(self.linear1(x))))

    def _around(self, x: Any, norm: Module, block: Callable) -> Any:
        """The residual connection, with the norm before or behind it."""
        return x + block(norm(x)) if self.norm_first else norm(x + block(x))


class TransformerEncoderLayer(_Layer):
    """Self-attention and a feed-forward network, each with a residual connection and a norm.

    Parameters
    ----------
    d_model, nhead, dim_feedforward : int
    dropout : float
    activation : {"relu", "gelu"} or callable
    layer_norm_eps : float
    batch_first : bool
        Arrays are (batch, length, features).
    norm_first : bool
        Norms stand before the blocks instead of behind the sums.
    """

    def __init__(self, d_model: int, nhead: int, dim_feedforward: int = 2048, dropout: float = 0.1,
                 activation: Any = "relu", layer_norm_eps: float = 1e-5, batch_first: bool = False,
                 norm_first: bool = False, bias: bool = True, device: Any = None, dtype: Any = None,
                 rng: init.Rng = None):  # fmt: skip
        made = {"device": device, "dtype": dtype}
        self._common(d_model, nhead, dim_feedforward, dropout, activation, layer_norm_eps, batch_first, norm_first,
                     bias, made, init.generator(rng))  # fmt: skip

    def forward(self, src: Any, src_mask: Any = None, src_key_padding_mask: Any = None, is_causal: bool = False) -> Any:
        def attend(x: Any) -> Any:
            y, _ = self.self_attn(x, x, x, src_key_padding_mask, False, src_mask, is_causal=is_causal)
            return self.dropout1(y)

        x = self._around(src, self.norm1, attend)
        return self._around(x, self.norm2, lambda x: self.dropout2(self._feed_forward(x)))


class TransformerDecoderLayer(_Layer):
    """Self-attention, attention to `memory` and a feed-forward network; parameters of `TransformerEncoderLayer`."""

    def __init__(self, d_model: int, nhead: int, dim_feedforward: int = 2048, dropout: float = 0.1,
                 activation: Any = "relu", layer_norm_eps: float = 1e-5, batch_first: bool = False,
                 norm_first: bool = False, bias: bool = True, device: Any = None, dtype: Any = None,
                 rng: init.Rng = None):  # fmt: skip
        made = {"device": device, "dtype": dtype}
        self._common(d_model, nhead, dim_feedforward, dropout, activation, layer_norm_eps, batch_first, norm_first,
                     bias, made, init.generator(rng), decodes=True)  # fmt: skip

    def forward(self, tgt: Any, memory: Any, tgt_mask: Any = None, memory_mask: Any = None,
                tgt_key_padding_mask: Any = None, memory_key_padding_mask: Any = None, tgt_is_causal: bool = False,
                memory_is_causal: bool = False) -> Any:  # fmt: skip
        def attend(x: Any) -> Any:
            y, _ = self.self_attn(x, x, x, tgt_key_padding_mask, False, tgt_mask, is_causal=tgt_is_causal)
            return self.dropout1(y)

        def look(x: Any) -> Any:
            y, _ = self.multihead_attn(x, memory, memory, memory_key_padding_mask, False, memory_mask,
                                       is_causal=memory_is_causal)  # fmt: skip
            return self.dropout2(y)

        x = self._around(tgt, self.norm1, attend)
        x = self._around(x, self.norm2, look)
        return self._around(x, self.norm3, lambda x: self.dropout3(self._feed_forward(x)))


def _copies(layer: Module, n: int) -> ModuleList:
    """Copies of a layer that go on drawing from its generators."""
    shared = {id(v): v for m in layer.modules() for v in m.__dict__.values() if init.is_generator(v)}
    return ModuleList(copy.deepcopy(layer, dict(shared)) for _ in range(n))


class TransformerEncoder(Module):
    """`num_layers` copies of `encoder_layer`, and a norm behind them."""

    def __init__(self, encoder_layer: Module, num_layers: int, norm: Module | None = None):
        self.layers, self.norm = _copies(encoder_layer, num_layers), norm

    def forward(self, src: Any, mask: Any = None, src_key_padding_mask: Any = None, is_causal: bool = False) -> Any:
        for layer in self.layers:
            src = layer(src, mask, src_key_padding_mask, is_causal)
        return src if self.norm is None else self.norm(src)


class TransformerDecoder(Module):
    """`num_layers` copies of `decoder_layer`, and a norm behind them."""

    def __init__(self, decoder_layer: Module, num_layers: int, norm: Module | None = None):
        self.layers, self.norm = _copies(decoder_layer, num_layers), norm

    def forward(self, tgt: Any, memory: Any, **masks: Any) -> Any:
        for layer in self.layers:
            tgt = layer(tgt, memory, **masks)
        return tgt if self.norm is None else self.norm(tgt)


class Transformer(Module):
    """An encoder and a decoder: ``y = transformer(src, tgt)``; parameters of `TransformerEncoderLayer`."""

    def __init__(self, d_model: int = 512, nhead: int = 8, num_encoder_layers: int = 6, num_decoder_layers: int = 6,
                 dim_feedforward: int = 2048, dropout: float = 0.1, activation: Any = "relu",
                 layer_norm_eps: float = 1e-5, batch_first: bool = False, norm_first: bool = False, bias: bool = True,
                 device: Any = None, dtype: Any = None, rng: init.Rng = None):  # fmt: skip
        rng, made = init.generator(rng), {"device": device, "dtype": dtype}
        settings = (d_model, nhead, dim_feedforward, dropout, activation, layer_norm_eps, batch_first, norm_first, bias)
        norm = lambda: LayerNorm(d_model, layer_norm_eps, bias=bias, **made)  # noqa: E731
        encoder = TransformerEncoderLayer(*settings, rng=rng, **made)
        decoder = TransformerDecoderLayer(*settings, rng=rng, **made)
        self.encoder = TransformerEncoder(encoder, num_encoder_layers, norm())
        self.decoder = TransformerDecoder(decoder, num_decoder_layers, norm())
        for p in self.parameters():
            if p.ndim > 1:
                init.xavier_uniform_(p, rng=rng)

    def forward(
        self,
        src: Any,
        tgt: Any,
        src_mask: Any = None,
        tgt_mask: Any = None,
        memory_mask: Any = None,
        src_key_padding_mask: Any = None,
        tgt_key_padding_mask: Any = None,
        memory_key_padding_mask: Any = None,
        src_is_causal: bool = False,
        tgt_is_causal: bool = False,
    ) -> Any:
        memory = self.encoder(src, src_mask, src_key_padding_mask, src_is_causal)
        return self.decoder(
            tgt, memory, tgt_mask=tgt_mask, memory_mask=memory_mask, tgt_key_padding_mask=tgt_key_padding_mask,
            memory_key_padding_mask=memory_key_padding_mask, tgt_is_causal=tgt_is_causal,
        )  # fmt: skip

    @staticmethod
    def generate_square_subsequent_mask(size: int) -> np.ndarray:
        """Numbers that hide what comes later."""
        return np.triu(np.full((size, size), -np.inf), 1)
