"""The libraries that are compared.

Each offers a namespace in which the workloads are written (NumPy's names where it has them), and a function
without arguments that computes value and gradient: that is what is timed.  Every library is used as its own
documentation does it: `backward()` in PyTorch and difftensor, `value_and_grad` in autograd,
`jit(value_and_grad)` in JAX.
"""
from functools import cached_property
from types import SimpleNamespace

import numpy as np

SAME = "sin cos exp log sqrt tanh".split()  # the same name and meaning everywhere


class Library:
    """`gradient`, `hessian` and `hvp` give a function () -> (value, list of derivatives)."""

    name: str
    writes = True  # can differentiate through `a[i] = b`

    def constant(self, array):
        """Data that is not differentiated, in the form a user of this library has it in."""
        return array

    def arguments(self, arrays):
        return arrays


class NumPy(Library):
    """The value alone: what the program costs without derivatives."""

    name = "numpy"

    @cached_property
    def xp(self):
        from scipy.linalg import solve_triangular
        from scipy.special import expit, logsumexp

        return SimpleNamespace(
            **{name: getattr(np, name) for name in SAME},
            constant=self.constant, array=np.array, stack=np.stack, concatenate=np.concatenate,
            pad=lambda x: np.pad(x, 1), copy=np.copy, diagonal=np.diagonal, arange=np.arange,
            softplus=lambda z: np.logaddexp(0.0, z), sigmoid=expit, logsumexp=logsumexp,
            cholesky=np.linalg.cholesky, solve_lower=lambda L, b: solve_triangular(L, b, lower=True),
            rfft=np.fft.rfft, irfft=np.fft.irfft,
        )

    def gradient(self, case):
        f = case.program(self.xp)
        return lambda: (f(*case.arguments), [])

    hessian = hvp = gradient


class ByHand(Library):
    """The derivative written out in NumPy and SciPy: the floor."""

    name = "hand"
    xp = None

    def gradient(self, case):
        return lambda: case.hand(*case.arguments)

    hessian = hvp = gradient


class Difftensor(Library):
    name = "difftensor"

    @cached_property
    def dif(self):
        import difftensor

        return difftensor

    @cached_property
    def xp(self):
        dif = self.dif
        return SimpleNamespace(
            **{name: getattr(dif, name) for name in SAME},
            constant=self.constant, array=dif.array, stack=dif.stack, concatenate=dif.concatenate,
            pad=lambda x: dif.pad(x, 1), copy=dif.copy, diagonal=lambda x: dif.diagonal(x), arange=np.arange,
            softplus=lambda z: dif.logaddexp(0.0, z), sigmoid=dif.special.expit,
            logsumexp=lambda x, axis: dif.special.logsumexp(x, axis), cholesky=dif.linalg.cholesky,
            solve_lower=lambda L, b: dif.linalg.solve_triangular(L, b, lower=True),
            rfft=lambda x: dif.fft.rfft(x), irfft=lambda v, n: dif.fft.irfft(v, n=n),
        )

    def gradient(self, case):
        f = case.program(self.xp)
        leaves = [self.dif.tensor(a, requires_grad=True) for a in case.arguments]

        def run():
            for leaf in leaves:
                leaf.grad = None
            value = f(*leaves)
            value.backward()
            return value.detach(), [leaf.grad for leaf in leaves]

        return run

    def hessian(self, case):
        hessian = self.dif.hessian(case.program(self.xp))
        return lambda: (None, [hessian(*case.arguments)])

    def hvp(self, case):
        hvp = self.dif.hvp(case.program(self.xp))
        return lambda: (None, [hvp(*case.arguments, case.direction)])


