"""A latent diffusion model in memory: diffusers' and transformers' modules, taught and drawn with."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from diffusers import (
    AutoencoderKL,
    DDIMScheduler,
    DDPMScheduler,
    StableDiffusionPipeline,
    StableDiffusionXLPipeline,
    UNet2DConditionModel,
)
from PIL.Image import Image
from torch import Tensor, autocast, nn
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

from clora_ext.adapters.sites import Target
from clora_ext.config.precision import Precision
from clora_ext.errors import CheckpointError
from clora_ext.families.base import Conditioning, Framing
from clora_ext.formats.checkpoint import Checkpoint
from clora_ext.formats.keys import KeyTable
from clora_ext.formats.pages import release_on_free

from .filling import fill, local_name
from .pipeline_folder import save_pipeline
from .text import OneText, Text, TwoTexts, load_tokenizer

__all__ = ["LatentDiffusion", "load_model"]

# More pictures together are drawn sooner, and take more memory: one of SDXL's size, four of SD 1.5's.
_PIXELS_AT_ONCE = 1 << 20


@dataclass(frozen=True)
class LatentDiffusion:
    """The parts of a loaded model; see :class:`clora_ext.families.base.Model`.

    Attributes:
        unet: predicts noise (or v) from noisy latents (n, 4, h, w).
        vae: pictures to latents and back; float32.
        text: reads prompts.
        noise: the noise schedule of training.
        precision: where it lies.
    """

    unet: UNet2DConditionModel
    vae: AutoencoderKL
    text: Text
    noise: DDPMScheduler
    precision: Precision

    @property
    def parts(self) -> Mapping[str, nn.Module]:
        """Every component by its name."""
        return {"unet": self.unet, "vae": self.vae, **self.text.encoders}

    @property
    def timesteps(self) -> int:
        """Length of the noise schedule."""
        return int(self.noise.config["num_train_timesteps"])

    def locate(self, target: Target) -> tuple[nn.Module, str]:
        """The component that holds ``target``, and the path of its module inside."""
        part = self.parts[target.component]
        return part, local_name(part, target.module)

    def recompute_activations(self) -> None:
        """Gradient checkpointing (arXiv 1604.06174) of the UNet, from now on."""
        self.unet.enable_gradient_checkpointing()

    def drop_encoders(self) -> None:
        """Free the memory of everything but the UNet, which alone can be used from now on."""
        for name, part in self.parts.items():
            if name != "unet":
                part.to("meta")

    @torch.no_grad()
    def encode_images(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """Scaled latents' mean and standard deviation (n, 4, h, w) of pixels (n, 3, H, W) in [-1, 1]."""
        place = self.vae.encode(pixels.to(self.precision.device)).latent_dist
        factor = float(self.vae.config["scaling_factor"])
        return place.mean * factor, place.std * factor

    def condition(self, prompts: Sequence[str], framings: Sequence[Framing]) -> Conditioning:
        """What the UNet is told about pictures with these prompts, cut like this; keeps gradients."""
        return self.text.condition(prompts, framings)

    def tokens_cut(self, prompt: str) -> int:
        """How many tokens at the prompt's end do not fit into the text encoder."""
        tokenizer = self.text.tokenizer
        return max(0, len(tokenizer(prompt).input_ids) - tokenizer.model_max_length)

    def predict(self, latents: Tensor, timesteps: Tensor, condition: Conditioning) -> Tensor:
        """The UNet's output, of the latents' shape."""
        added = None
        if "pooled" in condition:
            added = {"text_embeds": condition["pooled"], "time_ids": condition["time_ids"]}
        output: Tensor = self.unet(
            latents,
            timesteps,
            encoder_hidden_states=condition["states"],
            added_cond_kwargs=added,
            return_dict=False,
        )[0]
        return output

    def add_noise(self, latents: Tensor, noise: Tensor, timesteps: Tensor) -> Tensor:
        """Latents noised to ``timesteps`` (n,)."""
        noisy: Tensor = self.noise.add_noise(latents, noise, timesteps)
        return noisy

    def target(self, latents: Tensor, noise: Tensor, timesteps: Tensor) -> Tensor:
        """What the UNet should predict."""
        if self.noise.config["prediction_type"] == "v_prediction":
            velocity: Tensor = self.noise.get_velocity(latents, noise, timesteps)
            return velocity
        return noise

    @torch.no_grad()
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
        """One picture for every seed, with DDIM (arXiv 2010.02502), classifier-free guidance (2207.12598).

        Args:
            prompt: what to draw.
            negative: what to steer away from.
            seeds: of the starting noises, drawn on the processor: equal on every device.
            steps: denoising steps.
            guidance: 1 switches guidance off.
            size: side of the square pictures, pixels.
            on_step: told (done, total) after every step; may raise to stop.
        """
        at_once = max(1, _PIXELS_AT_ONCE // size**2)
        parts = [seeds[start : start + at_once] for start in range(0, len(seeds), at_once)]
        images: list[Image] = []
        for number, part in enumerate(parts):
            tell = partial(_tell, on_step, number * steps, len(parts) * steps)
            prompts = self._prompts(prompt, negative, len(part), size)
            images += self._draw(prompts, part, steps, guidance, size, tell)
        return images

    def _draw(
        self,
        prompts: Mapping[str, Tensor],
        seeds: Sequence[int],
        steps: int,
        guidance: float,
        size: int,
        tell: Callable[[int], None],
    ) -> list[Image]:
        """Some pictures at once, in diffusers' pipeline; ``tell`` is told the steps done."""

        def after_step(_: Any, index: int, __: Any, kwargs: dict[str, Any]) -> dict[str, Any]:  # noqa: ANN401
            tell(index + 1)
            return kwargs

        pipeline = self._pipeline()
        # Prompts and noise are float32 whatever the UNet is: autocast joins them. The VAE stays outside: in
        # float16 SDXL's overflows.
        half = self.precision.frozen != torch.float32
        dtype = self.precision.frozen if half else None
        with autocast(self.precision.device.type, dtype, enabled=half):
            latents: Tensor = pipeline(
                **prompts,
                generator=[torch.Generator("cpu").manual_seed(seed) for seed in seeds],
                num_inference_steps=steps,
                guidance_scale=guidance,
                height=size,
                width=size,
                output_type="latent",
                callback_on_step_end=after_step,
            ).images
        pixels = self.vae.decode(latents.float() / float(self.vae.config["scaling_factor"])).sample
        images: list[Image] = pipeline.image_processor.postprocess(pixels)
        return images

    def save(self, folder: Path, dtypes: Mapping[str, torch.dtype]) -> None:
        """Write a new folder that diffusers' ``from_pretrained`` reads; see :func:`save_pipeline`."""
        save_pipeline(self._pipeline(), folder, dtypes)

    def _prompts(self, prompt: str, negative: str, count: int, size: int) -> dict[str, Tensor]:
        """The pipeline's arguments for a prompt: encoded here, as in training."""
        framing = Framing((size, size), (0, 0), (size, size))
        arguments = {}
        for start, words in (("", prompt), ("negative_", negative)):
            told = self.condition([words], [framing])
            arguments[f"{start}prompt_embeds"] = told["states"].float().repeat(count, 1, 1)
            if "pooled" in told:
                arguments[f"{start}pooled_prompt_embeds"] = told["pooled"].float().repeat(count, 1)
        return arguments

    def _pipeline(self) -> StableDiffusionPipeline | StableDiffusionXLPipeline:
        """diffusers' pipeline around these modules."""
        zero_ended = bool(self.noise.config.get("rescale_betas_zero_snr"))
        scheduler = DDIMScheduler.from_config(
            self.noise.config,
            clip_sample=False,
            set_alpha_to_one=False,
            steps_offset=0 if zero_ended else 1,
            # A schedule that ends in pure noise must be entered there (arXiv 2305.08891).
            timestep_spacing="trailing" if zero_ended else "leading",
        )
        encoders = self.text.encoders
        tokenizer = self.text.tokenizer
        if "text_encoder_2" in encoders:
            pipeline = StableDiffusionXLPipeline(
                vae=self.vae,
                **encoders,
                tokenizer=tokenizer,
                tokenizer_2=tokenizer,
                unet=self.unet,
                scheduler=scheduler,
                add_watermarker=False,
            )
        else:
            pipeline = StableDiffusionPipeline(
                vae=self.vae,
                **encoders,
                tokenizer=tokenizer,
                unet=self.unet,
                scheduler=scheduler,
                safety_checker=None,
                feature_extractor=None,
                requires_safety_checker=False,
            )
        pipeline.set_progress_bar_config(disable=True)
        return pipeline


def _tell(on_step: Callable[[int, int], None], before: int, total: int, done: int) -> None:
    """Steps of one part as steps of the whole."""
    on_step(before + done, total)


@release_on_free()
def load_model(
    checkpoint: Checkpoint,
    config: Mapping[str, Any],
    tables: Mapping[str, KeyTable],
    precision: Precision,
    weights: Mapping[str, Tensor],
) -> LatentDiffusion:
    """Build the modules that ``config`` describes and fill them.

    Args:
        checkpoint: in the original layout.
        config: see :data:`clora_ext.families.latent.layout.Config`.
        tables: the components' names in the checkpoint.
        precision: where the model goes and in which dtype; the VAE stays float32.
        weights: float32 matrices by :attr:`Target.name` that stand in for the file's own.

    Raises:
        CheckpointError: tensors are missing, of another shape, or not finite.
    """
    tokenizer = load_tokenizer(config.get("tokenizer"), checkpoint.path)
    text_config = CLIPTextConfig(**config["text_encoder"])
    if len(tokenizer) != text_config.vocab_size:
        message = f"{checkpoint.path}: the text encoder knows {text_config.vocab_size} tokens, its tokenizer "
        fix = "use the version of clora that the file was made with"
        raise CheckpointError(f"{message}{len(tokenizer)}", fix=fix)
    tokenizer.model_max_length = min(tokenizer.model_max_length, text_config.max_position_embeddings)

    def filled(component: str, build: Callable[[], nn.Module], dtype: torch.dtype) -> Any:  # noqa: ANN401
        module = fill(build, tables[component], checkpoint, weights, dtype)
        return module.to(precision.device).eval().requires_grad_(requires_grad=False)

    encoder = filled("text_encoder", lambda: CLIPTextModel(text_config), precision.frozen)
    text: Text = OneText(tokenizer, encoder)
    if "text_encoder_2" in config:
        second = CLIPTextConfig(**config["text_encoder_2"])
        encoder_2 = filled("text_encoder_2", lambda: CLIPTextModelWithProjection(second), precision.frozen)
        text = TwoTexts(tokenizer, encoder, encoder_2)
    vae = filled("vae", lambda: AutoencoderKL.from_config(config["vae"]), torch.float32)
    # Picture by picture: at SDXL's size one takes some gigabytes in float32.
    vae.enable_slicing()
    return LatentDiffusion(
        unet=filled("unet", lambda: UNet2DConditionModel.from_config(config["unet"]), precision.frozen),
        vae=vae,
        text=text,
        noise=DDPMScheduler.from_config(config["scheduler"]),
        precision=precision,
    )
