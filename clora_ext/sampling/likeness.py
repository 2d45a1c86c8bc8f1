"""How like the taught pictures a model's drawings are."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from clora_ext.project.outcome import Estimate, Likeness, Question
from clora_ext.scoring import Scorer

if TYPE_CHECKING:
    from PIL.Image import Image

    from clora_ext.families.model import Model

__all__ = ["SIDE", "ceiling", "likeness", "likeness_of_samples", "questions"]

SIDE = 64
"""Of the drawings, pixels: the demo model draws no others well."""

_DRAWINGS = 12
_MOST_QUESTIONS = 6
_FIRST_SEED, _STEPS, _GUIDANCE = 101, 10, 4.0


def questions(scorer: Scorer, pictures: "Mapping[str, Sequence[Image]]") -> tuple[Question, ...]:
    """What to ask a model for; of many prompts, six that are evenly spread.

    Args:
        scorer: of the demo world.
        pictures: by the prompt that should draw them.
    """
    chosen = list(pictures)
    chosen = (
        [chosen[number * len(chosen) // _MOST_QUESTIONS] for number in range(_MOST_QUESTIONS)]
        if len(chosen) > _MOST_QUESTIONS
        else chosen
    )
    return tuple(Question(one, _mean(scorer.images(pictures[one]))) for one in chosen)


def _mean(vectors: Tensor) -> tuple[float, ...]:
    return tuple(round(value, 6) for value in vectors.mean(dim=0).tolist())


def ceiling(asked: Sequence[Question]) -> float:
    """The likeness of the pictures themselves with one another.

    >>> ceiling([Question("a", (1.0, 0.0)), Question("b", (0.5, 0.0))])
    0.625
    """
    return sum(sum(value * value for value in one.reference) for one in asked) / len(asked)


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
        values += (scorer.images(drawn) @ torch.tensor(question.reference)).tolist()
    return Estimate.of(values)


def likeness_of_samples(
    scorer: Scorer,
    pictures: "Sequence[Image]",
    samples: "tuple[Sequence[Image], Sequence[Image]]",
) -> Likeness:
    """Of what a contact sheet shows, by any scorer; of the pictures nothing is kept but the three means.

    Args:
        scorer: that judges.
        pictures: that were taught.
        samples: before and after.
    """
    from clora_ext.scoring.measures import likeness as cosines
    from clora_ext.scoring.measures import likeness_across

    taught = scorer.images(pictures)
    before, after = (Estimate.of(cosines(scorer.images(drawn), taught).tolist()) for drawn in samples)
    top = float(likeness_across(taught, taught).mean()) if len(pictures) > 1 else 1.0
    return Likeness(before, after, top, (), scorer.name)
