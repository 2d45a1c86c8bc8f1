"""What a concept's run has measured: numbers, in a file of their own beside the contact sheet."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from math import hypot, sqrt
from pathlib import Path
from statistics import fmean, stdev
from typing import Annotated, Any, ClassVar

from clora_ext.errors import ProjectError
from clora_ext.formats.strict_json import read_json

from .reading import read_record
from .storage import replace_text
from .values import NO_UNKNOWN_FIELDS, Checked, Number, OptionalNumber, Text, whole

__all__ = ["Drift", "Estimate", "HeldOutLoss", "Kept", "Likeness", "Outcome", "Question", "read_outcome"]

_LARGEST = 1 << 20  # bytes
_ERRORS = 2.0
_TOLD = 0.1  # what folding changes, as a share of the gain; less is not worth a reader's time
_LEARNED = 0.5
_DEMO = "demo"

_Count = Annotated[int, Checked(whole(least=1))]


@dataclass(frozen=True, slots=True)
class Estimate:
    """A mean over draws, and how far chance alone may have moved it.

    Attributes:
        mean: over the draws.
        error: standard error of the mean; 0 for a single draw, of which nothing is known.
    """

    __pydantic_config__: ClassVar[Mapping[str, Any]] = NO_UNKNOWN_FIELDS

    mean: Number
    error: Number

    @classmethod
    def of(cls, values: Sequence[float]) -> "Estimate":
        """The estimate from independent draws.

        >>> Estimate.of([1.0, 3.0])
        Estimate(mean=2.0, error=1.0)
        """
        error = stdev(values) / sqrt(len(values)) if len(values) > 1 else 0.0
        return cls(fmean(values), error)


@dataclass(frozen=True, slots=True)
class HeldOutLoss:
    """The denoiser's error on the pictures that were taught, with noise that no step was trained with.

    The same pictures, noises and times every time, so that differences are taken draw by draw.

    Attributes:
        draws: how many.
        before: by the model before the concept.
        trained: by the adapter after its last step, before it was folded; see :meth:`of`.
        after: by the finished checkpoint.
        gain: before - after.
    """

    __pydantic_config__: ClassVar[Mapping[str, Any]] = NO_UNKNOWN_FIELDS

    draws: _Count
    before: Estimate
    trained: Estimate
    after: Estimate
    gain: Estimate

    @classmethod
    def of(cls, before: Sequence[float], trained: Sequence[float], after: Sequence[float]) -> "HeldOutLoss":
        """From the errors of the same draws, in the same order; of the adapter, the first few will do.

        Its mean over all of them is then the checkpoint's, and what both differ by in the mean on those few:
        on the same draw they differ by little.
        """
        gains = [old - new for old, new in zip(before, after, strict=True)]
        return cls(
            len(gains), Estimate.of(before), _over_all(trained, after), *map(Estimate.of, (after, gains))
        )

    @property
    def is_better(self) -> bool:
        """Whether the gain is more than two standard errors.

        A concept that was not learned at all comes that far by chance once in 44 times.
        """
        return self.gain.mean > _ERRORS * self.gain.error

    @property
    def was_changed_by_folding(self) -> bool:
        """Whether the checkpoint's loss is another than the adapter's, by more than a tenth of the gain."""
        return abs(self.after.mean - self.trained.mean) > _TOLD * abs(self.gain.mean)


def _over_all(some: Sequence[float], others: Sequence[float]) -> Estimate:
    """The mean of a quantity of which the first few draws are known, by another that is known on all."""
    if len(some) == len(others):
        return Estimate.of(some)
    whole = Estimate.of(others)
    apart = Estimate.of([one - other for one, other in zip(some, others, strict=False)])
    return Estimate(whole.mean + apart.mean, hypot(whole.error, apart.error))


@dataclass(frozen=True, slots=True)
class Question:
    """What a concept is drawn by when it is scored, and how drawings should look.

    Attributes:
        prompt: no training caption.
        reference: mean of the scorer's unit vectors of the pictures that show it: numbers, no picture.
    """

    __pydantic_config__: ClassVar[Mapping[str, Any]] = NO_UNKNOWN_FIELDS

    prompt: Text
    reference: tuple[Number, ...]


@dataclass(frozen=True, slots=True)
class Likeness:
    """How like the taught pictures drawings are, as a scorer sees it: mean cosines.

    Attributes:
        before: of drawings by the model before the concept.
        after: of drawings by the finished checkpoint, by the same prompts with the same noise.
        ceiling: of the pictures themselves.
        questions: what was drawn, for later models to be asked again; empty: nothing of the pictures is kept.
        scorer: whose cosines they are.
    """

    __pydantic_config__: ClassVar[Mapping[str, Any]] = NO_UNKNOWN_FIELDS

    before: Estimate
    after: Estimate
    ceiling: Number
    questions: tuple[Question, ...]
    scorer: Text = _DEMO

    @property
    def learned(self) -> float:
        """The share of the way from the drawings before to the pictures themselves; 0: none of it."""
        way = self.ceiling - self.before.mean
        return (self.after.mean - self.before.mean) / way if way > 0 else 0.0

    @property
    def is_gain(self) -> bool:
        """Whether the scorer tells the drawings after from those before: by more than two standard errors."""
        error = hypot(self.before.error, self.after.error)
        return self.after.mean - self.before.mean > _ERRORS * error


@dataclass(frozen=True, slots=True)
class Kept:
    """What this concept's model still has of an earlier one.

    Attributes:
        number: of the earlier concept.
        share: of what was gained when it was learned; 1: all, below 0: less than before it was taught.
        learned: score of what was drawn when it was learned; None: an older clora did not record it.
        now: score of what is drawn now.
        scorer: whose scores they are.
    """

    __pydantic_config__: ClassVar[Mapping[str, Any]] = NO_UNKNOWN_FIELDS

    number: _Count
    share: Number
    learned: OptionalNumber = None
    now: OptionalNumber = None
    scorer: Text = _DEMO


@dataclass(frozen=True, slots=True)
class Drift:
    """How far drawings of what nobody has taught are from the base's, by the same prompts and noises.

    Attributes:
        prompts: how many.
        change: mean absolute difference of the pictures, 0 to 1.
        distance: 1 - cosine, as the scorer sees it; None: there is none.
        scorer: whose distance it is; empty: there is none.
    """

    __pydantic_config__: ClassVar[Mapping[str, Any]] = NO_UNKNOWN_FIELDS

    prompts: _Count
    change: Estimate
    distance: Estimate | None = None
    scorer: Text = ""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What was learned, as numbers.

    Attributes:
        held_out: None: there were no pictures.
        likeness: None: there is no scorer for this model.
        kept: earlier concepts, as far as they can be scored.
        drift: of what nobody has taught; None: it was not measured.
        interference: overlap of the change with all earlier ones before it was folded, 0 to 1; see
            :mod:`clora_ext.evolving.interference`. None: nothing was learned before.
    """

    __pydantic_config__: ClassVar[Mapping[str, Any]] = NO_UNKNOWN_FIELDS

    held_out: HeldOutLoss | None
    likeness: Likeness | None
    kept: tuple[Kept, ...]
    drift: Drift | None = None
    interference: OptionalNumber = None

    @property
    def decisive(self) -> Likeness | None:
        """The likeness, where it is known how much of it is enough: by the demo model's scorer."""
        return self.likeness if self.likeness is not None and self.likeness.scorer == _DEMO else None

    @property
    def is_learned(self) -> bool | None:
        """Whether the numbers bear out that the concept was learned; None: nothing was measured.

        By the demo model's scorer, at least half of the way: with the default settings the example concepts
        come 64 to 94 % of it, and a model that has seen nothing stays near 0. Else by the held-out loss.
        """
        if self.decisive is not None:
            return self.decisive.learned >= _LEARNED
        return None if self.held_out is None else self.held_out.is_better

    @property
    def forgotten(self) -> tuple[int, ...]:
        """Numbers of the earlier concepts of which less than half is left."""
        return tuple(one.number for one in self.kept if one.share < _LEARNED)

    def as_dict(self) -> dict[str, Any]:
        """Plain values for programs; what later models are asked is left out."""
        score = self.likeness
        return {
            "is_learned": self.is_learned,
            "learned": None if score is None else score.learned,
            "held_out": None if self.held_out is None else asdict(self.held_out),
            "likeness": None
            if score is None
            else {
                "scorer": score.scorer,
                "before": asdict(score.before),
                "after": asdict(score.after),
                "ceiling": score.ceiling,
            },
            "kept": [asdict(one) for one in self.kept],
            "drift": None if self.drift is None else asdict(self.drift),
            "interference": self.interference,
        }

    def write(self, file: Path) -> None:
        """As JSON. StorageError: the disk is full or refuses."""
        replace_text(file, json.dumps(asdict(self), allow_nan=False) + "\n")


def read_outcome(file: Path) -> Outcome | None:
    """What :meth:`Outcome.write` has written; None: nothing that can be used lies there."""
    try:
        with file.open("rb") as opened:
            content = opened.read(_LARGEST + 1)
        if len(content) > _LARGEST:
            return None
        return read_record(Outcome, read_json(content.decode("utf-8")), file.name)
    except (OSError, ValueError, RecursionError, ProjectError):
        return None
