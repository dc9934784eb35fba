"""Residual networks; K. He, X. Zhang, S. Ren, J. Sun, arXiv:1512.03385. Names are torchvision's."""

from __future__ import annotations

from typing import Any

from .. import init
from .._activations import relu
from .._containers import Sequential
from .._convolution import Conv2d
from .._linear import Flatten, Linear
from .._module import Module
from .._normalization import BatchNorm2d
from .._pooling import AdaptiveAvgPool2d, MaxPool2d


class _Block(Module):
    expansion = 1

    def __init__(self, inputs: int, width: int, stride: int, made: dict, rng: Any):
        raise NotImplementedError("a block is Basic or Bottleneck")

    def _shortcut(self, inputs: int, outputs: int, stride: int, made: dict, rng: Any) -> Sequential | None:
        if stride == 1 and inputs == outputs:
            return None
        return Sequential(Conv2d(inputs, outputs, 1, stride, bias=False, rng=rng, **made), BatchNorm2d(outputs, **made))


class Basic(_Block):
    """Two 3 x 3 convolutions."""

    def __init__(self, inputs: int, width: int, stride: int, made: dict, rng: Any):
        self.conv1 = Conv2d(inputs, width, 3, stride, 1, bias=False, rng=rng, **made)
        self.bn1 = BatchNorm2d(width, **made)
        self.conv2 = Conv2d(width, width, 3, 1, 1, bias=False, rng=rng, **made)
        self.bn2 = BatchNorm2d(width, **made)
        self.downsample = self._shortcut(inputs, width, stride, made, rng)

    def forward(self, x: Any) -> Any:
        y = self.bn2(self.conv2(relu(self.bn1(self.conv1(x)))))
        return relu(y + (x if self.downsample is None else self.downsample(x)))


class Bottleneck(_Block):
    """1 x 1, 3 x 3 and 1 x 1; the stride is at the 3 x 3, as in torchvision (ResNet 1.5)."""

    expansion = 4

    def __init__(self, inputs: int, width: int, stride: int, made: dict, rng: Any):
        self.conv1 = Conv2d(inputs, width, 1, bias=False, rng=rng, **made)
        self.bn1 = BatchNorm2d(width, **made)
        self.conv2 = Conv2d(width, width, 3, stride, 1, bias=False, rng=rng, **made)
        self.bn2 = BatchNorm2d(width, **made)
        self.conv3 = Conv2d(width, 4 * width, 1, bias=False, rng=rng, **made)
        self.bn3 = BatchNorm2d(4 * width, **made)
        self.downsample = self._shortcut(inputs, 4 * width, stride, made, rng)

    def forward(self, x: Any) -> Any:
        y = self.bn3(self.conv3(relu(self.bn2(self.conv2(relu(self.bn1(self.conv1(x))))))))
        return relu(y + (x if self.downsample is None else self.downsample(x)))


class ResNet(Module):
    """Four stages of residual blocks.

    Parameters
    ----------
    block : Basic or Bottleneck
    depths : tuple of int
        Blocks of each stage.
    classes : int
    dtype, device, rng
    """

    def __init__(self, block: type[_Block], depths: tuple, classes: int = 1000, dtype: Any = None, device: Any = None,
                 rng: init.Rng = None):  # fmt: skip
        rng, made = init.generator(rng), {"dtype": dtype, "device": device}
        self.conv1 = Conv2d(3, 64, 7, 2, 3, bias=False, rng=rng, **made)
        self.bn1 = BatchNorm2d(64, **made)
        self.maxpool = MaxPool2d(3, 2, 1)
        inputs, self.stages = 64, tuple(f"layer{i + 1}" for i in range(len(depths)))
        for i, depth in enumerate(depths):
            blocks, width = [], 64 * 2**i
            for j in range(depth):
                blocks.append(block(inputs, width, 2 if i and not j else 1, made, rng))
                inputs = width * block.expansion
            setattr(self, self.stages[i], Sequential(*blocks))
        self.avgpool, self.flatten = AdaptiveAvgPool2d(1), Flatten()
        self.fc = Linear(inputs, classes, rng=rng, **made)
        for m in self.modules():
            if isinstance(m, Conv2d):
                init.kaiming_normal_(m.weight, mode="fan_out", nonlinearity="relu", rng=rng)

    def forward(self, x: Any) -> Any:
        x = self.maxpool(relu(self.bn1(self.conv1(x))))
        for stage in self.stages:
            x = getattr(self, stage)(x)
        return self.fc(self.flatten(self.avgpool(x)))


def resnet18(classes: int = 1000, **settings: Any) -> ResNet:
    """11,689,512 parameters."""
    return ResNet(Basic, (2, 2, 2, 2), classes, **settings)


def resnet34(classes: int = 1000, **settings: Any) -> ResNet:
    """21,797,672 parameters."""
    return ResNet(Basic, (3, 4, 6, 3), classes, **settings)


def resnet50(classes: int = 1000, **settings: Any) -> ResNet:
    """25,557,032 parameters."""
    return ResNet(Bottleneck, (3, 4, 6, 3), classes, **settings)
