"""What each step is shown: which pictures, mirrored or not, with which captions.

All of it is a function of seed, step and picture, so a resumed run sees what it would have seen.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from random import Random
from typing import TYPE_CHECKING

from .encode import Encoded
from .plan import Plan
from .step_captions import step_captions

if TYPE_CHECKING:
    from clora_ext.strategies.objective import Example

__all__ = ["step_examples"]


def step_examples(encoded: Encoded, plan: Plan) -> "Callable[[int], Sequence[Example]]":
    """By the step, from 0."""
    caption_at, seed = step_captions(plan), plan.settings.seed

    def example(index: int, step: int) -> "Example":
        mirrored = encoded.mirrored.get(index)
        rng = Random(f"mirror/{seed}/{step}/{index}")  # a coin, no secret
        chosen = encoded.examples[index] if mirrored is None or rng.getrandbits(1) else mirrored
        return chosen if caption_at is None else replace(chosen, prompt=caption_at(index, step))

    return lambda step: [example(index, step) for index in encoded.schedule.batch_at(step)]
