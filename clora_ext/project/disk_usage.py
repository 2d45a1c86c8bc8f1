"""What a project takes on the disk."""

import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from clora_ext.errors import CheckpointError
from clora_ext.formats.header import read_header
from clora_ext.formats.memory import strategy_bytes

from .litter import CHECKPOINTS, CURVES, DELTAS, MEMORY, SHEETS, TRAINING

__all__ = ["DiskUsage", "disk_usage"]


@dataclass(frozen=True, slots=True)
class DiskUsage:
    """Bytes on the disk.

    Attributes:
        checkpoints: evolving models, the current and the kept ones.
        memory: what rounding took from the weights, and strategies' own, of the current state and kept ones.
        strategy: of the current state's memory, what its strategy keeps for itself.
        sheets: contact sheets, and what was measured.
        curves: of the loss.
        training: the state of an unfinished run.
        deltas: changes of past concepts, kept by ``--keep-delta``.
    """

    checkpoints: int
    memory: int
    strategy: int
    sheets: int
    curves: int
    training: int
    deltas: int

    @property
    def total(self) -> int:
        """All of them."""
        own = self.checkpoints + self.memory + self.sheets + self.curves
        return own + self.training + self.deltas


def disk_usage(project: Path, memory: Path | None) -> DiskUsage:
    """Bytes of the project folder's files by kind; links are not followed.

    Args:
        project: its folder.
        memory: the current state's memory; None: there is none.
    """
    return DiskUsage(
        checkpoints=_size(project / CHECKPOINTS),
        memory=_size(project / MEMORY),
        strategy=_kept_by_strategy(memory),
        sheets=_size(project / SHEETS),
        curves=_size(project / CURVES),
        training=_size(project / TRAINING),
        deltas=_size(project / DELTAS),
    )


def _kept_by_strategy(memory: Path | None) -> int:
    """Bytes; 0 if the memory cannot be read, which whoever needs it will say."""
    if memory is None:
        return 0
    try:
        return strategy_bytes(read_header(memory))
    except CheckpointError:
        return 0


def _size(folder: Path) -> int:
    """Bytes of all files below ``folder``."""
    total = 0
    for parent, _, names in os.walk(folder):
        for name in names:
            with suppress(OSError):
                total += (Path(parent) / name).lstat().st_size
    return total
