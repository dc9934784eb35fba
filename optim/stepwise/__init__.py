"""Optimizers that take one step at a time, in PyTorch's manner: ``step()``, ``zero_grad()``, ``state_dict()``."""

from .by_kernel import SGD, Adadelta, Adagrad, Adam, Adamax, AdamW, NAdam, RAdam, RMSprop, Rprop
from .clipping import clip_grad_norm_, clip_grad_value_
from .lbfgs import LBFGS
from .optimizer import Optimizer
