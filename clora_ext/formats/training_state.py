"""How far a training run had come when it stopped, from the header of its state alone. Needs no torch."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

from clora_ext.errors import CheckpointError

from .header import read_header
from .text import one_line

__all__ = [
    "FORMAT",
    "FORMAT_KEY",
    "LOSSES_KEY",
    "RUN_KEY",
    "STATE_FILE",
    "TRAINING_KEY",
    "StoppedRun",
    "read_losses",
    "read_stopped_run",
    "run_metadata",
]

STATE_FILE = "state.safetensors"
"""Its name inside the project's training folder."""

TRAINING_KEY = "clora.plan"
"""Metadata key of a training state: the fingerprint of its plan."""

FORMAT_KEY = "clora.training_state"
FORMAT = "2"  # the first one had no number, and kept AdamW's moments without its steps
LOSSES_KEY = "clora.losses"
RUN_KEY = "clora.run"
"""Metadata key of what is learned and in how many steps; for people, nothing depends on it."""

_LONGEST = 80
_MOST = 1 << 53


@dataclass(frozen=True, slots=True)
class StoppedRun:
    """A training run that has not come to its end.

    Attributes:
        concept: token and class of what it learns; empty: the state does not say.
        step: steps done.
        steps: steps of the whole run; 0: the state does not say.
        saved: when.
        plan: fingerprint of its plan.
        processes: that trained it together.
    """

    concept: str
    step: int
    steps: int
    saved: datetime
    plan: str = ""
    processes: int = 1

    @property
    def words(self) -> str:
        """For people.

        >>> StoppedRun("sks dog", 120, 400, datetime.now(timezone.utc)).words
        'sks dog, step 120 of 400'
        """
        name = f"{self.concept}, " if self.concept else ""
        beside = f" in {self.processes} processes" if self.processes > 1 else ""
        return f"{name}step {self.step}{f' of {self.steps}' if self.steps else ''}{beside}"


def run_metadata(concept: str, steps: int, processes: int = 1) -> dict[str, str]:
    """What :class:`StoppedRun` tells of a run, for its state's header."""
    shared = {"processes": processes} if processes > 1 else {}
    return {RUN_KEY: json.dumps({"concept": concept, "steps": steps, **shared})}


def read_stopped_run(file: Path) -> StoppedRun | None:
    """The run that left this state; None: there is none, or none that can go on."""
    try:
        metadata = read_header(file).metadata
        if TRAINING_KEY not in metadata or metadata.get(FORMAT_KEY) != FORMAT:
            return None
        step = len(read_losses(metadata))
        saved = datetime.fromtimestamp(file.stat().st_mtime, timezone.utc)
    except (CheckpointError, OSError, OverflowError, RecursionError, ValueError):
        return None
    concept, steps, processes = _said(metadata.get(RUN_KEY, ""))
    return StoppedRun(concept, step, steps, saved, metadata[TRAINING_KEY], processes)


def read_losses(metadata: Mapping[str, str]) -> list[float]:
    """Of every step.

    Raises:
        ValueError: they are none.
    """
    losses = json.loads(metadata.get(LOSSES_KEY, ""))
    if not isinstance(losses, list) or not all(isinstance(loss, float) for loss in losses):
        message = "the losses are no list of numbers"
        raise ValueError(message)
    return losses


def _said(text: str) -> tuple[str, int, int]:
    """What is learned, in how many steps and processes; the text may be anything."""
    try:
        content = json.loads(text)
    except (ValueError, RecursionError):
        return "", 0, 1
    if not isinstance(content, dict):
        return "", 0, 1
    concept = content.get("concept")
    name = one_line(concept, _LONGEST) if isinstance(concept, str) else ""
    return name, _counted(content.get("steps"), 0), _counted(content.get("processes"), 1)


def _counted(value: object, otherwise: int) -> int:
    """A number of things; what is none stands for ``otherwise``."""
    if isinstance(value, bool) or not isinstance(value, int) or not 0 < value < _MOST:
        return otherwise
    return value
