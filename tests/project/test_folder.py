"""A project's life: begin, learn, go back; and the folders that are no project."""

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest
from cases import check_each, empty_folder
from small_projects import BASE, files, learn, stage, taught, weights

from clora_ext.errors import ProjectError, StorageError, UsageError
from clora_ext.project import Project


def test_a_project_opens_as_it_was_committed(tmp_path: Path) -> None:
    project = Project.open(taught(tmp_path / "model", 2))
    assert project.tokens == ("token1", "token2")
    assert (project.number, project.undoable) == (2, 2)
    assert project.current is not None
    assert project.checkpoint_path is not None
    assert project.checkpoint_path.read_bytes() == weights("checkpoint concept 2")
    assert project.memory_path is not None
    assert project.memory_path.read_bytes() == weights("memory concept 2")
    project.verify()
    usage = project.disk_usage()
    assert usage.training == 0
    assert usage.total == usage.checkpoints + usage.memory + usage.sheets > 0


def test_no_adapter_is_left_after_a_commit(tmp_path: Path) -> None:
    folder = taught(tmp_path / "model", 3)
    assert not any(weights("adapter") == content for content in files(folder).values())
    assert list((folder / "training").iterdir()) == []


def test_keep_says_how_far_back_undo_goes(tmp_path: Path) -> None:
    def check(keep: int) -> None:
        folder = taught(empty_folder(tmp_path) / "model", 5, keep)
        for kind in ("checkpoints", "memory"):
            assert len(list((folder / kind).iterdir())) == keep + 1
        for back in range(keep):
            with Project.writing(folder) as project:
                assert project.undoable == keep - back
                assert project.undo().number == 5 - back
            now = Project.open(folder)
            assert now.checkpoint_path is not None
            assert now.checkpoint_path.read_bytes() == weights(f"checkpoint concept {4 - back}")
            assert len(list((folder / "sheets").iterdir())) == 4 - back
        before = files(folder)
        with Project.writing(folder) as project, pytest.raises(ProjectError, match="not kept") as caught:
            project.undo()
        assert "--keep" in caught.value.fix
        assert files(folder) == before

    check_each([0, 1, 3], check)


def test_first_concept_can_always_be_undone(tmp_path: Path) -> None:
    folder = taught(tmp_path / "model", 1, keep=0)
    with Project.writing(folder) as project:
        project.undo()
        assert (project.number, project.current, project.checkpoint_path) == (0, None, None)
        with pytest.raises(ProjectError, match="nothing to undo"):
            project.undo()
    assert set(files(folder)) == {"manifest.json"}
    learn(folder, "again")
    assert Project.open(folder).number == 1


def test_undo_refuses_damaged_files_of_the_state_before(tmp_path: Path) -> None:
    folder = taught(tmp_path / "model", 2)
    manifest = Project.open(folder).manifest
    assert manifest is not None
    (folder / "memory" / manifest.states[0].memory).write_bytes(b"cut off")
    with Project.writing(folder) as project, pytest.raises(ProjectError, match="not complete"):
        project.undo()
    assert Project.open(folder).number == 2


def test_verify_names_a_missing_file(tmp_path: Path) -> None:
    project = Project.open(taught(tmp_path / "model", 1))
    assert project.memory_path is not None
    project.memory_path.unlink()
    with pytest.raises(ProjectError, match=project.memory_path.name):
        project.verify()


def test_same_content_twice_never_overwrites_a_file_in_use(tmp_path: Path) -> None:
    folder = taught(tmp_path / "model", 1)
    before = files(folder)
    current = Project.open(folder).current
    assert current is not None
    with Project.writing(folder) as project:
        entry, state = stage(project, "rounded away", current.content_hash)
        assert {name: content for name, content in files(folder).items() if name in before} == before
        project.commit(entry, state)
        project.undo()
        assert project.memory_path is not None
        assert project.memory_path.read_bytes() == weights("memory concept 1")


def test_incomplete_files_are_not_committed(tmp_path: Path) -> None:
    folder = taught(tmp_path / "model", 1)
    before = files(folder)
    with Project.writing(folder) as project:
        entry, state = stage(project, "second")
        (folder / "checkpoints" / state.checkpoint).write_bytes(weights("checkpoint second")[:-1])
        with pytest.raises(ProjectError, match="not complete"):
            project.commit(entry, state)
        with pytest.raises(UsageError):
            project.commit(entry, state, keep=-1)
        assert project.number == 1
    (folder / "training" / "002" / "state.safetensors").unlink()
    assert files(folder) == before


def test_reading_changes_nothing_and_writing_needs_the_lock(tmp_path: Path) -> None:
    folder = taught(tmp_path / "model", 2)
    (folder / "checkpoints" / "new.safetensors").write_bytes(b"litter")
    before = files(folder)
    with pytest.raises(ProjectError, match="reading only"):
        Project.open(folder).undo()
    assert files(folder) == before
    with Project.writing(folder) as project:
        pass
    with pytest.raises(ProjectError, match="reading only"):
        project.undo()


def test_missing_project_says_how_to_start_one(tmp_path: Path) -> None:
    assert not Project.exists(tmp_path)
    for folder in (tmp_path, tmp_path / "none"):
        with pytest.raises(ProjectError) as caught:
            Project.open(folder)
        assert "clora add-concept" in caught.value.fix


