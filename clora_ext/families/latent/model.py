"""A latent diffusion model in memory: diffusers' and transformers' modules, taught and sampled from."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from PIL.Image import Image
from torch import Tensor, nn

from clora_ext.adapters.sites import Target
from clora_ext.config.memory import release_device_memory, reporting_out_of_memory
from clora_ext.config.precision import Precision
from clora_ext.config.settings import PromptSettings
from clora_ext.families.compiled import compile_blocks
from clora_ext.families.components import Role
from clora_ext.families.model import Conditioning, EncodedPrompt, SizeConditioning
from clora_ext.families.picture_size import PictureSize, size_words, width_and_height
from clora_ext.families.placement import Placement, lay_aside
from clora_ext.families.said import TextStates
from clora_ext.families.sharded import shard
from clora_ext.families.stored_weights import store_narrowly

from .activations import picture_bytes
from .filling import local_name
from .pipeline import Pipeline, make_pipeline
from .pipeline_folder import save_pipeline
from .process import DiffusionProcess
from .sample import Sampler, decoded
from .text import Text, collate, tokens, tokens_cut
from .vae import load_vae

__all__ = ["LatentDiffusion"]


@dataclass(frozen=True)
class LatentDiffusion:
    """The parts of a loaded model; see :class:`clora_ext.families.model.Model`.

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
    _remembered: dict[tuple[object, ...], EncodedPrompt] = field(default_factory=dict, repr=False)

    @property
    def parts(self) -> Mapping[str, nn.Module]:
        """Every component by its name."""
        return {"unet": self.denoiser, "vae": self.vae, **self.text.encoders}

    @property
    def picture_encoder(self) -> nn.Module:
        """The VAE."""
        vae: nn.Module = self.vae
        return vae

    @property
    def text_encoders(self) -> Sequence[nn.Module]:
        """One or two of CLIP's."""
        return tuple(self.text.encoders.values())

    def locate(self, target: Target) -> tuple[nn.Module, str]:
        """The component that holds ``target``, and the path of its module inside."""
        part = self.parts[target.component]
        return part, local_name(part, target.module)

    def store_in_8_bits(self) -> None:
        """See :func:`clora_ext.families.stored_weights.store_narrowly`."""
        store_narrowly(self.denoiser, self.precision.device, self.precision.frozen)

    def shard_denoiser(self, whole: Iterable[nn.Parameter]) -> None:
        """See :func:`clora_ext.families.sharded.shard`."""
        shard(self.denoiser, self.precision.device, whole)

    def compile_denoiser(self) -> None:
        """See :func:`clora_ext.families.compiled.compile_blocks`."""
        compile_blocks(self.denoiser)

    def recompute_activations(self) -> None:
        """Gradient checkpointing (arXiv 1604.06174) of the UNet, from now on."""
        self.denoiser.enable_gradient_checkpointing()

    def reading_once(self) -> AbstractContextManager[None]:
        """See :meth:`clora_ext.families.said.Said.once`."""
        return self.text.said.once()

    def keep_texts(self, states: TextStates) -> None:
        """See :meth:`clora_ext.families.said.Said.keep`."""
        self.text.said.keep(states, self.precision.device)

    def remember_prompt(self, prompt: str, negative: str, size: PictureSize) -> None:
        """Encode a prompt now, so that it can be drawn when the text encoders are gone."""
        self._remembered[self._key(prompt, negative, size)] = self.encode_prompt(prompt, negative, size)

    def drop_text_encoders(self) -> None:
        """Free the memory of the text encoders: from now on no prompt is read but what is known."""
        self.text.drop()
        release_device_memory()

    def lay_vae_aside(self) -> None:
        """Free the accelerator's memory of the VAE until :meth:`fetch_vae`: nothing is encoded or sampled."""
        lay_aside(self.vae, self.precision.device)

    def fetch_vae(self) -> None:
        """Have the VAE where the model lies."""
        self.vae.to(self.precision.device)

    @torch.no_grad()
    def encode_images(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """Scaled latents' mean and standard deviation (n, 4, h, w) of pixels (n, 3, H, W) in [-1, 1]."""
        self._make_room(pixels.shape[-1], pixels.shape[-2])
        place = self.vae.encode(pixels.to(self.precision.device)).latent_dist
        factor = float(self.vae.config["scaling_factor"])
        return place.mean * factor, place.std * factor

    @torch.no_grad()
    def decode_latents(self, latents: Tensor) -> list[Image]:
        """The pictures of scaled latents (n, 4, h, w)."""
        return self._decoded(latents.to(self.precision.device))

    def with_vae(self, file: Path) -> "LatentDiffusion":
        """The same parts but for the VAE."""
        vae = load_vae(file, dict(self.vae.config), self.precision.device)
        return replace(self, vae=vae)

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
        self._fetch_denoiser()
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
    def encode_prompt(self, prompt: str, negative: str, size: PictureSize) -> EncodedPrompt:
        """What :meth:`sample_encoded` needs of the text encoders."""
        known = self._remembered.get(self._key(prompt, negative, size))
        if known is not None:
            return known
        width, height = width_and_height(size)
        whole = SizeConditioning((height, width), (0, 0), (height, width))
        with reporting_out_of_memory("reading a prompt"):
            wanted, unwanted = (self.condition([words], [whole]) for words in (prompt, negative))
        return EncodedPrompt(wanted, unwanted, size)

    def sample(
        self,
        prompt: str,
        *,
        negative: str,
        seeds: Sequence[int],
        steps: int,
        guidance: float,
        size: PictureSize,
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
        self._fetch_denoiser()
        sampler = Sampler(
            self._pipeline(), self._decoded, self._fetch_denoiser, self.precision, steps, guidance
        )
        with reporting_out_of_memory(f"drawing pictures of {size_words(prompt.size)}"):
            return sampler.sample(prompt, seeds, on_step)

    def save(self, folder: Path, dtypes: Mapping[Role, torch.dtype]) -> None:
        """Write a new folder that diffusers' ``from_pretrained`` reads; see :func:`save_pipeline`."""
        save_pipeline(self._pipeline(), folder, dtypes)

    def _decoded(self, latents: Tensor) -> list[Image]:
        """The pictures of scaled latents."""
        scale = 2 ** (len(self.vae.config["block_out_channels"]) - 1)
        self._make_room(latents.shape[-1] * scale, latents.shape[-2] * scale)
        return decoded(self.vae, latents)

    def _make_room(self, width: int, height: int) -> None:
        """Lay the UNet aside if the VAE's work on a picture would not fit beside it, until it is used.

        Of SDXL's pictures that takes 3.2 GB, more than anything else without gradients.
        """
        self._placement.make_room(picture_bytes({"vae": self.vae.config}, (width, height)))

    def _fetch_denoiser(self) -> None:
        """Have the UNet where the model lies."""
        self._placement.fetch(self.denoiser)

    @property
    def _placement(self) -> Placement:
        """Weights that are copied for each layer, or shared out, stay where they are."""
        stays = self.precision.offloads_denoiser or self.precision.shards_denoiser
        return Placement(self.precision.device, () if stays else (self.denoiser,))

    def _key(self, prompt: str, negative: str, size: PictureSize) -> tuple[object, ...]:
        """Of a prompt that is remembered, as it is read now."""
        return self.text.prompts, prompt, negative, size

    def _pipeline(self) -> Pipeline:
        return make_pipeline(self.denoiser, self.vae, self.text, self.process.scheduler)
