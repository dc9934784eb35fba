"""Philox: the source of all random words: a key, and a position in its stream."""

from __future__ import annotations

import math
from collections.abc import Callable
from threading import RLock
from typing import Any

import numpy as np
from numpy.random import SeedSequence

from difftensor._backend import Device, namespace, philox
from difftensor._backend.device import CPU
from difftensor._transforms.draws import note
from difftensor.random._noise import uniform

BLOCK = 1 << 15  # words that are turned into numbers at a time on the CPU: they stay in the cache
_64 = (1 << 64) - 1


class Philox:
    """Philox4x64-10: random 64-bit words as a function of a key and a position.

    Parameters
    ----------
    seed : None, int, sequence of ints or SeedSequence, optional
        As of ``numpy.random.Philox``; None: fresh entropy from the operating system.
    key : int or two of them, optional
        The key itself (128 bits), instead of a seed.
    position : int
        How many words of the stream have been used.

    Attributes
    ----------
    seed_seq : SeedSequence or None
    state : dict
        ``{"bit_generator": "Philox", "key": [int, int], "position": int}``: readable and settable, plain numbers.

    Notes
    -----
    The words are those of ``numpy.random.Philox(seed).random_raw()``, on every device. Period 2^66 words here
    (2^258 in all) for each of 2^128 keys.

    References
    ----------
    J. K. Salmon, M. A. Moraes, R. O. Dror, D. E. Shaw, Parallel random numbers: as easy as 1, 2, 3, SC11 (2011).

    Examples
    --------
    >>> import numpy as np, difftensor as dif
    >>> words = dif.random.Philox(7).random_raw(3)
    >>> bool((words == np.random.Philox(7).random_raw(3)).all())
    True
    """

    def __init__(self, seed: Any = None, *, key: Any = None, position: int = 0):
        if key is not None and seed is not None:
            raise ValueError("Philox: seed and key cannot be both given")
        self.seed_seq: Any = None
        if key is None:
            self.seed_seq = seed if hasattr(seed, "generate_state") else SeedSequence(seed)
            key = self.seed_seq.generate_state(2, np.uint64)
        elif isinstance(key, int):
            key = key & _64, key >> 64
        self.lock = RLock()
        self.state = {"bit_generator": "Philox", "key": key, "position": position}

    @property
    def state(self) -> dict:
        return {"bit_generator": "Philox", "key": list(self.key), "position": self.position}

    @state.setter
    def state(self, value: dict) -> None:
        if not isinstance(value, dict) or value.get("bit_generator") != "Philox":
            raise ValueError("state must be for a Philox PRNG")
        if "position" not in value:  # of numpy.random.Philox
            value = _from_numpy(value)
        key, position = tuple(map(int, value["key"])), int(value["position"])
        if len(key) != 2 or not all(0 <= k <= _64 for k in key) or position < 0:
            raise ValueError(f"Philox: a key is two words of 64 bits, a position is not negative; found {value}")
        self.key, self.position = key, position
        self._compiled = np.random.Philox(key=np.array(key, dtype=np.uint64))
        self._numbers = np.random.Generator(self._compiled)
        self._at = 0  # where the compiled generator stands

    def __getstate__(self) -> dict:
        return {"state": self.state, "seed_seq": self.seed_seq}

    def __setstate__(self, saved: dict) -> None:
        self.lock = RLock()
        self.seed_seq, self.state = saved["seed_seq"], saved["state"]

    def __repr__(self) -> str:
        return f"Philox(key={list(self.key)}, position={self.position})"

    def spawn(self, n_children: int) -> list[Philox]:
        """`n_children` independent sources, as ``numpy.random.BitGenerator.spawn``."""
        if not hasattr(self.seed_seq, "spawn"):
            raise TypeError("The underlying SeedSequence does not implement spawning.")
        return [Philox(child) for child in self.seed_seq.spawn(n_children)]

    def advance(self, delta: int) -> Philox:
        """Move on by `delta` words; returns the source itself."""
        with self.lock:
            note(self)
            self.position += int(delta)
        return self

    def random_raw(self, size: Any = None, output: bool = True) -> Any:
        """The next words of the stream, as ``numpy.random.BitGenerator.random_raw``: a NumPy array or an int."""
        n = 1 if size is None else math.prod(np.atleast_1d(size).tolist())
        with self.lock:
            note(self)
            start, self.position = self.position, self.position + n
            w = self._words(start, n) if output else None
        return w if w is None else int(w[0]) if size is None else w.reshape(size)

    def reserve(self, n: int) -> int:
        """The position of the next n words, which are used up by this."""
        with self.lock:
            note(self)
            start, self.position = self.position, self.position + n
        return start

    def words(self, start: int, n: int, device: Device = CPU, lane: int = 0) -> Any:
        """The n words from position `start` on, on `device`."""
        if device.kind != "cpu":
            return philox.words(self.key, start, n, device, lane)
        with self.lock:
            return self._words(start, n, lane)

    def _words(self, start: int, n: int, lane: int = 0) -> np.ndarray:
        """On the CPU, where NumPy's compiled Philox knows the same words."""
        self._stand(start, lane)
        w = self._compiled.random_raw(n)
        self._at = -1 if lane else start + n
        return w

    def _stand(self, start: int, lane: int = 0) -> None:
        """Bring the compiled generator to `start`."""
        if self._at == start and not lane:
            return
        state = self._compiled.state
        state["state"]["counter"] = np.array([start // 4, 0, 0, lane], dtype=np.uint64)
        state["buffer_pos"] = 4  # nothing left of the last block
        self._compiled.state = state
        self._compiled.random_raw(start % 4, output=False)

    def fill(self, f: Callable, shape: tuple, device: Device, dtype: Any = np.float64) -> Any:
        """An array of numbers ``f(xp, words)``: one word for each, or one for two of those of at most 32 bits."""
        n = math.prod(shape)
        halves = np.dtype(dtype).itemsize <= 4
        count = -(-n // 2) if halves else n
        start = self.reserve(count)
        if device.kind != "cpu":
            xp_words = self.words(start, count, device)
            xp = namespace(xp_words)
            return f(xp, xp_words.view(np.uint32)[:n] if halves else xp_words).reshape(shape)
        if count <= BLOCK and not halves:
            return f(np, self.words(start, count)).reshape(shape)
        out = np.empty(shape, dtype)
        flat = out.reshape(-1)
        with self.lock:
            if f is uniform:  # NumPy makes the same numbers of the words, in one pass
                self._stand(start)
                self._numbers.random(out=flat)
                self._at = start + n
                return out
            for i in range(0, count, BLOCK):
                w = self._words(start + i, min(BLOCK, count - i))
                if halves:
                    part = flat[2 * i : 2 * (i + BLOCK)]
                    part[...] = f(np, w.astype("<u8", copy=False).view("<u4")[: part.size])
                else:
                    flat[i : i + BLOCK] = f(np, w)
        return out


def _from_numpy(state: dict) -> dict:
    """The state of a numpy.random.Philox that stands between two 64-bit words."""
    inner = state["state"]
    counter = [int(c) for c in inner["counter"]]
    if state.get("has_uint32") or any(counter[2:]):
        raise ValueError("Philox: this state of numpy.random.Philox stands inside a word, or in another lane")
    blocks = counter[0] + (counter[1] << 64)
    return {"key": inner["key"], "position": 4 * blocks - (4 - int(state["buffer_pos"]))}
