"""Models in Stable Diffusion's own layouts: published configurations, and small ones with random weights."""

from collections.abc import Mapping
from functools import cache
from math import prod
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from layouts import header_of, write_modules
from torch import nn
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

from clora_ext.formats.checkpoint import Source, write_checkpoint
from clora_ext.formats.header import Header
from clora_ext.formats.keys import (
    SD1_TEXT_PREFIX,
    SDXL_TEXT_2_PREFIX,
    SDXL_TEXT_PREFIX,
    KeyTable,
    clip_table,
    open_clip_table,
    unet_table,
    vae_table,
)

CROSS, PLAIN = "CrossAttnDownBlock2D", "DownBlock2D"

SD1_UNET: Mapping[str, Any] = {
    "sample_size": 64,
    "block_out_channels": (320, 640, 1280, 1280),
    "down_block_types": (CROSS, CROSS, CROSS, PLAIN),
    "up_block_types": ("UpBlock2D", *("CrossAttnUpBlock2D",) * 3),
    "layers_per_block": 2,
    "cross_attention_dim": 768,
    "attention_head_dim": 8,
}
SDXL_UNET: Mapping[str, Any] = {
    "sample_size": 128,
    "block_out_channels": (320, 640, 1280),
    "down_block_types": (PLAIN, CROSS, CROSS),
    "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
    "layers_per_block": 2,
    "transformer_layers_per_block": (1, 2, 10),
    "cross_attention_dim": 2048,
    "attention_head_dim": (5, 10, 20),
    "use_linear_projection": True,
    "addition_embed_type": "text_time",
    "addition_time_embed_dim": 256,
    "projection_class_embeddings_input_dim": 2816,
}
VAE: Mapping[str, Any] = {
    "block_out_channels": (128, 256, 512, 512),
    "down_block_types": ("DownEncoderBlock2D",) * 4,
    "up_block_types": ("UpDecoderBlock2D",) * 4,
    "layers_per_block": 2,
    "latent_channels": 4,
}
CLIP_L: Mapping[str, Any] = {
    "vocab_size": 49408,
    "hidden_size": 768,
    "intermediate_size": 3072,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "max_position_embeddings": 77,
    "hidden_act": "quick_gelu",
    "bos_token_id": 49406,
    "eos_token_id": 49407,
    "pad_token_id": 49407,
}
BIG_G: Mapping[str, Any] = {
    **CLIP_L,
    "hidden_size": 1280,
    "intermediate_size": 5120,
    "num_hidden_layers": 32,
    "num_attention_heads": 20,
    "projection_dim": 1280,
    "hidden_act": "gelu",
    "pad_token_id": 0,
}

# 320 channels and CLIP-L, so that every program takes it for Stable Diffusion 1.5; two levels of one block.
MINI_SD1_UNET = {
    **SD1_UNET,
    "block_out_channels": (320, 320),
    "down_block_types": (CROSS, CROSS),
    "up_block_types": ("CrossAttnUpBlock2D",) * 2,
    "layers_per_block": 1,
}
SMALL_VAE = {
    **VAE,
    "block_out_channels": (32, 32),
    "down_block_types": ("DownEncoderBlock2D",) * 2,
    "up_block_types": ("UpDecoderBlock2D",) * 2,
    "layers_per_block": 1,
}
TINY_CLIP = {
    **CLIP_L,
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 1,
}
TINY_BIG = {
    **BIG_G,
    "hidden_size": 128,
    "intermediate_size": 512,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "projection_dim": 128,
}
TINY_SDXL_UNET = {
    **SDXL_UNET,
    "block_out_channels": (64, 128),
    "down_block_types": (PLAIN, CROSS),
    "up_block_types": ("CrossAttnUpBlock2D", "UpBlock2D"),
    "layers_per_block": 1,
    "transformer_layers_per_block": (1, 2),
    "cross_attention_dim": 192,
    "attention_head_dim": (1, 2),
    "projection_class_embeddings_input_dim": 128 + 6 * 256,
}


