"""A step's own noised pictures, asked again by other words, and what the model before answers there."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from random import Random

import torch

from clora_ext.families.base import Model
from clora_ext.strategies.base import Replay
from clora_ext.strategies.objective import Example, NoisedBatch, ReplayBatch

__all__ = ["OwnPictures"]


@dataclass(frozen=True)
class OwnPictures:
    """See :data:`clora_ext.strategies.objective.OwnReplay`; all chance follows from (seed, step).

    Attributes:
        model: with the adapter inside, and with its text encoders.
        replay: how many pictures are asked again, and by which words.
        seed: of the training.
        without_adapter: while it is entered, the model is the one before the training.
        text_learns: whether what the text encoders say of words without the token changes.
    """

    model: Model
    replay: Replay
    seed: int
    without_adapter: Callable[[], AbstractContextManager[None]]
    text_learns: bool

    def __call__(self, shown: NoisedBatch, batch: Sequence[Example], step: int) -> ReplayBatch:
        """Each picture in turn over the steps."""
        count = min(self.replay.own, len(batch))
        chosen = [(step * count + place) % len(batch) for place in range(count)]
        rng = Random(f"own {self.seed}/{step}")  # a choice of words, no secret
        prompts = [self.replay.reworded(batch[place].prompt, rng) for place in chosen]
        cuts = [batch[place].size_conditioning for place in chosen]
        latents, times = shown.noised[chosen], shown.times[chosen]
        with torch.no_grad(), self.without_adapter():
            condition = self.model.condition(prompts, cuts)
            answers = self.model.predict(latents, times, condition).float()
        if self.text_learns:
            condition = self.model.condition(prompts, cuts)
        return ReplayBatch(latents, times, condition, answers)
