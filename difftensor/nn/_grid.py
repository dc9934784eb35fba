"""Images at any points: `grid_sample`, and the points of an affine map; M. Jaderberg et al., arXiv:1506.02025."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np

import difftensor as dif

from ._fused import beside


def _centers(n: int, align_corners: bool) -> np.ndarray:
    """The coordinates of the elements of an axis, which reaches from -1 to 1."""
    if align_corners:
        return np.linspace(-1.0, 1.0, n) if n > 1 else np.zeros(1)
    return (2 * np.arange(n) + 1) / n - 1


def affine_grid(theta: Any, size: tuple, align_corners: bool = False) -> Any:
    """The points ``theta @ (x, y, 1)`` of an image of `size`.

    Parameters
    ----------
    theta : array, shape (N, 2, 3) or (N, 3, 4)
    size : (N, C, H, W) or (N, C, D, H, W)
    align_corners : bool
        -1 and 1 are the centers of the corner elements, not their edges.

    Returns
    -------
    array, shape (N, H, W, 2) or (N, D, H, W, 3)
        Coordinates x, y (and z), the last axis of the image first.
    """
    _, _, *space = size
    axes = np.meshgrid(*(_centers(n, align_corners) for n in space), indexing="ij")
    points = np.stack([*axes[::-1], np.ones(space)], axis=-1).reshape(-1, len(space) + 1)
    return (beside(points, theta) @ theta.swapaxes(1, 2)).reshape((theta.shape[0], *space, len(space)))


def _reflected(at: Any, low: float, high: float) -> Any:
    """Thrown back between two mirrors."""
    width = high - low
    if width == 0:
        return at * 0.0
    away = abs(at - low)
    turns = dif.floor(away / width)
    rest = away - turns * width
    return dif.where(turns % 2 == 0, rest, width - rest) + low


def grid_sample(input: Any, grid: Any, mode: str = "bilinear", padding_mode: str = "zeros",
                align_corners: bool = False) -> Any:  # fmt: skip
    """The values of an image at points, differentiable in both.

    Parameters
    ----------
    input : array, shape (N, C, H, W) or (N, C, D, H, W)
    grid : array, shape (N, ..., 2) or (N, ..., 3)
        Points x, y (and z) from -1 to 1, the last axis of the image first.
    mode : {"bilinear", "nearest"}
        Linear along each axis, or the nearest element, whose derivative by the points is 0.
    padding_mode : {"zeros", "border", "reflection"}
        What stands outside.
    align_corners : bool
        -1 and 1 are the centers of the corner elements, not their edges.

    Returns
    -------
    array, shape (N, C, ...)
    """
    if mode not in ("bilinear", "nearest") or padding_mode not in ("zeros", "border", "reflection"):
        raise ValueError(f"grid_sample: mode must be 'bilinear' or 'nearest', padding_mode 'zeros', 'border' or "
                         f"'reflection'; got {mode!r} and {padding_mode!r}")  # fmt: skip
    n, c, *space = input.shape
    if grid.shape[0] != n or grid.shape[-1] != len(space):
        raise ValueError(f"grid_sample: an input of shape {input.shape} needs a grid ({n}, ..., {len(space)}), "
                         f"found {grid.shape}")  # fmt: skip
    where = grid.shape[1:-1]
    corners: list = []  # for each axis: (index, weight) below and above
    for axis, size in enumerate(space):
        at = grid[..., len(space) - 1 - axis].reshape((n, -1))
        at = (at + 1) * ((size - 1) / 2) if align_corners else ((at + 1) * size - 1) * 0.5
        if padding_mode == "reflection":
            at = _reflected(at, 0.0, size - 1.0) if align_corners else _reflected(at, -0.5, size - 0.5)
        if padding_mode != "zeros":
            at = dif.clip(at, 0.0, size - 1.0)
        held = at.detach() if isinstance(at, dif.Tensor) else at
        if mode == "nearest":
            corners.append([(dif.rint(held), None)])
        else:
            low = dif.floor(held)
            corners.append([(low, 1 - (at - low)), (low + 1, at - low)])
    flat = input.reshape((n, c, -1))
    total: Any = 0
    for corner in product(*corners):
        place: Any = 0
        inside: Any = True
        weight: Any = None
        for (index, part), size in zip(corner, space):
            inside = inside & (index >= 0) & (index <= size - 1)
            place = place * size + dif.clip(index, 0, size - 1).astype(np.int64)
            weight = part if weight is None else weight * part
        values = dif.take_along_axis(flat, dif.broadcast_to(place[:, None], (n, c, place.shape[1])), axis=2)
        factor = inside.astype(input.dtype) if weight is None else weight * inside
        total = total + values * factor[:, None]
    return total.reshape((n, c, *where))
