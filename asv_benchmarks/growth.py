"""Time and memory as programs and arrays grow: straight lines of slope one, if all is well.

    python -m asv_benchmarks.growth                     draws docs/pictures/growth.png

Operations: the chain y <- sin(y) x + 0.5 on a three-vector, 10^3 to 10^7 operations.  Elements: the gradient of
sum(sin(x) exp(-x^2)), 10^3 to 10^7 elements.  Each point is a process of its own on one thread: processor time of the
gradient, and peak resident memory above the level before it.
"""
import argparse
import json
import statistics
import subprocess
import sys
import time
from pathlib import Path

from .compare import limit_threads
from .record import Record

ROOT = Path(__file__).resolve().parent.parent
PICTURE = ROOT / "docs" / "pictures" / "growth.png"
OPERATIONS = {"difftensor": [10**k for k in range(3, 8)], "torch": [10**k for k in range(3, 7)],
              "autograd": [10**k for k in range(3, 6)]}
ELEMENTS = {name: [10**k for k in range(3, 8)] for name in ("difftensor", "torch", "autograd")}
KINDS = {"operations": ("chain", lambda n: n // 3, OPERATIONS), "elements": ("elementwise", lambda n: n, ELEMENTS)}


def point(kind, n, library):
    """Seconds and bytes of one gradient, in this process."""
    limit_threads(1)
    from .memory import level, pages
    from .workloads import WORKLOADS

    name, size, _ = KINDS[kind]
    workload = WORKLOADS[name]
    tiny = workload.case(workload.tiny).runner(library)
    tiny(), tiny()  # what a library loads at its first gradient is not the workload's
    run = workload.case(size(n)).runner(library)
    before = level()
    run()
    most, seconds, start = pages("VmHWM") - before, [], time.perf_counter()
    while not seconds or (len(seconds) < 21 and time.perf_counter() - start < 2.0):
        clock = time.process_time()
        run()
        seconds.append(time.process_time() - clock)
    return {"seconds": statistics.median(seconds), "bytes": most}


def measure(record):
    for kind, (_, _, sizes) in KINDS.items():
        for library, counts in sizes.items():
            for n in counts:
                label = f"{kind} {library} {n}"
                if record.has("growth", label):
                    continue
                command = [sys.executable, "-m", "asv_benchmarks.growth", "--one", kind, str(n), library]
                done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
                if done.returncode:
                    print(label, done.stderr.strip().splitlines()[-1])
                    continue
                found = json.loads(done.stdout.splitlines()[-1])
                print(f"{label}: {found['seconds']:.3g} s, {found['bytes'] / 1e6:.3g} MB", flush=True)
                record.put("growth", label, found)


def draw(found):
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt
    import numpy as np

    figure, axes = plt.subplots(2, 2, figsize=(9, 7), layout="constrained", sharex="col")
    colors = {"difftensor": "tab:blue", "torch": "tab:orange", "autograd": "tab:green"}
    for column, kind in enumerate(KINDS):
        for library, color in colors.items():
            points = {int(label.split()[2]): p for label, p in found.items() if label.startswith(f"{kind} {library} ")}
            counts = sorted(points)
            each = [1e6 * points[n]["seconds"] / n for n in counts]
            axes[0, column].loglog(counts, each, "o-", color=color, label=library)
            seen = [n for n in counts if points[n]["bytes"] > 2e5]  # below, the allocator's free lists serve much of it
            axes[1, column].loglog(seen, [points[n]["bytes"] / n for n in seen], "o-", color=color)
        one = kind[:-1]
        axes[0, column].set_ylabel(f"time per {one}, µs")
        axes[1, column].set_ylabel(f"peak memory per {one}, bytes")
        axes[1, column].set_xlabel(kind)
    for axis in axes.flat:
        axis.grid(alpha=0.3, which="both")
        low, high = axis.get_ylim()
        axis.set_ylim(10 ** np.floor(np.log10(low)), 10 ** np.ceil(np.log10(high)))  # whole decades
    axes[0, 0].legend()
    figure.suptitle("Growth of a gradient: a level line is linear growth")
    figure.savefig(PICTURE, dpi=120)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--one", nargs=3, metavar=("KIND", "N", "LIBRARY"), help="measure one point in this process")
    parser.add_argument("--json", metavar="FILE", help="keep everything that is measured here")
    parser.add_argument("--resume", action="store_true", help="leave out what stands in the file")
    options = parser.parse_args()
    if options.one:
        kind, n, library = options.one
        print(json.dumps(point(kind, int(n), library)))
        return
    record = Record(options.json, resume=options.resume)
    measure(record)
    draw(record.section("growth"))


if __name__ == "__main__":
    main()
