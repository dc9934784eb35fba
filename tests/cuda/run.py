"""All that needs a GPU, in one go and in at most eight minutes, with a report that grows while it runs.

python -m tests.cuda.run [report.md]
"""

from __future__ import annotations

import os
import platform
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
MINUTE = 60
TESTS = ["-m", "pytest", "-q", "--device=cuda", "--durations=5"]
# (title, arguments of python, seconds). What is most telling comes first; a stage that runs out of time is cut.
STAGES = [
    ("What is said, placement, lists, copies, graphs",
     [*TESTS, "tests/cuda/test_module.py", "tests/cuda/test_graphs.py", "tests/cuda/test_copies.py",
      "tests/cuda/test_lists.py", "tests/test_devices.py", "tests/cuda/test_calls.py"], MINUTE),
    ("Benchmarks", ["-m", "asv_benchmarks.gpu", "--libraries", "difftensor,unfused,graph,torch,jax"], 1.25 * MINUTE),
    ("Every primitive, packages, fused kernels, special functions",
     [*TESTS, "tests/cuda/test_registry.py", "tests/cuda/test_packages.py", "tests/cuda/test_fusing.py",
      "tests/cuda/test_special.py"], 2 * MINUTE),
    ("NumPy's functions, programs, transformations, random numbers, solvers, networks",
     [*TESTS, "tests/cuda/test_namespace.py", "tests/cuda/test_programs.py", "tests/cuda/test_transformations.py",
      "tests/random/test_devices.py", "tests/optim/test_on_devices.py", "tests/nn/test_device.py"], 2 * MINUTE),
    ("The bodies of the CPU's tests, examples, other forms of operands",
     [*TESTS, "tests/cuda/bodies", "tests/cuda/test_examples.py", "tests/cuda/test_forms.py"], 2 * MINUTE),
]  # fmt: skip
SECONDS = 8 * MINUTE
OFTEN = 3  # seconds between two versions of the report


def machine() -> str:
    """GPU, driver, versions."""
    lines = [f"Python {platform.python_version()}, {platform.platform()}, {os.cpu_count()} processors"]
    try:
        import cupy
        import numpy as np

        runtime = cupy.cuda.runtime
        for i in range(runtime.getDeviceCount()):
            properties = runtime.getDeviceProperties(i)
            lines.append(f"cuda:{i} {properties['name'].decode()}, {properties['totalGlobalMem'] / 1e9:.1f} GB")
        lines.append(f"driver {runtime.driverGetVersion()}, runtime {runtime.runtimeGetVersion()}")
        lines.append(f"CuPy {cupy.__version__}, NumPy {np.__version__}")
    except Exception as error:  # noqa: BLE001 - whatever is wrong with the machine belongs into the report
        lines.append(f"no GPU: {type(error).__name__}: {error}")
    return "\n".join(lines)


def run(arguments: list[str], limit: float, show: Callable[[str, str], None]) -> str:
    """Verdict of one stage, whose output is shown while it runs. Workers share out the compilation of kernels."""
    if "pytest" in arguments and find_spec("xdist"):
        arguments = [*arguments, "-n", str(min(12, os.cpu_count() or 1))]
    start = time.perf_counter()
    with tempfile.TemporaryFile("w+") as file:

        def output() -> str:
            file.seek(0)
            return file.read()

        stage = subprocess.Popen(
            [sys.executable, *arguments], stdout=file, stderr=subprocess.STDOUT, cwd=ROOT, start_new_session=True
        )
        while True:
            try:
                code = stage.wait(timeout=OFTEN)
                break
            except subprocess.TimeoutExpired:
                took = time.perf_counter() - start
                show(f"running, {took:.0f} s", output())
                if took > limit:
                    os.killpg(stage.pid, signal.SIGKILL)  # its workers too
                    stage.wait()
                    code = None
                    break
        took = time.perf_counter() - start
        verdict = f"cut after {took:.0f} s" if code is None else "passed" if code == 0 else f"exit {code}"
        show(verdict if code is None else f"{verdict}, {took:.0f} s", output())
    return verdict


def main(path: str = "gpu-report.md") -> int:
    start, failed = time.perf_counter(), 0
    text = [f"# difftensor on a GPU\n\n```\n{machine()}\n```\n"]
    Path(path).write_text(text[0])
    if "no GPU" in text[0]:
        print(text[0])
        return 1
    for title, arguments, limit in STAGES:

        def show(verdict: str, output: str, title: str = title, arguments: list[str] = arguments) -> None:
            stage = f"## {title}: {verdict}\n\n```\npython {' '.join(arguments)}\n\n{output[-12000:]}\n```\n"
            Path(path).write_text("\n".join([*text, stage]))  # what is cut off, or killed, leaves what was done

        left = SECONDS - (time.perf_counter() - start)
        if left < OFTEN:
            show("not begun: no time was left", "")
            verdict = "not begun"
        else:
            verdict = run(arguments, min(limit, left), show)
        text.append(Path(path).read_text().removeprefix("\n".join(text)).lstrip("\n"))
        failed += verdict != "passed"
        print(f"{title}: {verdict}", flush=True)
    return failed


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:2]))
