"""What is left of a concept that was learned earlier, by a scorer."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import TYPE_CHECKING, Protocol

from clora_ext.project import ConceptRecord, Project
from clora_ext.project.concept_files import read_outcome_of
from clora_ext.project.outcome import Estimate, Kept, Likeness
from clora_ext.scoring import Scorer

from .contact_sheet import fitted, read_cells

if TYPE_CHECKING:
    from PIL.Image import Image
    from torch import Tensor

    from clora_ext.families.model import Model

__all__ = ["ByDrawings", "ByPictures", "Yardstick", "kept", "yardstick"]

_DEMO = "demo"
_SURE = 2.0  # standard errors


class Yardstick(Protocol):
    """Two marks, what was drawn before a concept was taught and when it had been, and what lies between."""

    @property
    def before(self) -> float:
        """Score of the drawings by the model before the concept."""
        ...

    @property
    def learned(self) -> float:
        """Score of the drawings by the model that had just learned it."""
        ...

    @property
    def is_sure(self) -> bool:
        """Whether the scorer tells the one from the other, by more than two standard errors."""
        ...

    @property
    def drawings(self) -> int:
        """How many drawings of a model it asks for."""
        ...

    def now(self, model: "Model", drawn: "Sequence[Image]") -> float:
        """Score of another model.

        Args:
            model: that is asked.
            drawn: by it, as the concept's contact sheet was drawn: by the first of its noises.
        """
        ...


@dataclass(frozen=True, slots=True)
class ByPictures:
    """By the pictures that were taught, of which the project keeps mean vectors: on the demo model alone."""

    scorer: Scorer
    then: Likeness

    @property
    def before(self) -> float:
        """See :class:`Yardstick`."""
        return self.then.before.mean

    @property
    def learned(self) -> float:
        """See :class:`Yardstick`."""
        return self.then.after.mean

    @property
    def is_sure(self) -> bool:
        """See :class:`Yardstick`."""
        return self.then.is_gain

    @property
    def drawings(self) -> int:
        """See :class:`Yardstick`; it draws by prompts and noises of its own."""
        return 1

    def now(self, model: "Model", drawn: "Sequence[Image]") -> float:
        """See :class:`Yardstick`."""
        from .likeness import likeness

        return likeness(self.scorer, model, self.then.questions).mean


@dataclass(frozen=True, slots=True)
class ByDrawings:
    """By what the model itself drew when it had learned the concept: the drawings on its contact sheet.

    So nothing of the pictures is needed, nor kept. A drawing is compared with those by other noises, see
    :func:`clora_ext.scoring.measures.likeness_across`.

    Attributes:
        scorer: that compares.
        gains: of each drawing when the concept was learned over that by the same noise before it.
        marks: scores before, when learned.
        vectors: unit vectors (n, width) of the drawings when it was learned, in the order of their noises.
    """

    scorer: Scorer
    gains: tuple[float, ...]
    marks: tuple[float, float]
    vectors: "Tensor"

    @property
    def before(self) -> float:
        """See :class:`Yardstick`."""
        return self.marks[0]

    @property
    def learned(self) -> float:
        """See :class:`Yardstick`."""
        return self.marks[1]

    @property
    def is_sure(self) -> bool:
        """See :class:`Yardstick`."""
        gain = Estimate.of(self.gains)
        return gain.mean > _SURE * gain.error

    @property
    def drawings(self) -> int:
        """See :class:`Yardstick`."""
        return len(self.vectors)

    def now(self, model: "Model", drawn: "Sequence[Image]") -> float:
        """See :class:`Yardstick`."""
        return fmean(_scores(self.scorer.images(drawn), self.vectors))


def yardstick(project: Project, record: ConceptRecord, scorer: Scorer, most: int) -> Yardstick | None:
    """How the scorer judges a concept; None: what that takes is not in the project.

    Args:
        project: that has learned it.
        record: of the concept.
        scorer: that judges.
        most: drawings to compare, at the most.
    """
    outcome = read_outcome_of(project.folder, record)
    then = None if outcome is None else outcome.likeness
    if then is not None and then.questions and scorer.name == _DEMO:
        return ByPictures(scorer, then)
    rows = read_cells(project.sheets_dir / (record.sheet or "none"), 2)
    if rows is None:
        return None
    before, learned = (scorer.images(row[:most]) for row in rows)
    old, new = _scores(before, learned), _scores(learned, learned)
    gains = tuple(after - then for after, then in zip(new, old, strict=True))
    return ByDrawings(scorer, gains, (fmean(old), fmean(new)), learned)


def _scores(drawn: "Tensor", learned: "Tensor") -> list[float]:
    """Each drawing's likeness to those when the concept was learned; of a single one, by its own noise."""
    from clora_ext.scoring.measures import likeness, likeness_across

    scores: list[float] = (likeness_across if len(drawn) > 1 else likeness)(drawn, learned).tolist()
    return scores


def kept(number: int, by: Yardstick, model: "Model", drawn: "Sequence[Image]", scorer: str) -> Kept | None:
    """What a model has kept of concept ``number``; None: the scorer never saw that it was learned."""
    if not by.is_sure:
        return None
    now = by.now(model, [fitted(image, image.width) for image in drawn])
    share = (now - by.before) / (by.learned - by.before)
    return Kept(number, share, by.learned, now, scorer)
