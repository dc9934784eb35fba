"""The libraries that compile a program before it runs.  Compilation is not timed."""
from functools import cached_property
from types import SimpleNamespace

from .eager import SAME, Library, PyTorch, scan


class TorchCompile(PyTorch):
    """PyTorch's compiler: the whole program, or the step of a loop (an unrolled loop compiles for minutes)."""

    name = "torch_compile"
    compiles, writes = True, False

    @cached_property
    def torch(self):
        import logging

        import torch

        logging.getLogger("torch._inductor").setLevel(logging.ERROR)
        torch._dynamo.config.suppress_errors = False  # an error instead of a silent return to eager
        return torch

    @cached_property
    def xp(self):
        steps = {}

        def compiled_scan(step, state, items, *constants):
            if step not in steps:
                steps[step] = self.torch.compile(step, dynamic=False)
            if isinstance(items, list):  # numbers: as Python's each one would be compiled
                items = self.torch.tensor(items, dtype=self.torch.float64)
            return scan(steps[step], state, items, *constants)

        return SimpleNamespace(**vars(super().xp) | {"scan": compiled_scan})

    def function(self, case):
        f = case.compiled(self.xp)
        return f if case.scans else self.torch.compile(f, dynamic=False)

    def hessian(self, case):
        hessian = self.torch.compile(self.torch.func.hessian(case.program(self.xp)), dynamic=False)
        x = self.torch.tensor(*case.arguments)
        return lambda: (None, [hessian(x)])

    def hvp(self, case):
        func = self.torch.func
        grad = func.grad(case.program(self.xp))
        hvp = self.torch.compile(lambda x, v: func.jvp(grad, (x,), (v,))[1], dynamic=False)
        x, v = self.torch.tensor(*case.arguments), self.torch.tensor(case.direction)
        return lambda: (None, [hvp(x, v)])


class Jax(Library):
    name = "jax"
    compiles, writes = True, False

    @cached_property
    def jax(self):
        import jax

        jax.config.update("jax_enable_x64", True)
        return jax

    @cached_property
    def xp(self):
        jax, jnp = self.jax, self.jax.numpy

        def lax_scan(step, state, items, *constants):
            if isinstance(items, int):
                items, length = None, items
            else:
                items, length = jax.tree.map(jnp.asarray, items, is_leaf=lambda x: isinstance(x, list)), None
            return jax.lax.scan(lambda s, item: step(s, item, *constants), state, items, length)

        return SimpleNamespace(
            **{name: getattr(jnp, name) for name in SAME},
            constant=self.constant, array=jnp.array, stack=jnp.stack, concatenate=jnp.concatenate,
            pad=lambda x: jnp.pad(x, 1), diagonal=jnp.diagonal, arange=jnp.arange,
            softplus=jax.nn.softplus, sigmoid=jax.nn.sigmoid, logsumexp=jax.scipy.special.logsumexp,
            cholesky=jnp.linalg.cholesky,
            solve_lower=lambda L, b: jax.scipy.linalg.solve_triangular(L, b, lower=True),
            rfft=jnp.fft.rfft, irfft=jnp.fft.irfft, scan=lax_scan,
        )

    def constant(self, array):
        return self.jax.numpy.asarray(array)

    def compiled(self, function, arrays):
        arrays, function = [self.constant(a) for a in arrays], self.jax.jit(function)
        return lambda: self.jax.block_until_ready(function(*arrays))

    def gradient(self, case):
        argnums = tuple(range(len(case.arguments)))
        return self.compiled(self.jax.value_and_grad(case.compiled(self.xp), argnums), case.arguments)

    def hessian(self, case):
        run = self.compiled(self.jax.hessian(case.program(self.xp)), case.arguments)
        return lambda: (None, [run()])

    def hvp(self, case):
        grad = self.jax.grad(case.program(self.xp))
        run = self.compiled(lambda x, v: self.jax.jvp(grad, (x,), (v,))[1], [*case.arguments, case.direction])
        return lambda: (None, [run()])
