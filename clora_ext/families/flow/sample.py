"""Pictures out of a model of flow matching, by Euler's method."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from PIL.Image import Image
from torch import Tensor

from clora_ext.config.precision import Precision
from clora_ext.families.drawing import draw
from clora_ext.families.model import Conditioning, EncodedPrompt
from clora_ext.families.picture_size import width_and_height

from .process import FlowProcess

__all__ = ["Sampler"]


@dataclass(frozen=True)
class Sampler:
    """Samples with classifier-free guidance (arXiv 2207.12598).

    Attributes:
        process: says at which times the network is asked.
        predict: the network's answer to latents at times.
        decode: latents' pictures.
        shape: of the latents of one picture of (width, height) pixels.
        precision: where the model lies.
        steps: of Euler's method.
        guidance: 1 switches guidance off.
    """

    process: FlowProcess
    predict: Callable[[Tensor, Tensor, Conditioning], Tensor]
    decode: Callable[[Tensor], list[Image]]
    shape: Callable[[int, int], tuple[int, ...]]
    precision: Precision
    steps: int
    guidance: float

    def sample(
        self, prompt: EncodedPrompt, seeds: Sequence[int], on_step: Callable[[int, int], None]
    ) -> list[Image]:
        """One picture for every seed.

        Args:
            prompt: encoded as in training.
            seeds: of the starting noises, drawn on the processor: equal on every device.
            on_step: told (done, total) after every step; may raise to stop.
        """
        return draw(
            seeds,
            prompt.size,
            self.steps,
            on_step,
            latents=partial(self._latents, prompt, self.shape(*width_and_height(prompt.size))),
            decode=self.decode,
        )

    def _latents(
        self,
        prompt: EncodedPrompt,
        shape: tuple[int, ...],
        seeds: Sequence[int],
        tell: Callable[[int], None],
    ) -> Tensor:
        """Some pictures' latents at once, (n, channels, h, w), scaled; ``tell`` is told the steps done."""
        noises = [torch.randn(shape, generator=torch.Generator("cpu").manual_seed(seed)) for seed in seeds]
        latents = torch.stack(noises).to(self.precision.device)
        wanted, unwanted = (_repeated(one, len(seeds)) for one in (prompt.wanted, prompt.unwanted))
        for done, time in enumerate(self.process.sampling_times(self.steps, shape).tolist()):
            times = torch.full((len(seeds),), time, device=latents.device)
            with self.precision.autocast():
                output = self.predict(latents, times, wanted).float()
                if self.guidance != 1:
                    without = self.predict(latents, times, unwanted).float()
                    output = without + self.guidance * (output - without)
            latents = self.process.advance(latents, output, done, self.steps)
            tell(done + 1)
        return latents


def _repeated(condition: Conditioning, count: int) -> Conditioning:
    """One prompt's values (1, ...) for ``count`` pictures."""
    return {
        name: value.float().repeat(count, *(1 for _ in value.shape[1:])) for name, value in condition.items()
    }
