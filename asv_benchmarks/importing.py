"""How long `import` takes in a new process.

    python -m asv_benchmarks.importing
"""
import importlib.util
import os
import resource
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

MODULES = ["sys", "numpy", "difftensor", "optim", "scipy.optimize", "autograd.numpy", "torch", "jax"]
REPEAT = 9


def seconds(module, environment):
    """Processor time of a process that imports one module: what else the machine does hardly matters."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, "-c", f"import {module}"], env=environment, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime


def main():
    root = Path(__file__).parent.parent
    environment = os.environ | {"PYTHONPATH": str(root), "OPENBLAS_NUM_THREADS": "1"}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)  # with it every import would compile difftensor anew
    with tempfile.TemporaryDirectory() as compiled:
        times = measure(environment | {"PYTHONPYCACHEPREFIX": compiled})
    numpy = statistics.median(times["numpy"])
    print(f"medians of {REPEAT} processes, ms of processor time\n\n| import | whole process | over NumPy |")
    print("|---|---|---|")
    for name, spent in times.items():
        what, median = "nothing" if name == "sys" else name, statistics.median(spent)
        print(f"| {what} | {1e3 * median:.0f} | {1e3 * (median - numpy):+.0f} |")


def measure(environment):
    """{module: seconds of each process}; the modules take turns."""
    found = [name for name in MODULES if importlib.util.find_spec(name.split(".")[0])]
    times = {name: [] for name in found}
    for turn in range(REPEAT + 1):
        for name in found:
            spent = seconds(name, environment)
            if turn:  # the first one compiles and reads from the disk
                times[name].append(spent)
    return times


def timeraw_numpy():
    return "import numpy"


def timeraw_difftensor():
    return "import difftensor"


def timeraw_optim():
    return "import optim"


if __name__ == "__main__":
    main()
