"""RNN, LSTM and GRU, and their cells."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import difftensor as dif

from . import init
from ._dropout import dropout
from ._lstm import lstm_cell, lstm_sequence
from ._module import Module, parameter


def rnn_cell(
    x: Any, h: Any, w_ih: Any, w_hh: Any, b_ih: Any = None, b_hh: Any = None, nonlinearity: str = "tanh"
) -> Any:
    """``tanh(x w_ih.T + b_ih + h w_hh.T + b_hh)``."""
    z = x @ w_ih.T + h @ w_hh.T
    return _nonlinear(z if b_ih is None else z + b_ih + b_hh, nonlinearity)


def _nonlinear(z: Any, name: str) -> Any:
    return dif.tanh(z) if name == "tanh" else dif.where(z > 0, z, 0.0)


def gru_cell(x: Any, h: Any, w_ih: Any, w_hh: Any, b_ih: Any = None, b_hh: Any = None) -> Any:
    """K. Cho et al., arXiv:1406.1078, with the reset gate behind the product, as in cuDNN."""
    u, v = x @ w_ih.T, h @ w_hh.T
    return _gru_gates(u if b_ih is None else u + b_ih, v if b_hh is None else v + b_hh, h)


def _gru_gates(u: Any, v: Any, h: Any) -> Any:
    (r, z, n), (rr, zz, nn) = dif.split(u, 3, axis=-1), dif.split(v, 3, axis=-1)
    sigmoid = dif.special.expit
    r, z = sigmoid(r + rr), sigmoid(z + zz)
    n = dif.tanh(n + r * nn)
    return n + z * (h - n)


class _Recurrent(Module):
    """Layers, directions, and the order of axes, for any kind of step."""

    gates = 1
    states = 1

    def __init__(self, input_size: int, hidden_size: int, num_layers: int = 1, bias: bool = True,
                 batch_first: bool = False, dropout: float = 0.0, bidirectional: bool = False, device: Any = None,
                 dtype: Any = None, rng: init.Rng = None):  # fmt: skip
        self.input_size, self.hidden_size, self.num_layers, self.bias = input_size, hidden_size, num_layers, bias
        self.batch_first, self.dropout, self.bidirectional = batch_first, dropout, bidirectional
        self.rng = rng = init.generator(rng)
        bound = 1 / math.sqrt(hidden_size)
        for layer in range(num_layers):
            width = input_size if layer == 0 else hidden_size * (1 + bidirectional)
            for end in self._ends(layer):
                n = self.gates * hidden_size
                shapes: dict[str, tuple] = {"weight_ih": (n, width), "weight_hh": (n, hidden_size)}
                shapes |= {"bias_ih": (n,), "bias_hh": (n,)} if bias else {}
                for name, shape in shapes.items():
                    setattr(self, f"{name}_{end}", parameter(rng.uniform(-bound, bound, shape), dtype, device))

    def _ends(self, layer: int) -> list[str]:
        return [f"l{layer}", f"l{layer}_reverse"][: 1 + self.bidirectional]

    def sequence(self, x: Any, state: tuple, w_ih: Any, w_hh: Any, b_ih: Any, b_hh: Any) -> tuple:
        """All steps of one direction: outputs (time, batch, hidden) and the last state."""
        raise NotImplementedError

    def forward(self, x: Any, state: Any = None) -> tuple:
        if x.ndim not in (2, 3) or x.shape[-1] != self.input_size:
            raise ValueError(f"{type(self).__name__}: the input needs shape (time, batch, {self.input_size}), "
                             f"(batch first: batch, time), or without batch; found {x.shape}")  # fmt: skip
        single = x.ndim == 2
        x = x[:, None] if single else x.swapaxes(0, 1) if self.batch_first else x
        state = () if state is None else state if isinstance(state, tuple) else (state,)
        if single:
            state = tuple(s[:, None] for s in state)
        if not state:
            shape = (self.num_layers * (1 + self.bidirectional), x.shape[1], self.hidden_size)
            state = (dif.zeros(shape, dtype=next(self.parameters()).dtype, device=x.device),) * self.states
        last: list = []
        for layer in range(self.num_layers):
            if layer and self.dropout:
                x = dropout(x, self.dropout, self.training, self.rng)
            found = []
            for end in self._ends(layer):
                weights = [getattr(self, f"weight_ih_{end}"), getattr(self, f"weight_hh_{end}")]
                biases = [getattr(self, f"bias_{k}_{end}") if self.bias else None for k in ("ih", "hh")]
                back = end.endswith("reverse")
                y, final = self.sequence(x[::-1] if back else x, tuple(s[len(last)] for s in state), *weights, *biases)
                found.append(y[::-1] if back else y)
                last.append(final)
            x = dif.concatenate(found, axis=-1) if len(found) > 1 else found[0]
        final = tuple(dif.stack(column) for column in zip(*last))
        if single:
            x, final = x[:, 0], tuple(s[:, 0] for s in final)
        elif self.batch_first:
            x = x.swapaxes(0, 1)
        return x, final if self.states > 1 else final[0]


def _loop(step: Callable, inputs: Any, h: Any) -> tuple:
    found = []
    for u in inputs:
        h = step(u, h)
        found.append(h)
    return dif.stack(found), (h,)


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
    ``y, h = rnn(x, h0)`` with x ``(time, batch, input)`` (batch_first: ``(batch, time, input)``), y ``(time, batch,
    directions * hidden)`` and h ``(layers * directions, batch, hidden)``; h0 is zero by default.
    """

    def __init__(self, input_size: int, hidden_size: int, num_layers: int = 1, nonlinearity: str = "tanh",
                 bias: bool = True, batch_first: bool = False, dropout: float = 0.0, bidirectional: bool = False,
                 device: Any = None, dtype: Any = None, rng: init.Rng = None):  # fmt: skip
        if nonlinearity not in ("tanh", "relu"):
            raise ValueError(f"RNN: nonlinearity must be 'tanh' or 'relu', got {nonlinearity!r}")
        super().__init__(
            input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional, device, dtype, rng
        )
        self.nonlinearity = nonlinearity

    def sequence(self, x: Any, state: tuple, w_ih: Any, w_hh: Any, b_ih: Any, b_hh: Any) -> tuple:
        u = x @ w_ih.T
        u = u if b_ih is None else u + b_ih + b_hh
        return _loop(lambda u, h: _nonlinear(u + h @ w_hh.T, self.nonlinearity), u, state[0])


class GRU(_Recurrent):
    """Gated recurrent units over a sequence; parameters and shapes as in `RNN`."""

    gates = 3

    def sequence(self, x: Any, state: tuple, w_ih: Any, w_hh: Any, b_ih: Any, b_hh: Any) -> tuple:
        u = x @ w_ih.T
        u = u if b_ih is None else u + b_ih
        after = (lambda v: v) if b_hh is None else (lambda v: v + b_hh)
        return _loop(lambda u, h: _gru_gates(u, after(h @ w_hh.T), h), u, state[0])


class LSTM(_Recurrent):
    """Long short-term memory over a sequence; parameters and shapes as in `RNN`.

    ``y, (h, c) = lstm(x, (h0, c0))``. On the CPU the sequence runs in one piece, without a tape of its steps.
    """

    gates = 4
    states = 2

    def sequence(self, x: Any, state: tuple, w_ih: Any, w_hh: Any, b_ih: Any, b_hh: Any) -> tuple:
        b = dif.zeros(w_ih.shape[0], dtype=w_ih.dtype, device=w_ih.device) if b_ih is None else b_ih + b_hh
        y, c = lstm_sequence(x, *state, w_ih, w_hh, b)
        return y, (y[-1], c)


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
