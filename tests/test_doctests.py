"""The examples in the docstrings run and print what they say.

Docstrings are read from the source, so that those taken over from NumPy and SciPy, whose examples are theirs, stay out.
"""

import ast
import doctest
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef)


def examples():
    """``(file:name, test)`` for every docstring with examples."""
    parser = doctest.DocTestParser()
    for path in sorted(p for package in ("difftensor", "optim") for p in (ROOT / package).rglob("*.py")):
        where = path.relative_to(ROOT).as_posix()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            text = ast.get_docstring(node) if isinstance(node, DOCUMENTED) else None
            if text and ">>>" in text:
                name = getattr(node, "name", "module")
                line = getattr(node, "lineno", 1)
                yield pytest.param(parser.get_doctest(text, {}, name, str(path), line), id=f"{where}:{name}")


@pytest.mark.parametrize("test", list(examples()))
def test_examples_in_docstrings(test):
    said = []
    doctest.DocTestRunner().run(test, out=said.append)
    assert not said, "".join(said)
