"""A base that was moved: what the messages advise exists, and works."""

import shutil
from pathlib import Path

import pytest
from calling import call
from cases import check_each
from tiny_model import write_tiny_model
from tiny_project import project_of

from clora_ext.families.hub import DEMO_MODEL
from clora_ext.formats.models import file_sha256
from clora_ext.project import Base, Manifest


@pytest.fixture
def base(tmp_path: Path) -> Path:
    return write_tiny_model(tmp_path / "base.safetensors")


def test_every_command_that_needs_the_base_takes_its_place(base: Path) -> None:
    def check(command: str) -> None:
        assert "--base" in call(command, "--help").out

    check_each(["add-concept", "add-lora", "export", "generate"], check)


def test_what_the_message_advises_works(base: Path, tmp_path: Path) -> None:
    project = project_of(tmp_path / "project", base, [])
    moved = base.rename(tmp_path / "moved.safetensors")
    write_tiny_model(tmp_path / "other.safetensors", seed=7)
    export = ("export", "--project", project, tmp_path / "out.safetensors")
    refused = call(*export)
    assert refused.code == 1
    assert "clora relocate FILE" in refused.err
    assert "--base FILE" in refused.err
    assert "gone: say where it lies now by clora relocate" in call("status", "--project", project).out
    assert call(*export, "--base", tmp_path / "other.safetensors").code == 1
    assert not (tmp_path / "out.safetensors").exists()
    assert call(*export, "--base", moved).code == 0
    assert call("relocate", tmp_path / "other.safetensors", "--project", project).code == 1
    told = call("relocate", moved, "--project", project, "--json")
    assert told.json[-1]["result"]["base"] == str(moved)
    assert "gone" not in call("status", "--project", project).out
    assert call(*export, "--overwrite").code == 0


def test_the_demo_model_never_moves(tmp_path: Path) -> None:
    base = Base.of_checkpoint("sd1", "demo", None, file_sha256(DEMO_MODEL))
    manifest = tmp_path / "manifest.json"
    manifest.write_text(Manifest(base, (), ()).encode(), encoding="utf-8")
    before = manifest.read_text(encoding="utf-8")
    copy = Path(shutil.copy(DEMO_MODEL, tmp_path.parent / "copy.safetensors"))
    told = call("relocate", copy, "--project", tmp_path)
    assert told.code == 0, told.err
    assert "never moves" in told.out
    assert manifest.read_text(encoding="utf-8") == before
