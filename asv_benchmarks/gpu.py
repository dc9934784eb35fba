"""Gradients on a GPU beside PyTorch and JAX: elementwise, products, small systems, transforms, bodies, overhead.

    python -m asv_benchmarks.gpu                                  difftensor alone: fused, unfused, and as a graph
    python -m asv_benchmarks.gpu --libraries difftensor,torch,jax --json gpu.json
    python -m asv_benchmarks.gpu --small --device cpu             the same programs, small, on the CPU

Each library is best installed in an environment of its own (they bring different CUDA libraries); the results of
several runs are put beside each other by name. Values are compared with difftensor's on the CPU, at a small size,
before anything is timed. A time is the median of samples between two synchronizations; where the program has a natural
limit (the bandwidth of a copy, the operations of a product) the rate is given too. "unfused" is difftensor under
``dif.cuda.fused(False)``, "graph" its gradient in ``dif.cuda.graph``.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import time

import numpy as np

SAMPLES, SECONDS = 5, 0.2


# Programs: functions of arrays, written for the names `xp` that all three libraries have -----------------------------


def elementwise(xp, x):
    return (xp.sin(x) * xp.exp(-x * x)).sum()


def product(xp, a, b):
    return ((a @ b) ** 2).sum()


def systems(xp, k, b):
    return (xp.linalg.solve(k, b) ** 2).sum()


def transform(xp, z, w):
    return (w * abs(xp.fft.fft(z)) ** 2).sum()


def bodies(xp, q, v):
    """Energy after one leapfrog step of bodies with softened gravity."""
    h, soft = 0.01, 0.05
    d = q[:, None, :] - q[None, :, :]
    force = -(d * ((d * d).sum(-1) + soft)[..., None] ** -1.5).sum(1) / len(q)
    v = v + h * force
    q = q + h * v
    d = q[:, None, :] - q[None, :, :]
    return 0.5 * (v * v).sum() - 0.5 * (((d * d).sum(-1) + soft) ** -0.5).sum() / len(q)


def chain(xp, x):
    for _ in range(100):
        x = xp.sin(x)
    return x.sum()


def small_step(xp, w, a, b):
    """A step of many small operations, as a training loop or a simulation of few bodies makes them."""
    for _ in range(10):
        w = w - 0.01 * (xp.tanh(a @ w) - b) @ a
    return (w * w).sum()


def _regular(rng, n):
    return rng.standard_normal((n, 3, 3)) + 3 * np.eye(3), rng.standard_normal((n, 3, 1))


# name: program, arrays of size n, size, small size, what one call amounts to (amount, unit) or None
PROGRAMS = {
    "elementwise": (elementwise, lambda rng, n: (rng.standard_normal(n),), 10**8, 1000, lambda n: (16 * n, "B")),
    "product f32": (product, lambda rng, n: tuple(rng.standard_normal((2, n, n)).astype(np.float32)), 8192, 16,
                    lambda n: (4 * n**3, "flop")),
    "product f64": (product, lambda rng, n: tuple(rng.standard_normal((2, n, n))), 8192, 16,
                    lambda n: (4 * n**3, "flop")),
    "3x3 systems": (systems, _regular, 10**6, 50, None),
    "fft": (transform, lambda rng, n: (rng.standard_normal(n) + 1j * rng.random(n), rng.random(n)), 2**24, 64, None),
    "bodies": (bodies, lambda rng, n: (rng.standard_normal((n, 3)), rng.standard_normal((n, 3))), 4096, 20, None),
    "small step": (small_step, lambda rng, n: (rng.standard_normal(n), rng.standard_normal((n, n)), rng.random(n)),
                   16, 4, None),
    "overhead": (chain, lambda rng, n: (rng.standard_normal(n),), 3, 3, lambda n: (200, "operation")),
}  # fmt: skip


# Libraries: (a function that makes a gradient, a function that waits) ------------------------------------------------


def difftensor_gradient(program, arrays, device):
    import difftensor as dif

    xs = tuple(dif.asarray(a, device=device) for a in arrays)
    gradient = dif.grad(lambda x: program(dif, x, *xs[1:]))
    return lambda: gradient(xs[0]), waiting(device), lambda g: g.to_device("cpu").numpy()


def unfused_gradient(program, arrays, device):
    import difftensor as dif

    gradient, wait, value = difftensor_gradient(program, arrays, device)

    def run():
        with dif.cuda.fused(False):
            return gradient()

    return run, wait, value


def graph_gradient(program, arrays, device):
    import difftensor as dif

    xs = tuple(dif.asarray(a, device=device) for a in arrays)
    gradient = dif.cuda.graph(dif.grad(lambda x: program(dif, x, *xs[1:])))
    return lambda: gradient(xs[0]), waiting(device), lambda g: g.to_device("cpu").numpy()


def waiting(device):
    import difftensor as dif

    return (lambda: None) if device == "cpu" else (lambda: dif.cuda.synchronize(device))


def torch_gradient(program, arrays, device):
    import torch

    xs = [torch.as_tensor(a).to(device) for a in arrays]
    xs[0].requires_grad_()

    def run():
        return torch.autograd.grad(program(torch, *xs), xs[0])[0]

    wait = (lambda: None) if device == "cpu" else torch.cuda.synchronize
    return run, wait, lambda g: g.cpu().numpy()


def jax_gradient(program, arrays, device):
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")  # of three quarters of the memory
    import jax
    import jax.numpy as jnp

    jax.config.update("jax_enable_x64", True)
    place = jax.devices("cpu" if device == "cpu" else "gpu")[0]
    xs = [jax.device_put(a, place) for a in arrays]
    gradient = jax.jit(jax.grad(lambda x, *rest: program(jnp, x, *rest)))
    last = []

    def run():
        last[:] = [gradient(*xs)]
        return last[0]

    def value(g):  # JAX's gradient of a complex number is the conjugate of PyTorch's
        return np.conj(np.asarray(g))

    return run, lambda: last[0].block_until_ready(), value


OURS = {"difftensor": difftensor_gradient, "unfused": unfused_gradient, "graph": graph_gradient}
LIBRARIES = {**OURS, "torch": torch_gradient, "jax": jax_gradient}


# Measuring ------------------------------------------------------------------------------------------------------------


def seconds_per_call(run, wait):
    """The median over samples of as many calls as take `SECONDS`."""
    run()
    wait()
    start = time.perf_counter()
    run()
    wait()
    calls = max(1, int(SECONDS / max(time.perf_counter() - start, 1e-6)))
    samples = []
    for _ in range(SAMPLES):
        start = time.perf_counter()
        for _ in range(calls):
            run()
        wait()
        samples.append((time.perf_counter() - start) / calls)
    return statistics.median(samples)


def copy_bandwidth(n, device):
    """Bytes per second of a copy of n float64: read and written."""
    import difftensor as dif

    x = dif.zeros(n, device=device)
    return 16 * n / seconds_per_call(x.copy, waiting(device))


def backward_alone(n, device, bandwidth):
    """The sweep of the elementwise program on a tape that is kept: fused, a kernel reads what four operations saved."""
    import difftensor as dif

    x = dif.asarray(np.random.default_rng(0).standard_normal(n), device=device)
    _, pull = dif.vjp(lambda x: elementwise(dif, x), x)
    row = {}
    with dif.cuda.strong_zero(False):
        for name, fused in (("difftensor", True), ("unfused", False)):
            with dif.cuda.fused(fused):
                row[name] = seconds_per_call(lambda: pull(1.0), waiting(device))
    row["of the copy bandwidth"] = 8 * (4 + 1) * n / row["difftensor"] / bandwidth
    return row


def agree(name, library, device):
    """Is the gradient of the small program that of difftensor on the CPU?"""
    program, make, _, small, _ = PROGRAMS[name]
    arrays = make(np.random.default_rng(0), small)
    run, _, value = LIBRARIES["difftensor"](program, arrays, "cpu")
    expected = value(run())
    run, _, value = LIBRARIES[library](program, arrays, device)
    tolerance = 1e-4 if expected.dtype == np.float32 else 1e-9
    return np.allclose(value(run()), expected, rtol=tolerance, atol=tolerance * abs(expected).max())


def measure(libraries, device, small=False, names=tuple(PROGRAMS), show=lambda found: None):
    """{program: {library: seconds}}, and the rate of difftensor where there is one; each is shown when it is known."""
    found = {}
    bandwidth = copy_bandwidth(PROGRAMS["elementwise"][3 if small else 2], device)
    for name in names:
        program, make, large, little, amount = PROGRAMS[name]
        n = little if small else large
        row = found[name] = {}
        arrays = make(np.random.default_rng(0), n)
        for library in libraries:
            try:
                if not agree(name, library, device):
                    row[library] = "disagrees"
                    continue
                run, wait, _ = LIBRARIES[library](program, arrays, device)
                row[library] = seconds_per_call(run, wait)
            except (ImportError, RuntimeError, MemoryError, ValueError) as error:  # what no graph can hold raises
                row[library] = f"{type(error).__name__}: {str(error)[:120]}"
        for library in OURS:
            t = row.get(library)
            if amount is None or not isinstance(t, float):
                continue
            much, unit = amount(n)
            which = "" if library == "difftensor" else f" ({library})"
            if unit == "B":
                row[f"of the copy bandwidth{which}"] = much / t / bandwidth
            elif unit == "operation":
                row[f"microseconds per operation{which}"] = 1e6 * t / much
            else:
                row[f"Tflop/s{which}"] = 1e-12 * much / t
        show({name: row})
        if name == "elementwise":
            found["backward"] = backward_alone(n, device, bandwidth)
            show({"backward": found["backward"]})
    return found


def report(found):
    lines = []
    for name, row in found.items():
        ours = row.get("difftensor")
        cells = []
        for library, value in row.items():
            if not isinstance(value, float):
                cells.append(f"{library} {value}")
            elif library not in LIBRARIES:
                cells.append(f"{value:.3g} {library}")
            elif library == "difftensor" or not isinstance(ours, float):
                cells.append(f"{library} {1e3 * value:.3f} ms")
            else:
                cells.append(f"{ours / value:.2f} x {library}'s {1e3 * value:.3f} ms")
        lines.append(f"{name:<14}" + ", ".join(cells))
    return "\n".join(lines)


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("names", nargs="*", default=list(PROGRAMS), help=", ".join(PROGRAMS))
    parser.add_argument("--libraries", default=",".join(OURS), help=", ".join(LIBRARIES))
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--small", action="store_true")
    parser.add_argument("--json")
    given = parser.parse_args(arguments)
    libraries = given.libraries.split(",")
    found = measure(libraries, given.device, given.small, given.names, lambda rows: print(report(rows), flush=True))
    if given.json:
        with open(given.json, "w") as f:
            json.dump(found, f, indent=1)
    return found


if __name__ == "__main__":
    main()
