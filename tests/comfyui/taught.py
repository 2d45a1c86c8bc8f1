"""A model that has been taught, and its files."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Taught:
    """A project and what was exported of it."""

    base: Path
    project: Path
    checkpoint: Path
    extracted: Path
    kept: Path
