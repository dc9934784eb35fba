"""Continuous distributions. A sample is a differentiable function of its parameters, at fixed random words."""

from __future__ import annotations

from typing import Any

import numpy as np

from difftensor._core import Tensor, X, write_out
from difftensor.random import _noise
from difftensor.random._base import Draws, scaled, tensor, widened
from difftensor.random._gamma import gamma_path, log_gamma_path, standard_gamma
from difftensor.random._parameters import checked, constant, is_tracked, parameter, shape_of, sized


class Continuous(Draws):
    """Draws of real numbers."""

    # of no parameters -------------------------------------------------------------------------------------------------

    def random(self, size: Any = None, dtype: Any = np.float64, out: Any = None) -> Any:
        """Uniform in [0, 1): the upper 53 bits of a word (24 bits of half a word in single precision).

        Parameters
        ----------
        size : int or tuple of ints, optional
        dtype : float64 or float32
        out : Tensor or ndarray, optional
            Filled in place.

        Returns
        -------
        Tensor

        Notes
        -----
        The same bits on every device, and those of ``numpy.random.Generator(numpy.random.Philox(seed)).random()``.

        Examples
        --------
        >>> import numpy as np, difftensor as dif
        >>> x = dif.random.default_rng(5).random(3)
        >>> bool((x == np.random.Generator(np.random.Philox(5)).random(3)).all())
        True
        """
        return self._standard(_noise.uniform, _noise.uniform_single, size, dtype, out, "random")

    def standard_normal(self, size: Any = None, dtype: Any = np.float64, out: Any = None) -> Any:
        """Normal of mean 0 and variance 1, by the inverse of its distribution function: one word each.

        Parameters
        ----------
        size : int or tuple of ints, optional
        dtype : float64 or float32
        out : Tensor or ndarray, optional

        Returns
        -------
        Tensor
        """
        return self._standard(_noise.normal, _noise.normal_single, size, dtype, out, "standard_normal")

    def standard_exponential(
        self, size: Any = None, dtype: Any = np.float64, method: str = "zig", out: Any = None
    ) -> Any:
        """Exponential of mean 1: ``-log(1 - u)``, whatever `method` says."""
        if method not in ("zig", "inv"):
            raise ValueError(f"standard_exponential: method must be 'zig' or 'inv', found {method!r}")
        return self._standard(_noise.exponential, _noise.exponential_single, size, dtype, out, "standard_exponential")

    def standard_cauchy(self, size: Any = None) -> Any:
        """Cauchy of median 0 and scale 1: ``tan(pi (u - 1/2))``."""
        shape = shape_of(size)
        return self._noise(_noise.cauchy, shape or (), shape is None)

    # of location and scale --------------------------------------------------------------------------------------------

    def _located(self, name: str, f: Any, loc: Any, scale: Any, size: Any, names: tuple = ("loc", "scale")) -> Any:
        loc = parameter(loc, name, names[0])
        scale = checked(scale, name, names[1], "not negative")
        return scaled(self._noise(f, *sized(size, loc, scale)), loc, scale)

    def uniform(self, low: Any = 0.0, high: Any = 1.0, size: Any = None) -> Any:
        """Uniform in [low, high): ``low + (high - low) u``, differentiable in both.

        Parameters
        ----------
        low, high : float or array of floats
        size : int or tuple of ints, optional

        Returns
        -------
        Tensor
        """
        low, high = parameter(low, "uniform", "low"), parameter(high, "uniform", "high")
        with np.errstate(over="ignore"):
            extent = checked(high - low, "uniform", "high - low", "finite")
        extent = checked(extent, "uniform", "high - low", "not negative")
        return scaled(self._noise(_noise.uniform, *sized(size, low, high)), low, extent)

    def normal(self, loc: Any = 0.0, scale: Any = 1.0, size: Any = None) -> Any:
        """Normal of mean `loc` and standard deviation `scale`, differentiable in both.

        Parameters
        ----------
        loc : float or array of floats
        scale : float or array of floats that are not negative
        size : int or tuple of ints, optional
            Shape of the draw; by default that of the parameters.

        Returns
        -------
        Tensor

        Notes
        -----
        ``loc + scale * z``; z by the inverse of the distribution function, one word each.

        Examples
        --------
        The derivative of E x^2 with respect to the standard deviation s is 2 s:

        >>> import difftensor as dif
        >>> f = lambda s: (dif.random.default_rng(0).normal(0.0, s, 10000) ** 2).mean()
        >>> abs(float(dif.grad(f)(1.5)) - 3.0) < 0.1
        True
        """
        return self._located("normal", _noise.normal, loc, scale, size)

    def laplace(self, loc: Any = 0.0, scale: Any = 1.0, size: Any = None) -> Any:
        """Laplace (double exponential), differentiable in `loc` and `scale`."""
        return self._located("laplace", _noise.laplace, loc, scale, size)

    def logistic(self, loc: Any = 0.0, scale: Any = 1.0, size: Any = None) -> Any:
        """Logistic, differentiable in `loc` and `scale`."""
        return self._located("logistic", _noise.logistic, loc, scale, size)

    def gumbel(self, loc: Any = 0.0, scale: Any = 1.0, size: Any = None) -> Any:
        """Gumbel, of maxima, differentiable in `loc` and `scale`."""
        return self._located("gumbel", _noise.gumbel, loc, scale, size)

    def exponential(self, scale: Any = 1.0, size: Any = None) -> Any:
        """Exponential of mean `scale`, differentiable in it."""
        return self._located("exponential", _noise.exponential, 0.0, scale, size)

    def lognormal(self, mean: Any = 0.0, sigma: Any = 1.0, size: Any = None) -> Any:
        """``exp(normal(mean, sigma))``, differentiable in both."""
        return X.exp(self._located("lognormal", _noise.normal, mean, sigma, size, ("mean", "sigma")))

    def rayleigh(self, scale: Any = 1.0, size: Any = None) -> Any:
        """Rayleigh: ``scale * sqrt(2 E)`` with E exponential; differentiable in `scale`."""
        scale = checked(scale, "rayleigh", "scale", "not negative")
        return scaled(X.sqrt(2 * self._noise(_noise.exponential, *sized(size, scale))), 0.0, scale)

    # powers -----------------------------------------------------------------------------------------------------------

    def _shaped(self, name: str, a: Any, size: Any, rule: str = "positive") -> tuple:
        a = checked(a, name, "a", rule)
        return a, self._noise(_noise.exponential, *sized(size, a))

    def weibull(self, a: Any, size: Any = None) -> Any:
        """Weibull of shape `a` and scale 1: ``E^(1/a)`` with E exponential; differentiable in `a`."""
        a, e = self._shaped("weibull", a, size)
        return e ** (1 / a)

    def pareto(self, a: Any, size: Any = None) -> Any:
        """Pareto II (Lomax): ``exp(E/a) - 1`` with E exponential; differentiable in `a`."""
        a, e = self._shaped("pareto", a, size)
        return X.expm1(e / a)

    def power(self, a: Any, size: Any = None) -> Any:
        """Density ``a x^(a-1)`` in [0, 1]: ``exp(-E/a)`` with E exponential; differentiable in `a`."""
        a, e = self._shaped("power", a, size)
        return X.exp(-e / a)

    def triangular(self, left: Any, mode: Any, right: Any, size: Any = None) -> Any:
        """Triangular, by the inverse of its distribution function; differentiable in all three."""
        left, mode, right = (
            parameter(v, "triangular", what) for v, what in ((left, "left"), (mode, "mode"), (right, "right"))
        )
        checked(mode - left, "triangular", "mode - left", "not negative")
        checked(right - mode, "triangular", "right - mode", "not negative")
        checked(right - left, "triangular", "right - left", "positive")
        shape, scalar = sized(size, left, mode, right)
        u = self._noise(_noise.centered, shape)
        base, rising = right - left, mode - left
        low = left + X.sqrt(u * base * rising)
        x = X.where(u * base <= rising, low, right - X.sqrt((1 - u) * base * (right - mode)))
        return x[()] if scalar else x

    # of the gamma family ----------------------------------------------------------------------------------------------

    def _gamma(self, a: Any, shape: tuple, scalar: bool, power: float = 1.0) -> Tensor:
        """Standard gamma variables."""
        raw, extra = standard_gamma(self._source, widened(shape), self._device, self._physical(a, shape))
        if extra is not None:
            raw = raw * X.exp(extra)
        x = tensor(raw, scalar)
        return gamma_path(a, x) if is_tracked(a) else x

    def _log_gamma(self, a: Any, shape: tuple, scalar: bool) -> Tensor:
        """Their logarithms, which do not underflow for small shapes."""
        raw, extra = standard_gamma(self._source, widened(shape), self._device, self._physical(a, shape))
        x = X.log(raw) if extra is None else X.log(raw) + extra
        x = tensor(x, scalar)
        return log_gamma_path(a, x) if is_tracked(a) else x

    def standard_gamma(self, shape: Any, size: Any = None, dtype: Any = np.float64, out: Any = None) -> Any:
        """Gamma of shape parameter `shape` and scale 1, differentiable in it.

        Parameters
        ----------
        shape : float or array of floats that are not negative
        size : int or tuple of ints, optional
        dtype : float64 or float32
            Of the result; the same draw is rounded.
        out : Tensor or ndarray, optional

        Returns
        -------
        Tensor

        Notes
        -----
        Rejection after Marsaglia and Tsang: two words of the stream for each number. The derivative is the implicit
        one, at a fixed value of the distribution function, by quadrature to about 1e-13.

        References
        ----------
        G. Marsaglia, W. W. Tsang, ACM Transactions on Mathematical Software 26 (2000) 363.
        M. Figurnov, S. Mohamed, A. Mnih, Implicit reparameterization gradients, NeurIPS 2018.

        Examples
        --------
        The mean of a gamma variable is its shape, whatever the draw:

        >>> import difftensor as dif
        >>> f = lambda a: dif.random.default_rng(0).standard_gamma(a, 10000).mean()
        >>> abs(float(dif.grad(f)(2.5)) - 1.0) < 0.02
        True
        """
        kind = np.dtype(dtype)
        if kind not in (np.float32, np.float64):
            raise TypeError(f"Unsupported dtype {kind!r} for standard_gamma")
        shape = checked(shape, "standard_gamma", "shape", "not negative")
        if out is not None:
            size = self._checked_out(out, shape_of(size), kind, "standard_gamma")
        y = self._gamma(shape, *sized(size, shape))
        if kind == np.float32:
            y = X.astype(y, kind)
        return y if out is None else write_out("random.standard_gamma", y, out)

    def gamma(self, shape: Any, scale: Any = 1.0, size: Any = None) -> Any:
        """Gamma of shape parameter `shape` and scale `scale`, differentiable in both (see `standard_gamma`)."""
        shape = checked(shape, "gamma", "shape", "not negative")
        scale = checked(scale, "gamma", "scale", "not negative")
        return scaled(self._gamma(shape, *sized(size, shape, scale)), 0.0, scale)

    def chisquare(self, df: Any, size: Any = None) -> Any:
        """Chi-square of `df` degrees of freedom, differentiable in them (see `standard_gamma`)."""
        df = checked(df, "chisquare", "df", "positive")
        return 2 * self._gamma(0.5 * df, *sized(size, df))

    def f(self, dfnum: Any, dfden: Any, size: Any = None) -> Any:
        """Fisher's F, a ratio of mean chi-squares; differentiable in both (see `standard_gamma`)."""
        dfnum, dfden = checked(dfnum, "f", "dfnum", "positive"), checked(dfden, "f", "dfden", "positive")
        at = sized(size, dfnum, dfden)
        return self._gamma(0.5 * dfnum, *at) * dfden / (self._gamma(0.5 * dfden, *at) * dfnum)

    def standard_t(self, df: Any, size: Any = None) -> Any:
        """Student's t: a normal variable over the root of a mean chi-square; differentiable in `df`."""
        df = checked(df, "standard_t", "df", "positive")
        at = sized(size, df)
        z = self._noise(_noise.normal, *at)
        return z / X.sqrt(self._gamma(0.5 * df, *at) / (0.5 * df))

    def beta(self, a: Any, b: Any, size: Any = None) -> Any:
        """Beta: ``x / (x + y)`` of two gamma variables; differentiable in both (see `standard_gamma`)."""
        from difftensor.special import expit

        a, b = checked(a, "beta", "a", "positive"), checked(b, "beta", "b", "positive")
        at = sized(size, a, b)
        return expit(self._log_gamma(a, *at) - self._log_gamma(b, *at))

    def noncentral_chisquare(self, df: Any, nonc: Any, size: Any = None) -> Any:
        """Noncentral chi-square; differentiable in `df` and `nonc` where df > 1.

        Notes
        -----
        For df > 1 (z + sqrt(nonc))^2 and a chi-square of df - 1; else a chi-square whose degrees of freedom are raised
        by a Poisson number, through which there is no derivative.
        """
        df = checked(df, "noncentral_chisquare", "df", "positive")
        nonc = checked(nonc, "noncentral_chisquare", "nonc", "not negative")
        return self._noncentral("noncentral_chisquare", df, nonc, *sized(size, df, nonc))

    def _noncentral(self, name: str, df: Any, nonc: Any, shape: tuple, scalar: bool) -> Any:
        few = self._physical(df, shape) <= 1
        if is_tracked(df) or is_tracked(nonc):
            if self._device.kind != "cpu" or np.any(few):  # what a GPU holds is not read
                why = "for df <= 1 it depends on a Poisson number"
                constant(df, name, "df", why)
                constant(nonc, name, "nonc", why)
            few = np.False_
        z = self._noise(_noise.normal, shape, scalar)
        if not np.ndim(few) and not few:
            return (z + X.sqrt(nonc)) ** 2 + 2 * self._gamma(0.5 * (df - 1), shape, scalar)
        from difftensor.random._counts import poisson

        i = poisson(self._source, widened(shape), self._device, 0.5 * self._physical(nonc, shape))
        mixed = tensor(i)
        some = tensor(few + 0 * i == 1)
        g = self._gamma(0.5 * X.where(some, df + 2 * mixed, df - 1), shape, scalar)
        return 2 * g + X.where(some, 0.0, (z + X.sqrt(nonc)) ** 2)

    def noncentral_f(self, dfnum: Any, dfden: Any, nonc: Any, size: Any = None) -> Any:
        """Noncentral F: a noncentral mean chi-square over a mean chi-square; differentiable where dfnum > 1."""
        dfnum = checked(dfnum, "noncentral_f", "dfnum", "positive")
        dfden = checked(dfden, "noncentral_f", "dfden", "positive")
        nonc = checked(nonc, "noncentral_f", "nonc", "not negative")
        at = sized(size, dfnum, dfden, nonc)
        t = self._noncentral("noncentral_f", dfnum, nonc, *at) * dfden
        return t / (2 * self._gamma(0.5 * dfden, *at) * dfnum)

    # on other paths ---------------------------------------------------------------------------------------------------

    def wald(self, mean: Any, scale: Any, size: Any = None) -> Any:
        """Wald (inverse Gaussian) of mean `mean` and shape `scale`, differentiable in both.

        Notes
        -----
        Michael, Schucany and Haas' transformation with two words for each number; the derivative is the implicit one.

        References
        ----------
        J. R. Michael, W. R. Schucany, R. W. Haas, The American Statistician 30 (1976) 88.
        """
        from difftensor.random._paths import wald_path

        mean, scale = checked(mean, "wald", "mean", "positive"), checked(scale, "wald", "scale", "positive")
        shape, scalar = sized(size, mean, scale)
        z = self._source.fill(_noise.normal, widened(shape), self._device)
        u = self._source.fill(_noise.uniform, widened(shape), self._device)
        c = scale / mean
        w = z * z / (2 * self._physical(c, shape))  # of mean 1: the two roots are x and 1/x
        x = 1 / (1 + w + (w * (w + 2)) ** 0.5)
        x = tensor(X.where(u * (1 + x) <= 1, x, 1 / x), scalar)
        return mean * (wald_path(c, x) if is_tracked(c) else x)

    def vonmises(self, mu: Any, kappa: Any, size: Any = None) -> Any:
        """Von Mises in [-pi, pi], differentiable in `mu` and `kappa`.

        Notes
        -----
        Rejection after Best and Fisher: three words for each number; above kappa = 10^6 a normal variable. The
        derivative is the implicit one, by quadrature.

        References
        ----------
        D. J. Best, N. I. Fisher, Applied Statistics 28 (1979) 152.
        """
        from difftensor.random._circular import vonmises
        from difftensor.random._paths import vonmises_path

        mu = parameter(mu, "vonmises", "mu")
        kappa = checked(kappa, "vonmises", "kappa", "not negative")
        shape, scalar = sized(size, mu, kappa)
        raw = vonmises(self._source, widened(shape), self._device, self._physical(kappa, shape))
        t = tensor(raw, scalar)
        if is_tracked(kappa):
            t = vonmises_path(kappa, t)
        return X.remainder(t + mu + np.pi, 2 * np.pi) - np.pi
