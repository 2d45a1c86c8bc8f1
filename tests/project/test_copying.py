"""A copy of a project goes its own way, and shares what it can."""

import os
from pathlib import Path

import pytest
from tiny_model import write_tiny_model
from tiny_project import project_of

from clora_ext.errors import ProjectError, ProjectLocked, StorageError
from clora_ext.project import Project, copy_project


@pytest.fixture
def source(tmp_path: Path) -> Path:
    base = write_tiny_model(tmp_path / "tiny.safetensors")
    return project_of(tmp_path / "model", base, [("sks", "dog"), ("zwz", "style")])


def files(folder: Path) -> dict[str, bytes]:
    found = (
        path
        for path in folder.rglob("*")
        if path.is_file() and path.suffix in {".json", ".safetensors", ".png"}
    )
    return {str(path.relative_to(folder)): path.read_bytes() for path in found}


def test_a_copy_is_the_same_project_and_takes_no_space(source: Path, tmp_path: Path) -> None:
    before = files(source)
    copied = copy_project(source, tmp_path / "copies" / "mine")
    assert copied.tokens == ("sks", "zwz")
    assert files(copied.folder) == before == files(source)
    copied.verify()
    mine, theirs = copied.checkpoint_path, Project.open(source).checkpoint_path
    assert mine is not None
    assert theirs is not None
    assert mine.samefile(theirs)


def test_a_file_deleted_in_the_copy_stays_in_the_original(source: Path, tmp_path: Path) -> None:
    copied = copy_project(source, tmp_path / "copy")
    path = copied.checkpoint_path
    assert path is not None
    path.unlink()
    Project.open(source).verify()


def test_files_are_copied_where_links_are_impossible(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError

    monkeypatch.setattr(os, "link", refuse)
    copied = copy_project(source, tmp_path / "copy")
    path = copied.checkpoint_path
    assert path is not None
    assert path.stat().st_nlink == 1


def test_nothing_is_replaced_and_a_busy_project_is_not_copied(source: Path, tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    with pytest.raises(ProjectError, match="exists"):
        copy_project(source, tmp_path / "there")
    with pytest.raises(ProjectError, match="does not exist"):
        copy_project(tmp_path / "none", tmp_path / "copy")
    with Project.writing(source), pytest.raises(ProjectLocked):
        copy_project(source, tmp_path / "copy")
    assert not (tmp_path / "copy").exists()


def test_a_copy_that_fails_leaves_nothing(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "link", full)
    monkeypatch.setattr("shutil.copyfile", full)
    with pytest.raises(StorageError, match="space"):
        copy_project(source, tmp_path / "copy")
    assert not (tmp_path / "copy").exists()
