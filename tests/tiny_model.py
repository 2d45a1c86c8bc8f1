"""A real model of the demo's architecture with random weights, small enough to train in milliseconds."""

import json
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, DDPMScheduler, UNet2DConditionModel
from layouts import write_modules
from transformers import CLIPTextConfig, CLIPTextModel

from clora_ext.families.sd1 import CONFIG_KEY
from clora_ext.formats.keys import SD1_TEXT_PREFIX, clip_table, unet_table, vae_table

RESOLUTION = 32
_VOCABULARY = Path(__file__).parents[1] / "clora_ext" / "assets" / "demo_tokenizer" / "vocab.json"


def parts(seed: int = 0) -> dict[str, Any]:
    """The modules, with random weights."""
    torch.manual_seed(seed)
    vocabulary = json.loads(_VOCABULARY.read_text(encoding="utf-8"))
    end = vocabulary["<|endoftext|>"]
    return {
        "unet": UNet2DConditionModel(
            sample_size=16,
            block_out_channels=(16, 32),
            down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
            up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
            layers_per_block=1,
            cross_attention_dim=24,
            attention_head_dim=2,
            norm_num_groups=8,
        ),
        "vae": AutoencoderKL(
            block_out_channels=(8, 16),
            down_block_types=("DownEncoderBlock2D",) * 2,
            up_block_types=("UpDecoderBlock2D",) * 2,
            latent_channels=4,
            norm_num_groups=8,
            scaling_factor=0.5,
        ),
        "text_encoder": CLIPTextModel(
            CLIPTextConfig(
                vocab_size=len(vocabulary),
                hidden_size=24,
                intermediate_size=48,
                num_hidden_layers=2,
                num_attention_heads=2,
                max_position_embeddings=20,
                bos_token_id=vocabulary["<|startoftext|>"],
                eos_token_id=end,
                pad_token_id=end,
            )
        ),
        "scheduler": DDPMScheduler(
            beta_schedule="scaled_linear", beta_start=0.00085, beta_end=0.012, clip_sample=False
        ),
    }


def plain(config: Any) -> dict[str, Any]:
    """A configuration without what is private or not set."""
    return {k: v for k, v in dict(config).items() if not k.startswith("_") and v is not None}


def write_tiny_model(file: Path, *, seed: int = 0, dtype: torch.dtype = torch.float16) -> Path:
    """Write the model in the original layout; give ``file``."""
    modules = parts(seed)
    tables = {
        "unet": unet_table(modules["unet"].config),
        "vae": vae_table(modules["vae"].config),
        "text_encoder": clip_table("text_encoder", SD1_TEXT_PREFIX),
    }
    wanted = (
        "vocab_size hidden_size intermediate_size num_hidden_layers num_attention_heads "
        "max_position_embeddings bos_token_id eos_token_id pad_token_id"
    ).split()
    settings = modules["text_encoder"].config.to_dict()
    config = {
        "unet": plain(modules["unet"].config),
        "vae": plain(modules["vae"].config),
        "text_encoder": {key: settings[key] for key in wanted},
        "scheduler": plain(modules["scheduler"].config),
        "tokenizer": "demo",
        "resolution": RESOLUTION,
    }
    return write_modules(file, modules, tables, {CONFIG_KEY: json.dumps(config)}, dtype)
