"""The mathematics of the first-order rules, one function each.

``kernel(g, x, state, t, **settings) -> (step, state)``: ``g`` the gradient, ``x`` the parameters, ``state`` a tuple of
arrays like ``x``, ``t`` the number of this step, from 1. Pure: nothing is written to, unless
``into`` names arrays for the new state, which may be the old ones, and one for the step. Names and
defaults of the settings are PyTorch's, so that scripts carry over.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Kernel:
    """A rule's function, its default settings, and how many arrays of state it carries."""

    update: Callable
    defaults: dict
    slots: Callable
    takes_room: bool = False  # whether it has the keyword ``into``

    def start(self, x, settings) -> tuple:
        """The state before the first step."""
        count = self.slots(settings)
        first = settings.get("initial_accumulator_value", 0.0)
        return tuple(np.full_like(x, first) if first else np.zeros_like(x) for _ in range(count))


def check_settings(settings) -> None:
    """Raise for settings that mean nothing, or something else than they say."""
    for name in NOT_NEGATIVE & set(settings):
        value = settings[name]
        try:
            fine = callable(value) or bool(value >= 0)
        except TypeError:
            fine = False
        if not fine:
            raise ValueError(f"optim: {name} must be a number and not negative, got {value!r}")
    betas = settings.get("betas", (0.0, 0.0))
    if np.shape(betas) != (2,) or not all(0 <= beta < 1 for beta in betas):
        raise ValueError(f"optim: betas must be two numbers from 0 up to but not 1, got {betas!r}")
    for name in {"alpha", "rho"} & set(settings):
        if not 0 <= settings[name] <= 1:
            raise ValueError(f"optim: {name} must lie between 0 and 1, got {settings[name]!r}")
    if settings.get("nesterov") and (not settings["momentum"] or settings["dampening"]):
        raise ValueError("optim: nesterov=True needs a momentum and no dampening; without momentum it does nothing")


NOT_NEGATIVE = {"lr", "eps", "weight_decay", "momentum", "lr_decay", "initial_accumulator_value", "momentum_decay"}


def _gradient(g, x, weight_decay, maximize):
    """The gradient of what is minimized, with the penalty ``weight_decay |x|^2 / 2``."""
    if maximize:
        g = -g
    return g + weight_decay * x if weight_decay else g


def sgd(g, x, state, t, *, lr, momentum, dampening, weight_decay, nesterov, maximize):
    """Stochastic gradients; momentum of Polyak (1964), or of Nesterov in the form of Sutskever et al. (2013)."""
    g = _gradient(g, x, weight_decay, maximize)
    if not momentum:
        return -lr * g, state
    b = g if t == 1 else momentum * state[0] + (1 - dampening) * g
    return -lr * (g + momentum * b if nesterov else b), (b,)


def adagrad(g, x, state, t, *, lr, lr_decay, weight_decay, initial_accumulator_value, eps, maximize):
    """J. Duchi, E. Hazan, Y. Singer, J. Mach. Learn. Res. 12 (2011) 2121-2159, fig. 1."""
    g = _gradient(g, x, weight_decay, maximize)
    s = state[0] + g * g
    return -lr / (1 + (t - 1) * lr_decay) * g / (np.sqrt(s) + eps), (s,)


def rmsprop(g, x, state, t, *, lr, alpha, eps, weight_decay, momentum, centered, maximize):
    """T. Tieleman, G. Hinton, Coursera lecture 6.5 (2012); centered: A. Graves, arXiv:1308.0850, eq. 38-45."""
    g = _gradient(g, x, weight_decay, maximize)
    v = alpha * state[0] + (1 - alpha) * (g * g)
    new = [v]
    if centered:
        mean = alpha * state[1] + (1 - alpha) * g
        new.append(mean)
        d = g / (np.sqrt(v - mean * mean) + eps)
    else:
        d = g / (np.sqrt(v) + eps)
    if momentum:
        d = momentum * state[-1] + d
        new.append(d)
    return -lr * d, tuple(new)