def sd1_modules(
    unet: Mapping[str, Any] = SD1_UNET, vae: Mapping[str, Any] = VAE, text: Mapping[str, Any] = CLIP_L
) -> dict[str, nn.Module]:
    """The modules of a Stable Diffusion 1, on torch's default device."""
    return {
        "unet": UNet2DConditionModel(**unet),
        "vae": AutoencoderKL(**vae),
        "text_encoder": CLIPTextModel(CLIPTextConfig(**text)),
    }


def sdxl_modules(
    unet: Mapping[str, Any] = SDXL_UNET,
    vae: Mapping[str, Any] = VAE,
    text: Mapping[str, Any] = CLIP_L,
    text_2: Mapping[str, Any] = BIG_G,
) -> dict[str, nn.Module]:
    """The modules of an SDXL, on torch's default device."""
    return {
        "unet": UNet2DConditionModel(**unet),
        "vae": AutoencoderKL(**vae),
        "text_encoder": CLIPTextModel(CLIPTextConfig(**text)),
        "text_encoder_2": CLIPTextModelWithProjection(CLIPTextConfig(**text_2)),
    }


def tables(modules: Mapping[str, Any]) -> dict[str, KeyTable]:
    """The key tables of such modules."""
    found = {"unet": unet_table(modules["unet"].config), "vae": vae_table(modules["vae"].config)}
    if "text_encoder_2" in modules:
        layers = modules["text_encoder_2"].config.num_hidden_layers
        one = clip_table("text_encoder", SDXL_TEXT_PREFIX)
        two = open_clip_table("text_encoder_2", SDXL_TEXT_2_PREFIX, layers)
        return {**found, "text_encoder": one, "text_encoder_2": two}
    return {**found, "text_encoder": clip_table("text_encoder", SD1_TEXT_PREFIX)}


@cache
def sd1_header() -> Header:
    """Of Stable Diffusion 1.5 itself."""
    with torch.device("meta"):
        modules = sd1_modules()
    return header_of(modules, tables(modules))


@cache
def sdxl_header() -> Header:
    """Of SDXL 1.0 itself."""
    with torch.device("meta"):
        modules = sdxl_modules()
    return header_of(modules, tables(modules))


def mini_sd1(seed: int = 0) -> dict[str, nn.Module]:
    """A small model that every program takes for Stable Diffusion 1.5."""
    torch.manual_seed(seed)
    return sd1_modules(unet=MINI_SD1_UNET)


def tiny_sdxl(seed: int = 0) -> dict[str, nn.Module]:
    """A very small model of SDXL's architecture."""
    torch.manual_seed(seed)
    return sdxl_modules(unet=TINY_SDXL_UNET, vae=SMALL_VAE, text=TINY_CLIP, text_2=TINY_BIG)


def write(file: Path, modules: Mapping[str, nn.Module], dtype: torch.dtype = torch.float16) -> Path:
    """Write the modules in the original layout, with no word about them in the header; give ``file``."""
    return write_modules(file, modules, tables(modules), {}, dtype)


def random_checkpoint(file: Path, header: Header) -> Path:
    """Every tensor of the header in float16: small noise, norms of one, made one at a time."""
    rng = torch.Generator().manual_seed(0)

    def make(name: str, shape: tuple[int, ...]) -> torch.Tensor:
        if len(shape) == 1:
            return torch.ones(shape) if name.endswith("weight") else torch.zeros(shape)
        spread = prod(shape[1:]) ** -0.5
        return torch.randn(shape, generator=rng) * spread

    sources = {
        name: Source("F16", info.shape, lambda name=name, shape=info.shape: make(name, shape))  # type: ignore[misc]
        for name, info in header.tensors.items()
    }
    write_checkpoint(file, sources, {})
    return file
