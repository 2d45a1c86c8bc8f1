"""Samples with fixed seeds: the same prompt with the same noise, whatever the model has learned meanwhile."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from clora_ext.events import SampleStep, Sink

if TYPE_CHECKING:
    from PIL.Image import Image

    from clora_ext.families.base import Model

__all__ = ["SamplePrompt"]

_SEEDS = (11, 12, 13, 14)
_STEPS = 30
_GUIDANCE = 4.0


@dataclass(frozen=True, slots=True)
class SamplePrompt:
    """What contact sheets, previews and forgetting reports are sampled by.

    Attributes:
        text: the prompt.
        size: side of the pictures, pixels.
    """

    text: str
    size: int

    def sample(self, model: "Model", sink: Sink) -> "list[Image]":
        """One picture for each of the fixed seeds; ``sink`` is told of every denoising step."""
        return self._sample(model, _SEEDS, lambda done, total: sink(SampleStep(done, total)))

    def sample_one(self, model: "Model") -> "Image":
        """The first of them."""
        return self._sample(model, _SEEDS[:1], lambda done, total: None)[0]

    def _sample(
        self, model: "Model", seeds: Sequence[int], on_step: Callable[[int, int], None]
    ) -> "list[Image]":
        return model.sample(
            self.text,
            negative="",
            seeds=seeds,
            steps=_STEPS,
            guidance=_GUIDANCE,
            size=self.size,
            on_step=on_step,
        )
