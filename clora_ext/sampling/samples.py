"""Samples with fixed seeds: the same prompt with the same noise, whatever the model has learned meanwhile."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from clora_ext.config.settings import PromptSettings, SamplingSettings
from clora_ext.events import SampleStep, Sink

if TYPE_CHECKING:
    from PIL.Image import Image

    from clora_ext.families.base import EncodedPrompt, Model

__all__ = ["SamplePrompt"]

_FIRST_SEED = 11


@dataclass(frozen=True, slots=True)
class SamplePrompt:
    """What contact sheets, previews and forgetting reports are sampled by.

    Attributes:
        text: the prompt.
        size: side of the pictures, pixels.
        settings: how many, in how many steps, with which guidance.
        prompts: how the text is read.
    """

    text: str
    size: int
    settings: SamplingSettings = field(default_factory=SamplingSettings)
    prompts: PromptSettings = field(default_factory=PromptSettings)

    @property
    def seeds(self) -> range:
        """Of the pictures' noises."""
        return range(_FIRST_SEED, _FIRST_SEED + self.settings.sample_count)

    @property
    def words(self) -> str:
        """How it is drawn, for a label."""
        first, last, settings = self.seeds[0], self.seeds[-1], self.settings
        noises = f"noise {first}" if first == last else f"noises {first} to {last}"
        return f"drawn with {noises} in {settings.sample_steps} steps, guidance {settings.guidance:g}"

    def with_count(self, count: int) -> "SamplePrompt":
        """The same with so many noises, from the first on."""
        return replace(self, settings=replace(self.settings, sample_count=count))

    def sample(self, model: "Model", sink: Sink) -> "list[Image]":
        """One picture for each of the fixed seeds; ``sink`` is told of every denoising step."""
        count, prompt = self.settings.sample_count, self._encode(model, self.text)
        return self._sample(model, prompt, count, lambda done, total: sink(SampleStep(done, total)))

    def sample_one(self, model: "Model") -> "Image":
        """The first of them."""
        return self._sample(model, self._encode(model, self.text), 1, lambda done, total: None)[0]

    def sampler(self, model: "Model") -> "Callable[[str], Image]":
        """Samples one picture of any prompt as this one is sampled."""
        return lambda text: replace(self, text=text).sample_one(model)

    def encoded_sampler(self, model: "Model", texts: Iterable[str]) -> "Callable[[str], Image]":
        """As :meth:`sampler`, of these prompts alone: they are encoded now, and the encoders may go."""
        encoded = {text: self._encode(model, text) for text in texts}
        return lambda text: self._sample(model, encoded[text], 1, lambda done, total: None)[0]

    def _encode(self, model: "Model", text: str) -> "EncodedPrompt":
        return model.reading(self.prompts).encode_prompt(text, negative="", size=self.size)

    def _sample(
        self, model: "Model", prompt: "EncodedPrompt", count: int, on_step: Callable[[int, int], None]
    ) -> "list[Image]":
        return model.sample_encoded(
            prompt,
            seeds=range(_FIRST_SEED, _FIRST_SEED + count),
            steps=self.settings.sample_steps,
            guidance=self.settings.guidance,
            on_step=on_step,
        )
