"""The jobs that judge: scores, ceilings and drift of a study's models."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from clora_ext import families
from clora_ext.config.precision import pick_precision
from clora_ext.config.settings import PromptSettings
from clora_ext.events import Sink
from clora_ext.project import Project
from clora_ext.scoring.measures import kernel_distance, paired_drift

from .judging import Judge, draw, latents_of, rendered
from .plan import StudyPlan
from .results import StudyFolder
from .schedule import Job

if TYPE_CHECKING:
    from PIL.Image import Image

    from clora_ext.families.model import Model
    from clora_ext.scoring import Scorer

__all__ = ["Examiner"]


class Examiner:
    """Draws with the study's models; the one last asked stays loaded.

    Args:
        plan: of the study.
        folder: where its models lie.
    """

    def __init__(self, plan: StudyPlan, folder: StudyFolder) -> None:
        self._plan = plan
        self._folder = folder
        self._judge = Judge(tuple(plan.scorers.values()))
        self._loaded: tuple[str, Model] | None = None
        self._of_base: list[Image] | None = None

    def score(self, job: Job, sink: Sink) -> Mapping[str, Any]:
        """Likeness of a concept's drawings to its references."""
        model, questions = self._model(job.model), self._plan.concepts[job.concept].questions
        drawn = [self._draw(model, question.prompt, sink) for question in questions]
        return {"scores": self._judge.score(questions, drawn)}

    def ceiling(self, job: Job) -> Mapping[str, Any]:
        """The same of the references themselves, as the base's autoencoder renders them."""
        model, questions = self._model(job.model), self._plan.concepts[job.concept].questions
        drawn = [rendered(model, question, self._size) for question in questions]
        return {"scores": self._judge.score(questions, drawn)}

    def drift(self, job: Job, sink: Sink) -> Mapping[str, Any]:
        """How far the drawings of what nobody taught are from the base's, by the same prompts and noises."""
        if self._of_base is None:
            self._of_base = self._drawn_freely(self._model(""), sink)
        model = self._model(job.model)
        drawn = self._drawn_freely(model, sink)
        found = {one.digest: _moved(one, drawn, self._of_base) for one in self._judge.scorers}
        now, then = (latents_of(model, images) for images in (drawn, self._of_base))
        moved = ((now - then).norm(dim=1) / then.norm(dim=1)).mean()
        return {"drift": {"latents": float(moved), "by_scorer": found}}

    def _drawn_freely(self, model: "Model", sink: Sink) -> "list[Image]":
        prompts = self._plan.study.evaluation.drift_prompts
        return [image for prompt in prompts for image in self._draw(model, prompt, sink)]

    def _draw(self, model: "Model", prompt: str, sink: Sink) -> "list[Image]":
        return draw(model, prompt, self._plan.study.evaluation, self._size, sink)

    @property
    def _size(self) -> int:
        base = self._plan.base
        return self._plan.study.evaluation.size or base.family.resolution(base.header)

    def _model(self, key: str) -> "Model":
        """A model by its key; the base, where it has learned nothing."""
        cell = self._plan.cells.get(key)
        name = key if cell is not None and cell.lessons else ""
        if self._loaded is None or self._loaded[0] != name:
            self._loaded = None  # its memory, before the next takes as much
            base = self._plan.base.place
            place = Project.open(self._folder.model(name)).model_place() if name else base
            checkpoint = place.open()
            model = families.detect(checkpoint.header, checkpoint.path).load(checkpoint, pick_precision())
            reading = cell.lessons[-1].settings.prompts if cell and cell.lessons else PromptSettings()
            self._loaded = (name, model.reading(reading))
        return self._loaded[1]


def _moved(scorer: "Scorer", drawn: "Sequence[Image]", before: "Sequence[Image]") -> dict[str, float]:
    now, then = scorer.images(drawn), scorer.images(before)
    return {"kernel": kernel_distance(now, then), "paired": float(paired_drift(then, now).mean())}
