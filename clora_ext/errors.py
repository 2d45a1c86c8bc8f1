"""What can go wrong, as one tree.

CloraError
+-- UsageError          the call is wrong: unknown names, impossible numbers
|   +-- SettingsError   several settings at once, shown together
+-- DatasetError        the pictures or captions cannot be used
+-- CheckpointError     a model file cannot be used: damaged, hostile, unsafe, of an unknown kind
+-- ProjectError        the project folder cannot be used
|   +-- ProjectLocked   another run works in it
|   +-- BaseChanged     the base is not the one that the project started from
+-- TrainingError       training cannot go on (NaN, Inf)
+-- Forgotten           an earlier concept would have lost more than was allowed
+-- OutOfMemory         the accelerator or the machine has too little memory
+-- StorageError        the disk is full or refuses to be written
+-- PeerFailed          another process of the same job has failed or ended
+-- ToldElsewhere       this process has stopped, and the job's first one says why
+-- Cancelled           the user stopped the run; not a fault

Every message names what and where; ``fix`` says what to do.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from difflib import get_close_matches
from errno import EDQUOT, EFBIG, EINVAL, EIO, ENOSPC, ENOSYS, ENOTSUP, EOPNOTSUPP, EROFS
from pathlib import Path

__all__ = [
    "BaseChanged",
    "Cancelled",
    "CheckpointError",
    "CloraError",
    "DatasetError",
    "Forgotten",
    "OutOfMemory",
    "PeerFailed",
    "ProjectError",
    "ProjectLocked",
    "SettingsError",
    "StorageError",
    "TaughtOtherwise",
    "ToldElsewhere",
    "TrainingError",
    "UsageError",
    "did_you_mean",
    "shortened",
    "writing",
]


_LONGEST = 10_000  # characters of a message: what strangers named may be megabytes long


def shortened(text: str, most: int) -> str:
    """``text``, or the first ``most`` characters and how many more there are.

    >>> shortened("abcdef", 4)
    'abcd... (2 more characters)'
    """
    return text if len(text) <= most else f"{text[:most]}... ({len(text) - most:,} more characters)"


class CloraError(Exception):
    """A problem that the user can understand and act on.

    Attributes:
        message: what is wrong, with the value and the place.
        fix: what to do about it; may be empty.
    """

    def __init__(self, message: str, *, fix: str = "") -> None:
        self.message = shortened(message, _LONGEST)
        self.fix = shortened(fix, _LONGEST)
        super().__init__(self.message)

    def __str__(self) -> str:
        """Message and remedy in one text."""
        return f"{self.message}\n{self.fix}" if self.fix else self.message


class UsageError(CloraError):
    """The call itself is wrong."""


class TaughtOtherwise(UsageError):
    """The pictures are a concept already, which was taught with other settings."""


class SettingsError(UsageError):
    """One or more settings are wrong; all of them are told at once."""

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("\n".join(problems), fix="")
        self.problems = tuple(shortened(problem, _LONGEST) for problem in problems)


class DatasetError(CloraError):
    """The pictures or their captions cannot be used."""


class CheckpointError(CloraError):
    """A model file cannot be used."""


class ProjectError(CloraError):
    """The project folder cannot be used."""


class ProjectLocked(ProjectError):
    """Another run works in the project."""


class BaseChanged(ProjectError):
    """The base is not the file that the project started from."""


class TrainingError(CloraError):
    """Training cannot go on."""


class Forgotten(CloraError):
    """The new concept would have cost an earlier one more than was allowed; the project is as it was."""


class OutOfMemory(CloraError):
    """The accelerator's memory, or the machine's, is too small for what was being done."""


class StorageError(CloraError):
    """Something could not be written."""


class PeerFailed(CloraError):
    """Another process of the same job has failed or ended, so that this one cannot go on."""


class ToldElsewhere(CloraError):
    """This process of a job has stopped, and the first one says why: the cause of this error."""


class Cancelled(CloraError):
    """The user stopped the run."""

    def __init__(self, message: str = "stopped by the user", *, fix: str = "") -> None:
        super().__init__(message, fix=fix)


def did_you_mean(value: str, known: Sequence[str]) -> str:
    """A remedy for an unknown name: the nearest known one, then all of them.

    >>> did_you_mean("msak", ["mask", "merge"])
    "did you mean 'mask'? Choose one of: mask, merge"
    """
    near = get_close_matches(value, known, n=1)
    hint = f"did you mean {near[0]!r}? " if near else ""
    return f"{hint}{'Choose' if hint else 'choose'} one of: {', '.join(known)}"


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn the operating system's refusal to write ``path`` into a :class:`StorageError`."""
    try:
        yield
    except OSError as error:
        full = error.errno in {ENOSPC, EDQUOT}
        reason = "no space left on the disk" if full else (error.strerror or str(error))
        fix = _REMEDIES.get(error.errno or 0, "check the folder's permissions")
        raise StorageError(f"cannot write {path}: {reason}", fix=fix) from error


_FREE = "free some space, then run the same command again"
_INCAPABLE = "this file system cannot do that: choose a folder on another disk"
_REMEDIES = {
    ENOSPC: _FREE,
    EDQUOT: _FREE,
    EFBIG: "this file system takes no file of that size (FAT32: 4 GB): choose a folder on another disk",
    EIO: "check the disk or the network drive, then run the same command again",
    EROFS: "the disk can only be read: choose a folder on another one",
    **dict.fromkeys((EINVAL, ENOSYS, ENOTSUP, EOPNOTSUPP), _INCAPABLE),
}
"""What to do, by what the operating system says."""
