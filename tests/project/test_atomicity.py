"""W(t-1) or W(t), never between: the process ends, or the disk is full, at every single step."""

import errno
import os
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from small_projects import BASE, files, learn, learn_kept, stage, taught

from clora_ext.errors import StorageError
from clora_ext.project import Project

STEPS = [(os, name) for name in ("replace", "fsync", "unlink", "rmdir", "mkdir", "open", "rename")]


class Killed(BaseException):
    """The process is gone: no handler of an ordinary error sees it."""


def reads(how: object = "r", *_: object, **__: object) -> bool:
    """Whether ``open`` is asked, by its mode or its flags, only to read."""
    return how in {"r", "rb"} if isinstance(how, str) else not int(str(how)) & (os.O_RDWR | os.O_WRONLY)


class Steps:
    """Counts the operating system's calls that change something; fails at the n-th."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.count = 0
        self.fail_at = 0
        self.error: Callable[[], BaseException] = Killed
        self.once = False
        for module, name in STEPS:
            monkeypatch.setattr(module, name, self.watched(getattr(module, name)))
        for name in ("unlink", "rmdir", "mkdir", "touch", "open", "replace"):
            monkeypatch.setattr(Path, name, self.watched(getattr(Path, name)))

    def watched(self, call: Callable[..., object]) -> Callable[..., object]:
        def step(*args: object, **kwargs: object) -> object:
            if call.__name__ == "open" and reads(*args[1:], **kwargs):
                return call(*args, **kwargs)  # a full disk can be read, and a death then changes nothing
            self.count += 1
            if self.fail_at and (self.count == self.fail_at if self.once else self.count >= self.fail_at):
                raise self.error()
            return call(*args, **kwargs)

        return step

    def run(
        self, action: Callable[[], object], fail_at: int, error: Callable[[], BaseException], *, once: bool
    ) -> None:
        self.count, self.fail_at, self.error, self.once = 0, fail_at, error, once
        try:
            action()
        finally:
            self.fail_at = 0


def swept(folder: Path) -> dict[str, bytes]:
    """The project's files after the next run opened and left it; the unfinished run's state aside."""
    if folder.exists():
        with Project.writing(folder):
            pass
    return {
        name: content for name, content in files(folder).items() if name[:8] != "training" and name != ".new"
    }


def second(folder: Path) -> None:
    learn(folder, "concept 2")


def second_only(folder: Path) -> None:
    learn(folder, "concept 2", keep=0)


def second_kept(folder: Path) -> None:
    learn_kept(folder, "concept 2")


def back(folder: Path) -> None:
    with Project.writing(folder) as project:
        project.undo()


def first(folder: Path) -> None:
    learn(folder, "concept 1")


CASES = [(first, 0), (second, 1), (second_only, 1), (second_kept, 1), (back, 1), (back, 2)]


@pytest.mark.parametrize(("action", "before"), CASES)
@pytest.mark.parametrize("kind", ["killed", "full", "full once"])
def test_every_step(
    action: Callable[[Path], None], before: int, kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    start, end = tmp_path / "start", tmp_path / "end"
    taught(start, before)
    if before:
        shutil.copytree(start, end)
    action(end)
    allowed = (files(start), files(end))
    seen = set()
    steps = Steps(monkeypatch)
    for step in range(1, 400):
        folder = tmp_path / "work" / str(step)
        folder.parent.mkdir(exist_ok=True)
        if before:
            shutil.copytree(start, folder)
        error = Killed if kind == "killed" else lambda: OSError(errno.ENOSPC, "No space left on device")
        ended = False
        try:
            steps.run(lambda folder=folder: action(folder), step, error, once=kind == "full once")
            ended = True
        except (Killed, StorageError):
            pass
        except OSError:  # the test's own writing of the new files
            assert kind != "killed"
        finished = ended and steps.count < step
        if Project.exists(folder):
            Project.open(folder).verify()  # before anything is swept, too
        state = swept(folder)
        assert state in allowed, f"step {step}: {sorted(state)}"
        if not ended and kind != "killed":
            assert state == allowed[0], f"step {step}: a failure was told, yet the project has changed"
        seen.add(allowed.index(state))
        if Project.exists(folder):
            Project.open(folder).verify()
        if finished:
            break
    else:
        pytest.fail("more steps than were tried")
    assert seen == {0, 1}
    assert step > 10


def test_full_disk_in_a_commit_is_a_storage_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = taught(tmp_path / "model", 1)
    with Project.writing(folder) as project:
        entry, state = stage(project, "second")
        before = files(folder)

        def full(*_: object) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

        for name in ("fsync", "replace"):
            with monkeypatch.context() as patch:
                patch.setattr(os, name, full)
                with pytest.raises(StorageError, match="no space left"):
                    project.commit(entry, state)
            assert files(folder) == before
            assert project.number == 1
        project.commit(entry, state)  # space was freed
    assert Project.open(folder).number == 2


def test_states_are_not_swept_before_the_manifest_is_safe(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = taught(tmp_path / "model", 2, keep=0)
    old = set(files(folder))
    with Project.writing(folder) as project:
        entry, state = stage(project, "third")
        monkeypatch.setattr("clora_ext.project.folder.sync_folder", lambda path: False)
        project.commit(entry, state, keep=0)
        assert old <= set(files(folder))  # a power cut may still bring the old manifest back


LEARN = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from small_projects import learn
from clora_ext.project import Project
folder = Path(sys.argv[1])
print("ready", flush=True)
while True:
    learn(folder, f"concept {Project.open(folder).number + 1}")
"""


def test_kill_9_at_random_moments(tmp_path: Path) -> None:
    folder = taught(tmp_path / "model", 1)
    randomness = random.Random(1)
    for _ in range(6):
        command = [sys.executable, "-c", LEARN, str(folder), str(Path(__file__).parent)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            time.sleep(randomness.uniform(0.05, 0.3))
            process.kill()
        before = Project.open(folder)
        before.verify()
        with Project.writing(folder) as project:
            assert project.manifest == before.manifest
        state = swept(folder)
        assert len([name for name in state if name.startswith("checkpoints")]) == min(2, project.number)
        assert len([name for name in state if name.startswith("sheets")]) == project.number
        learn(folder, f"concept {project.number + 1}")
    assert Project.open(folder).base == BASE
