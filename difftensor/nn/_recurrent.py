"""RNN, LSTM and GRU, and their cells."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

import difftensor as dif

from . import init
from ._cells import at_ends, gru_cell, lstm_cell, rnn_cell, sequence
from ._dropout import dropout
from ._fused import beside, taken
from ._module import Module, parameter
from ._packed import PackedSequence, checked_lengths, pad_packed_sequence, repacked


class _Recurrent(Module):
    """Layers, directions, and the order of axes, for any kind of step."""

    gates, states, name = 1, 1, "rnn"
    settings: tuple = ()
    proj_size = 0

    def __init__(self, input_size: int, hidden_size: int, num_layers: int = 1, bias: bool = True,
                 batch_first: bool = False, dropout: float = 0.0, bidirectional: bool = False, device: Any = None,
                 dtype: Any = None, rng: init.Rng = None):  # fmt: skip
        self.input_size, self.hidden_size, self.num_layers, self.bias = input_size, hidden_size, num_layers, bias
        self.batch_first, self.dropout, self.bidirectional = batch_first, dropout, bidirectional
        self.rng = rng = init.generator(rng)
        bound, n, size = 1 / math.sqrt(hidden_size), self.gates * hidden_size, self.proj_size or hidden_size
        for layer in range(num_layers):
            width = input_size if layer == 0 else size * (1 + bidirectional)
            for end in self._ends(layer):
                shapes: dict[str, tuple] = {"weight_ih": (n, width), "weight_hh": (n, size)}
                shapes |= {"bias_ih": (n,), "bias_hh": (n,)} if bias else {}
                shapes |= {"weight_hr": (size, hidden_size)} if self.proj_size else {}
                for name, shape in shapes.items():
                    setattr(self, f"{name}_{end}", parameter(rng.uniform(-bound, bound, shape), dtype, device))

    def _ends(self, layer: int) -> list[str]:
        return [f"l{layer}", f"l{layer}_reverse"][: 1 + self.bidirectional]

    def _direction(self, x: Any, state: tuple, end: str, lengths: Any) -> tuple:
        """All steps of one layer in one direction: outputs (time, batch, hidden) and the last state."""
        w_ih, w_hh = getattr(self, f"weight_ih_{end}"), getattr(self, f"weight_hh_{end}")
        if self.bias:
            biases = getattr(self, f"bias_ih_{end}"), getattr(self, f"bias_hh_{end}")
        else:
            biases = (dif.zeros(len(w_ih), dtype=w_ih.dtype, device=w_ih.device),) * 2
        turned = end.endswith("reverse")
        x = _turned(x, lengths) if turned else x
        y, last = sequence(self.name, x, state, (w_ih, w_hh, *biases), self.settings, lengths)
        return (_turned(y, lengths) if turned else y), last

    def forward(self, x: Any, state: Any = None, lengths: Any = None) -> tuple:
        if isinstance(x, PackedSequence):
            return self._packed(x, state)
        if x.ndim not in (2, 3) or x.shape[-1] != self.input_size:
            raise ValueError(f"{type(self).__name__}: the input needs shape (time, batch, {self.input_size}), "
                             f"(batch first: batch, time), or without batch; found {x.shape}")  # fmt: skip
        single = x.ndim == 2
        x = x[:, None] if single else x.swapaxes(0, 1) if self.batch_first else x
        state = () if state is None else state if isinstance(state, tuple) else (state,)
        if single:
            state = tuple(s[:, None] for s in state)
        if not x.shape[0]:
            raise ValueError(f"{type(self).__name__}: a sequence needs at least one step, found shape {x.shape}")
        if lengths is not None:
            lengths = checked_lengths(lengths, *x.shape[:2])
        count, like = self.num_layers * (1 + self.bidirectional), next(t for _, t in self._named())
        sizes = (self.proj_size or self.hidden_size, self.hidden_size)[: self.states]
        shapes = [(count, x.shape[1], n) for n in sizes]
        if not state:
            state = tuple(dif.zeros(shape, dtype=like.dtype, device=like.device) for shape in shapes)
        elif [s.shape for s in state] != shapes:
            raise ValueError(f"{type(self).__name__}: the state needs shapes {shapes} (layers and directions, batch, "
                             f"features), found {[s.shape for s in state]}")  # fmt: skip
        last: list = []
        for layer in range(self.num_layers):
            if layer and self.dropout:
                x = dropout(x, self.dropout, self.training, self.rng)
            found = []
            for end in self._ends(layer):
                y, final = self._direction(x, tuple(s[len(last)] for s in state), end, lengths)
                found.append(y)
                last.append(final)
            x = dif.concatenate(found, axis=-1) if len(found) > 1 else found[0]
        final = tuple(dif.stack(column) for column in zip(*last))
        if lengths is not None:
            x = x * beside(np.arange(len(x))[:, None, None] < lengths[:, None], x)
        if single:
            x, final = x[:, 0], tuple(s[:, 0] for s in final)
        elif self.batch_first:
            x = x.swapaxes(0, 1)
        return x, final if self.states > 1 else final[0]

    def _packed(self, packed: PackedSequence, state: Any) -> tuple:
        x, lengths = pad_packed_sequence(packed, batch_first=self.batch_first)
        y, state = self(x, state, lengths)
        return repacked(y, packed, self.batch_first), state


def _turned(x: Any, lengths: Any) -> Any:
    """Each example backwards, its padding left behind it."""
    if lengths is None:
        return x[::-1]
    steps = np.arange(len(x))[:, None]
    return taken(x, np.where(steps < lengths, lengths - 1 - steps, steps), np.arange(x.shape[1]))


class RNN(_Recurrent):
    """``h = tanh(x w_ih.T + b_ih + h w_hh.T + b_hh)`` over a sequence.

    Parameters
    ----------
    input_size, hidden_size, num_layers : int
    nonlinearity : {"tanh", "relu"}
    bias, batch_first, bidirectional : bool
    dropout : float
        Between layers.

    Notes
    -----
    ``y, h = rnn(x, h0, lengths=None)`` with x ``(time, batch, input)`` (batch_first: ``(batch, time, input)``), y
    ``(time, batch, directions * hidden)`` and h ``(layers * directions, batch, hidden)``; h0 is zero by default.

    With `lengths` (batch), each example ends at its own: results behind it are zero, h is the state at its end, and the
    reverse direction starts there. A `PackedSequence` in the place of x says the same. On the CPU a sequence runs in
    one piece, without a tape of its steps.

    Examples
    --------
    >>> import difftensor as dif
    >>> from difftensor import nn
    >>> y, h = nn.RNN(3, 4, rng=0)(dif.ones((5, 2, 3)), lengths=[5, 2])
    >>> y.shape, bool((y[2:, 1] == 0).all()), bool((h[0, 1] == y[1, 1]).all())
    ((5, 2, 4), True, True)
    """

    def __init__(self, input_size: int, hidden_size: int, num_layers: int = 1, nonlinearity: str = "tanh",
                 bias: bool = True, batch_first: bool = False, dropout: float = 0.0, bidirectional: bool = False,
                 device: Any = None, dtype: Any = None, rng: init.Rng = None):  # fmt: skip
        if nonlinearity not in ("tanh", "relu"):
            raise ValueError(f"RNN: nonlinearity must be 'tanh' or 'relu', got {nonlinearity!r}")
        super().__init__(
            input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional, device, dtype, rng
        )
        self.nonlinearity, self.settings = nonlinearity, (nonlinearity,)


class GRU(_Recurrent):
    """Gated recurrent units over a sequence; parameters and shapes as in `RNN`."""

    gates, name = 3, "gru"


class LSTM(_Recurrent):
    """Long short-term memory over a sequence; parameters and shapes as in `RNN`.

    ``y, (h, c) = lstm(x, (h0, c0), lengths=None)``. With `proj_size` h is a linear image of what the gates put out, of
    this size; the steps then stand on the tape.
    """

    gates, states, name = 4, 2, "lstm"

    def __init__(self, input_size: int, hidden_size: int, num_layers: int = 1, bias: bool = True,
                 batch_first: bool = False, dropout: float = 0.0, bidirectional: bool = False, proj_size: int = 0,
                 device: Any = None, dtype: Any = None, rng: init.Rng = None):  # fmt: skip
        if not 0 <= proj_size < hidden_size:
            raise ValueError(f"LSTM: proj_size {proj_size} must be smaller than hidden_size {hidden_size}")
        self.proj_size = proj_size
        super().__init__(
            input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional, device, dtype, rng
        )

    def _direction(self, x: Any, state: tuple, end: str, lengths: Any) -> tuple:
        if not self.proj_size:
            return super()._direction(x, state, end, lengths)
        kinds = ("weight_ih", "weight_hh", *(("bias_ih", "bias_hh") if self.bias else ()))
        weights, image = [getattr(self, f"{k}_{end}") for k in kinds], getattr(self, f"weight_hr_{end}")
        turned, found = end.endswith("reverse"), []
        h, c = state
        for u in _turned(x, lengths) if turned else x:
            h, c = lstm_cell(u, h, c, *weights)
            h = h @ image.T
            found.append((h, c))
        hs, cs = (dif.stack(column) for column in zip(*found))
        return (_turned(hs, lengths) if turned else hs), (at_ends(hs, lengths), at_ends(cs, lengths))


class _Cell(Module):
    gates = 1

    def __init__(self, input_size: int, hidden_size: int, bias: bool = True, device: Any = None, dtype: Any = None,
                 rng: init.Rng = None):  # fmt: skip
        rng = init.generator(rng)
        self.input_size, self.hidden_size = input_size, hidden_size
        bound, n = 1 / math.sqrt(hidden_size), self.gates * hidden_size
        make = lambda *shape: parameter(rng.uniform(-bound, bound, shape), dtype, device)  # noqa: E731
        self.weight_ih, self.weight_hh = make(n, input_size), make(n, hidden_size)
        self.bias_ih = make(n) if bias else None
        self.bias_hh = make(n) if bias else None

    def _zero(self, x: Any) -> Any:
        return dif.zeros((*x.shape[:-1], self.hidden_size), dtype=self.weight_hh.dtype, device=x.device)

    def _weights(self) -> tuple[Any, Any, Any, Any]:
        return self.weight_ih, self.weight_hh, self.bias_ih, self.bias_hh


class RNNCell(_Cell):
    """One step of `RNN`: ``h = cell(x, h)``."""

    def __init__(self, input_size: int, hidden_size: int, bias: bool = True, nonlinearity: str = "tanh",
                 device: Any = None, dtype: Any = None, rng: init.Rng = None):  # fmt: skip
        super().__init__(input_size, hidden_size, bias, device, dtype, rng)
        self.nonlinearity = nonlinearity

    def forward(self, x: Any, h: Any = None) -> Any:
        return rnn_cell(x, self._zero(x) if h is None else h, *self._weights(), nonlinearity=self.nonlinearity)


class GRUCell(_Cell):
    """One step of `GRU`: ``h = cell(x, h)``."""

    gates = 3

    def forward(self, x: Any, h: Any = None) -> Any:
        return gru_cell(x, self._zero(x) if h is None else h, *self._weights())


class LSTMCell(_Cell):
    """One step of `LSTM`: ``h, c = cell(x, (h, c))``."""

    gates = 4

    def forward(self, x: Any, state: Any = None) -> tuple:
        h, c = (self._zero(x), self._zero(x)) if state is None else state
        return lstm_cell(x, h, c, *self._weights())
