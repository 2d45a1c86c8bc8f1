"""A request to teach a tiny real model, which every test here begins with."""

from pathlib import Path

import pytest
from small_runs import FLOW, SETTINGS, pictures
from tiny_flow import FlowFiles, write_tiny_flow
from tiny_model import write_tiny_model

from clora_ext import Pictures, Request


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_model(tmp_path_factory.mktemp("base") / "tiny.safetensors")


@pytest.fixture
def request_(tiny: Path, tmp_path: Path) -> Request:
    images = pictures(tmp_path / "dog_images")
    return Request(Pictures(images), tmp_path / "model", base=tiny, settings=SETTINGS)


@pytest.fixture(scope="session")
def stored(tmp_path_factory: pytest.TempPathFactory) -> FlowFiles:
    """A tiny Z-Image as ComfyUI keeps it; not to be changed by a test."""
    return write_tiny_flow(tmp_path_factory.mktemp("flow") / "models")


@pytest.fixture(scope="session")
def klein_files(tmp_path_factory: pytest.TempPathFactory) -> FlowFiles:
    """A tiny Flux.2 klein, likewise."""
    return write_tiny_flow(tmp_path_factory.mktemp("klein") / "models", kind="flux2_klein_4b")


@pytest.fixture
def asked_klein(klein_files: FlowFiles, tmp_path: Path) -> Request:
    """A request to teach it."""
    images = pictures(tmp_path / "dog_images")
    return Request(Pictures(images), tmp_path / "model", base=klein_files.transformer, settings=FLOW)


@pytest.fixture
def asked(stored: FlowFiles, tmp_path: Path) -> Request:
    """A request to teach it."""
    images = pictures(tmp_path / "dog_images")
    return Request(Pictures(images), tmp_path / "model", base=stored.transformer, settings=FLOW)
