"""Peak memory of the workloads' gradients, above the level after import and the making of the data.

    python -m asv_benchmarks.memory                           all workloads; difftensor and PyTorch
    python -m asv_benchmarks.memory chain lorenz_rk4:1000 --libraries hand,autograd,torch,jax,difftensor

Each is a process of its own, on one thread, and counts resident pages (Linux).  Before the level is taken, the
gradient has run once (what a library loads or compiles at its first is not the workload's) and glibc has given back
what is free.  Below some 0.1 MB the free lists of the allocators decide.
"""
import argparse
import ctypes
import gc
import json
import subprocess
import sys
from pathlib import Path

from .compare import limit_threads, selected
from .record import Record

ROOT = Path(__file__).resolve().parent.parent
REPORTED = ["hand", "autograd", "torch", "jax", "difftensor"]


def pages(key):
    """VmRSS, what is resident now, or VmHWM, the most since the last reset: bytes."""
    with open("/proc/self/status") as lines:
        return next(1024 * int(line.split()[1]) for line in lines if line.startswith(key + ":"))


def level():
    """Bytes resident now, with all that is free given back; from here the most is counted."""
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    with open("/proc/self/clear_refs", "w") as file:
        file.write("5")
    return pages("VmRSS")


def peak(workload, size, library):
    """Bytes that one gradient takes at most."""
    from .libraries import LIBRARIES

    case = workload.case(size)
    case.runner(library)()
    run = case.runner(library)  # new leaves, without a gradient
    if LIBRARIES[library].compiles:
        run()
    before = level()
    result = run()
    found = pages("VmHWM") - before
    del result
    return found


def measure(label, library):
    """The same in a process of its own: bytes, or why there is no number."""
    command = [sys.executable, "-m", "asv_benchmarks.memory", "--one", library, label]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    if done.returncode:
        return done.stderr.strip().splitlines()[-1]
    return json.loads(done.stdout.splitlines()[-1])


def heading(columns):
    title = "MB; in brackets difftensor's memory over this one\n\n"
    return f"{title}| workload | {' | '.join(columns)} |\n" + "|---" * (len(columns) + 1) + "|"


def row(label, found, columns):
    ours = found.get("difftensor")

    def cell(name):
        size = found.get(name)
        if not isinstance(size, int):
            return "-" if size is None or "ModuleNotFound" in size else "failed"
        ratio = f" ({ours / size:.2f})" if name != "difftensor" and isinstance(ours, int) and size else ""
        return f"{size / 1e6:.3g}{ratio}"

    return f"| {label} | " + " | ".join(cell(name) for name in columns) + " |"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("workloads", nargs="*", help="name or name:size; all of them if none is given")
    parser.add_argument("--libraries", default="torch,difftensor", help="default: %(default)s; "
                        f"others: {', '.join(REPORTED)}")
    parser.add_argument("--one", metavar="LIBRARY", help="measure in this process, and print bytes")
    parser.add_argument("--json", metavar="FILE", help="keep everything that is measured here")
    parser.add_argument("--resume", action="store_true", help="leave out what stands in the file")
    options = parser.parse_args()
    limit_threads(1)
    from .workloads import WORKLOADS

    if options.one:
        [(workload, size)] = selected(options.workloads, WORKLOADS)
        print(peak(workload, size, options.one))
        return
    columns = [name for name in REPORTED if name in options.libraries.split(",")]
    record = Record(options.json, resume=options.resume)
    print(heading(columns), flush=True)
    for workload, size in selected(options.workloads, WORKLOADS):
        label, allowed = f"{workload.name} {size}", set(workload.libraries())
        if record.has("memory", label):
            continue
        found = {name: measure(f"{workload.name}:{size}", name) for name in columns if name in allowed}
        print(row(label, found, columns), flush=True)
        record.put("memory", label, found)


if __name__ == "__main__":
    main()
