"""Draws optim_profiles.png: performance profiles (Dolan and More 2002) on the More-Garbow-Hillstrom collection.

Run from the root of the repository: ``python docs/pictures/optim_profiles.py``. Takes some minutes.
"""

import sys
import warnings
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
import scipy.optimize

sys.path.insert(0, str(Path(__file__).parents[2]))

import difftensor as dif
import optim
from tests.optim.problems.more_garbow_hillstrom import PROBLEMS

OURS = ["bfgs", "l-bfgs", "cg", "newton-cg", "trust-exact", "trust-ncg", "dogleg"]
PEERS = ["BFGS", "L-BFGS-B"]
FACTORS = (1, 10)

hessians = 0
_hessian = optim.Problem.hessian


def counting_hessian(problem, x):
    global hessians
    hessians += 1
    return _hessian(problem, x)


optim.Problem.hessian = counting_hessian


def run(name, problem, factor):
    """Values of f, and work in units of a value: 2 for a gradient, 4 for H v, 4 n for H; infinite where unsolved."""
    global hessians
    hessians, x0 = 0, problem.start(factor)
    try:
        if name.startswith("SciPy "):
            f = dif.value_and_grad(problem.fun)
            r = scipy.optimize.minimize(f, x0, jac=True, method=name[6:])
            solved, values, work = problem.solved(r.fun), r.nfev, 3 * r.nfev
        elif name == "least_squares":
            r = optim.least_squares(problem.residuals, x0)
            solved, values = problem.solved(2 * r.cost), r.nfev
            work = r.nfev + 2 * min(len(x0), len(r.fun)) * r.njev + 4 * len(x0) * r.nhev
        else:
            r = optim.minimize(problem.fun, x0, method=name)
            solved, values = problem.solved(r.fun), r.nfev
            work = r.nfev + 2 * r.njev + 4 * (r.nhev - hessians + len(x0) * hessians)
    except (ArithmeticError, ValueError):
        solved = False
    return (values, work) if solved else (np.inf, np.inf)


def course(name):
    """(values, work) of a method on every problem and start."""
    warnings.simplefilter("ignore")
    with np.errstate(all="ignore"):
        return np.array([run(name, p, k) for k in FACTORS for p in PROBLEMS])


def profile(axes, costs, title):
    """The share of the problems solved with at most ``tau`` times the work of the best method."""
    table = np.array(list(costs.values()))
    with np.errstate(invalid="ignore"):
        ratios = table / table.min(axis=0)
    ratios[~np.isfinite(table)] = np.inf
    tau = np.geomspace(1, 200, 400)
    for i, (name, row) in enumerate(zip(costs, ratios, strict=True)):
        style = {"ls": "--", "color": "0.45" if i % 2 else "0.7"} if name.startswith("SciPy") else {}
        style = {"color": "black"} if name == "least_squares" else style
        axes.plot(tau, [(row <= t).mean() for t in tau], label=name, lw=1.6, drawstyle="steps-post", **style)
    axes.set(xscale="log", xlim=(1, 200), ylim=(0, 1.0), title=title, xlabel="times the cost of the best method")
    axes.grid(alpha=0.3)


def main():
    names, count = [*OURS, "least_squares", *(f"SciPy {p}" for p in PEERS)], len(PROBLEMS)
    with ProcessPoolExecutor() as pool:
        results = dict(zip(names, pool.map(course, names), strict=True))
    for name, costs in results.items():
        cells = []
        for values in costs[:, 0].reshape(len(FACTORS), count):
            solved = np.isfinite(values)
            cells.append(f"{solved.sum()} ({np.median(values[solved]):g})")
        print(f"| {name} | " + " | ".join(cells) + " |", flush=True)
    figure, panels = plt.subplots(1, 2, figsize=(11, 4.6), sharey=True)
    profile(panels[0], {n: c[:count, 0] for n, c in results.items()}, "values of f, standard starts")
    profile(panels[1], {n: c[:, 1] for n, c in results.items()}, "values and derivatives, starts x0 and 10 x0")
    panels[0].set_ylabel("share of the problems solved")
    panels[1].legend(fontsize=8, loc="lower right", ncol=2)
    figure.tight_layout()
    figure.savefig(Path(__file__).with_name("optim_profiles.png"), dpi=110)


if __name__ == "__main__":
    main()
