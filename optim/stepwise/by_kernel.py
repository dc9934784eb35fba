"""The stepwise optimizers whose mathematics is a kernel of `optim.rules.kernels`."""

from __future__ import annotations

import numpy as np

import difftensor as dif

from ..rules import KERNELS
from .optimizer import Optimizer
from .reals import count, reals, shaped

WITHOUT_EFFECT = ("foreach", "fused", "capturable")  # how PyTorch runs its kernels, not what they compute
BLOCK = 1 << 15  # elements whose parameters, gradients and moments stay in a core's cache together


class _ByKernel(Optimizer):
    """A stepwise optimizer whose mathematics is a kernel of `optim.rules.kernels`.

    Parameters of one group that are at the same step run as one long vector, block by block.
    """

    kernel = ""  # its name

    def __init__(self, params, lr=None, *more, **settings):
        kernel = KERNELS[self.kernel]
        settings = {name: value for name, value in settings.items() if name not in WITHOUT_EFFECT}
        for name, value in zip([name for name in kernel.defaults if name != "lr"], more):  # PyTorch's order
            if name in settings:
                raise TypeError(f"optim: {type(self).__name__} got {name} twice")
            settings[name] = value
        unknown = set(settings) - set(kernel.defaults)
        if unknown:
            raise TypeError(f"optim: {type(self).__name__} has no setting {sorted(unknown)}; it has "
                            f"{sorted(kernel.defaults)}")  # fmt: skip
        defaults = {**kernel.defaults, **settings}
        if lr is not None:
            defaults["lr"] = lr
        super().__init__(params, defaults)

    def step(self, closure=None):
        loss = self._loss(closure)
        kernel = KERNELS[self.kernel]
        with dif.no_grad():
            for group in self.param_groups:
                settings = {k: v for k, v in group.items() if k in kernel.defaults}
                for batch, t in self._batches(group, kernel, settings):
                    self._advance(batch, t, kernel, settings)
        return loss

    def _batches(self, group, kernel, settings):
        """Parameters that have a gradient, by step number, dtype and device."""
        batches = {}
        for p in group["params"]:
            if p.grad is None:
                continue
            state = self.state.get(id(p))
            if state is None:
                state = self.state[id(p)] = {"step": 0, "arrays": kernel.start(_flat(p.grad), settings)}
            state["step"] += 1
            batches.setdefault((state["step"], p.dtype, p.device), []).append((p, state))
        return [(batch, key[0]) for key, batch in batches.items()]

    def _advance(self, batch, t, kernel, settings):
        decays = settings.get("weight_decay")  # else the parameters are not looked at, which spares a copy
        for p, state in batch:
            g = _flat(p.grad)
            x = _flat(p.detach()) if decays else None
            if g.size <= BLOCK or not state["arrays"] or not on_host(p):
                step, state["arrays"] = kernel.update(g, x, state["arrays"], t, **settings)
                p += shaped(step, p)
            elif p.flags.c_contiguous and p.dtype.kind == "f":
                _by_blocks(kernel, p.reshape(-1), g, x, state["arrays"], t, settings)
            else:  # a reshaped copy would take the steps in its place
                step = np.zeros_like(g)
                _by_blocks(kernel, step, g, x, state["arrays"], t, settings)
                p += shaped(step, p)

    def _check_saved(self, tensors, settings, saved):
        slots, number = KERNELS[self.kernel].slots(settings), {id(p): i for i, p in enumerate(self._tensors())}
        for p in tensors:
            state = saved["state"].get(number[id(p)])
            sizes = [count(p)] * slots
            if state is None:
                continue
            if "arrays" not in state:
                raise ValueError(f"optim: this was not saved by optim.{type(self).__name__}: the state of parameter "
                                 f"{number[id(p)]} holds {sorted(state)}")  # fmt: skip
            if [a.size for a in state["arrays"]] != sizes:
                raise ValueError(
                    f"optim: {type(self).__name__} needs arrays of {sizes} numbers for parameter {number[id(p)]}, "
                    f"saved are {[a.size for a in state['arrays']]}; they belong to another rule or to other parameters"
                )


def on_host(tensor) -> bool:
    """Whether the values lie in the computer's own memory, where NumPy reaches them."""
    return tensor.device == "cpu"


def _flat(tensor):
    """The values as a vector of reals: on the host an ndarray; elsewhere a Tensor, which the kernels take as well."""
    return reals(tensor.numpy() if on_host(tensor) else tensor.detach())


def _by_blocks(kernel, p, g, x, arrays, t, settings):
    """Add the step to ``p``, a view, block by block, so that the intermediate arrays stay in the cache."""
    work = np.empty(BLOCK, g.dtype)  # the step of every block in turn, in memory that the cache holds
    for first in range(0, g.size, BLOCK):
        part = slice(first, first + BLOCK)
        old = tuple(a[part] for a in arrays)
        room = {"into": (*old[:2], work[: old[0].size])} if kernel.takes_room else {}
        step, new = kernel.update(g[part], None if x is None else x[part], old, t, **room, **settings)
        block = p[part]
        block += step
        for a, b in zip(old, new, strict=True):
            if a is not b:
                a[...] = b


class SGD(_ByKernel):
    """Stochastic gradient descent; settings: lr, momentum, dampening, weight_decay, nesterov, maximize."""

    kernel = "sgd"


class Adagrad(_ByKernel):
    """Adagrad; settings: lr, lr_decay, weight_decay, initial_accumulator_value, eps, maximize."""

    kernel = "adagrad"


class RMSprop(_ByKernel):
    """RMSprop; settings: lr, alpha, eps, weight_decay, momentum, centered, maximize."""

    kernel = "rmsprop"


class Adadelta(_ByKernel):
    """Adadelta; settings: lr, rho, eps, weight_decay, maximize."""

    kernel = "adadelta"


class Adam(_ByKernel):
    """Adam; settings: lr, betas, eps, weight_decay, amsgrad, maximize.

    Examples
    --------
    >>> import difftensor as dif, optim
    >>> w = dif.tensor([3.0, -2.0], requires_grad=True)
    >>> opt = optim.Adam([w], lr=0.1)
    >>> for _ in range(300):
    ...     opt.zero_grad()
    ...     loss = dif.sum((w - 1) ** 2)
    ...     loss.backward()
    ...     opt.step()
    >>> w.detach().numpy().round(3).tolist()
    [1.0, 1.0]
    """

    kernel = "adam"


class AdamW(_ByKernel):
    """Adam with decoupled weight decay; settings: lr, betas, eps, weight_decay, amsgrad, maximize."""

    kernel = "adamw"


class Adamax(_ByKernel):
    """Adam in the maximum norm; settings: lr, betas, eps, weight_decay, maximize."""

    kernel = "adamax"


class Rprop(_ByKernel):
    """Step sizes from the signs of gradients, for gradients without noise; settings: lr, etas, step_sizes, maximize."""

    kernel = "rprop"


class NAdam(_ByKernel):
    """Nadam; settings: lr, betas, eps, weight_decay, momentum_decay, decoupled_weight_decay, maximize."""

    kernel = "nadam"


class RAdam(_ByKernel):
    """RAdam; settings: lr, betas, eps, weight_decay, decoupled_weight_decay, maximize."""

    kernel = "radam"
