"""The caption that each picture has in a step."""

from collections.abc import Callable
from random import Random

from clora_ext.data import steps_per_epoch, varied_caption

from .plan import Plan

__all__ = ["step_captions", "varies"]


def varies(plan: Plan) -> bool:
    """Whether any picture may have another caption in another step."""
    return any(picture.subset.captions.vary for picture in plan.dataset.pictures)


def step_captions(plan: Plan) -> Callable[[int, int], str] | None:
    """By the picture's index and the step (from 0), of which it is a function; None: captions do not vary."""
    pictures, seed = plan.dataset.pictures, plan.settings.seed
    if not varies(plan):
        return None
    epoch = steps_per_epoch(plan.bucketed, plan.settings.data.batch_size)

    def caption(index: int, step: int) -> str:
        rng = Random(f"caption/{seed}/{step}/{index}")  # a choice of words, no secret
        picture = pictures[index]
        return varied_caption(picture.subset.captions, picture.written, rng, 1 + step // epoch)

    return caption
