"""The documents in the root are true: their Python runs, and what they point at is there."""
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
DOCUMENTS = ["README.md", "CONTRIBUTING.md", "ARCHITECTURE.md"]
FENCE = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)
BLOCKS = [pytest.param(code, id=f"{document}-{i}") for document in DOCUMENTS
          for i, code in enumerate(FENCE.findall((ROOT / document).read_text()))]
# [text](path), `folder/file` and `python3 folder/file.py`
POINTERS = [r"\]\(([^):#]+)\)", r"`((?:[\w.-]+/)+[\w.-]*)`", r"python3? ([\w/]+\.py)"]


@pytest.mark.parametrize("code", BLOCKS)
def test_python_runs(code, tmp_path):
    """Each block by itself; where a comment says `# prints ...`, the line prints just that."""
    command = [sys.executable, "-W", "error", "-c", code]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=tmp_path, env=environment, text=True, capture_output=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == re.findall(r"# prints (.*)$", code, re.MULTILINE)


def test_the_readme_has_an_example():
    assert FENCE.search((ROOT / "README.md").read_text())


@pytest.mark.parametrize("document", DOCUMENTS)
def test_what_it_points_at_exists(document):
    text = (ROOT / document).read_text()
    named = {path for pattern in POINTERS for path in re.findall(pattern, text)}
    assert named and not sorted(path for path in named if not (ROOT / path).exists())
