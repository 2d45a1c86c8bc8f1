"""How like the taught pictures a model's drawings are, on the demo model: by its scorer."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from clora_ext.project.outcome import Estimate, Question

from .demo_scorer import SIDE, Scorer

if TYPE_CHECKING:
    from clora_ext.families.base import Model

__all__ = ["ceiling", "likeness", "questions"]

_DRAWINGS = 12
_MOST_QUESTIONS = 6
_FIRST_SEED, _STEPS, _GUIDANCE = 101, 10, 4.0


@torch.no_grad()
def questions(scorer: Scorer, pictures: Mapping[str, Sequence[Tensor]]) -> tuple[Question, ...]:
    """What to ask a model for; of many prompts, six that are evenly spread.

    Args:
        scorer: of the demo world.
        pictures: by the prompt that should draw them, (3, 64, 64) in [-1, 1].
    """
    chosen = list(pictures)
    chosen = (
        [chosen[number * len(chosen) // _MOST_QUESTIONS] for number in range(_MOST_QUESTIONS)]
        if len(chosen) > _MOST_QUESTIONS
        else chosen
    )
    return tuple(Question(one, _mean(scorer.images(torch.stack(list(pictures[one]))))) for one in chosen)


def _mean(vectors: Tensor) -> tuple[float, ...]:
    return tuple(round(value, 6) for value in vectors.mean(dim=0).tolist())


def ceiling(asked: Sequence[Question]) -> float:
    """The likeness of the pictures themselves with one another.

    >>> ceiling([Question("a", (1.0, 0.0)), Question("b", (0.5, 0.0))])
    0.625
    """
    return sum(sum(value * value for value in one.reference) for one in asked) / len(asked)


@torch.no_grad()
def likeness(scorer: Scorer, model: "Model", asked: Sequence[Question]) -> Estimate:
    """Mean cosine of a model's drawings with what they should show, over twelve or so fixed noises."""
    each = max(1, _DRAWINGS // len(asked))
    values: list[float] = []
    for number, question in enumerate(asked):
        first = _FIRST_SEED + number * each
        drawn = model.sample(
            question.prompt,
            negative="",
            seeds=range(first, first + each),
            steps=_STEPS,
            guidance=_GUIDANCE,
            size=SIDE,
            on_step=lambda done, total: None,
        )
        vectors = scorer.images(torch.stack([_pixels(image) for image in drawn]))
        values += (vectors @ torch.tensor(question.reference)).tolist()
    return Estimate.of(values)


def _pixels(image: Image.Image) -> Tensor:
    """(3, 64, 64) in [-1, 1]."""
    array = np.asarray(image.convert("RGB").resize((SIDE, SIDE)), dtype=np.float32)
    return torch.from_numpy(array).permute(2, 0, 1) / 127.5 - 1
