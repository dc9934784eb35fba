"""Parameters that are functions of others: weight and spectral normalization, orthogonal matrices, your own.

>>> from difftensor import nn
>>> layer = nn.weight_norm(nn.Linear(3, 2))
>>> [name for name, _ in layer.named_parameters()]
['bias', 'parametrizations.weight.original0', 'parametrizations.weight.original1']
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np

import difftensor as dif

from . import init
from ._containers import ModuleDict, ModuleList
from ._convolution import ConvTranspose1d, ConvTranspose2d, ConvTranspose3d
from ._module import Module, parameter


class ParametrizationList(ModuleList):
    """The functions that make a parameter of its originals, the first one first."""

    def __init__(self, first: Module, value: dif.Tensor):
        inverse = getattr(first, "right_inverse", None)
        found = inverse(value.detach()) if inverse is not None else value.detach()
        many = isinstance(found, (tuple, list))
        self.count = len(found) if many else 0
        for name, t in zip(self.names(), found if many else (found,)):
            setattr(self, name, dif.tensor(t, requires_grad=value.requires_grad))
        self.append(first)

    def names(self) -> list[str]:
        """Of the originals."""
        return [f"original{i}" for i in range(self.count)] if self.count else ["original"]

    def __len__(self) -> int:
        return sum(isinstance(v, Module) for v in self.__dict__.values())

    def forward(self) -> Any:
        first, *others = self
        y = first(*(getattr(self, name) for name in self.names()))
        for f in others:
            y = f(y)
        return y

    def assign(self, value: Any) -> None:
        """Give the originals values that make `value`."""
        for f in reversed(list(self)):
            if not hasattr(f, "right_inverse"):
                raise TypeError(f"{type(f).__name__} has no right_inverse, so that its result cannot be assigned")
            value = f.right_inverse(value)
        with dif.no_grad():
            for name, t in zip(self.names(), value if self.count else (value,)):
                getattr(self, name)[...] = t


@cache
def _class(cls: Any, names: tuple) -> type:
    """`cls` with attributes that are computed when they are asked for."""

    def made(name: str) -> property:
        return property(
            lambda m: m.parametrizations[name](), lambda m, value: m.parametrizations[name].assign(value)
        )  # fmt: skip

    facts: dict[str, Any] = {name: made(name) for name in names}
    facts |= {"plain_class": cls, "__doc__": cls.__doc__, "__reduce__": lambda m: (_empty, (cls, names), m.__dict__)}
    return type(f"Parametrized{cls.__name__}", (cls,), facts)


def _empty(cls: Any, names: tuple) -> Any:
    """What pickle and copy fill: no import finds the class by its name."""
    return object.__new__(_class(cls, names))


def register_parametrization(module: Any, tensor_name: str, parametrization: Module) -> Module:
    """Make parameter `tensor_name` of `module` the result of `parametrization`.

    Parameters
    ----------
    module : Module
    tensor_name : str
    parametrization : Module
        ``forward(original)`` makes the parameter; ``right_inverse(value)``, if it has one, makes the original (or a
        tuple of originals) of a value. A second one is applied to the result of the first.

    Returns
    -------
    Module
        `module`, whose class is now one in which the attribute is computed at each use.

    Notes
    -----
    Names are PyTorch's: ``parametrizations.weight.original``.
    """
    if is_parametrized(module, tensor_name):
        module.parametrizations[tensor_name].append(parametrization)
        return module
    value = module.__dict__.get(tensor_name)
    if not isinstance(value, dif.Tensor):
        raise ValueError(f"register_parametrization: {type(module).__name__} has no Tensor {tensor_name!r}")
    if not is_parametrized(module):
        module.parametrizations = ModuleDict()
    module.parametrizations[tensor_name] = ParametrizationList(parametrization, value)
    del module.__dict__[tensor_name]
    plain: Any = getattr(type(module), "plain_class", type(module))
    module.__class__ = _class(plain, tuple(sorted(module.parametrizations)))
    return module


def is_parametrized(module: Any, tensor_name: str | None = None) -> bool:
    """Is this parameter, or any, computed?"""
    found = module.__dict__.get("parametrizations")
    return isinstance(found, ModuleDict) and (tensor_name is None or tensor_name in found)


def remove_parametrizations(module: Any, tensor_name: str) -> Module:
    """Make the computed value the parameter."""
    if not is_parametrized(module, tensor_name):
        raise ValueError(f"remove_parametrizations: {tensor_name!r} of {type(module).__name__} is not parametrized")
    with dif.no_grad():
        value = getattr(module, tensor_name).detach()
    del module.parametrizations.__dict__[tensor_name]
    left = tuple(sorted(module.parametrizations))
    plain = type(module).plain_class
    module.__class__ = _class(plain, left) if left else plain
    if not left:
        del module.parametrizations
    setattr(module, tensor_name, parameter(value))
    return module


def _norm(v: Any, dim: int | None) -> Any:
    if dim is None:
        return dif.sqrt((v * v).sum())
    return dif.sqrt((v * v).sum(axis=tuple(a for a in range(v.ndim) if a != dim % v.ndim), keepdims=True))


class _WeightNorm(Module):
    def __init__(self, dim: int | None):
        self.dim = dim

    def forward(self, g: Any, v: Any) -> Any:
        return v * (g / _norm(v, self.dim))

    def right_inverse(self, w: Any) -> tuple:
        return _norm(w, self.dim), w


def weight_norm(module: Module, name: str = "weight", dim: int | None = 0) -> Module:
    """A weight as length times direction, ``g v / |v|``; T. Salimans, D. P. Kingma, arXiv:1602.07868, eq. 2.

    Parameters
    ----------
    module : Module
    name : str
    dim : int or None
        The axis along which lengths differ; None: one length.
    """
    return register_parametrization(module, name, _WeightNorm(dim))


class _SpectralNorm(Module):
    def __init__(self, weight: dif.Tensor, n_power_iterations: int, eps: float, dim: int, rng: init.Rng):
        self.dim, self.n_power_iterations, self.eps = dim, n_power_iterations, eps
        self.single = weight.ndim == 1
        if not self.single:
            rng = init.generator(rng)
            w = self._matrix(weight)
            make = lambda n: dif.asarray(rng.normal(size=n), dtype=w.dtype, device=w.device)  # noqa: E731
            self.register_buffer("_u", self._unit(make(w.shape[0])))
            self.register_buffer("_v", self._unit(make(w.shape[1])))
            self._iterate(w, 15)

    def _unit(self, v: Any) -> Any:
        return v / dif.maximum(dif.linalg.norm(v), self.eps)

    def _matrix(self, w: Any) -> Any:
        return dif.moveaxis(w, self.dim, 0).reshape((w.shape[self.dim], -1))

    def _iterate(self, w: Any, times: int) -> None:
        with dif.no_grad():
            w = w.detach()
            for _ in range(times):
                self._u = self._unit(w @ self._v)
                self._v = self._unit(w.T @ self._u)

    def forward(self, w: Any) -> Any:
        if self.single:
            return w / dif.maximum(dif.linalg.norm(w), self.eps)
        matrix = self._matrix(w)
        if self.training:
            self._iterate(matrix, self.n_power_iterations)
        return w / (self._u @ (matrix @ self._v))

    def right_inverse(self, w: Any) -> Any:
        return w


def spectral_norm(module: Module, name: str = "weight", n_power_iterations: int = 1, eps: float = 1e-12,
                  dim: int | None = None, rng: init.Rng = None) -> Module:  # fmt: skip
    """A weight divided by its largest singular value; T. Miyato et al., arXiv:1802.05957, algorithm 1.

    Parameters
    ----------
    module : Module
    name : str
    n_power_iterations : int
        At each use in training; the singular vectors are buffers.
    eps : float
    dim : int, optional
        The axis of the outputs: 1 for transposed convolutions, else 0.
    rng : Generator or int, optional
    """
    transposed = isinstance(module, (ConvTranspose1d, ConvTranspose2d, ConvTranspose3d))
    dim = int(transposed) if dim is None else dim
    weight = getattr(module, name)
    return register_parametrization(module, name, _SpectralNorm(weight, n_power_iterations, eps, dim, rng))


class _Orthogonal(Module):
    base: Any

    def __init__(self, base: dif.Tensor):
        self.register_buffer("base", base)

    def forward(self, x: Any) -> Any:
        *_, n, k = x.shape
        a = dif.tril(x if n >= k else x.swapaxes(-1, -2))
        if n > k or k > n:
            lead = a.shape[:-2]
            a = dif.concatenate([a, dif.zeros((*lead, max(n, k), abs(n - k)), dtype=a.dtype, device=a.device)], axis=-1)
        q = dif.linalg.expm(a - a.swapaxes(-1, -2))[..., : min(n, k)]
        q = self.base @ q
        return q if n >= k else q.swapaxes(-1, -2)


def orthogonal(module: Any, name: str = "weight", rng: init.Rng = None) -> Module:
    """A weight with orthonormal rows or columns, whichever are fewer: the exponential of a skew-symmetric matrix.

    M. Lezcano-Casado, D. Martinez-Rubio, arXiv:1901.08428. The weight starts at the orthogonal factor of its polar
    decomposition; the parameters start at zero.
    """
    weight = getattr(module, name)
    if weight.ndim < 2:
        raise ValueError(f"orthogonal: {name!r} has shape {weight.shape}; a matrix is needed")
    w = weight.detach()
    tall = w if w.shape[-2] >= w.shape[-1] else w.swapaxes(-1, -2)
    u, _, vt = np.linalg.svd(tall.to_device("cpu").numpy(), full_matrices=True)
    k = tall.shape[-1]
    u[..., :k] = u[..., :k] @ vt
    made = _Orthogonal(dif.asarray(u, dtype=w.dtype, device=w.device))
    register_parametrization(module, name, made)
    original = module.parametrizations[name].original
    with dif.no_grad():
        original[...] = 0.0
    return module


def parameters_to_vector(parameters: Any) -> Any:
    """All parameters in one row."""
    return dif.concatenate([p.reshape(-1) for p in parameters])


def vector_to_parameters(vec: Any, parameters: Any) -> None:
    """Write the values of a row into the parameters."""
    at = 0
    with dif.no_grad():
        for p in parameters:
            p[...] = vec[at : at + p.size].reshape(p.shape)
            at += p.size
    if at != vec.size:
        raise ValueError(f"vector_to_parameters: {vec.size} values for {at} parameters")
