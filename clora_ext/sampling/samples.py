"""Samples with fixed seeds: the same prompt with the same noise, whatever the model has learned meanwhile."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from clora_ext.config.settings import PromptSettings, SamplingSettings
from clora_ext.events import SampleStep, Sink

if TYPE_CHECKING:
    from PIL.Image import Image

    from clora_ext.families.model import EncodedPrompt, Model

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
        negative: what to steer away from.
        first_seed: of the pictures' noises, which count up from it.
        sides: width and height, pixels, where the pictures are no squares; None: they are.
    """

    text: str
    size: int
    settings: SamplingSettings = field(default_factory=SamplingSettings)
    prompts: PromptSettings = field(default_factory=PromptSettings)
    negative: str = ""
    first_seed: int = _FIRST_SEED
    sides: tuple[int, int] | None = None

    @property
    def seeds(self) -> range:
        """Of the pictures' noises."""
        return range(self.first_seed, self.first_seed + self.settings.sample_count)

    def of(self, text: str) -> "SamplePrompt":
        """Another prompt, sampled as this one."""
        return replace(self, text=text)

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
        prompt = self._encode(model)
        return self._sample(model, prompt, self.seeds, lambda done, total: sink(SampleStep(done, total)))

    def sample_one(self, model: "Model") -> "Image":
        """The first of them."""
        return self._sample(model, self._encode(model), self.seeds[:1], lambda done, total: None)[0]

    def remember(self, model: "Model") -> None:
        """Have the model encode it now, so that it can be sampled when the text encoders are gone."""
        model.reading(self.prompts).remember_prompt(self.text, self.negative, self.sides or self.size)

    def sampler(self, model: "Model") -> "Callable[[str], Image]":
        """Samples one picture of any text as this one is sampled."""
        return lambda text: self.of(text).sample_one(model)

    def _encode(self, model: "Model") -> "EncodedPrompt":
        size = self.sides or self.size
        return model.reading(self.prompts).encode_prompt(self.text, negative=self.negative, size=size)

    def _sample(
        self, model: "Model", prompt: "EncodedPrompt", seeds: range, on_step: Callable[[int, int], None]
    ) -> "list[Image]":
        return model.sample_encoded(
            prompt,
            seeds=seeds,
            steps=self.settings.sample_steps,
            guidance=self.settings.guidance,
            on_step=on_step,
        )
