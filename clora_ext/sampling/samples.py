"""Samples with fixed seeds: the same prompt with the same noise, whatever the model has learned meanwhile."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from clora_ext.config.settings import SamplingSettings
from clora_ext.events import SampleStep, Sink

if TYPE_CHECKING:
    from PIL.Image import Image

    from clora_ext.families.base import Model

__all__ = ["SamplePrompt"]

_FIRST_SEED = 11


@dataclass(frozen=True, slots=True)
class SamplePrompt:
    """What contact sheets, previews and forgetting reports are sampled by.

    Attributes:
        text: the prompt.
        size: side of the pictures, pixels.
        settings: how many, in how many steps, with which guidance.
    """

    text: str
    size: int
    settings: SamplingSettings = field(default_factory=SamplingSettings)

    def sample(self, model: "Model", sink: Sink) -> "list[Image]":
        """One picture for each of the fixed seeds; ``sink`` is told of every denoising step."""
        count = self.settings.sample_count
        return self._sample(model, count, lambda done, total: sink(SampleStep(done, total)))

    def sample_one(self, model: "Model") -> "Image":
        """The first of them."""
        return self._sample(model, 1, lambda done, total: None)[0]

    def sampler(self, model: "Model") -> "Callable[[str], Image]":
        """Samples one picture of any prompt as this one is sampled."""
        return lambda text: replace(self, text=text).sample_one(model)

    def _sample(self, model: "Model", count: int, on_step: Callable[[int, int], None]) -> "list[Image]":
        return model.sample(
            self.text,
            negative="",
            seeds=range(_FIRST_SEED, _FIRST_SEED + count),
            steps=self.settings.sample_steps,
            guidance=self.settings.guidance,
            size=self.size,
            on_step=on_step,
        )
