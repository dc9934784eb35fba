"""What one operation on a three-vector costs over NumPy.

    python -m asv_benchmarks.overhead
"""
import timeit
from functools import partial

STATEMENTS = {
    "sin": "sin(x)",
    "multiply": "x * y",
    "add scalar": "x + 0.5",
    "left scalar": "2.0 * x",
    "index": "x[1]",
    "slice": "x[1:]",
    "sum": "x.sum()",
    "matmul 3x3": "M @ M",
}
# Who computes with what: the function `sin` and the arrays x, y, M.
MODES = ["numpy", "raw array", "untracked", "recording", "np. untracked", "np. recording",
         "torch untracked", "torch recording"]


def names(mode):
    """The names a statement sees in this mode."""
    import numpy as np

    arrays = {"x": np.array([0.3, 0.5, 0.7]), "y": np.array([1.1, 0.9, 0.2]), "M": np.eye(3) + 0.1}
    if mode == "numpy":
        return arrays | {"sin": np.sin}
    if mode.startswith("torch"):
        import torch

        return {name: torch.tensor(a, requires_grad="recording" in mode) for name, a in arrays.items()} | {
            "sin": torch.sin}
    import difftensor as dif

    if mode != "raw array":
        arrays = {name: dif.tensor(a, requires_grad="recording" in mode) for name, a in arrays.items()}
    return arrays | {"sin": np.sin if mode.startswith("np.") else dif.sin}


def seconds(timers, repeat=41, number=2000):
    """The least time per call of each timer; they take turns."""
    least = dict.fromkeys(timers, float("inf"))
    for _ in range(repeat):
        for key, timer in timers.items():
            least[key] = min(least[key], timer.timeit(number) / number)
    return least


def main():
    print("us per call, least of 41 x 2000; differences from NumPy\n")
    print("| operation | NumPy | " + " | ".join(f"{mode} +" for mode in MODES[1:]) + " |")
    print("|---" * (len(MODES) + 1) + "|")
    for name, statement in STATEMENTS.items():
        least = seconds({mode: timeit.Timer(statement, globals=names(mode)) for mode in MODES})
        base = least.pop("numpy")
        extra = " | ".join(f"{1e6 * (time - base):.2f}" for time in least.values())
        print(f"| {name} | {1e6 * base:.2f} | {extra} |", flush=True)


class Operation:
    """The same for airspeed velocity."""

    params = [list(STATEMENTS), MODES]
    param_names = ["operation", "mode"]

    def setup(self, operation, mode):
        try:
            scope = names(mode)
        except ModuleNotFoundError as error:  # a peer that is not installed is left out
            raise NotImplementedError(str(error)) from error
        self.call = partial(eval, compile(STATEMENTS[operation], "<benchmark>", "eval"), scope)

    def time_operation(self, operation, mode):
        self.call()


if __name__ == "__main__":
    main()
