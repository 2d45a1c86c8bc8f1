"""Judging a model: drawings with fixed prompts and noises, and what the scorers say of them."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from clora_ext import families
from clora_ext.config.precision import pick_precision
from clora_ext.data import load_image, load_pixels
from clora_ext.events import SampleStep, Sink
from clora_ext.formats.composed import open_model
from clora_ext.project import Project
from clora_ext.scoring.measures import kernel_distance, likeness, paired_drift

from .plan import StudyPlan
from .results import StudyFolder
from .schedule import Job

if TYPE_CHECKING:
    from PIL.Image import Image

    from clora_ext.families.base import Model
    from clora_ext.scoring import Scorer

    from .concept import Question

__all__ = ["Examiner"]

_AT_ONCE = 16  # pictures that the autoencoder looks at together


class Examiner:
    """Draws with the study's models; the one last asked stays loaded.

    Args:
        plan: of the study.
        folder: where its models lie.
    """

    def __init__(self, plan: StudyPlan, folder: StudyFolder) -> None:
        self._plan = plan
        self._folder = folder
        self._loaded: tuple[str, Model] | None = None
        self._of_base: list[Image] | None = None
        self._vectors: dict[tuple[str, tuple[str, ...]], torch.Tensor] = {}

    def score(self, job: Job, sink: Sink) -> Mapping[str, Any]:
        """Likeness of a concept's drawings to its references: cosines by scorer, (prompts, noises)."""
        model, concept = self._model(job.model), self._plan.concepts[job.concept]
        drawn = [self._draw(model, question.prompt, sink) for question in concept.questions]
        return {"scores": self._scored(concept.questions, drawn)}

    def ceiling(self, job: Job) -> Mapping[str, Any]:
        """The same of the references themselves, as the base's autoencoder renders them."""
        model, concept = self._model(job.model), self._plan.concepts[job.concept]
        drawn = [self._rendered(model, question) for question in concept.questions]
        return {"scores": self._scored(concept.questions, drawn)}

    def drift(self, job: Job, sink: Sink) -> Mapping[str, Any]:
        """How far the drawings of what nobody taught are from the base's, by the same prompts and noises."""
        if self._of_base is None:
            self._of_base = self._drawn_freely(self._model(""), sink)
        model = self._model(job.model)
        drawn = self._drawn_freely(model, sink)
        scorers = self._plan.scorers.values()
        found = {one.digest: self._moved(one, drawn, self._of_base) for one in scorers}
        now, then = (self._latents(model, images) for images in (drawn, self._of_base))
        moved = ((now - then).norm(dim=1) / then.norm(dim=1)).mean()
        return {"drift": {"latents": float(moved), "by_scorer": found}}

    def _moved(
        self, scorer: "Scorer", drawn: "Sequence[Image]", before: "Sequence[Image]"
    ) -> dict[str, float]:
        now, then = scorer.images(drawn), scorer.images(before)
        return {"kernel": kernel_distance(now, then), "paired": float(paired_drift(then, now).mean())}

    def _scored(
        self, questions: "Sequence[Question]", drawn: "Sequence[Sequence[Image]]"
    ) -> dict[str, list[list[float]]]:
        """Mean cosine of every drawing with all references of its prompt, by the scorer's digest."""
        return {
            scorer.digest: [
                likeness(scorer.images(images), self._references(scorer, question)).tolist()
                for images, question in zip(drawn, questions, strict=True)
            ]
            for scorer in self._plan.scorers.values()
        }

    def _references(self, scorer: "Scorer", question: "Question") -> torch.Tensor:
        """Unit vectors (n, width) of what the drawings of a prompt are compared with."""
        key = (scorer.digest, tuple(one.sha256 for one in question.references))
        if key not in self._vectors:
            images = [load_image(one, one.width, one.height, convert=False) for one in question.references]
            self._vectors[key] = scorer.images(images)
        return self._vectors[key]

    def _rendered(self, model: "Model", question: "Question") -> "list[Image]":
        """The references through the autoencoder and back."""
        size = self._size
        images: list[Image] = []
        for start in range(0, len(question.references), _AT_ONCE):
            part = question.references[start : start + _AT_ONCE]
            pixels = torch.stack([load_pixels(one, size, size, convert=False) for one in part])
            images += model.decode_latents(model.encode_images(pixels)[0])
        return images

    def _drawn_freely(self, model: "Model", sink: Sink) -> "list[Image]":
        prompts = self._plan.study.evaluation.drift_prompts
        return [image for prompt in prompts for image in self._draw(model, prompt, sink)]

    def _latents(self, model: "Model", images: "Sequence[Image]") -> torch.Tensor:
        """(n, values) of pictures."""
        parts = []
        for start in range(0, len(images), _AT_ONCE):
            part = [np.asarray(image, dtype=np.float32) for image in images[start : start + _AT_ONCE]]
            pixels = torch.from_numpy(np.stack(part)).permute(0, 3, 1, 2) / 127.5 - 1
            parts.append(model.encode_images(pixels)[0].flatten(1).cpu())
        return torch.cat(parts)

    def _draw(self, model: "Model", prompt: str, sink: Sink) -> "list[Image]":
        how = self._plan.study.evaluation
        return model.sample(
            prompt,
            negative="",
            seeds=range(how.first_seed, how.first_seed + how.noises),
            steps=how.steps,
            guidance=how.guidance,
            size=self._size,
            on_step=lambda done, total: sink(SampleStep(done, total)),
        )

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
            file = Project.open(self._folder.model(name)).model_file() if name else self._plan.base.path
            checkpoint = open_model(file)
            model = families.detect(checkpoint.header, checkpoint.path).load(checkpoint, pick_precision())
            self._loaded = (name, model)
        return self._loaded[1]
