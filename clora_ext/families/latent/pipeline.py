"""diffusers' own pipeline around a model's modules: samples are drawn with it, folders are saved with it."""

from typing import TypeAlias

from diffusers import (
    AutoencoderKL,
    DDPMScheduler,
    StableDiffusionPipeline,
    StableDiffusionXLPipeline,
    UNet2DConditionModel,
)
from torch import nn

from .process import ddim
from .text import Text

__all__ = ["Pipeline", "make_pipeline"]

Pipeline: TypeAlias = StableDiffusionPipeline | StableDiffusionXLPipeline


def make_pipeline(
    unet: UNet2DConditionModel, vae: AutoencoderKL, text: Text, noise: DDPMScheduler
) -> Pipeline:
    """The pipeline that samples with DDIM (arXiv 2010.02502) and draws no bars.

    Args:
        unet: the denoiser.
        vae: decodes latents.
        text: one text encoder makes it a Stable Diffusion 1, two an SDXL; those whose memory was freed are
            left out, since the pipeline computes where the first of its parts lies.
        noise: the noise schedule of training.
    """
    encoders = {name: None if _is_freed(part) else part for name, part in text.encoders.items()}
    common = {
        "vae": vae,
        **encoders,
        "tokenizer": text.tokenizer,
        "unet": unet,
        "scheduler": ddim(noise),
    }
    if "text_encoder_2" in encoders:
        pipeline: Pipeline = StableDiffusionXLPipeline(
            **common, tokenizer_2=text.tokenizer, add_watermarker=False
        )
    else:
        pipeline = StableDiffusionPipeline(
            **common, safety_checker=None, feature_extractor=None, requires_safety_checker=False
        )
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def _is_freed(part: nn.Module) -> bool:
    """Whether a module has been moved to where there is no memory."""
    return any(parameter.is_meta for parameter in part.parameters())
