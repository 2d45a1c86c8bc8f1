"""Every script in examples can be imported: what it takes from the engine and from others is there."""

import importlib
import sys
from pathlib import Path

import pytest
from cases import check_each

EXAMPLES = Path(__file__).parents[2] / "examples"


def test_every_example_finds_what_it_imports(monkeypatch: pytest.MonkeyPatch) -> None:
    for folder in (EXAMPLES, EXAMPLES / "demo_model"):
        monkeypatch.syspath_prepend(str(folder))
    scripts = [file.stem for folder in (EXAMPLES, EXAMPLES / "demo_model") for file in folder.glob("*.py")]
    assert len(scripts) > 10
    before = set(sys.modules)
    try:
        check_each(scripts, importlib.import_module)
    finally:
        for name in set(sys.modules) - before:
            if name in scripts:
                del sys.modules[name]
