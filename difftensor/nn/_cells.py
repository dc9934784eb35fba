"""RNN, GRU and LSTM: one step, and a whole sequence in one piece without a tape of its steps.

J. L. Elman, Cognitive Science 14 (1990) 179; K. Cho et al., arXiv:1406.1078 (the reset gate behind the product, as in
cuDNN); S. Hochreiter, J. Schmidhuber, Neural Computation 9 (1997) 1735, with forget gates. Arrays are ``(time, batch,
features)``; gates stand one after the other in PyTorch's order.

In the fast form they are ``(time, features, batch)``: each gate is then one piece of memory, and so is what each
product reads and writes. Inputs have a row of ones, by which one product for all steps holds the biases too. A logistic
function is a tanh: 1 / (1 + exp(-z)) = tanh(z / 2) / 2 + 1/2, the halves being put in the weights; gates with a tanh of
their own come last, so that one call serves all.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np

import difftensor as dif

from ._fused import fused, taken, tracked

PIECE = 256  # examples times steps at once in the pullback


def _nonlinear(z: Any, name: str) -> Any:
    return dif.tanh(z) if name == "tanh" else dif.where(z > 0, z, 0.0)


def _rnn_gates(u: Any, v: Any, h: Any, nonlinearity: str) -> tuple:
    return (_nonlinear(u + v, nonlinearity),)


def _gru_gates(u: Any, v: Any, h: Any) -> tuple:
    (r, z, n), (rr, zz, nn) = dif.split(u, 3, axis=-1), dif.split(v, 3, axis=-1)
    sigmoid = dif.special.expit
    r, z = sigmoid(r + rr), sigmoid(z + zz)
    n = dif.tanh(n + r * nn)
    return (n + z * (h - n),)


def _lstm_gates(u: Any, v: Any, h: Any, c: Any) -> tuple:
    i, f, g, o = dif.split(u + v, 4, axis=-1)
    sigmoid = dif.special.expit
    c = sigmoid(f) * c + sigmoid(i) * dif.tanh(g)
    return sigmoid(o) * dif.tanh(c), c


def _affine(x: Any, w: Any, b: Any) -> Any:
    y = x @ w.T
    return y if b is None else y + b


def rnn_cell(x: Any, h: Any, w_ih: Any, w_hh: Any, b_ih: Any = None, b_hh: Any = None,
             nonlinearity: str = "tanh") -> Any:  # fmt: skip
    """``tanh(x w_ih.T + b_ih + h w_hh.T + b_hh)``, or with ``nonlinearity="relu"`` max(., 0)."""
    return _rnn_gates(_affine(x, w_ih, b_ih), _affine(h, w_hh, b_hh), h, nonlinearity)[0]


def gru_cell(x: Any, h: Any, w_ih: Any, w_hh: Any, b_ih: Any = None, b_hh: Any = None) -> Any:
    """One step of gated recurrent units: the new hidden state."""
    return _gru_gates(_affine(x, w_ih, b_ih), _affine(h, w_hh, b_hh), h)[0]


def lstm_cell(x: Any, h: Any, c: Any, w_ih: Any, w_hh: Any, b_ih: Any = None, b_hh: Any = None) -> tuple:
    """One step of long short-term memory: the new hidden state and cell."""
    return _lstm_gates(_affine(x, w_ih, b_ih), _affine(h, w_hh, b_hh), h, c)


class _RNN:
    """The fast form of a step. ``a[t]`` comes as the inputs' part of the gates and stays as the gates' values."""

    rows: tuple = (0,)  # gates in the order of the fast form
    logistic = 0  # of them, the first so many are
    plain: Any = staticmethod(_rnn_gates)
    cs: Any = None

    def __init__(self, a: Any, hs: Any, b_hh: Any, state: tuple, settings: tuple):
        self.a, self.hs, self.tanh = a, hs, settings[0] == "tanh"

    def forward(self, t: int, v: Any) -> None:
        a, h = self.a[t], self.hs[t + 1]
        a += v
        np.tanh(a, out=h) if self.tanh else np.maximum(a, 0, out=h)

    def begin(self, gs: list, last: Any) -> None:
        """Before the steps back: cotangents of further states, at the steps `last` (None: behind all)."""

    def backward(self, t: int, dh: Any, d: Any, side: Any, carry: Any) -> None:
        """From the cotangent of h to those of the inputs' part, the states' part, and h one step before by itself."""
        h = self.hs[t + 1]
        if self.tanh:
            np.multiply(h, h, out=d)
            np.subtract(1, d, out=d)
            d *= dh
        else:
            np.multiply(dh, h > 0, out=d)

    def end(self) -> tuple:
        """The cotangents of further initial states."""
        return ()


class _GRU(_RNN):
    rows, logistic, plain = (0, 1, 2), 2, staticmethod(_gru_gates)

    def __init__(self, a: Any, hs: Any, b_hh: Any, state: tuple, settings: tuple):
        self.a, self.hs, self.size = a, hs, hs.shape[1]
        self.bias = b_hh[2 * self.size :, None]
        self.v = np.empty_like(hs[1:])
        self.t1 = np.empty_like(hs[0])

    def forward(self, t: int, v: Any) -> None:
        a, h, new, n = self.a[t], self.hs[t], self.hs[t + 1], self.size
        np.add(v[2 * n :], self.bias, out=self.v[t])
        gates, new_gate = a[: 2 * n], a[2 * n :]
        gates += v[: 2 * n]
        _finish(np.tanh(gates, out=gates))
        np.multiply(a[:n], self.v[t], out=self.t1)
        new_gate += self.t1
        np.tanh(new_gate, out=new_gate)
        np.subtract(h, new_gate, out=new)
        new *= a[n : 2 * n]
        new += new_gate

    def backward(self, t: int, dh: Any, d: Any, side: Any, carry: Any) -> None:
        a, n, t1 = self.a[t], self.size, self.t1
        r, z, new = a[:n], a[n : 2 * n], a[2 * n :]
        np.multiply(dh, z, out=carry)
        np.subtract(dh, carry, out=t1)  # to the new gate
        dn = d[2 * n :]
        np.multiply(new, new, out=dn)
        np.subtract(1, dn, out=dn)
        dn *= t1
        np.subtract(self.hs[t], new, out=t1)
        t1 *= carry  # (h - n) z dh
        np.subtract(1, z, out=side[n : 2 * n])
        np.multiply(side[n : 2 * n], t1, out=d[n : 2 * n])
        np.multiply(dn, r, out=side[2 * n :])
        np.subtract(1, r, out=t1)
        t1 *= side[2 * n :]
        np.multiply(t1, self.v[t], out=d[:n])
        side[: 2 * n] = d[: 2 * n]


class _LSTM(_RNN):
    rows, logistic, plain = (0, 1, 3, 2), 3, staticmethod(_lstm_gates)  # input, forget, output; cell

    def __init__(self, a: Any, hs: Any, b_hh: Any, state: tuple, settings: tuple):
        self.a, self.hs, self.size = a, hs, hs.shape[1]
        self.cs, self.tanh_c = np.empty_like(hs), np.empty_like(hs[1:])
        self.cs[0] = state[1].T
        self.t1, self.slope = np.empty_like(hs[0]), np.empty_like(a[0])

    def forward(self, t: int, v: Any) -> None:
        a, n, new = self.a[t], self.size, self.cs[t + 1]
        a += v
        np.tanh(a, out=a)
        _finish(a[: 3 * n])
        np.multiply(a[n : 2 * n], self.cs[t], out=new)
        np.multiply(a[:n], a[3 * n :], out=self.t1)
        new += self.t1
        np.tanh(new, out=self.tanh_c[t])
        np.multiply(a[2 * n : 3 * n], self.tanh_c[t], out=self.hs[t + 1])

    def begin(self, gs: list, last: Any) -> None:
        self.gc, self.last = gs[0].T, last
        self.dc = np.zeros_like(self.t1)
        if last is None:
            self.dc += self.gc

    def backward(self, t: int, dh: Any, d: Any, side: Any, carry: Any) -> None:
        a, n, tanh_c, dc, t1, slope = self.a[t], self.size, self.tanh_c[t], self.dc, self.t1, self.slope
        if self.last is not None:
            dc += np.where(self.last == t, self.gc, 0)
        np.multiply(dh, tanh_c, out=d[2 * n : 3 * n])
        np.multiply(tanh_c, tanh_c, out=t1)
        np.subtract(1, t1, out=t1)
        t1 *= a[2 * n : 3 * n]
        t1 *= dh
        dc += t1
        np.multiply(dc, a[3 * n :], out=d[:n])
        np.multiply(dc, self.cs[t], out=d[n : 2 * n])
        np.multiply(dc, a[:n], out=d[3 * n :])
        dc *= a[n : 2 * n]
        np.multiply(a, a, out=slope)  # through the activations: s - s^2, and 1 - s^2 for the tanh
        np.subtract(a[: 3 * n], slope[: 3 * n], out=slope[: 3 * n])
        np.subtract(1, slope[3 * n :], out=slope[3 * n :])
        d *= slope

    def end(self) -> tuple:
        return (self.dc.T,)


_CELLS = {"rnn": _RNN, "gru": _GRU, "lstm": _LSTM}


def _finish(z: Any) -> Any:
    """The logistic function of a number from the tanh of its half."""
    z *= 0.5
    z += 0.5
    return z


def _ordered(w: Any, rows: tuple) -> Any:
    """Gates in another order."""
    if rows == tuple(range(len(rows))):
        return w
    blocks, size = w.reshape((len(rows), -1, *w.shape[1:])), w.shape[0] // len(rows)
    found = np.empty_like(w, order="C")
    for i, row in enumerate(rows):
        found[i * size : (i + 1) * size] = blocks[row]
    return found


def _across(x: Any) -> Any:
    """``(time, features, batch)`` as a matrix of features and all examples at all times."""
    return x.transpose(1, 0, 2).reshape(x.shape[1], -1)


def at_ends(x: Any, lengths: Any) -> Any:
    """The last step of ``(time, batch, features)``, or that where each example ends."""
    return x[-1] if lengths is None else taken(x, np.asarray(lengths) - 1, np.arange(len(lengths)))


@lru_cache(maxsize=64)
def _sequence(name: str, settings: tuple, ends: tuple | None, to_x: bool) -> Any:
    make = _CELLS[name]
    gates, states = len(make.rows), 2 if name == "lstm" else 1
    last = None if ends is None else np.asarray(ends) - 1

    def plain(x: Any, w_ih: Any, w_hh: Any, b_ih: Any, b_hh: Any, *state: Any) -> tuple:
        found: list = []
        for u in x @ w_ih.T + b_ih:
            state = make.plain(u, state[0] @ w_hh.T + b_hh, *state, *settings)
            found.append(state)
        y, *cells = (dif.stack(column) for column in zip(*found))
        return (y, at_ends(cells[0], ends)) if cells else y

    def forward(x: Any, w_ih: Any, w_hh: Any, b_ih: Any, b_hh: Any, *state: Any) -> tuple:
        (steps, batch, width), size = x.shape, w_hh.shape[1]
        half = np.ones_like(b_ih)
        half[: make.logistic * size] = 0.5
        # only GRU's last gate needs its second bias apart
        both = b_ih + (np.where(np.arange(gates * size) < 2 * size, b_hh, 0) if name == "gru" else b_hh)
        wide = np.empty_like(x, order="C", shape=(steps, width + 1, batch))
        wide[:, :width], wide[:, width] = x.transpose(0, 2, 1), 1
        w = np.concatenate([w_ih, both[:, None]], axis=1)
        a = (_ordered(w, make.rows) * half[:, None]) @ wide
        hs = np.empty_like(a, shape=(steps + 1, size, batch))
        hs[0] = state[0].T
        cell, recurrent = make(a, hs, b_hh, state, settings), _ordered(w_hh, make.rows) * half[:, None]
        v = np.empty_like(a[0])
        for t in range(steps):
            cell.forward(t, np.matmul(recurrent, hs[t], out=v))
        y = hs[1:].transpose(0, 2, 1).copy()
        found = (y, at_ends(cell.cs[1:].transpose(0, 2, 1), ends)) if states == 2 else y
        return found, (cell, wide, w_ih, w_hh)

    def backward(saved: tuple, gs: Any) -> tuple:
        cell, wide, w_ih, w_hh = saved
        gy, *rest = gs if states == 2 else (gs,)
        steps, width, batch = len(wide), wide.shape[1] - 1, wide.shape[2]
        cell.begin(rest, last)
        dh, carry = np.zeros_like(cell.hs[0]), np.zeros_like(cell.hs[0])
        w_in, back = _ordered(w_ih, make.rows).T, _ordered(w_hh, make.rows).T.copy()
        gx: Any = np.empty_like(wide[:, :width], order="C") if to_x else None
        g_in: Any = 0
        g_hh: Any = 0
        g_b: Any = 0
        # the gradients of the weights are summed over a few steps at a time, which are still in the cache
        length = max(1, PIECE // max(batch, 1))
        d = np.empty_like(cell.a[:length])
        sides = np.empty_like(d) if name == "gru" else d
        for stop in range(steps, 0, -length):
            part = slice(max(stop - length, 0), stop)
            dy, n = gy[part].transpose(0, 2, 1).copy(), stop - part.start
            for i in range(n - 1, -1, -1):
                dh += dy[i]
                cell.backward(part.start + i, dh, d[i], sides[i], carry)
                np.matmul(back, sides[i], out=dh)
                if sides is not d:
                    dh += carry
            flat, side = _across(d[:n]), _across(sides[:n])
            g_in = g_in + flat @ _across(wide[part]).T
            g_hh = g_hh + side @ _across(cell.hs[part]).T
            if sides is not d:
                g_b = g_b + side.sum(axis=1)
            if to_x:
                np.matmul(w_in, d[:n], out=gx[part])
        order = tuple(np.argsort(make.rows))
        g_bi = g_in[:, width]
        found = (_ordered(g, order) for g in (g_in[:, :width], g_hh, g_bi, g_bi if sides is d else g_b))
        return (gx.transpose(0, 2, 1) if to_x else None, *found, dh.T, *cell.end())

    return fused(plain, forward, backward)


def sequence(name: str, x: Any, state: tuple, weights: tuple, settings: tuple = (), lengths: Any = None) -> tuple:
    """All steps of cell `name`: outputs ``(time, batch, hidden)``, and the last state, where examples end."""
    ends = None if lengths is None else tuple(int(n) for n in lengths)
    found = _sequence(name, settings, ends, tracked(x))(x, *weights, *state)
    y, *rest = found if isinstance(found, tuple) else (found,)
    return y, (at_ends(y, ends), *rest)
