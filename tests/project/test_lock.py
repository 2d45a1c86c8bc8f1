"""One run at a time, also between processes."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from cases import check_each, empty_folder
from small_projects import learn, taught

from clora_ext.errors import ProjectLocked
from clora_ext.project import Project

HOLD = """
import sys
from clora_ext.project import Project
with Project.writing(sys.argv[1]):
    print("holding", flush=True)
    sys.stdin.read()
"""


def hold(folder: Path) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "holding\n"
    return process


def test_another_process_is_refused_and_told_who_holds_the_lock(tmp_path: Path) -> None:
    folder = taught(tmp_path / "model", 1)
    with hold(folder) as process:
        with pytest.raises(ProjectLocked, match=f"{folder}: process {process.pid} on ") as caught:
            learn(folder, "second")
        assert caught.value.fix
        assert Project.open(folder).number == 1  # reading needs no lock
        process.kill()
    learn(folder, "second")  # the system has freed the lock
    assert Project.open(folder).number == 2


def test_same_process_is_refused_too(tmp_path: Path) -> None:
    with Project.writing(tmp_path / "model"):
        with (
            pytest.raises(ProjectLocked, match=f"process {os.getpid()}"),
            Project.writing(tmp_path / "model"),
        ):
            pass
        assert (tmp_path / "model" / ".lock.json").exists()
    assert not (tmp_path / "model").exists()


NONSENSE = [b"", b"\xff", b"[]", b"{}", b'{"pid": "\\u001b[2J", "host": 1, "started": 2}', b"[" * 4096]


def test_nonsense_about_the_holder_is_left_out(tmp_path: Path) -> None:
    def check(text: bytes) -> None:
        folder = taught(empty_folder(tmp_path) / "model", 1)
        with Project.writing(folder):
            (folder / ".lock.json").write_bytes(text)
            with pytest.raises(ProjectLocked) as caught, Project.writing(folder):
                pass
        assert caught.value.message == f"another run works in {folder}"

    check_each(NONSENSE, check)
