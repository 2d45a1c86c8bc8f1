"""What a run has made."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from clora_ext.project.outcome import Outcome

__all__ = ["Result"]


@dataclass(frozen=True, slots=True)
class Result:
    """A concept that is in the model now.

    Attributes:
        project: its folder.
        checkpoint: the evolving model, one safetensors file.
        content_hash: of its tensors.
        number: the concept's number in the project.
        trigger_prompt: draws the concept.
        sheet: PNG with samples before and after; None: none was asked for.
        first_loss: mean loss of the first tenth of the steps; None: nothing was trained.
        last_loss: mean loss of the last tenth; None: nothing was trained.
        outcome: what was learned, as numbers; None: an older clora measured nothing.
        seconds: the run's duration.
    """

    project: Path
    checkpoint: Path
    content_hash: str
    number: int
    trigger_prompt: str
    sheet: Path | None
    first_loss: float | None
    last_loss: float | None
    outcome: Outcome | None
    seconds: float

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        plain = {name: str(v) if isinstance(v, Path) else v for name, v in asdict(self).items()}
        return {**plain, "outcome": None if self.outcome is None else self.outcome.as_dict()}
