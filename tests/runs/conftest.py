"""A request to teach a tiny real model, which every test here begins with."""

from pathlib import Path

import pytest
from small_runs import SETTINGS, pictures
from tiny_model import write_tiny_model

from clora_ext import Pictures, Request


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_model(tmp_path_factory.mktemp("base") / "tiny.safetensors")


@pytest.fixture
def request_(tiny: Path, tmp_path: Path) -> Request:
    images = pictures(tmp_path / "dog_images")
    return Request(Pictures(images), tmp_path / "model", base=tiny, settings=SETTINGS)
