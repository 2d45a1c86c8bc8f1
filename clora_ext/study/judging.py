"""Judging a model that is loaded: drawings with fixed prompts and noises, and what scorers say of them."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from clora_ext.data import covering, load_image, load_pixels
from clora_ext.events import SampleStep, Sink, ignore
from clora_ext.scoring.measures import likeness

from .concept import Question
from .file import Evaluation

if TYPE_CHECKING:
    from PIL.Image import Image

    from clora_ext.families.model import Model
    from clora_ext.scoring import Scorer

__all__ = ["Judge", "Scores", "draw", "latents_of", "rendered"]

_AT_ONCE = 16  # pictures that the autoencoder looks at together

Scores = Mapping[str, list[list[float]]]
"""Mean cosine of each drawing with its prompt's references, (prompts, noises), by the scorer's digest."""


def draw(model: "Model", prompt: str, how: Evaluation, size: int, sink: Sink = ignore) -> "list[Image]":
    """A prompt with each of the noises.

    Args:
        model: that draws.
        prompt: as it reads it.
        how: noises, steps, guidance.
        size: side of the pictures, pixels.
        sink: told of every step.
    """
    return model.sample(
        prompt,
        negative="",
        seeds=range(how.first_seed, how.first_seed + how.noises),
        steps=how.steps,
        guidance=how.guidance,
        size=size,
        on_step=lambda done, total: sink(SampleStep(done, total)),
    )


def rendered(model: "Model", question: Question, size: int) -> "list[Image]":
    """The references of a question through the model's autoencoder and back: what no drawing can surpass."""
    images: list[Image] = []
    for start in range(0, len(question.references), _AT_ONCE):
        part = question.references[start : start + _AT_ONCE]
        pixels = torch.stack(
            [load_pixels(one, covering(one.width, one.height, size, size), convert=False) for one in part]
        )
        images += model.decode_latents(model.encode_images(pixels)[0])
    return images


def latents_of(model: "Model", images: "Sequence[Image]") -> Tensor:
    """Scaled latents (n, values) of pictures, on the processor."""
    parts = []
    for start in range(0, len(images), _AT_ONCE):
        part = [np.asarray(image, dtype=np.float32) for image in images[start : start + _AT_ONCE]]
        pixels = torch.from_numpy(np.stack(part)).permute(0, 3, 1, 2) / 127.5 - 1
        parts.append(model.encode_images(pixels)[0].flatten(1).cpu())
    return torch.cat(parts)


class Judge:
    """Scorers, and the vectors of the references that they have seen.

    Args:
        scorers: ready to score.
    """

    def __init__(self, scorers: "Sequence[Scorer]") -> None:
        self.scorers = tuple(scorers)
        self._vectors: dict[tuple[str, tuple[str, ...]], Tensor] = {}

    def score(self, questions: Sequence[Question], drawn: "Sequence[Sequence[Image]]") -> Scores:
        """What the scorers say of the drawings of each question."""
        return {
            scorer.digest: [
                likeness(scorer.images(images), self._references(scorer, question)).tolist()
                for images, question in zip(drawn, questions, strict=True)
            ]
            for scorer in self.scorers
        }

    def _references(self, scorer: "Scorer", question: Question) -> Tensor:
        """Unit vectors (n, width) of what the drawings of a prompt are compared with."""
        key = (scorer.digest, tuple(one.sha256 for one in question.references))
        if key not in self._vectors:
            images = [
                load_image(one, covering(one.width, one.height, one.width, one.height), convert=False)
                for one in question.references
            ]
            self._vectors[key] = scorer.images(images)
        return self._vectors[key]
