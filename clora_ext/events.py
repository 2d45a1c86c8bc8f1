"""What happens in a run, as data.

The engine prints nothing: it hands events to a :data:`Sink`. The command line turns them into a
progress line, ComfyUI into a progress bar, tests into a list. A sink may raise
:class:`clora_ext.errors.Cancelled`; the run then saves what resuming needs and ends.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

__all__ = [
    "Event",
    "FoldStep",
    "Note",
    "Preview",
    "SampleStep",
    "Sampled",
    "Sink",
    "Stage",
    "TrainStep",
    "Validated",
    "ignore",
]


@dataclass(frozen=True, slots=True)
class Stage:
    """A new part of the run begins.

    Attributes:
        name: one of ``encode``, ``train``, ``measure``, ``fold``, ``verify``, ``sample``, ``commit``,
            ``extract``, ``export``.
        detail: a few words for people.
    """

    name: str
    detail: str = ""


@dataclass(frozen=True, slots=True)
class TrainStep:
    """One optimiser step is done.

    Attributes:
        step: steps done so far, 1 .. total.
        total: steps of the whole run.
        loss: this step's loss (mean squared error of the predicted noise).
        learning_rate: the rate that this step used.
        gradient_norm: Euclidean norm of all gradients before they were clipped.
        seconds: duration of this step.
        memory_bytes: peak memory so far: of the accelerator if one is used, else of the process.
    """

    step: int
    total: int
    loss: float
    learning_rate: float
    gradient_norm: float
    seconds: float
    memory_bytes: int


@dataclass(frozen=True, slots=True)
class Validated:
    """The error on pictures that are held out, after a step.

    Attributes:
        step: of the training, from 1.
        loss: mean squared error of the predicted noise, over draws that are always the same.
        is_lowest: whether none was lower so far.
    """

    step: int
    loss: float
    is_lowest: bool


@dataclass(frozen=True, slots=True)
class Preview:
    """A picture of what a concept looks like after ``step`` steps; gone when the run ends.

    Attributes:
        step: of the training.
        path: of the picture.
        concept: token and class; of several, the one that is being learned comes last.
    """

    step: int
    path: Path
    concept: str = ""


@dataclass(frozen=True, slots=True)
class FoldStep:
    """One tensor of the checkpoint has been written (``done`` of ``total``)."""

    done: int
    total: int
    name: str


@dataclass(frozen=True, slots=True)
class SampleStep:
    """One denoising step of the pictures being drawn is done (``done`` of ``total``)."""

    done: int
    total: int


@dataclass(frozen=True, slots=True)
class Sampled:
    """A picture has been written."""

    path: Path


@dataclass(frozen=True, slots=True)
class Note:
    """Something worth telling that is no error."""

    text: str


Event = Stage | TrainStep | Validated | Preview | FoldStep | SampleStep | Sampled | Note
Sink = Callable[[Event], None]


def ignore(event: Event) -> None:
    """Drop every event: the sink for callers that want only the result."""
    del event
