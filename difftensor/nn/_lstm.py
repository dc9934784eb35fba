"""LSTM over a whole sequence in one piece.

S. Hochreiter, J. Schmidhuber, Neural Computation 9 (1997) 1735-1780, with forget gates. Gates stand side by side in
PyTorch's order, input, forget, cell, output; arrays are ``(time, batch, features)``.
"""

from __future__ import annotations

from typing import Any

import numpy as np

import difftensor as dif

from ._fused import fused


def lstm_cell(x: Any, h: Any, c: Any, w_ih: Any, w_hh: Any, b_ih: Any = None, b_hh: Any = None) -> tuple:
    """One step: the new hidden state and cell."""
    z = x @ w_ih.T + h @ w_hh.T
    z = z if b_ih is None else z + b_ih + b_hh
    return _gates(z, c)


def _gates(z: Any, c: Any) -> tuple:
    i, f, g, o = dif.split(z, 4, axis=-1)
    sigmoid = dif.special.expit
    c = sigmoid(f) * c + sigmoid(i) * dif.tanh(g)
    return sigmoid(o) * dif.tanh(c), c


def _plain(x: Any, h: Any, c: Any, w_ih: Any, w_hh: Any, b: Any) -> tuple:
    inputs = x @ w_ih.T + b
    found = []
    for z in inputs:
        h, c = _gates(z + h @ w_hh.T, c)
        found.append(h)
    return dif.stack(found), c


def _forward(x: np.ndarray, h: np.ndarray, c: np.ndarray, w_ih: np.ndarray, w_hh: np.ndarray, b: np.ndarray) -> tuple:
    steps, batch, size = *x.shape[:2], h.shape[1]
    dtype = np.result_type(x, w_ih)
    # sigmoid(z) = tanh(z / 2) / 2 + 1/2: with the weights of three gates halved, one tanh serves all four
    half, shift = np.full(4 * size, 0.5, dtype), np.full(4 * size, 0.5, dtype)
    half[2 * size : 3 * size], shift[2 * size : 3 * size] = 1.0, 0.0
    recurrent = np.ascontiguousarray((w_hh * half[:, None]).T)
    a = (x.reshape(steps * batch, -1) @ (w_ih * half[:, None]).T).reshape(steps, batch, 4 * size)
    b = b * half
    cs, tanh_c = np.empty((2, steps + 1, batch, size), dtype)
    hs = np.empty((steps + 1, batch, size), dtype)
    hs[0], cs[0] = h, c
    buffer, product = np.empty((batch, 4 * size), dtype), np.empty((batch, size), dtype)
    for t in range(steps):
        z = a[t]
        np.matmul(hs[t], recurrent, out=buffer)
        buffer += b
        z += buffer
        np.tanh(z, out=z)
        z *= half
        z += shift
        new = cs[t + 1]
        np.multiply(z[:, size : 2 * size], cs[t], out=new)
        np.multiply(z[:, :size], z[:, 2 * size : 3 * size], out=product)
        new += product
        np.tanh(new, out=tanh_c[t])
        np.multiply(z[:, 3 * size :], tanh_c[t], out=hs[t + 1])
    return (hs[1:], cs[steps]), (x, w_ih, w_hh, a, hs, cs, tanh_c)


def _backward(saved: tuple, gs: tuple) -> tuple:
    x, w_ih, w_hh, a, hs, cs, tanh_c = saved
    gy, gc = gs
    steps, batch, size = tanh_c[:-1].shape
    dz = np.empty_like(a)
    dh, dc = np.zeros((batch, size), a.dtype), gc.astype(a.dtype, copy=True)
    slope, t1 = np.empty((batch, 4 * size), a.dtype), np.empty((batch, size), a.dtype)
    w_hh = np.ascontiguousarray(w_hh)
    cell = slice(2 * size, 3 * size)
    for t in range(steps - 1, -1, -1):
        z, d, tc = a[t], dz[t], tanh_c[t]
        dh += gy[t]
        np.multiply(dh, tc, out=d[:, 3 * size :])  # to the output gate
        np.multiply(tc, tc, out=t1)
        np.subtract(1, t1, out=t1)
        t1 *= z[:, 3 * size :]
        t1 *= dh
        dc += t1
        np.multiply(dc, z[:, cell], out=d[:, :size])
        np.multiply(dc, cs[t], out=d[:, size : 2 * size])
        np.multiply(dc, z[:, :size], out=d[:, cell])
        dc *= z[:, size : 2 * size]
        np.multiply(z, z, out=slope)  # through the activations: s - s^2, and 1 - s^2 for the tanh
        np.subtract(1, slope[:, cell], out=t1)
        np.subtract(z, slope, out=slope)
        slope[:, cell] = t1
        d *= slope
        np.matmul(d, w_hh, out=dh)
    flat = dz.reshape(steps * batch, -1)
    gx = (flat @ w_ih).reshape(x.shape)
    g_ih = flat.T @ x.reshape(steps * batch, -1)
    g_hh = flat.T @ hs[:-1].reshape(steps * batch, -1)
    return gx, dh, dc, g_ih, g_hh, np.add.reduce(flat, axis=0)


lstm_sequence = fused(_plain, _forward, _backward)
