"""Orders and choices: permutations by sorting random keys, choices by them or by a distribution function."""

from __future__ import annotations

import math
import operator
from typing import Any

import numpy as np

from difftensor._backend import move, namespace
from difftensor._core import Tensor, X
from difftensor._transforms.batch import levels
from difftensor.errors import BatchedValueError
from difftensor.random import _integers, _noise
from difftensor.random._base import Draws, tensor, widened
from difftensor.random._parameters import constant, parameter, shape_of

# Up to so many elements, the places stand in the low bits of the keys: 43 random bits are left, and no two keys are
# equal, so that every sort on every device gives the same order.
_MARKED = 1 << 21
_SPARSE = 8  # choosing less than one in so many of very many without replacement draws again what was drawn twice


class Ordering(Draws):
    """Permutations and choices."""

    def _order(self, shape: tuple) -> Any:
        """Raw random orders along the last axis of `shape`, each of its own."""
        n = shape[-1]
        shape = widened(shape)
        w = self._source.words(self._source.reserve(math.prod(shape)), math.prod(shape), self._device).reshape(shape)
        xp = namespace(w)
        if n > _MARKED:
            return xp.argsort(w, axis=-1, kind="stable")
        mask = np.uint64((1 << max(n - 1, 1).bit_length()) - 1)
        keys = (w & ~mask) | xp.arange(n, dtype=xp.uint64)
        keys.sort(axis=-1)
        return (keys & mask).astype(xp.int64)

    def permutation(self, x: Any, axis: int = 0) -> Any:
        """`x` (or ``arange(x)``) in random order along `axis`; differentiable in x.

        Parameters
        ----------
        x : int or array
        axis : int

        Returns
        -------
        Tensor
            A copy.

        Notes
        -----
        One word for each element of the axis, whose order is that of the sorted words (43 or more bits of them).

        Examples
        --------
        >>> import difftensor as dif
        >>> p = dif.random.default_rng(0).permutation(5)
        >>> sorted(p.tolist())
        [0, 1, 2, 3, 4]
        """
        if isinstance(x, (int, np.integer)):
            if x < 0:
                raise ValueError("negative dimensions are not allowed")
            return tensor(self._order((int(x),)))
        x = _array(x, self._device)
        if not x.ndim:
            raise np.exceptions.AxisError(axis, 0)
        return self._taken(x, tensor(self._order((x.shape[_axis(axis, x)],))), axis)

    def _taken(self, x: Tensor, order: Any, axis: int) -> Tensor:
        """The parts of x along `axis` in an order, which may differ between the examples of a vmap."""
        front = x if _axis(axis, x) == 0 else X.moveaxis(x, axis, 0)
        y = front[order]
        return (
            y
            if _axis(axis, x) == 0
            else X.moveaxis(y, range(order.ndim), range(axis % x.ndim, axis % x.ndim + order.ndim))
        )

    def shuffle(self, x: Any, axis: int = 0) -> None:
        """Put `x` in random order along `axis`, in place: a Tensor, an ndarray or a list."""
        if isinstance(x, Tensor):
            x[...] = self.permutation(x, axis)
            return
        if not isinstance(x, np.ndarray):
            if axis:
                raise NotImplementedError("Axis argument is only supported on ndarray objects")
            _no_vmap("shuffle of a list")
            x[:] = [x[i] for i in self._host_order(len(x))]
            return
        _no_vmap("shuffle of an ndarray")
        x[...] = np.take(x, self._host_order(x.shape[_axis(axis, x)]), axis)

    def _host_order(self, n: int) -> list:
        order = self._order((n,))
        return (order if order.__class__ is np.ndarray else order.get()).tolist()

    def permuted(self, x: Any, *, axis: Any = None, out: Any = None) -> Any:
        """`x` with the elements of every line along `axis` in an order of its own (all elements for axis None).

        Differentiable in x. `out`, a Tensor or ndarray, is filled in place.
        """
        from difftensor._core import write_out

        t = _array(x, self._device)
        if axis is None:
            y = X.reshape(self._taken(X.reshape(t, (-1,)), tensor(self._order((t.size,))), 0), t.shape)
        else:
            axis = _axis(axis, t)
            shape = (*t.shape[:axis], *t.shape[axis + 1 :], t.shape[axis])
            order = X.moveaxis(tensor(self._order(shape)), -1, axis)
            y = X.take_along_axis(t, order, axis=axis)
        return y if out is None else write_out("random.permuted", y, out)

    def choice(
        self, a: Any, size: Any = None, replace: bool = True, p: Any = None, axis: int = 0, shuffle: bool = True
    ) -> Any:
        """Random elements of `a` (or of ``arange(a)``), with probabilities `p`; differentiable in a.

        Parameters
        ----------
        a : int or array
        size : int or tuple of ints, optional
        replace : bool
            May an element be chosen twice?
        p : array of n probabilities, optional
        axis : int
            Along which elements are chosen.
        shuffle : bool
            Accepted as NumPy does: the order is random anyway.

        Returns
        -------
        Tensor

        Notes
        -----
        With replacement one word for each draw (two of 32 bits without `p`); without replacement one for each element
        of `a`: the smallest random keys, for probabilities those of exponential variables ``E / p`` (Efraimidis and
        Spirakis), which is drawing one after the other.

        References
        ----------
        P. S. Efraimidis, P. G. Spirakis, Weighted random sampling with a reservoir, Information Processing Letters 97
        (2006) 181.

        Examples
        --------
        >>> import difftensor as dif
        >>> dif.random.default_rng(1).choice(["heads", "tails"], size=0).shape
        Traceback (most recent call last):
            ...
        TypeError: random.choice: Tensors hold numbers, found <U5: choose indices, rng.choice(len(a), ...)
        """
        number = isinstance(a, (int, np.integer))
        t = None if number else _array(a, self._device, "choice")
        if t is not None and not t.ndim:
            if t.dtype.kind not in "iu":
                raise ValueError(f"a must be a sequence or an integer, not {type(a)}")
            number, a = True, t.item()
        n = int(a) if number else t.shape[_axis(axis, t)]  # type: ignore[union-attr]
        shape = shape_of(size)
        count = math.prod(shape or ())
        if n <= 0 and count:
            raise ValueError("a must be a positive integer unless no samples are taken" if number
                             else "a cannot be empty unless no samples are taken")  # fmt: skip
        if p is not None:
            p = self._probabilities(p, n)
        if not replace and count > n:
            raise ValueError("Cannot take a larger sample than population when replace is False")
        if p is not None:
            k = self._weighted(p, n, shape or (), replace)
        elif replace:
            k = _integers.below(self._source, widened(shape or ()), self._device, max(n, 1)).astype(np.int64)
        else:
            k = self._distinct(n, count).reshape(widened(shape or ()))
        index = tensor(k, shape is None)
        return index if number else self._taken(t, index, axis)  # type: ignore[arg-type]

    def _probabilities(self, p: Any, n: int) -> Any:
        p = parameter(constant(p, "choice", "p", "which element is chosen jumps"), "choice", "p")
        if getattr(p, "ndim", 0) != 1:
            raise ValueError("p must be 1-dimensional")
        if p.shape[0] != n:
            raise ValueError("a and p must have same size")
        raw = self._physical(p, (n,))
        if self._device.kind == "cpu":
            if np.isnan(raw).any():
                raise ValueError("Probabilities contain NaN")
            if (raw < 0).any():
                raise ValueError("Probabilities are not non-negative")
            if (abs(raw.sum(-1) - 1) > max(1e-8, np.finfo(raw.dtype).eps ** 0.5 if raw.dtype.kind == "f" else 0)).any():
                raise ValueError("Probabilities do not sum to 1. See Notes section of docstring for more information.")
        return raw.astype(np.float64)

    def _weighted(self, p: Any, n: int, shape: tuple, replace: bool) -> Any:
        """Raw indices of probabilities `p`, which may differ between the examples of a vmap."""
        whole, xp = widened(shape), namespace(p)
        count = math.prod(shape)
        if replace:
            u = self._source.fill(_noise.uniform, whole, self._device)
            cdf = xp.cumsum(p, axis=-1)
            cdf = cdf / cdf[..., -1:]
            if cdf.ndim == 1:
                return xp.searchsorted(cdf, u, side="right").astype(np.int64)
            batch = whole[: len(whole) - len(shape)]
            lines = u.reshape(*batch, count, 1) >= cdf.reshape(*cdf.shape[:-1], 1, n)
            return lines.sum(-1).reshape(whole)
        if self._device.kind == "cpu" and count and ((p > 0).sum(-1) < count).any():
            raise ValueError("Fewer non-zero entries in p than size")
        e = self._source.fill(_noise.exponential, widened((n,)), self._device)
        with np.errstate(divide="ignore", invalid="ignore"):
            keys = np.where(p > 0, (e + 2.0**-60) / p, np.inf)  # elements of probability 0 come last
        return keys.argsort(axis=-1)[..., :count].reshape(whole)

    def _distinct(self, n: int, count: int) -> Any:
        """`count` raw indices below n, none twice."""
        if n <= _MARKED or count * _SPARSE > n or self._device.kind != "cpu" or any(levels.get()):
            return self._order((n,))[..., :count]
        k = _integers.below(self._source, (count,), self._device, n)
        while True:
            _, first = np.unique(k, return_index=True)
            if first.size == count:
                return k.astype(np.int64)
            again = np.ones(count, bool)
            again[first] = False
            k[again] = _integers.below(self._source, (int(again.sum()),), self._device, n)


def _array(x: Any, device: Any, name: str = "permutation") -> Tensor:
    """`x` as a Tensor on `device` if it is not one."""
    if isinstance(x, Tensor):
        return x
    raw = x if namespace(x) is not np else np.asarray(x)
    if raw.dtype.kind not in "biufc":
        raise TypeError(
            f"random.{name}: Tensors hold numbers, found {raw.dtype}: choose indices, rng.{name}(len(a), ...)"
        )
    return X.asarray(move(raw, device))


def _axis(axis: Any, x: Any) -> int:
    axis = operator.index(axis)
    if not -x.ndim <= axis < x.ndim:
        raise np.exceptions.AxisError(axis, x.ndim)
    return axis % x.ndim


def _no_vmap(what: str) -> None:
    if any(s is not None for s in levels.get()):
        raise BatchedValueError(f"random: {what} inside vmap has one order for all examples: pass a Tensor")
