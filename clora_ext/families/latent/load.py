"""A latent diffusion model built from its configuration and filled from a checkpoint."""

from collections.abc import Mapping
from typing import Any

import torch
from diffusers import DDPMScheduler
from torch import Tensor

from clora_ext.config.memory import reporting_out_of_memory
from clora_ext.config.precision import Precision
from clora_ext.families.stored_weights import offload
from clora_ext.formats.checkpoint import Checkpoint
from clora_ext.formats.keys import KeyTable
from clora_ext.formats.pages import release_on_free

from .filling import fill
from .model import LatentDiffusion
from .modules import builders, empty_module, make_tokenizer
from .process import DiffusionProcess
from .text import OneText, Text, TwoTexts

__all__ = ["load_model"]


@release_on_free()
@reporting_out_of_memory("loading the model")
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
        OutOfMemory: it does not fit.
    """
    tokenizer = make_tokenizer(config, checkpoint.path)
    build = builders(config)

    def filled(component: str, dtype: torch.dtype) -> Any:  # noqa: ANN401 - each of another class
        empty = empty_module(build[component], component, checkpoint.path)
        module = fill(empty, tables[component], checkpoint, weights, dtype)
        module.eval().requires_grad_(requires_grad=False)
        if component == "unet" and precision.offloads_denoiser:
            offload(module, precision.device, dtype)
            return module
        if component == "unet" and precision.shards_denoiser:
            return module
        return module.to(precision.device)

    encoder = filled("text_encoder", precision.frozen)
    text: Text = OneText(tokenizer, encoder)
    if "text_encoder_2" in build:
        text = TwoTexts(tokenizer, encoder, filled("text_encoder_2", precision.frozen))
    vae = filled("vae", torch.float32)
    # Picture by picture: at SDXL's size one takes some gigabytes in float32.
    vae.enable_slicing()
    return LatentDiffusion(
        denoiser=filled("unet", precision.frozen),
        vae=vae,
        text=text,
        process=DiffusionProcess(DDPMScheduler.from_config(config["scheduler"])),
        precision=precision,
    )
