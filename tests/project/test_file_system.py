"""File systems that cannot lock or cannot force bytes to the disk: told at once and by name."""

import errno
import fcntl
import os
from pathlib import Path

import pytest
from cases import check_each, empty_folder
from small_projects import files, taught

from clora_ext.errors import ProjectLocked, StorageError, writing
from clora_ext.project import Project
from clora_ext.project import file_system as file_systems


def refuse(monkeypatch: pytest.MonkeyPatch, module: object, name: str, code: int) -> None:
    """Let every call of a function fail."""

    def fail(*_: object) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(module, name, fail)


def test_a_file_system_without_locks_is_told_by_name_and_nothing_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def check(code: int) -> None:
        folder = empty_folder(tmp_path)
        old = taught(folder / "old", 1)
        before = sorted(path.name for path in old.iterdir())
        with monkeypatch.context() as patch:
            refuse(patch, fcntl, "flock", code)
            for project in (folder / "new" / "model", old):
                with pytest.raises(StorageError, match="a file system without file locks") as caught:
                    Project.writing(project).__enter__()
                assert str(project) in caught.value.message
                assert os.strerror(code) in caught.value.message
                assert "--project" in caught.value.fix
                assert "permissions" not in caught.value.fix
        assert sorted(path.name for path in folder.iterdir()) == ["old"]
        assert sorted(path.name for path in old.iterdir()) == before

    check_each([errno.ENOLCK, errno.EOPNOTSUPP, errno.EINVAL], check)


def test_a_file_system_without_fsync_is_told_before_there_is_anything_to_lose(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.platform", "linux")

    def check(code: int) -> None:
        folder = empty_folder(tmp_path)
        old = taught(folder / "old", 1)
        before = files(old)
        with monkeypatch.context() as patch:
            refuse(patch, os, "fsync", code)
            for project in (folder / "new", old):
                with pytest.raises(StorageError, match="cannot force files to the disk") as caught:
                    Project.writing(project).__enter__()
                assert "fsync" in caught.value.message
                assert "--project" in caught.value.fix
        assert not (folder / "new").exists()
        assert files(old) == before

    check_each([errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP], check)


def test_other_refusals_of_the_disk_are_no_missing_ability(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.platform", "linux")
    refuse(monkeypatch, os, "fsync", errno.EIO)
    with pytest.raises(StorageError, match="Input/output error") as caught:
        Project.writing(tmp_path / "model").__enter__()
    assert "check the disk" in caught.value.fix


def test_the_mounted_file_system_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here = str(tmp_path.resolve())
    table = tmp_path / "mountinfo"
    monkeypatch.setattr(file_systems, "_MOUNTS", table)
    monkeypatch.setattr(file_systems, "_UNSUPPORTED", {errno.ENOLCK})
    (tmp_path / "a disk").mkdir()
    error = OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    def check(case: tuple[str, str]) -> None:
        text, named = case
        table.write_text(text)
        assert named in file_systems.no_locks(tmp_path / "a disk", error).message

    root = "1 2 0:3 / / rw - ext4 /dev/sda1 rw\n"
    disk = f"4 1 0:9 / {here}/a\\040disk rw,relatime shared:1 - nfs4 server:/x rw\n"
    cases = [
        (root + disk, f"(nfs4 at {here}/a disk)"),
        (disk + root, f"(nfs4 at {here}/a disk)"),
        (root, "(ext4 at /)"),
        ("nonsense\n1 2\n - \n", "without file locks: "),
    ]
    check_each(cases, check)


def test_a_lock_by_existence_serves_where_there_are_no_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    refuse(monkeypatch, fcntl, "flock", errno.ENOSYS)
    folder = taught(tmp_path / "model", 1)
    with (
        Project.writing(folder),
        pytest.raises(ProjectLocked, match=f"process {os.getpid()}"),
        Project.writing(folder),
    ):
        pass
    (folder / ".lock").write_text("4711\nother-host\n1\n")
    os.utime(folder / ".lock", (0, 0))
    with pytest.raises(ProjectLocked) as caught, Project.writing(folder):
        pass
    assert caught.value.message.endswith(": process 4711 on other-host, since 1970-01-01T00:00:00+00:00")
    assert f"delete {folder / '.lock'}" in caught.value.fix
    (folder / ".lock").unlink()
    with Project.writing(folder) as project:
        assert project.number == 1


def test_what_to_do_follows_from_what_the_system_says() -> None:
    def check(case: tuple[int, str]) -> None:
        code, remedy = case
        with pytest.raises(StorageError) as caught, writing(Path("/place")):
            raise OSError(code, os.strerror(code))
        assert remedy in caught.value.fix

    remedies = {
        errno.ENOSPC: "free some space",
        errno.EFBIG: "FAT32",
        errno.EIO: "check the disk",
        errno.EROFS: "only be read",
        errno.EINVAL: "another disk",
        errno.EACCES: "permissions",
    }
    check_each(remedies.items(), check)
