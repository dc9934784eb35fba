"""Small classical networks."""

from __future__ import annotations

from typing import Any

from .. import init
from .._activations import ReLU
from .._containers import Sequential
from .._convolution import Conv2d
from .._linear import Flatten, Linear
from .._module import Module
from .._pooling import MaxPool2d


def mlp(
    *sizes: int, activation: type[Module] = ReLU, dtype: Any = None, device: Any = None, rng: init.Rng = None
) -> Sequential:
    """Linear layers from ``sizes[0]`` to ``sizes[-1]`` features, with activations between them."""
    if len(sizes) < 2:
        raise ValueError(f"mlp: at least two sizes are needed, got {sizes}")
    rng, layers = init.generator(rng), []
    for a, b in zip(sizes[:-1], sizes[1:]):
        layers += [Linear(a, b, dtype=dtype, device=device, rng=rng), activation()]
    return Sequential(*layers[:-1])


def lenet(
    classes: int = 10, channels: int = 1, dtype: Any = None, device: Any = None, rng: init.Rng = None
) -> Sequential:
    """LeNet-5 for images of 28 x 28, with ReLU and maxima; after Y. LeCun et al., Proc. IEEE 86 (1998) 2278."""
    made: dict = {"dtype": dtype, "device": device, "rng": init.generator(rng)}
    return Sequential(
        Conv2d(channels, 6, 5, padding=2, **made), ReLU(), MaxPool2d(2),
        Conv2d(6, 16, 5, **made), ReLU(), MaxPool2d(2), Flatten(),
        Linear(400, 120, **made), ReLU(), Linear(120, 84, **made), ReLU(), Linear(84, classes, **made),
    )  # fmt: skip