def adadelta(g, x, state, t, *, lr, rho, eps, weight_decay, maximize):
    """M. D. Zeiler, arXiv:1212.5701, Algorithm 1."""
    g = _gradient(g, x, weight_decay, maximize)
    v = rho * state[0] + (1 - rho) * (g * g)
    d = np.sqrt((state[1] + eps) / (v + eps)) * g
    return -lr * d, (v, rho * state[1] + (1 - rho) * (d * d))


def adam(g, x, state, t, *, lr, betas, eps, weight_decay, amsgrad, maximize, into=(None, None, None)):
    """D. P. Kingma, J. Ba, arXiv:1412.6980, Algorithm 1; AMSGrad: S. J. Reddi et al., arXiv:1904.09237."""
    return _adam(_gradient(g, x, weight_decay, maximize), state, t, lr, betas, eps, amsgrad, into)


def adamw(g, x, state, t, *, lr, betas, eps, weight_decay, amsgrad, maximize, into=(None, None, None)):
    """I. Loshchilov, F. Hutter, arXiv:1711.05101, Algorithm 2: the decay acts on the parameters themselves."""
    step, state = _adam(-g if maximize else g, state, t, lr, betas, eps, amsgrad, into)
    return (step - (lr * weight_decay) * x if weight_decay else step), state  # without decay x may be None


def _adam(g, state, t, lr, betas, eps, amsgrad, into):
    """The state holds sums, M = m / (1 - beta1) = beta1 M + g and V = v / (1 - beta2) = beta2 V + g^2: two passes over
    the arrays less than with means."""
    b1, b2 = betas
    M, V = np.multiply(state[0], b1, out=into[0]), np.multiply(state[1], b2, out=into[1])
    M += g
    d = np.multiply(g, g, out=into[2])
    V += d
    if amsgrad:
        largest = np.maximum(state[2], V)
        d, state = np.sqrt(largest), (M, V, largest)
    else:
        d, state = np.sqrt(V, out=d), (M, V)
    # m / (1 - b1^t) / (sqrt(v / (1 - b2^t)) + eps), all factors gathered in two numbers
    c = math.sqrt((1 - b2**t) / (1 - b2))
    d += eps * c
    np.divide(M, d, out=d)
    d *= -lr * c * ((1 - b1) / (1 - b1**t))
    return d, state


def adamax(g, x, state, t, *, lr, betas, eps, weight_decay, maximize):
    """D. P. Kingma, J. Ba, arXiv:1412.6980, Algorithm 2: Adam in the maximum norm."""
    g = _gradient(g, x, weight_decay, maximize)
    b1, b2 = betas
    m, u = b1 * state[0] + (1 - b1) * g, np.maximum(b2 * state[1], abs(g) + eps)
    return -(lr / (1 - b1**t)) * m / u, (m, u)


def rprop(g, x, state, t, *, lr, etas, step_sizes, maximize):
    """M. Riedmiller, H. Braun, IEEE Int. Conf. Neural Networks 1993, 586-591; no step where the sign changes.

    Every element has a step size of its own, ``lr`` at first; of the gradient only signs matter.
    """
    g = -g if maximize else g
    size = state[1] + lr if t == 1 else state[1]
    same = np.sign(g * state[0])
    size = np.where(same > 0, etas[1] * size, np.where(same < 0, etas[0] * size, size))
    size = np.minimum(np.maximum(size, step_sizes[0]), step_sizes[1])
    g = np.where(same < 0, 0.0 * g, g)
    return -np.sign(g) * size, (g, size)


def nadam(g, x, state, t, *, lr, betas, eps, weight_decay, momentum_decay, decoupled_weight_decay, maximize):
    """T. Dozat, ICLR 2016 workshop, with the momentum schedule of his Algorithm 2."""
    if decoupled_weight_decay:
        g, decay = (-g if maximize else g), lr * weight_decay
    else:
        g, decay = _gradient(g, x, weight_decay, maximize), 0.0
    b1, b2 = betas

    def mu(t):
        return b1 * (1 - 0.5 * 0.96 ** (t * momentum_decay))

    product = math.prod(mu(s) for s in range(1, t + 1)) if t < 64 else _product(b1, momentum_decay, t)
    following = product * mu(t + 1)
    m, v = b1 * state[0] + (1 - b1) * g, b2 * state[1] + (1 - b2) * (g * g)
    d = np.sqrt(v / (1 - b2**t)) + eps
    step = -(lr * (1 - mu(t)) / (1 - product)) * g / d - (lr * mu(t + 1) / (1 - following)) * m / d
    return (step - decay * x if decay else step), (m, v)


