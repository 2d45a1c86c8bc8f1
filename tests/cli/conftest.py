"""A project that has learned one concept through the command."""

import shutil
from pathlib import Path

import pytest
from calling import call
from tiny_model import write_tiny_model
from whole_runs import FAST, Taught, pictures


@pytest.fixture(scope="session")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_model(tmp_path_factory.mktemp("base") / "tiny.safetensors")


@pytest.fixture(scope="session")
def taught(base: Path, tmp_path_factory: pytest.TempPathFactory) -> Taught:
    """One concept is learned; not to be changed by a test."""
    place = tmp_path_factory.mktemp("taught")
    dogs = pictures(place / "[b]dog[/b]_images".replace("/", "_"))
    folder = place / "project"
    called = call(
        *("add-concept", "--project", folder, "--base", base, "--class-name", "dog", "--json", *FAST, dogs)
    )
    assert called.code == 0, called.err
    return Taught(folder, called)


@pytest.fixture
def project(taught: Taught, tmp_path: Path) -> Path:
    """A copy of the taught project, free to be changed."""
    return Path(shutil.copytree(taught.folder, tmp_path / "project"))
