import importlib
import sys
from pathlib import Path

import pytest

PHYSICS = Path(__file__).parents[2] / "examples" / "physics"


@pytest.fixture
def example(monkeypatch, tmp_path):
    """Import an example by name, as `python examples/physics/NAME.py` would; its pictures go to a folder of the test."""
    monkeypatch.syspath_prepend(str(PHYSICS))
    pytest.importorskip("matplotlib")
    report = importlib.import_module("report")
    monkeypatch.setattr(report, "OUTPUT", tmp_path / "output")
    yield importlib.import_module
    for name in [name for name, module in sys.modules.items()
                 if Path(getattr(module, "__file__", None) or "/").parent == PHYSICS]:
        del sys.modules[name]
