"""Gradients kept from growing too large."""

from __future__ import annotations

import numpy as np

import difftensor as dif


def clip_grad_norm_(params, max_norm: float, norm_type: float = 2.0, error_if_nonfinite: bool = False) -> np.float64:
    """Scale all gradients together so that their common norm is at most ``max_norm``; returns the norm before.

    Parameters
    ----------
    params : Tensor or iterable of Tensor
    max_norm : float
    norm_type : float
        The order p of the norm, also infinity.
    error_if_nonfinite : bool
        Raise if the norm is not finite; else such gradients become NaN.
    """
    params = [p for p in ([params] if isinstance(params, dif.Tensor) else params) if p.grad is not None]
    if not (max_norm >= 0 and norm_type > 0):
        raise ValueError(f"optim: max_norm and norm_type must be positive, got {max_norm!r} and {norm_type!r}")
    with dif.no_grad():
        sizes = [float(dif.linalg.norm(p.grad.reshape(-1), norm_type)) for p in params]
        size = np.linalg.norm(sizes, norm_type) if sizes else np.float64(0.0)
        if error_if_nonfinite and not np.isfinite(size):
            raise ValueError(f"optim: the norm of the gradients is {size}, so they cannot be clipped")
        if not size <= max_norm:
            for p in params:
                p.grad = p.grad * float(max_norm / (size + 1e-6))
    return np.float64(size)


def clip_grad_value_(params, clip_value: float) -> None:
    """Clip every element of the gradients to ``[-clip_value, clip_value]``."""
    for p in [params] if isinstance(params, dif.Tensor) else params:
        if p.grad is not None:
            if p.dtype.kind == "c":
                raise TypeError("optim: complex numbers have no order to clip by; use clip_grad_norm_")
            p.grad = dif.clip(p.grad, -clip_value, clip_value)