class Autograd(Library):
    name = "autograd"
    writes = False

    @cached_property
    def xp(self):
        import autograd.numpy as anp
        from autograd.scipy.linalg import solve_triangular
        from autograd.scipy.special import expit, logsumexp

        return SimpleNamespace(
            **{name: getattr(anp, name) for name in SAME},
            constant=self.constant, array=anp.array, stack=anp.stack, concatenate=anp.concatenate,
            pad=lambda x: anp.pad(x, 1, "constant"),
            diagonal=lambda x: anp.diagonal(x, 0, -1, -2), arange=np.arange,
            softplus=lambda z: anp.logaddexp(0.0, z), sigmoid=expit, logsumexp=logsumexp,
            cholesky=anp.linalg.cholesky, solve_lower=lambda L, b: solve_triangular(L, b, lower=True),
            # autograd has no rules for the real transforms: the full one, cut and completed.
            rfft=lambda x: anp.fft.fft(x)[: x.shape[-1] // 2 + 1],
            irfft=lambda v, n: anp.real(anp.fft.ifft(anp.concatenate([v, anp.conj(v[n // 2 - 1:0:-1])]))),
        )

    def gradient(self, case):
        from autograd import value_and_grad

        f = value_and_grad(case.program(self.xp), argnum=tuple(range(len(case.arguments))))
        return lambda: f(*case.arguments)

    def hessian(self, case):
        from autograd import hessian

        hessian = hessian(case.program(self.xp))
        return lambda: (None, [hessian(*case.arguments)])

    def hvp(self, case):
        from autograd import make_hvp

        hvp = make_hvp(case.program(self.xp))
        return lambda: (None, [hvp(*case.arguments)[0](case.direction)])


class PyTorch(Library):
    name = "torch"

    @cached_property
    def torch(self):
        import torch

        return torch

    @cached_property
    def xp(self):
        torch = self.torch
        return SimpleNamespace(
            **{name: getattr(torch, name) for name in SAME},
            constant=self.constant, array=torch.stack, stack=torch.stack, concatenate=torch.cat,
            pad=lambda x: torch.nn.functional.pad(x, (1, 1) * x.ndim), copy=torch.clone,
            diagonal=torch.diagonal, arange=torch.arange, sigmoid=torch.sigmoid,
            softplus=lambda z: -torch.nn.functional.logsigmoid(-z),
            logsumexp=lambda x, axis: torch.logsumexp(x, axis), cholesky=torch.linalg.cholesky,
            solve_lower=lambda L, b: torch.linalg.solve_triangular(L, b[:, None], upper=False)[:, 0],
            rfft=torch.fft.rfft, irfft=torch.fft.irfft,
        )

    def constant(self, array):
        return self.torch.from_numpy(np.ascontiguousarray(array))

    def gradient(self, case):
        f = case.program(self.xp)
        leaves = [self.torch.tensor(a, requires_grad=True) for a in case.arguments]

        def run():
            for leaf in leaves:
                leaf.grad = None
            value = f(*leaves)
            value.backward()
            return value.detach(), [leaf.grad for leaf in leaves]

        return run

    def hessian(self, case):
        hessian = self.torch.func.hessian(case.program(self.xp))
        x = self.torch.tensor(*case.arguments)
        return lambda: (None, [hessian(x)])

    def hvp(self, case):
        f, grad = case.program(self.xp), self.torch.autograd.grad
        x, v = self.torch.tensor(*case.arguments, requires_grad=True), self.torch.tensor(case.direction)

        def run():
            [g] = grad(f(x), x, create_graph=True)
            return None, [grad(g, x, v)[0]]

        return run


class Jax(Library):
    """Compiled, and only where the program is no long loop (that would be unrolled)."""

    name = "jax"
    writes = False

    @cached_property
    def jax(self):
        import jax

        jax.config.update("jax_enable_x64", True)
        return jax

    @cached_property
    def xp(self):
        jax, jnp = self.jax, self.jax.numpy
        return SimpleNamespace(
            **{name: getattr(jnp, name) for name in SAME},
            constant=self.constant, array=jnp.array, stack=jnp.stack, concatenate=jnp.concatenate,
            pad=lambda x: jnp.pad(x, 1), diagonal=jnp.diagonal, arange=jnp.arange,
            softplus=jax.nn.softplus, sigmoid=jax.nn.sigmoid, logsumexp=jax.scipy.special.logsumexp,
            cholesky=jnp.linalg.cholesky,
            solve_lower=lambda L, b: jax.scipy.linalg.solve_triangular(L, b, lower=True),
            rfft=jnp.fft.rfft, irfft=jnp.fft.irfft,
        )

    def constant(self, array):
        return self.jax.numpy.asarray(array)

    def compiled(self, function, arrays):
        arrays, function = [self.constant(a) for a in arrays], self.jax.jit(function)
        return lambda: self.jax.block_until_ready(function(*arrays))

    def gradient(self, case):
        argnums = tuple(range(len(case.arguments)))
        return self.compiled(self.jax.value_and_grad(case.program(self.xp), argnums), case.arguments)

    def hessian(self, case):
        run = self.compiled(self.jax.hessian(case.program(self.xp)), case.arguments)
        return lambda: (None, [run()])

    def hvp(self, case):
        grad = self.jax.grad(case.program(self.xp))
        run = self.compiled(lambda x, v: self.jax.jvp(grad, (x,), (v,))[1], [*case.arguments, case.direction])
        return lambda: (None, [run()])


ALL = [NumPy(), ByHand(), Difftensor(), Autograd(), PyTorch(), Jax()]
LIBRARIES = {library.name: library for library in ALL}


def numpy_of(value):
    """Any library's array as NumPy's, to compare results."""
    return np.asarray(value.numpy() if hasattr(value, "numpy") else value)
