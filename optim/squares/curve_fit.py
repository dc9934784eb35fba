"""`optim.curve_fit`: fit a model to data, with standard errors that can be published."""

from __future__ import annotations

import numpy as np

import difftensor as dif

from ..place import host, like, values
from .batch_fit import batch_fit
from .fit import Fit
from .jacobians import is_sparse, scale_rows
from .least_squares import least_squares
from .parameters import Parameters, guess

SETTINGS = ("ftol", "xtol", "gtol", "loss", "f_scale", "max_nfev", "callback", "options", "progress", "resume",
            "jac_sparsity")  # fmt: skip


def curve_fit(
    f,
    xdata,
    ydata,
    p0=None,
    sigma=None,
    absolute_sigma=False,
    check_finite=True,
    bounds=(-np.inf, np.inf),
    method=None,
    jac=None,
    *,
    fixed=(),
    tied=None,
    **settings,
) -> Fit:
    """Fit ``ydata = f(xdata, *parameters)`` by least squares.

    Parameters
    ----------
    f : callable
        ``f(x, a, b, ...)``, or ``f(x, parameters)`` if ``p0`` is a dict or another pytree.
    xdata : array or any object
        Handed to ``f`` as it is.
    ydata : array
    p0 : sequence, dict or pytree, optional
        The start; ones by default.
    sigma : array, optional
        Standard deviations of ``ydata``, or, with shape (m, m), their covariance.
    absolute_sigma : bool
        Whether ``sigma`` is known in absolute terms. False: only ratios matter, and the scale is estimated from
        the residuals.
    check_finite : bool
        Raise on NaN or infinity in the data.
    bounds : optional
        ``(lower, upper)`` of the free parameters, or of all, as in `least_squares`.
    method : {"lm", "trf"}, optional
        As in `least_squares`.
    jac : callable, optional
        ``jac(x, a, b, ...)``, shape (m, n). None: difftensor differentiates.
    fixed : sequence of str
        Names of parameters held at their start: the argument names of ``f``, or keys of ``p0``.
    tied : dict, optional
        ``{name: formula}``: parameters computed from the others, ``formula(all_by_name)``; also from tied ones.
    **settings
        Further arguments of `least_squares`, such as ``loss`` or ``max_nfev``.

    Returns
    -------
    Fit
        Unpacks as ``popt, pcov``; has standard errors, intervals, correlations, profiles and a report.

    Notes
    -----
    The covariance is ``s^2 (J^T J)^{-1}`` from the singular values of the Jacobian with its columns scaled to
    unit length; ``s^2`` is the residual sum of squares over the degrees of freedom.

    Inside `difftensor.vmap` all examples are fitted together; the answer is a `BatchFit`, seen as that of one. Data
    that are not finite make their own fit fail there, and no other.

    Examples
    --------
    >>> import numpy as np, optim
    >>> x = np.linspace(0, 4, 20)
    >>> y = 2.5 * np.exp(-1.3 * x)
    >>> fit = optim.curve_fit(lambda x, a, b: a * np.exp(-b * x), x, y)
    >>> fit.popt.round(8).tolist()
    [2.5, 1.3]
    """
    if "maxfev" in settings:  # SciPy's name for its "lm"
        settings["max_nfev"] = settings.pop("maxfev")
    unknown = set(settings) - set(SETTINGS)
    if unknown:
        raise TypeError(f"optim: curve_fit has no settings {sorted(unknown)}; those of least_squares are "
                        f"{', '.join(SETTINGS)}")  # fmt: skip
    if dif.batching.inside_vmap():
        further = {"jac": jac, "bounds": bounds, "method": method, **settings}
        fit = batch_fit(f, xdata, ydata, p0, sigma, absolute_sigma, fixed, tied, further)
        if fit is not None:
            return fit
        with dif.batching.outside_vmap():  # the same data for all examples
            return curve_fit(f, xdata, ydata, p0, sigma, absolute_sigma, check_finite, bounds, method, jac, fixed=fixed,
                             tied=tied, **settings)  # fmt: skip
    y = dif.asarray(ydata) if hasattr(ydata, "__array_ufunc__") or isinstance(ydata, (list, tuple)) else ydata
    y = _data(y)
    if y.size == 0:
        raise ValueError("optim: ydata is empty")
    if check_finite and not np.isfinite(y).all():
        i = int(np.argmax(~np.isfinite(y.reshape(-1))))
        raise ValueError(f"optim: ydata[{i}] = {y.reshape(-1)[i].item()}; leave such points out of the fit")
    if y.dtype.kind in "biu":
        y = y.astype(float)
    parameters = Parameters(f, guess(f) if p0 is None else p0, fixed, tied)
    if isinstance(xdata, (list, tuple)):
        xdata = _data(dif.asarray(xdata, dtype=float))
    if check_finite and isinstance(xdata, np.ndarray) and not np.isfinite(xdata).all():
        raise ValueError("optim: xdata holds NaN or infinity; leave such points out of the fit")
    bounds = parameters.free_bounds(bounds)
    whiten, there = _whitening(sigma, y), y.detach() if isinstance(y, dif.Tensor) else y
    start = parameters.start
    if y.device != "cpu":
        start = dif.tree.map(lambda p: like(p, there), start)

    def residuals(p):
        model = parameters.call(f, xdata, p)
        if isinstance(model, (list, tuple)):
            model = dif.asarray(model)
        if getattr(model, "shape", ()) != y.shape:
            _check_shape("the model returns", dif.shape(model), y)
        return whiten(model - y)

    if jac is not None:
        own = jac

        def jac(p):
            J = parameters.free_columns(parameters.call(own, xdata, p))
            if not is_sparse(J):
                return whiten(np.asarray(J))
            if np.ndim(sigma) == 2:
                raise ValueError("optim: a sparse Jacobian stays sparse only with sigma of one dimension")
            return J if sigma is None else scale_rows(J, whiten(np.ones(len(y))))

    result = least_squares(residuals, start, jac=jac, bounds=bounds, method=method, **settings)
    return Fit(result, parameters, f, xdata, y, sigma is not None and absolute_sigma)


