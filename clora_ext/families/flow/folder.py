"""A model of flow matching as the folder that diffusers' from_pretrained reads."""

from collections.abc import Mapping
from pathlib import Path

import torch
from diffusers import (
    AutoencoderKL,
    FlowMatchEulerDiscreteScheduler,
    ZImagePipeline,
    ZImageTransformer2DModel,
)

from clora_ext.families.components import Role
from clora_ext.families.latent.pipeline_folder import cast_parts, finish_folder, without_bars

from .process import FlowProcess
from .text import Text

__all__ = ["save_folder"]


def save_folder(
    denoiser: ZImageTransformer2DModel,
    vae: AutoencoderKL,
    text: Text,
    process: FlowProcess,
    folder: Path,
    dtypes: Mapping[Role, torch.dtype],
) -> None:
    """Write a new folder; the modules are cast in place, and nobody needs them afterwards.

    Args:
        denoiser: the transformer.
        vae: decodes latents.
        text: the language model and its tokenizer.
        process: at which times sampling asks.
        folder: that does not exist yet.
        dtypes: of the components of each role.

    Raises:
        CheckpointError: a value does not fit its dtype.
    """
    pipeline = ZImagePipeline(
        scheduler=FlowMatchEulerDiscreteScheduler(shift=process.shift),
        vae=vae,
        text_encoder=text.encoder,
        tokenizer=text.reading.tokenizer,
        transformer=denoiser,
    )
    cast_parts(pipeline, dtypes)
    with without_bars():
        pipeline.save_pretrained(folder, safe_serialization=True)
    finish_folder(folder)
