"""Strategies that exist in a test only, in a copy of the strategies' folder."""

import shutil
import sys
from pathlib import Path

import pytest

from clora_ext import strategies
from clora_ext.config import strategy_names


def add_strategy(name: str, source: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Put a strategy's file beside the others; give its name. It is gone when the test ends."""
    own = strategy_names.FOLDER
    folder.mkdir(exist_ok=True)
    for file in own.glob("*.py"):
        shutil.copy(file, folder)
    (folder / f"{name}.py").write_text(source, encoding="utf-8")
    monkeypatch.setattr(strategy_names, "FOLDER", folder)
    monkeypatch.setattr(strategies, "__path__", [str(own), str(folder)])
    monkeypatch.delitem(sys.modules, f"clora_ext.strategies.{name}", raising=False)
    return name
