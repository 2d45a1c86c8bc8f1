"""A latent diffusion model in memory: diffusers' and transformers' modules, taught and sampled from."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from PIL.Image import Image
from torch import Tensor, nn

from clora_ext.adapters.sites import Target
from clora_ext.config.memory import release_device_memory, reporting_out_of_memory
from clora_ext.config.precision import Precision
from clora_ext.config.settings import PromptSettings
from clora_ext.families.base import Conditioning, EncodedPrompt, SizeConditioning
from clora_ext.families.components import Role

from .filling import local_name
from .pipeline import Pipeline, make_pipeline
from .pipeline_folder import save_pipeline
from .process import DiffusionProcess
from .sample import Sampler, decoded
from .text import Text, collate, tokens, tokens_cut

__all__ = ["LatentDiffusion"]


@dataclass(frozen=True)
class LatentDiffusion:
    """The parts of a loaded model; see :class:`clora_ext.families.base.Model`.

    Attributes:
        denoiser: predicts noise (or v) from noisy latents (n, 4, h, w).
        vae: pictures to latents and back; float32.
        text: reads prompts.
        process: how the denoiser was trained.
        precision: where it lies.
    """

    denoiser: UNet2DConditionModel
    vae: AutoencoderKL
    text: Text
    process: DiffusionProcess
    precision: Precision

    @property
    def parts(self) -> Mapping[str, nn.Module]:
        """Every component by its name."""
        return {"unet": self.denoiser, "vae": self.vae, **self.text.encoders}

    def locate(self, target: Target) -> tuple[nn.Module, str]:
        """The component that holds ``target``, and the path of its module inside."""
        part = self.parts[target.component]
        return part, local_name(part, target.module)

    def recompute_activations(self) -> None:
        """Gradient checkpointing (arXiv 1604.06174) of the UNet, from now on."""
        self.denoiser.enable_gradient_checkpointing()

    def drop_text_encoders(self) -> None:
        """Free the memory of the text encoders: from now on no prompt can be read."""
        for encoder in self.text.encoders.values():
            encoder.to("meta")
        release_device_memory()

    def drop_vae(self) -> None:
        """Free the memory of the VAE: from now on no picture can be encoded or sampled."""
        self.vae.to("meta")
        release_device_memory()

    @torch.no_grad()
    def encode_images(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """Scaled latents' mean and standard deviation (n, 4, h, w) of pixels (n, 3, H, W) in [-1, 1]."""
        place = self.vae.encode(pixels.to(self.precision.device)).latent_dist
        factor = float(self.vae.config["scaling_factor"])
        return place.mean * factor, place.std * factor

    @torch.no_grad()
    def decode_latents(self, latents: Tensor) -> list[Image]:
        """The pictures of scaled latents (n, 4, h, w)."""
        return decoded(self.vae, latents.to(self.precision.device))

    def reading(self, prompts: PromptSettings) -> "LatentDiffusion":
        """The same parts, with texts read in this way."""
        return replace(self, text=self.text.reading(prompts))

    def condition(
        self, prompts: Sequence[str], size_conditionings: Sequence[SizeConditioning]
    ) -> Conditioning:
        """What the UNet is given for pictures with these prompts, cut like this; keeps gradients."""
        return self.text.condition(prompts, size_conditionings)

    def collate(self, conditions: Sequence[Conditioning]) -> Conditioning:
        """See :func:`clora_ext.families.latent.text.collate`."""
        return collate(conditions)

    def latent_shape(self, size: int) -> tuple[int, ...]:
        """(4, h, w): the VAE halves the sides between its levels."""
        side = size >> len(self.vae.config["block_out_channels"]) - 1
        return int(self.denoiser.config["in_channels"]), side, side

    def tokens(self, text: str) -> Sequence[int]:
        """The numbers of a text's tokens, without those that mark its beginning and end."""
        return tokens(self.text.tokenizer, text)

    def tokens_cut(self, prompt: str) -> int:
        """How many tokens at the prompt's end are not read."""
        return tokens_cut(self.text.tokenizer, prompt, self.text.prompts.parts)

    def predict(self, latents: Tensor, times: Tensor, condition: Conditioning) -> Tensor:
        """The UNet's output, of the latents' shape."""
        added = None
        if "pooled" in condition:
            added = {"text_embeds": condition["pooled"], "time_ids": condition["time_ids"]}
        output: Tensor = self.denoiser(
            latents,
            times,
            encoder_hidden_states=condition["states"],
            added_cond_kwargs=added,
            return_dict=False,
        )[0]
        return output

    @torch.no_grad()
    def encode_prompt(self, prompt: str, negative: str, size: int) -> EncodedPrompt:
        """What :meth:`sample_encoded` needs of the text encoders."""
        square = SizeConditioning((size, size), (0, 0), (size, size))
        with reporting_out_of_memory("reading a prompt"):
            wanted, unwanted = (self.condition([words], [square]) for words in (prompt, negative))
        return EncodedPrompt(wanted, unwanted, size)

    def sample(
        self,
        prompt: str,
        *,
        negative: str,
        seeds: Sequence[int],
        steps: int,
        guidance: float,
        size: int,
        on_step: Callable[[int, int], None] = lambda done, total: None,
    ) -> list[Image]:
        """One picture for every seed; see :meth:`sample_encoded`."""
        encoded = self.encode_prompt(prompt, negative, size)
        return self.sample_encoded(encoded, seeds=seeds, steps=steps, guidance=guidance, on_step=on_step)

    @torch.no_grad()
    def sample_encoded(
        self,
        prompt: EncodedPrompt,
        *,
        seeds: Sequence[int],
        steps: int,
        guidance: float,
        on_step: Callable[[int, int], None] = lambda done, total: None,
    ) -> list[Image]:
        """One picture for every seed; see :meth:`clora_ext.families.latent.sample.Sampler.sample`."""
        sampler = Sampler(self._pipeline(), self.vae, self.precision, steps, guidance)
        with reporting_out_of_memory(f"drawing pictures of {prompt.size} px"):
            return sampler.sample(prompt, seeds, on_step)

    def save(self, folder: Path, dtypes: Mapping[Role, torch.dtype]) -> None:
        """Write a new folder that diffusers' ``from_pretrained`` reads; see :func:`save_pipeline`."""
        save_pipeline(self._pipeline(), folder, dtypes)

    def _pipeline(self) -> Pipeline:
        return make_pipeline(self.denoiser, self.vae, self.text, self.process.scheduler)
