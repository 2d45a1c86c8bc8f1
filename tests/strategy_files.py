"""Strategies that exist in a test only, in a copy of the strategies' folder."""

import shutil
import sys
from pathlib import Path

import pytest

from clora_ext import strategies


def add_strategy(name: str, source: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Put a strategy's file beside the others; give its name. It is gone when the test ends."""
    own = Path(strategies.__file__).parent
    folder.mkdir(exist_ok=True)
    for file in own.glob("*.py"):
        shutil.copy(file, folder)
    (folder / f"{name}.py").write_text(source, encoding="utf-8")
    monkeypatch.setattr(strategies, "__file__", str(folder / "__init__.py"))
    monkeypatch.setattr(strategies, "__path__", [str(own), str(folder)])
    monkeypatch.delitem(sys.modules, f"clora_ext.strategies.{name}", raising=False)
    return name
