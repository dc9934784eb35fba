"""Start from nothing but Python >= 3.11: make an environment, install difftensor, then run one thing.

    python3 scripts/fresh.py example    fit the lynx and the hares of the Hudson's Bay Company
    python3 scripts/fresh.py tests      install the test group and run the test suite

Uses the standard library only.  The environment is `.venv` beside this repository; one that is there is used
again (`--clear` makes it anew, `--venv DIR` puts it elsewhere).
What follows `--` goes to the example or to pytest.
"""
import argparse
import os
import subprocess
import sys
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
EXAMPLE = Path("examples", "physics", "hudson_bay_lynx.py")
INSTALL = {"example": ["-e", ".[viz,progress]"], "tests": ["-e", ".", "--group", "test"]}
OLD = f"difftensor needs Python 3.11 or newer; this is {sys.version.split()[0]}"
NO_PIP = "this Python cannot make environments with pip; on Debian and Ubuntu: apt install python3-venv"


def environment(folder: Path, clear: bool) -> Path:
    """The Python of a virtual environment in `folder`, made if it is not there."""
    python = folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    if clear or not python.exists():
        print(f"making an environment in {folder}", flush=True)
        try:
            venv.create(folder, clear=clear, with_pip=True, symlinks=os.name != "nt")
        except subprocess.CalledProcessError:  # Debian and Ubuntu ship Python without ensurepip
            sys.exit(NO_PIP)
    # An old pip knows no dependency groups: `--group` came with 25.1.
    run(python, "-m", "pip", "install", "--quiet", "--upgrade", "pip>=25.1")
    return python


def run(*command, **options) -> None:
    """Run a command in the repository's root; leave with its status if it fails."""
    status = subprocess.run([str(part) for part in command], cwd=ROOT, **options).returncode
    if status:
        sys.exit(status)


def main() -> None:
    if sys.version_info < (3, 11):  # noqa: UP036 (run by whatever python3 is there)
        sys.exit(OLD)
    cut = sys.argv.index("--") if "--" in sys.argv else len(sys.argv)
    arguments, rest = sys.argv[1:cut], sys.argv[cut + 1:]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("what", choices=sorted(INSTALL))
    parser.add_argument("--venv", type=Path, default=ROOT / ".venv", metavar="DIR")
    parser.add_argument("--clear", action="store_true", help="make the environment anew")
    options = parser.parse_args(arguments)

    python = environment(options.venv.resolve(), options.clear)
    print("installing", *INSTALL[options.what], flush=True)
    run(python, "-m", "pip", "install", "--quiet", *INSTALL[options.what])
    if options.what == "example":
        run(python, EXAMPLE, *rest)
    else:
        # One BLAS thread per worker: the workers share the cores already.
        alone = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
        run(python, "-m", "pytest", "-n", "auto", *rest, env=os.environ | alone)


if __name__ == "__main__":
    main()
