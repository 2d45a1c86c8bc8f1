"""The study file of a tiny real model."""

from pathlib import Path

import pytest
from small_study import STUDY
from tiny_model import write_tiny_model


@pytest.fixture(scope="session")
def tiny_study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file, with the base beside it; not to be changed by a test."""
    folder = tmp_path_factory.mktemp("study")
    write_tiny_model(folder / "tiny.safetensors")
    (folder / "tiny.toml").write_text(STUDY, encoding="utf-8")
    return folder / "tiny.toml"
