"""What a project takes on the disk."""

import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from .litter import CHECKPOINTS, MEMORY, SHEETS, TRAINING

__all__ = ["DiskUsage", "disk_usage"]


@dataclass(frozen=True, slots=True)
class DiskUsage:
    """Bytes on the disk.

    Attributes:
        checkpoints: evolving models, the current and the kept ones.
        memory: what rounding took from the weights, and strategy memory.
        sheets: contact sheets.
        training: the state of an unfinished run.
    """

    checkpoints: int
    memory: int
    sheets: int
    training: int

    @property
    def total(self) -> int:
        """All of them."""
        return self.checkpoints + self.memory + self.sheets + self.training


def disk_usage(project: Path) -> DiskUsage:
    """Bytes of the project folder's files by kind; links are not followed."""
    sizes = (_size(project / name) for name in (CHECKPOINTS, MEMORY, SHEETS, TRAINING))
    return DiskUsage(*sizes)


def _size(folder: Path) -> int:
    """Bytes of all files below ``folder``."""
    total = 0
    for parent, _, names in os.walk(folder):
        for name in names:
            with suppress(OSError):
                total += (Path(parent) / name).lstat().st_size
    return total
