"""Whole networks in a line, and weights from files.

>>> from difftensor import nn
>>> sum(p.size for p in nn.models.mlp(784, 256, 10).parameters())
203530
"""

from ._basic import lenet, mlp
from ._resnet import ResNet, resnet18, resnet34, resnet50
from ._transformer import LanguageModel, transformer
from ._weights import load, save

__all__ = ["LanguageModel", "ResNet", "lenet", "load", "mlp", "resnet18", "resnet34", "resnet50", "save", "transformer"]
