"""Integers and counts. They have no derivative: a tracked parameter raises, and says what to do."""

from __future__ import annotations

import operator
from typing import Any

import numpy as np

from difftensor._backend import device_of
from difftensor._core import Tensor, X
from difftensor.random import _counts, _integers
from difftensor.random._base import Draws, tensor, widened
from difftensor.random._noise import where
from difftensor.random._parameters import checked, constant, parameter, shape_of, sized, values


class Discrete(Draws):
    """Draws of integers."""

    def integers(
        self, low: Any, high: Any = None, size: Any = None, dtype: Any = np.int64, endpoint: bool = False
    ) -> Any:
        """Uniform integers ``low <= k < high`` (or ``0 <= k < low``), with `endpoint` including the last.

        Parameters
        ----------
        low, high : int or array of ints
        size : int or tuple of ints, optional
        dtype : integer dtype or bool
        endpoint : bool

        Returns
        -------
        Tensor

        Notes
        -----
        Exactly uniform (but for 2^-60), by a product and rejection; the same bits on every device. Up to 2^32
        outcomes one word serves two integers.

        Examples
        --------
        >>> import difftensor as dif
        >>> k = dif.random.default_rng(0).integers(1, 6, size=1000, endpoint=True)
        >>> int(k.min()), int(k.max())
        (1, 6)
        """
        kind = np.dtype(dtype)
        if kind.kind not in "biu":
            raise TypeError(f"Unsupported dtype {kind!r} for integers")
        if high is None:
            low, high = 0, low
        for v, what in ((low, "low"), (high, "high")):
            constant(v, "integers", what)
        least, most = (0, 1) if kind.kind == "b" else (np.iinfo(kind).min, np.iinfo(kind).max)
        low, high = _integral(low, "low"), _integral(high, "high")
        if isinstance(low, int) and isinstance(high, int):
            last = high if endpoint else high - 1
            if low < least:
                raise ValueError(f"low is out of bounds for {kind}")
            if last > most:
                raise ValueError(f"high is out of bounds for {kind}")
            if last < low:
                raise ValueError("low > high" if endpoint else "low >= high")
            shape, scalar = sized(size)
            k = _integers.below(self._source, widened(shape), self._device, last - low + 1)
            k += np.uint64(low % 2**64)
            return tensor(k.view(np.int64).astype(kind, copy=False) if kind.kind != "u" else k.astype(kind), scalar)
        shape, scalar = sized(size, *(v for v in (low, high) if not isinstance(v, int)))
        low, high = (v if isinstance(v, int) else self._physical(v, shape) for v in (low, high))
        return tensor(self._between(low, high, widened(shape), kind, endpoint, least, most), scalar)

    def _between(self, low: Any, high: Any, shape: tuple, kind: np.dtype, endpoint: bool, least: int, most: int) -> Any:
        """Raw integers between arrays."""
        if self._device.kind == "cpu":  # what a GPU holds is not read
            low, high = np.asarray(low), np.asarray(high)
            bottom, top = (int(low.min()), int(high.max())) if low.size and high.size else (0, 1)
            if bottom < least:
                raise ValueError(f"low is out of bounds for {kind}")
            if top - (not endpoint) > most:
                raise ValueError(f"high is out of bounds for {kind}")
            if (low > high).any() or (not endpoint and (low == high).any()):
                raise ValueError("low > high" if endpoint else "low >= high")
        wrapped = [np.uint64(v % 2**64) if isinstance(v, int) else v.astype(np.uint64) for v in (low, high)]
        r = wrapped[1] - wrapped[0] + np.uint64(endpoint)
        k = _integers.below_each(self._source, shape, self._device, r) + wrapped[0]
        return k.view(np.int64).astype(kind) if kind.kind != "u" else k.astype(kind)

    def bytes(self, length: int) -> bytes:
        """`length` random bytes, of the words in little-endian order."""
        n = operator.index(length)
        if n < 0:
            raise ValueError("negative dimensions are not allowed")
        return self._source.random_raw((-(-n // 8),)).astype("<u8").tobytes()[:n]

    def _counted(self, name: str, draw: Any, size: Any, **parameters: tuple) -> Tensor:
        """A draw of counts; each parameter with its rule."""
        given = []
        for what, (v, rule) in parameters.items():
            constant(v, name, what)
            given.append(checked(v, name, what, rule) if rule else parameter(v, name, what))
        shape, scalar = sized(size, *given)
        raws = [self._physical(v, shape) for v in given]
        return tensor(draw(self._source, widened(shape), self._device, *raws), scalar)

    def poisson(self, lam: Any = 1.0, size: Any = None) -> Any:
        """Poisson of mean `lam`: by inversion below 10, by transformed rejection (PTRS) above.

        Parameters
        ----------
        lam : float or array of floats that are not negative
        size : int or tuple of ints, optional

        Returns
        -------
        Tensor of int64

        Raises
        ------
        MissingDerivativeError
            `lam` is tracked: the draws are integers.
        """
        return self._counted("poisson", _counts.poisson, size, lam=(lam, "a mean"))

    def binomial(self, n: Any, p: Any, size: Any = None) -> Any:
        """Successes in `n` trials of probability `p`: inversion for means below 10, else transformed rejection."""
        return self._counted(
            "binomial", _counts.binomial, size, n=(_whole(n, "binomial", "n"), "not negative"), p=(p, "a probability")
        )

    def negative_binomial(self, n: Any, p: Any, size: Any = None) -> Any:
        """Failures before `n` successes of probability `p`: a Poisson number of gamma distributed mean."""
        return self._counted(
            "negative_binomial", _counts.negative_binomial, size, n=(n, "positive"), p=(p, "a positive probability")
        )

    def geometric(self, p: Any, size: Any = None) -> Any:
        """Trials up to the first success of probability `p`, by inversion."""
        return self._counted("geometric", _counts.geometric, size, p=(p, "a positive probability"))

    def logseries(self, p: Any, size: Any = None) -> Any:
        """Logarithmic series, after Kemp."""
        return self._counted("logseries", _counts.logseries, size, p=(p, "a fraction"))

    def zipf(self, a: Any, size: Any = None) -> Any:
        """Zipf (zeta) of exponent `a`, by rejection after Devroye."""
        return self._counted("zipf", _counts.zipf, size, a=(a, "above 1"))

    def hypergeometric(self, ngood: Any, nbad: Any, nsample: Any, size: Any = None) -> Any:
        """Good ones among `nsample` taken of `ngood` good and `nbad` bad, by ratios of uniforms (HRUE)."""
        ngood, nbad, nsample = (
            _whole(v, "hypergeometric", w) for v, w in ((ngood, "ngood"), (nbad, "nbad"), (nsample, "nsample"))
        )
        if all(device_of(values(v)).kind == "cpu" for v in (ngood, nbad, nsample)):
            good, bad, sample = (np.asarray(values(v)) for v in (ngood, nbad, nsample))
            if (good >= 10**9).any() or (bad >= 10**9).any():
                raise ValueError("both ngood and nbad must be less than 1000000000")
            _compare_all(good, bad, sample)
        return self._counted(
            "hypergeometric", _counts.hypergeometric, size, ngood=(ngood, "not negative"),
            nbad=(nbad, "not negative"), nsample=(nsample, "not negative"),
        )  # fmt: skip

    # of several kinds -------------------------------------------------------------------------------------------------

    def multinomial(self, n: Any, pvals: Any, size: Any = None) -> Any:
        """Counts of `n` trials with outcomes of probabilities `pvals` (the last axis), by conditional binomials.

        Notes
        -----
        The last probability is what the others leave to 1, as in NumPy.
        """
        n = _whole(constant(n, "multinomial", "n"), "multinomial", "n")
        n = checked(n, "multinomial", "n", "not negative")
        pvals = checked(constant(pvals, "multinomial", "pvals"), "multinomial", "pvals", "a probability")
        if not getattr(pvals, "ndim", 0) or not pvals.shape[-1]:
            raise ValueError(
                "pvals must have at least 1 dimension and the last dimension of pvals must be greater than 0."
            )
        kinds = pvals.shape[-1]
        shape, _ = sized(size, n, *((pvals[..., 0],) if pvals.ndim > 1 else ()))
        left, p = self._physical(n, shape), self._physical(pvals, (*shape, kinds))
        if self._device.kind == "cpu" and (p[..., :-1].sum(-1) > 1 + 1e-12).any():
            raise ValueError("sum(pvals[:-1]) > 1.0")
        found, rest = [], 1.0
        for i in range(kinds - 1):
            share = where(rest > 0, np.clip(p[..., i] / where(rest > 0, rest, 1.0), 0.0, 1.0), 0.0)
            found.append(_counts.binomial(self._source, widened(shape), self._device, left, share))
            left = left - found[-1]
            rest = rest - p[..., i]
        found.append(left if found else np.broadcast_to(left, widened(shape)).astype(np.int64))
        return tensor(np.stack(found, axis=-1))

    def multivariate_hypergeometric(
        self, colors: Any, nsample: Any, size: Any = None, method: str = "marginals"
    ) -> Any:
        """How many of each color are among `nsample` taken of ``colors[i]`` of each, by conditional draws.

        `method` ("marginals" or "count", as in NumPy) does not matter: the numbers are drawn color by color.
        """
        if method not in ("marginals", "count"):
            raise ValueError('method must be "count" or "marginals"')
        colors = np.asarray(values(constant(colors, "multivariate_hypergeometric", "colors")))
        sample = operator.index(nsample)
        colors = colors if colors.size else colors.astype(np.int64)
        if colors.ndim != 1 or colors.dtype.kind not in "iu" or (colors < 0).any():
            raise ValueError("colors must be a one-dimensional sequence of nonnegative integers.")
        if sample < 0:
            raise ValueError("nsample must be nonnegative.")
        rest = int(colors.sum())
        if rest >= 10**9:
            raise ValueError("When method is 'marginals', sum(colors) must be less than 1000000000.")
        if sample > rest:
            raise ValueError("nsample > sum(colors)")
        shape = shape_of(size) or ()
        left, found = sample, []
        for count in colors[:-1].tolist():
            rest -= count
            found.append(_counts.hypergeometric(self._source, widened(shape), self._device, count, rest, left))
            left = left - found[-1]
        found.append(left if found else np.full(widened(shape), left))
        return tensor(np.stack(found[: colors.size], axis=-1) if colors.size else np.zeros((*shape, 0), np.int64))


def _compare_all(good: Any, bad: Any, sample: Any) -> None:
    try:
        more = (sample > good + bad).any()
    except ValueError:  # examples of a vmap beside parameters that broadcast
        return
    if more:
        raise ValueError("ngood + nbad < nsample")


def _integral(v: Any, what: str) -> Any:
    """An int, or an array of integers (or a Tensor of them)."""
    if isinstance(v, (int, np.integer)):
        return int(v)
    if isinstance(v, (float, np.floating)):
        if v != int(v):
            raise TypeError(f"integers: {what} must be an integer, found {v}")
        return int(v)
    v = parameter(v, "integers", what)
    if v.dtype.kind == "f":
        v = X.astype(v, np.int64)
    return v


def _whole(v: Any, name: str, what: str) -> Any:
    """A parameter that counts: cast to int64 if nothing is lost by it, as NumPy does."""
    v = parameter(v, name, what)
    if isinstance(v, (int, np.integer)):
        return int(v)
    if isinstance(v, (float, np.floating)) and v == v // 1:
        return int(v)
    if isinstance(v, (float, np.floating)) or v.dtype.kind == "f":
        raise TypeError(f"{name}: {what} must be of integers, found {np.asarray(values(v)).dtype}")
    return v
