"""A language model of transformer blocks."""

from __future__ import annotations

from typing import Any

import numpy as np

import difftensor as dif

from .. import init
from .._linear import Embedding
from .._linear import linear as apply_linear
from .._module import Module, parameter
from .._normalization import LayerNorm
from .._transformer import TransformerEncoder, TransformerEncoderLayer


class LanguageModel(Module):
    """Logits of the next token at each place; embedding and output share their weights.

    Parameters
    ----------
    vocabulary, context : int
        Number of tokens, and the longest sequence.
    width, heads, depth : int
    dropout : float
    """

    def __init__(self, vocabulary: int, context: int = 128, width: int = 128, heads: int = 4, depth: int = 4,
                 dropout: float = 0.0, dtype: Any = None, device: Any = None, rng: init.Rng = None):  # fmt: skip
        rng = init.generator(rng)
        made: dict = {"dtype": dtype, "device": device}
        self.context = context
        self.tokens = Embedding(vocabulary, width, rng=rng, **made)
        init.normal_(self.tokens.weight, std=0.02, rng=rng)
        self.places = parameter(0.02 * rng.normal(size=(context, width)), dtype, device)
        block = TransformerEncoderLayer(width, heads, 4 * width, dropout, "gelu", batch_first=True, norm_first=True,
                                        rng=rng, **made)  # fmt: skip
        self.blocks = TransformerEncoder(block, depth, LayerNorm(width, **made))
        for p in self.blocks.parameters():
            if p.ndim > 1:
                init.normal_(p, std=0.02, rng=rng)

    def forward(self, index: Any) -> Any:
        length = index.shape[-1]
        if length > self.context:
            raise ValueError(f"LanguageModel: {length} tokens are more than the context of {self.context}")
        hidden = ~np.tril(np.ones((length, length), bool))
        x = self.blocks(self.tokens(index) + self.places[:length], mask=hidden)
        return apply_linear(x, self.tokens.weight)

    def generate(self, index: Any, count: int, temperature: float = 1.0, rng: init.Rng = None) -> np.ndarray:
        """`count` more tokens behind ``index`` (batch, length), drawn one after the other."""
        rng, index = init.generator(rng), np.asarray(index)
        with dif.no_grad():
            for _ in range(count):
                logits = self(index[:, -self.context :])[:, -1].numpy() / temperature
                gumbel = -np.log(-np.log(init.on_host(rng.random(logits.shape))))  # argmax(logits + gumbel) is a draw
                index = np.concatenate([index, (logits + gumbel).argmax(-1)[:, None]], axis=1)
        return index


def transformer(vocabulary: int, **settings: Any) -> LanguageModel:
    """A `LanguageModel`: ``transformer(65, context=64, width=128, heads=4, depth=4)``."""
    return LanguageModel(vocabulary, **settings)
