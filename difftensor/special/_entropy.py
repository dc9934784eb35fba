"""Entropies, products with logarithms, and Huber's functions."""

from __future__ import annotations

from typing import Any

from difftensor.special._declare import one, two


def _over(xp: Any, a: Any, b: Any) -> Any:
    """a / b, and 0 for 0 / 0: x log y counts as 0 at the origin, whatever y does there."""
    return a / xp.where((a == 0) & (b == 0), 1, b)


xlogy = two(
    "xlogy", lambda xp, g, y, a, b: g * xp.log(b), lambda xp, g, y, a, b: g * _over(xp, a, b), "b|ab",
    samples=[(-2.0, 2.0), (0.3, 3.0)],
)  # fmt: skip
xlog1py = two(
    "xlog1py", lambda xp, g, y, a, b: g * xp.log1p(b), lambda xp, g, y, a, b: g * _over(xp, a, 1 + b), "b|ab",
    samples=[(-2.0, 2.0), (-0.7, 3.0)],
)  # fmt: skip
entr = one("entr", lambda xp, g, y, x: g * (-1 - xp.log(x)), "x", samples=[(0.2, 3.0)])
rel_entr = two(
    "rel_entr", lambda xp, g, y, a, b: g * (xp.log(a / b) + 1), lambda xp, g, y, a, b: -g * _over(xp, a, b), "ab",
    samples=[(0.3, 3.0), (0.3, 3.0)],
)  # fmt: skip
kl_div = two(
    "kl_div", lambda xp, g, y, a, b: g * xp.log(a / b), lambda xp, g, y, a, b: g * (1 - _over(xp, a, b)), "ab",
    samples=[(0.3, 3.0), (0.3, 3.0)],
)  # fmt: skip

# a is the threshold delta, b the residual r. huber: r^2/2 inside, delta (|r| - delta/2) outside.
huber = two(
    "huber",
    lambda xp, g, y, a, b: g * xp.maximum(abs(b) - a, 0),
    lambda xp, g, y, a, b: g * xp.minimum(xp.maximum(b, -a), a),
    "ab",
    samples=[(0.4, 1.0), (1.2, 3.0)],
)
# pseudo_huber: delta^2 (sqrt(1 + (r/delta)^2) - 1)
pseudo_huber = two(
    "pseudo_huber",
    lambda xp, g, y, a, b: g * (2 * y / a - (b / a) * b / xp.hypot(1, b / a)),
    lambda xp, g, y, a, b: g * (b / xp.hypot(1, b / a)),
    "yab|ab",
    samples=[(0.5, 2.0), (-2.0, 2.0)],
)
