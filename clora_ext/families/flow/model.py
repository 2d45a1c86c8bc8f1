"""A model of flow matching in memory: diffusers' and transformers' modules, taught and sampled from."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from diffusers.image_processor import VaeImageProcessor
from PIL.Image import Image
from torch import Tensor, nn

from clora_ext.adapters.sites import Target
from clora_ext.config.memory import release_device_memory, reporting_out_of_memory
from clora_ext.config.precision import Precision
from clora_ext.config.settings import PromptSettings
from clora_ext.families.compiled import compile_blocks
from clora_ext.families.components import Role
from clora_ext.families.model import Conditioning, EncodedPrompt, SizeConditioning
from clora_ext.families.picture_size import PictureSize, size_words
from clora_ext.families.placement import Placement, lay_aside
from clora_ext.families.said import TextStates
from clora_ext.families.sharded import shard
from clora_ext.families.stored_weights import store_narrowly

from .folder import save_folder
from .process import FlowProcess
from .sample import Sampler
from .text import Text, collate
from .vae import load_flow_vae

if TYPE_CHECKING:
    from .layout import FlowLayout

__all__ = ["FlowModel"]


@dataclass(frozen=True)
class FlowModel:
    """The parts of a loaded model; see :class:`clora_ext.families.model.Model`.

    Attributes:
        denoiser: the transformer; a module of diffusers.
        vae: pictures to latents and back; float32; another.
        text: reads prompts.
        process: how the denoiser was trained.
        precision: where it lies.
        family: says how transformer and VAE are asked.
        is_distilled: see :attr:`clora_ext.families.variant.Variant.is_distilled`.
    """

    denoiser: Any  # each family's is of another class
    vae: Any  # likewise
    text: Text
    process: FlowProcess
    precision: Precision
    family: "FlowLayout"
    is_distilled: bool
    _remembered: dict[tuple[object, ...], EncodedPrompt] = field(default_factory=dict, repr=False)

    @property
    def parts(self) -> Mapping[str, nn.Module]:
        """Every component by its name."""
        found = {"transformer": self.denoiser, "vae": self.vae, "text_encoder": self.text.encoder}
        return (
            found if self.text.conditioner is None else {**found, "text_conditioner": self.text.conditioner}
        )

    @property
    def picture_encoder(self) -> nn.Module:
        """The VAE."""
        found: nn.Module = self.vae
        return found

    @property
    def text_encoders(self) -> Sequence[nn.Module]:
        """The language model, and what stands behind it."""
        return self.text.networks

    def locate(self, target: Target) -> tuple[nn.Module, str]:
        """The component that holds ``target``, and the path of its module inside.

        It is brought where it works: whoever asks is about to put something beside its weights.
        """
        self._placement.fetch(self.parts[target.component])
        return self.parts[target.component], target.module

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
        """Gradient checkpointing (arXiv 1604.06174) of the transformer, from now on."""
        self.denoiser.enable_gradient_checkpointing()

    def reading_once(self) -> AbstractContextManager[None]:
        """See :meth:`clora_ext.families.said.Said.once`."""
        return self.text.said.once()

    def keep_texts(self, states: TextStates) -> None:
        """See :meth:`clora_ext.families.said.Said.keep`."""
        self.text.said.keep(states, self.precision.device)

    def remember_prompt(self, prompt: str, negative: str, size: PictureSize) -> None:
        """Encode a prompt now, so that it can be drawn when the text encoder is gone."""
        self._remembered[prompt, negative, size] = self.encode_prompt(prompt, negative, size)

    def drop_text_encoders(self) -> None:
        """Free the memory of the language model: from now on no prompt is read but what is known."""
        nn.Module.to(self.text.whole, "meta")
        release_device_memory()

    def lay_vae_aside(self) -> None:
        """Free the accelerator's memory of the VAE until :meth:`fetch_vae`: nothing is encoded or sampled."""
        lay_aside(self.vae, self.precision.device)

    def fetch_vae(self) -> None:
        """Have the VAE where the model lies."""
        self.vae.to(self.precision.device)

    @torch.no_grad()
    def encode_images(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """Scaled latents' mean and standard deviation (n, c, h, w) of pixels (n, 3, H, W) in [-1, 1]."""
        self._make_room(pixels.shape[-1], pixels.shape[-2])
        mean, deviation = self.family.vae.encoded(self.vae, pixels.to(self.precision.device))
        return self.family.vae.scaled(self.vae, mean, deviation)

    @torch.no_grad()
    def decode_latents(self, latents: Tensor) -> list[Image]:
        """The pictures of scaled latents (n, c, h, w)."""
        self._make_room(latents.shape[-1] * self._reduction, latents.shape[-2] * self._reduction)
        own = self.family.vae.unscaled(self.vae, latents.to(self.precision.device).float())
        pixels = self.family.vae.decoded(self.vae, own)
        images: list[Image] = VaeImageProcessor().postprocess(pixels)
        return images

    def with_vae(self, file: Path) -> "FlowModel":
        """The same parts but for the VAE."""
        kind, config = self.family.vae, dict(self.vae.config)
        return replace(self, vae=load_flow_vae(file, kind, config, self.precision.device))

    def reading(self, prompts: PromptSettings) -> "FlowModel":
        """The same: a language model is asked in one way."""
        return self

    def condition(
        self, prompts: Sequence[str], size_conditionings: Sequence[SizeConditioning]
    ) -> Conditioning:
        """What the transformer is given for pictures with these prompts; how they are cut is not told."""
        return self._read(prompts)

    def collate(self, conditions: Sequence[Conditioning]) -> Conditioning:
        """See :func:`clora_ext.families.flow.text.collate`."""
        return collate(conditions)

    def latent_shape(self, size: int) -> tuple[int, ...]:
        """(channels, h, w) of what the transformer is given."""
        return self._latent_shape(size, size)

    def tokens(self, text: str) -> Sequence[int]:
        """The numbers of a text's tokens, without those of the template."""
        return self.text.reading.plain(text)

    def tokens_cut(self, prompt: str) -> int:
        """How many tokens at the prompt's end are not read."""
        return self.text.reading.cut(prompt)

    def predict(self, latents: Tensor, times: Tensor, condition: Conditioning) -> Tensor:
        """The velocity at the times, of the latents' shape."""
        self._placement.fetch(self.denoiser)
        return self.family.transformer.velocity(self.denoiser, latents, times, condition)

    @torch.no_grad()
    def encode_prompt(self, prompt: str, negative: str, size: PictureSize) -> EncodedPrompt:
        """What :meth:`sample_encoded` needs of the language model."""
        known = self._remembered.get((prompt, negative, size))
        if known is not None:
            return known
        with reporting_out_of_memory("reading a prompt"):
            wanted, unwanted = (self._read([words]) for words in (prompt, negative))
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
        """One picture for every seed; see :meth:`clora_ext.families.flow.sample.Sampler.sample`."""
        sampler = Sampler(
            self.process,
            self.predict,
            self.decode_latents,
            self._latent_shape,
            self.precision,
            steps,
            guidance,
        )
        with reporting_out_of_memory(f"drawing pictures of {size_words(prompt.size)}"):
            return sampler.sample(prompt, seeds, on_step)

    def save(self, folder: Path, dtypes: Mapping[Role, torch.dtype]) -> None:
        """Write a new folder that diffusers' ``from_pretrained`` reads."""
        told = {"is_distilled": True} if self.is_distilled else {}
        save_folder(self.parts, self.text, self.family, folder, dtypes, told)

    @property
    def _reduction(self) -> int:
        return self.family.vae.reduction(self.vae.config)

    def _latent_shape(self, width: int, height: int) -> tuple[int, ...]:
        channels = self.family.vae.channels(self.vae.config)
        return channels, height // self._reduction, width // self._reduction

    def _make_room(self, width: int, height: int) -> None:
        """For the VAE's work on a picture, at the cost of what does not work then."""
        self._placement.make_room(self.family.vae.picture_bytes(self.vae.config, (width, height)))

    @property
    def _placement(self) -> Placement:
        """The language model goes first: what it has read is known."""
        stays = self.precision.offloads_denoiser or self.precision.shards_denoiser
        movable = (self.text.whole, *([] if stays else [self.denoiser]))
        return Placement(self.precision.device, movable)

    def _read(self, prompts: Sequence[str]) -> Conditioning:
        self._placement.fetch(self.text.whole)
        return self.text.condition(prompts)
