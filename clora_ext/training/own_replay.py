"""A step's own noised pictures, asked again by other words, and what the model before answers there."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass

import torch

from clora_ext.config.processes import ALONE, Place
from clora_ext.families.model import Model
from clora_ext.strategies.objective import Example, NoisedBatch, ReplayBatch

from .own_words import OwnWords

__all__ = ["OwnPictures"]


@dataclass(frozen=True)
class OwnPictures:
    """See :data:`clora_ext.strategies.objective.OwnReplay`; all chance follows from (seed, step).

    Attributes:
        model: with the adapter inside; it knows what its text encoders say of the words.
        words: which pictures are asked again, and by what.
        without_adapter: while it is entered, the model is the one before the training.
        text_learns: whether what the text encoders say of words without the token changes.
        place: of this process, which is shown its part of the batch.
    """

    model: Model
    words: OwnWords
    without_adapter: Callable[[], AbstractContextManager[None]]
    text_learns: bool
    place: Place = ALONE

    def __call__(self, shown: NoisedBatch, batch: Sequence[Example], step: int) -> ReplayBatch | None:
        """Each picture in turn over the steps; None: none in this one."""
        words = self.words.at([example.prompt for example in batch], step)
        if not words:
            return None
        part = self.place.part(len(batch))
        share = None if self.place.is_alone else len(words) / self.place.size
        own = [(number, prompt) for number, prompt in words if number in part]
        places, prompts = [number - part.start for number, _ in own], [prompt for _, prompt in own]
        latents, times = shown.noised[places], shown.times[places]
        if not own:
            return self._nothing(shown, share)
        cuts = [batch[number].size_conditioning for number, _ in own]
        with torch.no_grad(), self.without_adapter():
            condition = self.model.condition(prompts, cuts)
            answers = self.model.predict(latents, times, condition).float()
        if self.text_learns:
            condition = self.model.condition(prompts, cuts)
        return ReplayBatch(latents, times, condition, answers, share)

    def _nothing(self, shown: NoisedBatch, share: float | None) -> ReplayBatch:
        """Where others have all that is asked again; the first picture where they cannot ask alone."""
        if not self.place.in_step:
            return ReplayBatch(shown.noised[:0], shown.times[:0], {}, shown.noised[:0], share)
        latents, times = shown.noised[:1], shown.times[:1]
        condition = {name: value[:1].detach() for name, value in shown.condition.items()}
        with torch.no_grad(), self.without_adapter():
            answers = self.model.predict(latents, times, condition).float()
        return ReplayBatch(latents, times, condition, answers, share, is_filler=True)
