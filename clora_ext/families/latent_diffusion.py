"""A latent diffusion model with one text encoder, loaded into diffusers' modules."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import torch
from diffusers import (
    AutoencoderKL,
    DDIMScheduler,
    DDPMScheduler,
    StableDiffusionPipeline,
    UNet2DConditionModel,
)
from PIL.Image import Image
from torch import Tensor, nn
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from clora_ext.errors import CheckpointError
from clora_ext.formats.checkpoint import Checkpoint
from clora_ext.formats.keys import PREFIXES, KeyTable, text_table, unet_table, vae_table
from clora_ext.precision import Precision

from .pipeline_folder import save_pipeline

__all__ = ["LatentDiffusion", "load_model"]

_TOKENIZERS = {"demo": Path(__file__).parents[1] / "assets" / "demo_tokenizer"}


@dataclass(frozen=True)
class LatentDiffusion:
    """The parts of a loaded model; see :class:`clora_ext.families.base.Model`.

    Attributes:
        unet: predicts noise (or v) from noisy latents (n, 4, h, w).
        vae: pictures to latents and back; float32.
        text_encoder: CLIP; float32.
        tokenizer: of the text encoder.
        noise: the noise schedule of training.
        precision: where it lies.
    """

    unet: UNet2DConditionModel
    vae: AutoencoderKL
    text_encoder: CLIPTextModel
    tokenizer: CLIPTokenizer
    noise: DDPMScheduler
    precision: Precision

    @property
    def timesteps(self) -> int:
        """Length of the noise schedule."""
        return int(self.noise.config["num_train_timesteps"])

    @torch.no_grad()
    def encode_images(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """Scaled latents' mean and standard deviation (n, 4, h, w) of pixels (n, 3, H, W) in [-1, 1]."""
        place = self.vae.encode(pixels.to(self.precision.device)).latent_dist
        factor = float(self.vae.config["scaling_factor"])
        return place.mean * factor, place.std * factor

    @torch.no_grad()
    def encode_prompts(self, prompts: Sequence[str]) -> Tensor:
        """Text states (n, tokens, width), padded and cut to the tokenizer's length as the pipeline does."""
        tokens = self.tokenizer(
            list(prompts),
            padding="max_length",
            max_length=self.tokenizer.model_max_length,
            truncation=True,
            return_tensors="pt",
        )
        states: Tensor = self.text_encoder(tokens.input_ids.to(self.precision.device))[0]
        return states

    def tokens_cut(self, prompt: str) -> int:
        """How many tokens at the prompt's end do not fit into the text encoder."""
        return max(0, len(self.tokenizer(prompt).input_ids) - self.tokenizer.model_max_length)

    def predict(self, latents: Tensor, timesteps: Tensor, text: Tensor) -> Tensor:
        """The UNet's output, of the latents' shape."""
        output: Tensor = self.unet(latents, timesteps, encoder_hidden_states=text, return_dict=False)[0]
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
        pipeline = self._pipeline()
        pipeline.set_progress_bar_config(disable=True)

        def after_step(_: Any, index: int, __: Any, kwargs: dict[str, Any]) -> dict[str, Any]:  # noqa: ANN401
            on_step(index + 1, steps)
            return kwargs

        # VAE and text encoder are float32 whatever the UNet is: autocast joins them.
        half = self.precision.frozen != torch.float32
        with torch.autocast(
            self.precision.device.type, self.precision.frozen if half else None, enabled=half
        ):
            result = pipeline(
                prompt=[prompt] * len(seeds),
                negative_prompt=[negative] * len(seeds),
                generator=[torch.Generator("cpu").manual_seed(seed) for seed in seeds],
                num_inference_steps=steps,
                guidance_scale=guidance,
                height=size,
                width=size,
                callback_on_step_end=after_step,
            )
        images: list[Image] = result.images
        return images

    def save(self, folder: Path, dtypes: Mapping[str, torch.dtype]) -> None:
        """Write a new folder that diffusers' ``from_pretrained`` reads; see :func:`save_pipeline`."""
        save_pipeline(self._pipeline(), folder, dtypes)

    def _pipeline(self) -> StableDiffusionPipeline:
        """The parts as diffusers puts them together."""
        return StableDiffusionPipeline(
            vae=self.vae,
            text_encoder=self.text_encoder,
            tokenizer=self.tokenizer,
            unet=self.unet,
            # The offset and the last alpha are Stable Diffusion 1's own.
            scheduler=DDIMScheduler.from_config(
                self.noise.config, clip_sample=False, set_alpha_to_one=False, steps_offset=1
            ),
            safety_checker=None,
            feature_extractor=None,
            requires_safety_checker=False,
        )


