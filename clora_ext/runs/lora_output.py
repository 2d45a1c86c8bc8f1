"""Where the trained adapter is kept as a LoRA file of its own, and how. Needs no torch."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from math import floor
from pathlib import Path
from typing import Literal

from clora_ext.errors import UsageError, did_you_mean

__all__ = ["LoraDtype", "LoraOutput"]

LoraDtype = Literal["fp16", "bf16", "fp32"]
"""Of a LoRA file's numbers."""

_STORED: Mapping[str, str] = {"fp16": "F16", "bf16": "BF16", "fp32": "F32"}


@dataclass(frozen=True, slots=True)
class LoraOutput:
    """A LoRA file in kohya's format, and files from the middle of the training beside it.

    Attributes:
        path: of the finished file, outside of the project.
        dtype: of its numbers.
        about: what it says of itself by modelspec's names without ``modelspec.``, in the place of what clora
            says: ``title``, ``author``, ``license``, ...
        comment: of the training; empty: none.
        every_steps: steps from one file in the middle to the next; 0: none.
        every_epochs: epochs from one to the next; 0: none.
        last_steps: files of the last so many steps stay; 0: all do.
        last_epochs: so many of the files by epochs stay; 0: all do.
        epoch_ratio: in the place of ``every_epochs`` about so many files over all epochs; 0: none.
    """

    path: Path
    dtype: LoraDtype = "fp16"
    about: Mapping[str, str] = field(default_factory=dict)
    comment: str = ""
    every_steps: int = 0
    every_epochs: int = 0
    last_steps: int = 0
    last_epochs: int = 0
    epoch_ratio: int = 0

    def __post_init__(self) -> None:
        """Refuse what cannot be written.

        Raises:
            UsageError: there is no such dtype.
        """
        if self.dtype not in _STORED:
            raise UsageError(
                f"unknown dtype {self.dtype!r:.20}", fix=did_you_mean(self.dtype, tuple(_STORED))
            )

    @property
    def stored(self) -> str:
        """The dtype as safetensors call it.

        >>> LoraOutput(Path("dog.safetensors")).stored
        'F16'
        """
        return _STORED[self.dtype]

    def on_the_way(self, steps: int, epoch: int) -> dict[int, list[Path]]:
        """The files from the middle of a training, by the step (from 1) after which they are written.

        Args:
            steps: of the training.
            epoch: steps of an epoch.
        """
        found: dict[int, list[Path]] = {}
        for step in self._steps(steps):
            found.setdefault(step, []).append(self._by_step(step))
        for number in self._epochs(steps, epoch):
            found.setdefault(number * epoch, []).append(self._by_epoch(number))
        return found

    def no_longer_kept(self, step: int, steps: int, epoch: int) -> Iterator[Path]:
        """Files that go once those of a step (from 1) are written, by sd-scripts' rules."""
        if self.last_steps and self.every_steps and step % self.every_steps == 0:
            before = step - self.last_steps - 1
            old = before - before % self.every_steps
            if old > 0:
                yield self._by_step(old)
        every = self._every_epochs_of(steps, epoch)
        if self.last_epochs and every and step % epoch == 0 and step // epoch % every == 0:
            old = step // epoch - every * self.last_epochs
            if old > 0:
                yield self._by_epoch(old)

    def _steps(self, steps: int) -> range:
        return range(self.every_steps, steps, self.every_steps) if self.every_steps else range(0)

    def _epochs(self, steps: int, epoch: int) -> range:
        every = self._every_epochs_of(steps, epoch)
        return range(every, -(-steps // epoch), every) if every else range(0)

    def _every_epochs_of(self, steps: int, epoch: int) -> int:
        """Of a training of so many steps."""
        if not self.epoch_ratio:
            return self.every_epochs
        return max(1, floor(-(-steps // epoch) / self.epoch_ratio))

    def _by_step(self, step: int) -> Path:
        return self.path.with_name(f"{self.path.stem}-step{step:08d}{self.path.suffix}")

    def _by_epoch(self, number: int) -> Path:
        return self.path.with_name(f"{self.path.stem}-{number:06d}{self.path.suffix}")
