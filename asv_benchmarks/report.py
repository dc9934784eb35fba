"""Run the benchmarks that the README quotes, and put their tables between its two markers.

    python -m asv_benchmarks.report README.md
    python -m asv_benchmarks.report docs/performance.md --all
"""
import argparse
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BEGIN, END = "<!-- measured: begin -->\n", "<!-- measured: end -->\n"
QUOTED = """
chain:500 matmul_chain indexing elementwise:1000000 lorenz_rk4:1000 nbody:200 heat2d:64
wave1d_inversion:500x250
burgers_spectral:256 gaussian_process:500 gaussian_mixture:1000x10x25 logistic_regression:1000x20
hessian_rosenbrock:50 hvp_rosenbrock:1000
""".split()


def printed(module, *arguments):
    command = [sys.executable, "-m", f"asv_benchmarks.{module}", *arguments]
    return subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True).stdout.strip()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("file", type=Path)
    parser.add_argument("--all", action="store_true", help="every workload at every size")
    options = parser.parse_args()
    workloads = [] if options.all else QUOTED
    parts = [
        "**Gradients of whole programs**, the function included: " + printed("compare", "--cpu", *workloads),
        "**One operation on a three-vector**: " + printed("overhead"),
        "**A tape of 10^6 operations** on three-vectors:\n\n" + printed("tape"),
        "**Imports**: " + printed("importing"),
    ]
    text = options.file.read_text()
    measured = BEGIN + "\n" + "\n\n".join(parts) + "\n\n" + END
    new, count = re.subn(re.escape(BEGIN) + ".*?" + re.escape(END), lambda _: measured, text, flags=re.DOTALL)
    if count != 1:
        sys.exit(f"{options.file} has no place for the tables: {BEGIN.strip()} ... {END.strip()}")
    options.file.write_text(new)


if __name__ == "__main__":
    main()