_products: dict = {}


def _product(b1, decay, t):
    """The product of the momenta up to step t, remembered from step to step."""
    known, value = _products.get((b1, decay), (0, 1.0))
    if known > t:
        known, value = 0, 1.0
    for s in range(known + 1, t + 1):
        value *= b1 * (1 - 0.5 * 0.96 ** (s * decay))
    _products[b1, decay] = t, value
    return value


def radam(g, x, state, t, *, lr, betas, eps, weight_decay, decoupled_weight_decay, maximize):
    """L. Liu et al., arXiv:1908.03265, Algorithm 2."""
    if decoupled_weight_decay:
        g, decay = (-g if maximize else g), lr * weight_decay
    else:
        g, decay = _gradient(g, x, weight_decay, maximize), 0.0
    b1, b2 = betas
    m, v = b1 * state[0] + (1 - b1) * g, b2 * state[1] + (1 - b2) * (g * g)
    most = 2 / (1 - b2) - 1
    rho = most - 2 * t * b2**t / (1 - b2**t)
    step = -(lr / (1 - b1**t)) * m
    if rho > 5:
        r = math.sqrt((rho - 4) * (rho - 2) * most / ((most - 4) * (most - 2) * rho))
        step = step * (r * math.sqrt(1 - b2**t)) / (np.sqrt(v) + eps)
    return (step - decay * x if decay else step), (m, v)


_ADAM = {"lr": 1e-3, "betas": (0.9, 0.999), "eps": 1e-8, "weight_decay": 0.0, "amsgrad": False, "maximize": False}

KERNELS = {
    "sgd": Kernel(
        sgd,
        {"lr": 1e-3, "momentum": 0.0, "dampening": 0.0, "weight_decay": 0.0, "nesterov": False, "maximize": False},
        lambda s: 1 if s["momentum"] else 0,
    ),
    "adagrad": Kernel(
        adagrad,
        {"lr": 1e-2, "lr_decay": 0.0, "weight_decay": 0.0, "initial_accumulator_value": 0.0, "eps": 1e-10,
         "maximize": False},
        lambda s: 1,
    ),
    "rmsprop": Kernel(
        rmsprop,
        {"lr": 1e-2, "alpha": 0.99, "eps": 1e-8, "weight_decay": 0.0, "momentum": 0.0, "centered": False,
         "maximize": False},
        lambda s: 1 + bool(s["centered"]) + bool(s["momentum"]),
    ),
    "adadelta": Kernel(
        adadelta, {"lr": 1.0, "rho": 0.9, "eps": 1e-6, "weight_decay": 0.0, "maximize": False}, lambda s: 2
    ),
    "adam": Kernel(adam, _ADAM, lambda s: 3 if s["amsgrad"] else 2, takes_room=True),
    "adamw": Kernel(adamw, {**_ADAM, "weight_decay": 1e-2}, lambda s: 3 if s["amsgrad"] else 2, takes_room=True),
    "adamax": Kernel(
        adamax,
        {"lr": 2e-3, "betas": (0.9, 0.999), "eps": 1e-8, "weight_decay": 0.0, "maximize": False},
        lambda s: 2,
    ),
    "rprop": Kernel(
        rprop, {"lr": 1e-2, "etas": (0.5, 1.2), "step_sizes": (1e-6, 50.0), "maximize": False}, lambda s: 2
    ),
    "nadam": Kernel(
        nadam,
        {"lr": 2e-3, "betas": (0.9, 0.999), "eps": 1e-8, "weight_decay": 0.0, "momentum_decay": 4e-3,
         "decoupled_weight_decay": False, "maximize": False},
        lambda s: 2,
    ),
    "radam": Kernel(
        radam,
        {"lr": 1e-3, "betas": (0.9, 0.999), "eps": 1e-8, "weight_decay": 0.0, "decoupled_weight_decay": False,
         "maximize": False},
        lambda s: 2,
    ),
}  # fmt: skip
