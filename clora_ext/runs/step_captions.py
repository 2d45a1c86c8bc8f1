"""The caption that each picture has in a step."""

from collections.abc import Callable, Sequence
from random import Random

from clora_ext.data import steps_per_epoch, varied_caption
from clora_ext.prompts import reads_as_one, rephrased, vocabulary_of

from .plan import Plan

__all__ = ["step_captions", "varies"]


def varies(plan: Plan) -> bool:
    """Whether any picture may have another caption in another step."""
    return plan.strategy.rephrases() > 0 or _vary_by_rules(plan)


def step_captions(plan: Plan, tokens: Callable[[str], Sequence[object]]) -> Callable[[int, int], str] | None:
    """By the picture's index and the step (from 0), of which it is a function; None: captions do not vary.

    Args:
        plan: its data settings say how captions vary, and its strategy how many of them are rephrased.
        tokens: how the model's tokenizer reads a text.
    """
    if not varies(plan):
        return None
    by_rules, share, seed = _by_rules(plan), plan.strategy.rephrases(), plan.settings.seed
    if not share:
        return by_rules
    vocabulary = vocabulary_of(reads_as_one(tokens))

    def caption(index: int, step: int) -> str:
        text = by_rules(index, step)
        rng = Random(f"rephrased/{seed}/{step}/{index}")  # a choice of words, no secret
        return rephrased(text, vocabulary, rng) if rng.random() < share else text

    return caption


def _vary_by_rules(plan: Plan) -> bool:
    return any(picture.subset.captions.vary for picture in plan.dataset.pictures)


def _by_rules(plan: Plan) -> Callable[[int, int], str]:
    """As the settings of the data have it."""
    pictures, seed = plan.dataset.pictures, plan.settings.seed
    if not _vary_by_rules(plan):
        return lambda index, step: pictures[index].caption
    epoch = steps_per_epoch(plan.bucketed, plan.settings.data.batch_size)

    def caption(index: int, step: int) -> str:
        rng = Random(f"caption/{seed}/{step}/{index}")  # a choice of words, no secret
        picture = pictures[index]
        return varied_caption(picture.subset.captions, picture.written, rng, 1 + step // epoch)

    return caption