def load_model(
    checkpoint: Checkpoint, config: Mapping[str, Any], precision: Precision, weights: Mapping[str, Tensor]
) -> LatentDiffusion:
    """Build the modules that ``config`` describes and fill them.

    Args:
        checkpoint: in the original layout.
        config: ``unet``, ``vae``, ``text_encoder``, ``scheduler`` (diffusers' configurations), ``tokenizer``.
        precision: where the UNet goes and in which dtype; VAE and text encoder stay float32.
        weights: float32 tensors by checkpoint name that stand in for the file's own.

    Raises:
        CheckpointError: tensors are missing, of another shape, or not finite.
    """
    folder = _TOKENIZERS.get(str(config.get("tokenizer")))
    if folder is None:
        message = f"{checkpoint.path}: the tokenizer {config.get('tokenizer')!r} is not known"
        raise CheckpointError(message, fix=f"known are: {', '.join(_TOKENIZERS)}")
    tokenizer = CLIPTokenizer.from_pretrained(folder, local_files_only=True)
    text_config = CLIPTextConfig(**config["text_encoder"])
    if len(tokenizer) != text_config.vocab_size:
        message = f"{checkpoint.path}: the text encoder knows {text_config.vocab_size} tokens, its tokenizer "
        fix = "use the version of clora that the file was made with"
        raise CheckpointError(f"{message}{len(tokenizer)}", fix=fix)

    def unet() -> UNet2DConditionModel:
        return UNet2DConditionModel.from_config(config["unet"])

    def vae() -> AutoencoderKL:
        return AutoencoderKL.from_config(config["vae"])

    def text() -> CLIPTextModel:
        return CLIPTextModel(text_config)

    text_keys = text_table(prefixed=_has_prefix(text))
    model = LatentDiffusion(
        unet=_fill(unet, unet_table(config["unet"]), checkpoint, weights, precision.frozen),
        vae=_fill(vae, vae_table(config["vae"]), checkpoint, weights, torch.float32),
        text_encoder=_fill(text, text_keys, checkpoint, weights, torch.float32),
        tokenizer=tokenizer,
        noise=DDPMScheduler.from_config(config["scheduler"]),
        precision=precision,
    )
    parts: tuple[nn.Module, ...] = (model.unet, model.vae, model.text_encoder)
    for part in parts:
        part.to(precision.device).eval().requires_grad_(requires_grad=False)
    return model


_Part = TypeVar("_Part", bound=nn.Module)


def _has_prefix(build: Callable[[], nn.Module]) -> bool:
    """Whether this transformers release names the text encoder's parameters with ``text_model.``."""
    with torch.device("meta"):
        return all(name.startswith("text_model.") for name in build().state_dict())


def _fill(
    build: Callable[[], _Part],
    table: KeyTable,
    checkpoint: Checkpoint,
    weights: Mapping[str, Tensor],
    dtype: torch.dtype,
) -> _Part:
    """A module with the checkpoint's weights.

    The names and shapes are compared on the meta device first, so that a hostile configuration costs no
    memory; the module's own initial values are never used.
    """
    with torch.device("meta"):
        shapes = {name: tuple(tensor.shape) for name, tensor in build().state_dict().items()}
    originals = {name: table.to_original(name) for name in shapes}
    for name, original in originals.items():
        found = checkpoint.info(original).shape
        if _squeezed(found) != _squeezed(shapes[name]):
            needed = list(shapes[name])
            message = f"{checkpoint.path}: {original!r} has the shape {list(found)}, needed is {needed}"
            raise CheckpointError(message, fix="the file and the configuration in its header do not match")
    known = set(originals.values()) | {f"{PREFIXES['text_encoder']}text_model.embeddings.position_ids"}
    extra = [n for n in checkpoint.names if n.startswith(PREFIXES[table.component]) and n not in known]
    if extra:
        message = f"{checkpoint.path}: {len(extra)} tensors have no place in the model, first {extra[0]!r}"
        raise CheckpointError(message, fix="the file and the configuration in its header do not match")
    module = build()
    state = {}
    for name, original in originals.items():
        tensor = weights[original] if original in weights else checkpoint.read(original)
        if not torch.isfinite(tensor).all():
            message = f"{checkpoint.path}: {original!r} has values that are NaN or infinite"
            raise CheckpointError(message, fix="use another copy of the model; this one is broken")
        state[name] = tensor.reshape(shapes[name]).to(dtype)
    module.load_state_dict(state, assign=True)
    return module


def _squeezed(shape: tuple[int, ...]) -> tuple[int, ...]:
    """The shape without the 1 x 1 of a convolution: the original layout stores some matrices that way."""
    return shape[:2] if len(shape) == 4 and shape[2:] == (1, 1) else shape  # noqa: PLR2004