def _check_shape(what, shape, y):
    """Raise if something is not one number for each of the data, or one for all."""
    try:
        fits = np.broadcast_shapes(shape, y.shape) == tuple(y.shape)
    except ValueError:
        fits = False
    if not fits:
        raise ValueError(f"optim: {what} shape {tuple(shape)} for ydata of shape {tuple(y.shape)}")


def _data(a):
    """The data as an ndarray, or as a Tensor if they are tracked or lie on a device."""
    if isinstance(a, dif.Tensor):
        return a if a.requires_grad else values(a)
    return np.asarray(a)


def _whitening(sigma, y):
    """What turns residuals into independent ones of unit variance."""
    if sigma is None:
        return lambda r: r
    if not (isinstance(sigma, dif.Tensor) and sigma.requires_grad):
        sigma = np.asarray(host(sigma), dtype=float)
    if sigma.ndim == 2 and y.ndim == 1:
        if sigma.shape != (y.size, y.size):
            raise ValueError(f"optim: expected a covariance of shape {(y.size, y.size)}, got {sigma.shape}")
        try:
            inverse = np.linalg.inv(np.linalg.cholesky(sigma))
        except np.linalg.LinAlgError:
            raise ValueError("optim: the covariance sigma is not positive definite") from None
        inverse = like(inverse, y)
        return lambda r: inverse @ r
    _check_shape("sigma has", sigma.shape, y)
    if not (sigma > 0).all():
        raise ValueError("optim: sigma must be positive everywhere")
    weights = like(np.broadcast_to(1.0 / sigma, y.shape).copy(), y)
    return lambda r: (weights if r.ndim == weights.ndim else weights[:, None]) * r
