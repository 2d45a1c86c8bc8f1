"""A step's own noised pictures, asked again by other words, and what the model before answers there."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from random import Random

import torch

from clora_ext.config.processes import ALONE, Place
from clora_ext.families.model import Model
from clora_ext.strategies.objective import Example, NoisedBatch, ReplayBatch

__all__ = ["OwnPictures"]


@dataclass(frozen=True)
class OwnPictures:
    """See :data:`clora_ext.strategies.objective.OwnReplay`; all chance follows from (seed, step).

    Attributes:
        model: with the adapter inside, and with its text encoders.
        count: how many pictures of a step are asked again; of less than one, one in so many steps.
        reworded: a caption in the words that its picture is asked again by; the generator is its only source
            of chance.
        seed: of the training.
        without_adapter: while it is entered, the model is the one before the training.
        text_learns: whether what the text encoders say of words without the token changes.
        place: of this process, which is shown its part of the batch.
    """

    model: Model
    count: float
    reworded: Callable[[str, Random], str]
    seed: int
    without_adapter: Callable[[], AbstractContextManager[None]]
    text_learns: bool
    place: Place = ALONE

    def __call__(self, shown: NoisedBatch, batch: Sequence[Example], step: int) -> ReplayBatch | None:
        """Each picture in turn over the steps; None: none in this one."""
        each = min(self.count, len(batch))
        chosen = [number % len(batch) for number in range(int(step * each), int((step + 1) * each))]
        if not chosen:
            return None
        rng = Random(f"own {self.seed}/{step}")  # a choice of words, no secret
        words = [(number, self.reworded(batch[number].prompt, rng)) for number in chosen]
        part = self.place.part(len(batch))
        share = None if self.place.is_alone else len(chosen) / self.place.size
        own = [(number, prompt) for number, prompt in words if number in part]
        places, prompts = [number - part.start for number, _ in own], [prompt for _, prompt in own]
        latents, times = shown.noised[places], shown.times[places]
        if not own:
            return ReplayBatch(latents, times, {}, latents, share)
        cuts = [batch[number].size_conditioning for number, _ in own]
        with torch.no_grad(), self.without_adapter():
            condition = self.model.condition(prompts, cuts)
            answers = self.model.predict(latents, times, condition).float()
        if self.text_learns:
            condition = self.model.condition(prompts, cuts)
        return ReplayBatch(latents, times, condition, answers, share)
