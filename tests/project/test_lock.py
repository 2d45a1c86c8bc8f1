"""One run at a time, also between processes."""

import os
import subprocess
import sys
from contextlib import AbstractContextManager
from pathlib import Path
from threading import Thread, Timer

import pytest
from cases import check_each, empty_folder
from small_projects import learn, taught

from clora_ext.errors import ProjectLocked
from clora_ext.project import Project
from clora_ext.project import lock as lock_module
from clora_ext.project import session as session_module
from clora_ext.project.lock import LOCK, Hold

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


def test_a_killed_process_may_take_a_moment_to_let_go(tmp_path: Path) -> None:
    folder = taught(tmp_path / "model", 1)
    with hold(folder) as process:
        Timer(0.5, process.kill).start()
        learn(folder, "second")
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


def test_nonsense_about_the_holder_is_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lock_module, "_PATIENCE", 0.1)

    def check(text: bytes) -> None:
        folder = taught(empty_folder(tmp_path) / "model", 1)
        with Project.writing(folder):
            (folder / ".lock.json").write_bytes(text)
            with pytest.raises(ProjectLocked) as caught, Project.writing(folder):
                pass
        assert caught.value.message == f"another run works in {folder}"

    check_each(NONSENSE, check)


def test_what_another_host_holds_is_told_with_what_to_do_there(tmp_path: Path) -> None:
    folder = taught(tmp_path / "model", 1)
    since = "2026-01-31T12:00:00+00:00"
    with Project.writing(folder):
        (folder / ".lock.json").write_text(f'{{"pid": 4711, "host": "elsewhere", "started": "{since}"}}')
        with pytest.raises(ProjectLocked, match="process 4711 on elsewhere, since 2026") as caught:
            learn(folder, "second")
    assert "stop it on elsewhere" in caught.value.fix
    assert "delete" not in caught.value.fix  # the lock is the system's: a file that is deleted frees nothing


@pytest.mark.long
def test_a_lock_file_never_goes_before_all_else_of_the_run_has(tmp_path: Path) -> None:
    """Whoever makes and locks a new one must find nothing that this run still takes away."""
    folder = tmp_path / "model"
    inside: list[str] = []
    problems: list[BaseException] = []

    def work() -> None:
        for _ in range(60):
            try:
                with Project.writing(folder):
                    inside.append("one")
                    assert len(inside) == 1
                    assert (folder / ".lock.json").exists()
                    assert (folder / "training").is_dir()
                    inside.clear()
            except ProjectLocked:  # noqa: PERF203 - each time for itself
                continue
            except BaseException as error:  # noqa: BLE001 - told by the test's own thread
                problems.append(error)

    threads = [Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not problems
    assert not list(folder.glob("*"))  # the folder itself stays where another run came before it went


def test_a_folder_that_another_run_takes_away_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, real = tmp_path / "model", session_module.locked
    calls: list[Path] = []

    def taken_away(place: Path) -> AbstractContextManager[Hold]:
        calls.append(place)
        if len(calls) == 1:
            place.rmdir()
            raise FileNotFoundError(place / LOCK)
        return real(place)

    monkeypatch.setattr(session_module, "locked", taken_away)
    assert taught(folder, 1) == folder
    assert len(calls) == 2
