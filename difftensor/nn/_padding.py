"""Padding: constants, reflections, the last value, or the other end; by PyTorch's names."""

from __future__ import annotations

from typing import Any

import difftensor as dif

from ._module import Module

MODES = {"constant": "constant", "reflect": "reflect", "replicate": "edge", "circular": "wrap"}


def pad(input: Any, pad: Any, mode: str = "constant", value: float | None = None) -> Any:
    """Widen the last axes.

    Parameters
    ----------
    input : array
    pad : tuple of int
        ``(before, after)`` of the last axis, then of the one before it, ...; negative numbers cut off.
    mode : {"constant", "reflect", "replicate", "circular"}
    value : float, optional
        Of the constant; 0 by default.

    Examples
    --------
    >>> import difftensor as dif
    >>> from difftensor import nn
    >>> nn.functional.pad(dif.asarray([1.0, 2.0, 3.0]), (2, 1), mode="reflect").tolist()
    [3.0, 2.0, 1.0, 2.0, 3.0, 2.0]
    """
    if mode not in MODES:
        raise ValueError(f"pad: mode must be one of {sorted(MODES)}, got {mode!r}")
    if len(pad) % 2 or len(pad) > 2 * input.ndim:
        raise ValueError(f"pad: two numbers for each of the last axes of an input of shape {input.shape}, got {pad}")
    widths = [(0, 0)] * (input.ndim - len(pad) // 2) + [(pad[i], pad[i + 1]) for i in range(len(pad) - 2, -1, -2)]
    cut = tuple(slice(max(-a, 0), n - max(-b, 0)) for (a, b), n in zip(widths, input.shape))
    if any(s != slice(0, n) for s, n in zip(cut, input.shape)):
        input = input[cut]
    widths = [(max(a, 0), max(b, 0)) for a, b in widths]
    settings = {"constant_values": value or 0.0} if mode == "constant" else {}
    return dif.pad(input, widths, mode=MODES[mode], **settings)


class _Pad(Module):
    dimensions, mode = 0, "constant"

    def __init__(self, padding: Any):
        n = 2 * self.dimensions
        self.padding = (padding,) * n if isinstance(padding, int) else tuple(padding)
        if len(self.padding) != n:
            raise ValueError(f"{type(self).__name__}: padding needs one number, or {n}; got {padding!r}")

    def forward(self, x: Any) -> Any:
        return pad(x, self.padding, self.mode, getattr(self, "value", None))


class _Constant(_Pad):
    def __init__(self, padding: Any, value: float):
        super().__init__(padding)
        self.value = value


def _classes(kind: str, base: type, mode: str, doc: str) -> list[type]:
    """For one, two and three dimensions."""
    made = []
    for n in (1, 2, 3):
        facts = {"dimensions": n, "mode": mode, "__doc__": doc, "__module__": __name__}
        made.append(type(f"{kind}{n}d", (base,), facts))
    return made


_SIZES = "; one number, or (before, after) of the last axis, then of the one before it, ..."
ConstantPad1d, ConstantPad2d, ConstantPad3d = _classes(
    "ConstantPad", _Constant, "constant", f"Margins of `value`{_SIZES}"
)
ZeroPad1d, ZeroPad2d, ZeroPad3d = _classes("ZeroPad", _Pad, "constant", f"Margins of zeros{_SIZES}")
ReflectionPad1d, ReflectionPad2d, ReflectionPad3d = _classes(
    "ReflectionPad", _Pad, "reflect", f"Margins that mirror the input at its edge, which is not repeated{_SIZES}"
)
ReplicationPad1d, ReplicationPad2d, ReplicationPad3d = _classes(
    "ReplicationPad", _Pad, "replicate", f"Margins of the value at the edge{_SIZES}"
)
CircularPad1d, CircularPad2d, CircularPad3d = _classes(
    "CircularPad", _Pad, "circular", f"Margins from the other end, as of a periodic input{_SIZES}"
)
