"""The study's folder: results by key, models that are still needed, and locks that end with their process."""

import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from clora_ext.errors import ProjectError, writing
from clora_ext.project.file_system import lacks_locks, no_locks
from clora_ext.project.storage import replace_text

__all__ = ["StudyFolder"]

_RESULTS, _MODELS, _LOCKS, _FAILED = "results", "models", "locks", "failed"


@dataclass(frozen=True, slots=True)
class StudyFolder:
    """Where a study lies.

    Attributes:
        path: its folder.
    """

    path: Path

    def make(self) -> None:
        """Make the folders. StorageError: the disk is full or refuses."""
        for name in (_RESULTS, _MODELS, _LOCKS, _FAILED):
            with writing(self.path / name):
                (self.path / name).mkdir(parents=True, exist_ok=True)

    def model(self, key: str) -> Path:
        """The project that holds a model."""
        return self.path / _MODELS / key

    def is_done(self, key: str) -> bool:
        """Whether there is a result."""
        return self._result(key).exists()

    def result(self, key: str) -> Mapping[str, Any] | None:
        """A result; None: there is none yet.

        Raises:
            ProjectError: its file is damaged.
        """
        file = self._result(key)
        try:
            found: Mapping[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            raise ProjectError(
                f"{file} is damaged: {error}", fix="delete it, then run the study again"
            ) from error
        return found

    def write_result(self, key: str, result: Mapping[str, Any]) -> None:
        """Keep a result, whole or not at all. StorageError: the disk is full or refuses."""
        replace_text(self._result(key), json.dumps(result, indent=1, allow_nan=False) + "\n")
        with suppress(FileNotFoundError):
            self._failure(key).unlink()

    def failures(self) -> Mapping[str, str]:
        """What went wrong by job, as far as it has not been put right since."""
        found = sorted((self.path / _FAILED).glob("*.txt"))
        return {file.stem: file.read_text(encoding="utf-8").strip() for file in found}

    def write_failure(self, key: str, message: str) -> None:
        """Note why a job cannot be done. StorageError: the disk is full or refuses."""
        replace_text(self._failure(key), f"{message}\n")

    def forget_failures(self) -> None:
        """Every job is to be tried again."""
        for file in (self.path / _FAILED).glob("*.txt"):
            file.unlink(missing_ok=True)

    def running(self) -> frozenset[str]:
        """Keys of the jobs that a process is at now."""
        return frozenset(
            file.stem for file in (self.path / _LOCKS).glob("*.lock") if self._is_held(file.stem)
        )

    @contextmanager
    def claimed(self, key: str) -> Iterator[bool]:
        """Hold a job, if no other process does; the system lets go of it however this process ends.

        Raises:
            StorageError: the file system has no locks.
        """
        from filelock import FileLock, Timeout

        lock = FileLock(self.path / _LOCKS / f"{key}.lock", timeout=0, thread_local=False)
        try:
            lock.acquire(blocking=False)
        except Timeout:
            yield False
            return
        except OSError as error:
            if lacks_locks(error):
                raise no_locks(self.path, error) from error
            raise
        try:
            yield True
        finally:
            lock.release()

    def remove_model(self, key: str) -> None:
        """Free the space of a model; what cannot be removed stays."""
        shutil.rmtree(self.model(key), ignore_errors=True)

    def models(self) -> frozenset[str]:
        """Keys of the models that lie here, finished or not."""
        return frozenset(path.name for path in (self.path / _MODELS).glob("*") if path.is_dir())

    def _is_held(self, key: str) -> bool:
        with self.claimed(key) as mine:
            return not mine

    def _result(self, key: str) -> Path:
        return self.path / _RESULTS / f"{key}.json"

    def _failure(self, key: str) -> Path:
        return self.path / _FAILED / f"{key}.txt"
