"""What the optimizers cost themselves: per evaluation, on a large problem, and per step of Adam.

    python -m asv_benchmarks.optim
"""
import statistics
import time

import numpy as np


def rosenbrock(x):
    return float((100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2).sum())


def slope(x):
    a, b = x[1:] - x[:-1] ** 2, 1 - x[:-1]
    g = np.zeros_like(x)
    g[:-1] = -400 * x[:-1] * a - 2 * b
    g[1:] += 200 * a
    return g


def residuals(x):
    return np.concatenate([10 * (x[1:] - x[:-1] ** 2), 1 - x[:-1]])


def jacobian(x):
    n = x.size
    J = np.zeros((2 * n - 2, n))
    i = np.arange(n - 1)
    J[i, i], J[i, i + 1], J[n - 1 + i, i] = -20 * x[:-1], 10, -1
    return J


def start(n):
    return np.tile([-1.2, 1.0], n // 2)


class Counted:
    """A function that keeps the time spent in it."""

    def __init__(self, f):
        self.f, self.calls, self.seconds = f, 0, 0.0

    def __call__(self, x):
        begun = time.perf_counter()
        y = self.f(x)
        self.seconds += time.perf_counter() - begun
        self.calls += 1
        return y


def own_cost(minimize, f, g, repeat=7):
    """Seconds per evaluation outside the user's functions; the least of some runs."""
    costs = []
    for _ in range(repeat):
        value, derivative = Counted(f), Counted(g)
        begun = time.perf_counter()
        minimize(value, derivative)
        spent = time.perf_counter() - begun
        costs.append((spent - value.seconds - derivative.seconds) / value.calls)
    return min(costs)


def scipy_or_ours(name):
    """``minimize(f, g)`` of a library and method, as "ours bfgs" or "scipy BFGS"."""
    import scipy.optimize

    import optim

    library, method = name.split()
    x0, module = start(10), optim if library == "ours" else scipy.optimize
    if method == "lm":
        return lambda f, g: module.least_squares(f, x0, jac=g, method="lm")
    extra = {"options": {"verify": False}} if library == "ours" else {}
    return lambda f, g: module.minimize(f, x0, jac=g, method=method, **extra)


class OwnCost:
    """The chained Rosenbrock function of 10 variables, with NumPy's derivatives."""

    params = ["ours bfgs", "ours l-bfgs", "ours lm", "scipy BFGS", "scipy L-BFGS-B", "scipy lm"]
    param_names = ["method"]
    unit = "microseconds per evaluation"

    def track_own_cost(self, name):
        f, g = (residuals, jacobian) if name.endswith("lm") else (rosenbrock, slope)
        return 1e6 * own_cost(scipy_or_ours(name), f, g)


class LargeRosenbrock:
    """The extended function (pairs) of 10^5 variables, L-BFGS, the gradient by difftensor."""

    timeout = 300

    def setup(self):
        import difftensor as dif
        import optim

        def fun(x):
            return dif.sum(100 * (x[1::2] - x[::2] ** 2) ** 2 + (1 - x[::2]) ** 2)

        self.run = lambda: optim.minimize(fun, start(100_000), method="l-bfgs")

    def time_run(self):
        self.run()

    def track_evaluations(self):
        return self.run().nfev


class BFGSStep:
    """One update at n = 2000: O(n^2)."""

    def setup(self):
        from optim.methods.bfgs import update

        rng = np.random.default_rng(0)
        n = 2000
        self.update, self.H, self.s = update, np.eye(n), rng.normal(size=n)
        self.y = self.s + 0.1 * rng.normal(size=n)

    def time_update(self):
        self.update(self.H, self.s, self.y)


class SparseLeastSquares:
    """Smoothing with 10^4 and 10^5 unknowns: pattern, coloring, factorization and all."""

    params = [10_000, 100_000]
    param_names = ["unknowns"]

    def setup(self, n):
        import difftensor as dif
        import optim

        d = np.random.default_rng(0).normal(size=n)

        def fun(x):
            return dif.concatenate([x - d, 3 * (x[:-2] - 2 * x[1:-1] + x[2:])])

        self.run = lambda: optim.least_squares(fun, np.zeros(n))

    def time_run(self, n):
        self.run()


def adam_against_pytorch(count, size, repeat=200):
    """Seconds of processor time per step, ours and PyTorch's; they take turns, some steps at a time."""
    import torch

    import difftensor as dif
    import optim

    torch.set_num_threads(1)
    rng = np.random.default_rng(0)
    first = [rng.normal(size=size) for _ in range(count)]
    ours = [dif.tensor(a, requires_grad=True) for a in first]
    theirs = [torch.tensor(a, requires_grad=True) for a in first]
    for p, q in zip(ours, theirs, strict=True):
        g = rng.normal(size=size)
        p.grad, q.grad = dif.asarray(g), torch.tensor(g)
    steppers = [optim.Adam(ours, lr=1e-3), torch.optim.Adam(theirs, lr=1e-3)]
    spent, several = [[], []], max(1, 20_000 // (count * size + 200))
    for _ in range(repeat):
        for stepper, times in zip(steppers, spent, strict=True):
            begun = time.process_time()
            for _ in range(several):
                stepper.step()
            times.append((time.process_time() - begun) / several)
    return [statistics.median(times[repeat // 5 :]) for times in spent]


class AdamStep:
    params = ["1 x 10", "100 x 1000", "1 x 1000000"]
    param_names = ["parameters"]
    unit = "times PyTorch's"

    def track_ratio(self, sizes):
        count, size = (int(s) for s in sizes.split(" x "))
        ours, theirs = adam_against_pytorch(count, size, 60 if size > 10_000 else 150)
        return ours / theirs


def main():
    for name in OwnCost.params:
        print(f"{name:16} {OwnCost().track_own_cost(name):8.1f} us per evaluation of its own, n = 10")
    large = LargeRosenbrock()
    large.setup()
    print(f"L-BFGS on the extended Rosenbrock function of 10^5 variables: {large.track_evaluations()} evaluations")
    for sizes in AdamStep.params:
        print(f"Adam, {sizes} parameters: {AdamStep().track_ratio(sizes):.2f} times PyTorch's step")


if __name__ == "__main__":
    main()
