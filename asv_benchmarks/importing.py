"""How long `import` takes in a new process.

    python -m asv_benchmarks.importing
"""
import importlib.util
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

MODULES = ["sys", "numpy", "difftensor", "optim", "scipy.optimize", "autograd.numpy", "torch", "jax"]
REPEAT = 15


def main():
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parent.parent)}
    found = [name for name in MODULES if importlib.util.find_spec(name.split(".")[0])]
    times = {name: [] for name in found}
    for turn in range(REPEAT + 1):
        for name in found:
            start = time.perf_counter()
            subprocess.run([sys.executable, "-c", f"import {name}"], env=environment, check=True)
            if turn:  # the first one reads the files from the disk
                times[name].append(time.perf_counter() - start)
    numpy = statistics.median(times["numpy"])
    print(f"medians of {REPEAT} processes, ms\n\n| import | whole process | over NumPy |")
    print("|---|---|---|")
    for name, seconds in times.items():
        median = statistics.median(seconds)
        what = "nothing" if name == "sys" else name
        print(f"| {what} | {1e3 * median:.0f} | {1e3 * (median - numpy):+.0f} |")


def timeraw_numpy():
    return "import numpy"


def timeraw_difftensor():
    return "import difftensor"


def timeraw_optim():
    return "import optim"


if __name__ == "__main__":
    main()
