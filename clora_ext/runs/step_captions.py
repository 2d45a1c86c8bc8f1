"""The caption that each picture has in a step."""

from collections.abc import Callable
from random import Random

from clora_ext.data import Bucketed, steps_per_epoch, varied_caption

from .plan import Plan

__all__ = ["step_captions"]


def step_captions(plan: Plan) -> Callable[[int, int], str] | None:
    """By the picture's index and the step (from 0), of which it is a function; None: captions do not vary."""
    rules = plan.settings.captions
    if not rules.vary:
        return None
    pictures, seed = plan.dataset.pictures, plan.settings.seed
    bucketed = [Bucketed(*size, one.repeats) for one, size in zip(pictures, plan.sizes, strict=True)]
    epoch = steps_per_epoch(bucketed, plan.settings.data.batch_size)

    def caption(index: int, step: int) -> str:
        rng = Random(f"caption/{seed}/{step}/{index}")  # a choice of words, no secret
        return varied_caption(rules, pictures[index].written, rng, 1 + step // epoch)

    return caption
