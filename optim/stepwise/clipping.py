"""Gradients kept from growing too large."""

from __future__ import annotations

import difftensor as dif


def clip_grad_norm_(params, max_norm: float) -> float:
    """Scale all gradients together so that their common norm is at most ``max_norm``; returns the norm before."""
    params = [p for p in ([params] if isinstance(params, dif.Tensor) else params) if p.grad is not None]
    with dif.no_grad():
        size = float(sum(dif.sum(p.grad * p.grad) for p in params)) ** 0.5
        if size > max_norm:
            for p in params:
                p.grad = p.grad * (max_norm / (size + 1e-6))
    return size


def clip_grad_value_(params, clip_value: float) -> None:
    """Clip every element of the gradients to ``[-clip_value, clip_value]``."""
    for p in [params] if isinstance(params, dif.Tensor) else params:
        if p.grad is not None:
            p.grad = dif.clip(p.grad, -clip_value, clip_value)