def test_abandoned_new_project_leaves_nothing(tmp_path: Path) -> None:
    with Project.writing(tmp_path / "a" / "b") as project:
        project.start(BASE)
        stage(project, "first")
        (project.training_dir / "state.safetensors").unlink()
    assert list(tmp_path.iterdir()) == []


def test_abandoned_new_project_keeps_what_can_be_resumed(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    with Project.writing(folder) as project:
        project.start(BASE)
        stage(project, "first")
    assert set(files(folder)) == {".new", "training/001/state.safetensors"}
    assert not Project.exists(folder)
    with Project.writing(folder) as project:
        assert (project.training_dir / "state.safetensors").read_bytes() == weights("adapter")
    learn(folder, "first")
    assert ".new" not in files(folder)


FOREIGN = [
    "notes.txt",
    "checkpoints/mine.safetensors",
    "training/1.png",
    "checkpoints/0123456789abcdef.safetensors",
]


def test_foreign_folder_is_refused_untouched(tmp_path: Path) -> None:
    def check(name: str) -> None:
        folder = empty_folder(tmp_path)
        file = folder / "photos" / name
        file.parent.mkdir(parents=True)
        file.write_bytes(b"mine")
        with pytest.raises(ProjectError, match="is not a project"), Project.writing(folder / "photos"):
            pass
        assert files(folder) == {f"photos/{name}": b"mine"}
        assert not (folder / "photos" / ".lock").exists()

    check_each(FOREIGN, check)


def test_lost_manifest_costs_no_weights(tmp_path: Path) -> None:
    folder = taught(tmp_path / "model", 2)
    (folder / "manifest.json").unlink()
    before = files(folder)
    with pytest.raises(ProjectError) as caught, Project.writing(folder):
        pass
    assert "restore" in caught.value.fix
    assert files(folder) == before


def test_file_in_place_of_the_folder_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "model"
    file.write_bytes(b"mine")
    for path in (file, file / "below"):
        with pytest.raises(ProjectError, match="is a file"), Project.writing(path):
            pass
        with pytest.raises(ProjectError):
            Project.open(path)
    assert file.read_bytes() == b"mine"


def test_no_permission_is_a_project_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(Path, "mkdir", refuse)
    with pytest.raises(ProjectError, match="no permission"), Project.writing(tmp_path / "model"):
        pass
    assert list(tmp_path.iterdir()) == []


def test_only_litter_is_swept_and_no_link_followed(tmp_path: Path) -> None:
    folder = taught(tmp_path / "model", 1)
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "precious").write_bytes(b"precious")
    mine = [
        "sheets/notes.txt",
        "checkpoints/best.safetensors",
        "training/plan.txt",
        "pictures/1.png",
        "x.partial",
    ]
    for name in mine:
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(b"mine")
    before = files(folder)
    litter = [
        "checkpoints/0123456789abcdef.safetensors",
        "checkpoints/new.safetensors",
        "memory/new.safetensors.partial",
        "sheets/009-a-b.png",
        "sheets/002-a-b.png.partial",
        "manifest.json.partial",
    ]
    for name in litter:
        (folder / name).write_bytes(b"litter")
    (folder / "memory/fedcba9876543210.safetensors").symlink_to(outside / "precious")
    (folder / "training/001").symlink_to(outside)
    (folder / "training/007").mkdir()
    (folder / "training/007/link").symlink_to(outside)
    with Project.writing(folder):
        assert files(folder) == before
    assert files(outside) == {"precious": b"precious"}


def test_linked_inner_folder_is_refused(tmp_path: Path) -> None:
    def check(name: str) -> None:
        parent = empty_folder(tmp_path)
        folder, elsewhere = taught(parent / "model", 1), parent / "elsewhere"
        (folder / name).rename(elsewhere)
        (elsewhere / "0000000000000000.safetensors").write_bytes(b"of another project")
        (folder / name).symlink_to(elsewhere)
        with pytest.raises(ProjectError, match="link"), Project.writing(folder):
            pass
        assert (elsewhere / "0000000000000000.safetensors").exists()

    check_each(["checkpoints", "memory", "sheets", "training"], check)


def test_litter_that_cannot_be_removed_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = taught(tmp_path / "model", 1)
    (folder / "checkpoints" / "new.safetensors").write_bytes(b"litter")

    def refuse(path: Path, missing_ok: bool = False) -> None:  # noqa: FBT001, FBT002
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(Path, "unlink", refuse)
    with pytest.raises(StorageError), Project.writing(folder):
        pass


def test_torch_is_not_loaded(tmp_path: Path) -> None:
    folder = taught(tmp_path / "model", 1)
    code = (
        f"import sys; from clora_ext.project import Project; Project.open({str(folder)!r}).verify(); "
        "print([name for name in ('torch', 'filelock') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_mode_follows_the_umask(tmp_path: Path) -> None:
    before = os.umask(0o022)
    try:
        folder = taught(tmp_path / "model", 1)
    finally:
        os.umask(before)
    assert (folder / "manifest.json").stat().st_mode & 0o777 == 0o644
