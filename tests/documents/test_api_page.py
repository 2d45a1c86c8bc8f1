"""docs/api.md is true: its examples run, and it leaves out no public name."""

import doctest
import inspect
import os
from pathlib import Path

import pytest
from small_runs import pictures
from tiny_model import write_tiny_model

import clora_ext
from clora_ext import errors, events

PAGE = Path(__file__).parents[2] / "docs" / "api.md"


@pytest.mark.long
def test_examples_of_the_api_page_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, all_draws: int
) -> None:
    write_tiny_model(tmp_path / "base.safetensors")
    pictures(tmp_path / "dog_images", count=2)
    pictures(tmp_path / "toy_images", count=2, seed=1)
    monkeypatch.chdir(tmp_path)
    found = doctest.testfile(os.fspath(PAGE), module_relative=False, encoding="utf-8")
    assert found.attempted > 30
    assert found.failed == 0


def test_the_api_page_names_everything_public() -> None:
    text = PAGE.read_text(encoding="utf-8")
    kinds = [
        name
        for module in (errors, events)
        for name in module.__all__
        if inspect.isclass(getattr(module, name))
    ]
    assert [name for name in (*clora_ext.__all__, *kinds) if f"`{name}`" not in text] == []
