"""Pictures out of a latent diffusion model."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from diffusers import AutoencoderKL
from diffusers.image_processor import VaeImageProcessor
from PIL.Image import Image
from torch import Tensor

from clora_ext.config.precision import Precision
from clora_ext.families.drawing import draw
from clora_ext.families.model import Conditioning, EncodedPrompt
from clora_ext.families.picture_size import PictureSize, width_and_height

from .pipeline import Pipeline

__all__ = ["Sampler", "decoded"]


@dataclass(frozen=True)
class Sampler:
    """Samples with classifier-free guidance (arXiv 2207.12598).

    Attributes:
        pipeline: diffusers' own.
        decode: latents' pictures, see :func:`decoded`.
        ready: called before the network is asked, which decoding may have put elsewhere.
        precision: where the model lies.
        steps: denoising steps.
        guidance: 1 switches guidance off.
    """

    pipeline: Pipeline
    decode: Callable[[Tensor], list[Image]]
    ready: Callable[[], None]
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
        prompts = {**_arguments("", prompt.wanted), **_arguments("negative_", prompt.unwanted)}
        return draw(
            seeds,
            prompt.size,
            self.steps,
            on_step,
            latents=partial(self._latents, prompts, prompt.size),
            decode=self.decode,
        )

    def _latents(
        self,
        prompts: Mapping[str, Tensor],
        size: PictureSize,
        seeds: Sequence[int],
        tell: Callable[[int], None],
    ) -> Tensor:
        """Some pictures' latents at once, (n, 4, h, w), scaled; ``tell`` is told the steps done."""
        width, height = width_and_height(size)
        self.ready()

        def after_step(_: Any, index: int, __: Any, kwargs: dict[str, Any]) -> dict[str, Any]:  # noqa: ANN401
            tell(index + 1)
            return kwargs

        # Prompts and noise are float32 whatever the UNet is: autocast joins them. The VAE stays outside: in
        # float16 SDXL's overflows.
        with self.precision.autocast():
            latents: Tensor = self.pipeline(
                **{name: _repeated(value, len(seeds)) for name, value in prompts.items()},
                generator=[torch.Generator("cpu").manual_seed(seed) for seed in seeds],
                num_inference_steps=self.steps,
                guidance_scale=self.guidance,
                height=height,
                width=width,
                output_type="latent",
                callback_on_step_end=after_step,
            ).images
        return latents


def decoded(vae: AutoencoderKL, latents: Tensor) -> list[Image]:
    """The pictures of scaled latents (n, 4, h, w)."""
    pixels = vae.decode(latents.float() / float(vae.config["scaling_factor"])).sample
    images: list[Image] = VaeImageProcessor().postprocess(pixels)
    return images


def _arguments(start: str, condition: Conditioning) -> dict[str, Tensor]:
    """A prompt's conditioning as the pipeline's arguments: the sizes it works out itself."""
    names = {"states": f"{start}prompt_embeds", "pooled": f"{start}pooled_prompt_embeds"}
    return {names[key]: value.float() for key, value in condition.items() if key in names}


def _repeated(value: Tensor, count: int) -> Tensor:
    """One prompt's values (1, ...) for ``count`` pictures."""
    return value.repeat(count, *(1 for _ in value.shape[1:]))
