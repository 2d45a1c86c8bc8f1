"""What each step is shown: which pictures, mirrored or not, cut and coloured how, with which captions.

All of it is a function of seed, step and picture, so a resumed run sees what it would have seen.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import lru_cache
from random import Random
from typing import TYPE_CHECKING

from clora_ext.config.processes import ALONE, Place
from clora_ext.data import load_whole

from .encode import Encoded, encode_varied
from .plan import Plan
from .step_captions import step_captions

if TYPE_CHECKING:
    from PIL.Image import Image

    from clora_ext.families.model import Model
    from clora_ext.strategies.objective import Example

__all__ = ["first_shown", "pixels_change", "step_examples"]

_DECODED = 16  # whole pictures that stay in memory: of 24 megapixels each has 72 MB


def pixels_change(plan: Plan) -> bool:
    """Whether any picture has to be encoded anew in every step."""
    return any(picture.subset.augmentation.changes_pixels for picture in plan.dataset.pictures)


def step_examples(
    encoded: Encoded, plan: Plan, model: "Model", place: Place = ALONE
) -> "Callable[[int], Sequence[Example]]":
    """By the step, from 0.

    Args:
        encoded: the plan's pictures.
        plan: of the run.
        model: the one that learns; its VAE is asked where pictures change.
        place: of this process. What others show of the step is there too, since all chance is drawn for the
            whole, but as it was encoded once: of it, only shape and caption count.
    """
    caption_at, seed = step_captions(plan, model.tokens), plan.settings.seed

    @lru_cache(maxsize=_DECODED)
    def whole(index: int) -> "Image":
        return load_whole(plan.dataset.pictures[index], convert=plan.converts)

    def shown(index: int, step: int) -> "Example":
        rules = plan.dataset.pictures[index].subset.augmentation
        mirrored = _is_mirrored(plan, index, step)
        if rules.changes_pixels:
            chance = Random(f"pixels/{seed}/{step}/{index}")  # a place and a colour, no secret
            return encode_varied(model, plan, index, whole(index), chance, mirrored=mirrored)
        return encoded.mirrored[index] if mirrored else encoded.examples[index]

    def captioned(example: "Example", index: int, step: int) -> "Example":
        return example if caption_at is None else replace(example, prompt=caption_at(index, step))

    def examples(step: int) -> "list[Example]":
        batch = encoded.schedule.batch_at(step)
        own = place.part(len(batch))
        chosen = [
            shown(index, step) if number in own else encoded.examples[index]
            for number, index in enumerate(batch)
        ]
        return [captioned(example, index, step) for example, index in zip(chosen, batch, strict=True)]

    return examples


def first_shown(encoded: Encoded, plan: Plan) -> Callable[[int], None]:
    """By the step, from 0: encodes the pictures of it that are encoded once and were not yet."""

    def encode(step: int) -> None:
        for index in encoded.schedule.batch_at(step):
            pixels = plan.dataset.pictures[index].subset.augmentation
            if not pixels.changes_pixels:
                (encoded.mirrored if _is_mirrored(plan, index, step) else encoded.examples)[index]

    return encode


def _is_mirrored(plan: Plan, index: int, step: int) -> bool:
    """Whether the picture is shown mirrored in that step."""
    coin = Random(f"mirror/{plan.settings.seed}/{step}/{index}")  # no secret
    return plan.dataset.pictures[index].subset.augmentation.flip_aug and not coin.getrandbits(1)
