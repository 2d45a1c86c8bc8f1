"""A model that has been taught, and its files."""

from dataclasses import dataclass
from pathlib import Path

from clora_ext import Settings

FAST = Settings.of(
    steps=3, rank=4, batch_size=1, resolution=64, text_encoder=True, targets="transformer", sample_steps=2
)


@dataclass(frozen=True, slots=True)
class Taught:
    """A project and what was exported of it."""

    base: Path
    project: Path
    checkpoint: Path
    extracted: Path
    kept: Path
