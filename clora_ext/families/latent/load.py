"""A latent diffusion model built from its configuration and filled from a checkpoint."""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from diffusers import AutoencoderKL, DDPMScheduler, UNet2DConditionModel
from torch import Tensor, nn
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

from clora_ext.config.precision import Precision
from clora_ext.errors import CheckpointError
from clora_ext.formats.checkpoint import Checkpoint
from clora_ext.formats.keys import KeyTable
from clora_ext.formats.pages import release_on_free

from .filling import fill
from .model import LatentDiffusion
from .process import DiffusionProcess
from .text import OneText, Text, TwoTexts, load_tokenizer

__all__ = ["load_model"]


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
    text_config = CLIPTextConfig(**config["text_encoder"])
    tokenizer = _tokenizer(config.get("tokenizer"), text_config, checkpoint)

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
        denoiser=filled("unet", lambda: UNet2DConditionModel.from_config(config["unet"]), precision.frozen),
        vae=vae,
        text=text,
        process=DiffusionProcess(DDPMScheduler.from_config(config["scheduler"])),
        precision=precision,
    )


def _tokenizer(name: object, config: CLIPTextConfig, checkpoint: Checkpoint) -> CLIPTokenizer:
    """The tokenizer that belongs to a text encoder, cutting where the encoder ends.

    Raises:
        CheckpointError: it is not known, or counts other tokens.
    """
    tokenizer = load_tokenizer(name, checkpoint.path)
    if len(tokenizer) != config.vocab_size:
        message = f"{checkpoint.path}: the text encoder knows {config.vocab_size} tokens, its tokenizer "
        fix = "use the version of clora that the file was made with"
        raise CheckpointError(f"{message}{len(tokenizer)}", fix=fix)
    tokenizer.model_max_length = min(tokenizer.model_max_length, config.max_position_embeddings)
    return tokenizer
