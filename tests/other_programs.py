"""Other programs' packages, imported without what they ask for and without the parts that are not used."""

import sys
import types
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import StableDiffusionPipeline
from torch import nn
from transformers import CLIPTextConfig, CLIPTextModel


class AnyClass(type):
    """A class that has every attribute."""

    def __getattr__(cls, name: str) -> str:
        if name.startswith("__"):
            raise AttributeError(name)
        return name


class Anything(types.ModuleType):
    """A module that has every name: for imports of what is not used."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return AnyClass(name, (), {})


def stand_in(patch: pytest.MonkeyPatch, *names: str) -> None:
    for name in names:
        patch.setitem(sys.modules, name, Anything(name))
        parent, _, leaf = name.rpartition(".")
        if parent:
            setattr(sys.modules[parent], leaf, sys.modules[name])


def ldm_unet(
    model_channels: int, channel_mult: list[int], num_res_blocks: int, attention: list[int]
) -> nn.Module:
    """Stability's own UNet of Stable Diffusion 1's kind; :func:`stand_in` has made its package importable."""
    from ldm.modules.diffusionmodules.openaimodel import UNetModel

    unet: nn.Module = UNetModel(
        image_size=32, in_channels=4, out_channels=4, model_channels=model_channels,
        attention_resolutions=attention, num_res_blocks=num_res_blocks, channel_mult=channel_mult,
        num_heads=8, use_spatial_transformer=True, transformer_depth=1, context_dim=768, legacy=False,
    )  # fmt: skip
    return unet.eval()


def ldm_vae() -> Any:
    """Its autoencoder."""
    from ldm.models.autoencoder import AutoencoderKL

    sizes = {
        "double_z": True, "z_channels": 4, "resolution": 256, "in_channels": 3, "out_ch": 3, "ch": 128,
        "ch_mult": [1, 2, 4, 4], "num_res_blocks": 2, "attn_resolutions": [], "dropout": 0.0,
    }  # fmt: skip
    return AutoencoderKL(ddconfig=sizes, lossconfig={"target": "torch.nn.Identity"}, embed_dim=4).eval()


class Wrapped(nn.Module):
    """CLIPTextModel as ldm knows it, with its parameters below ``text_model``."""

    def __init__(self, sizes: dict[str, Any]) -> None:
        super().__init__()
        self.text_model = CLIPTextModel(CLIPTextConfig(**sizes))

    def forward(self, **arguments: Any) -> Any:
        return self.text_model(**arguments)


def ldm_text(patch: pytest.MonkeyPatch, sizes: dict[str, Any], tokenizer: Any) -> Any:
    """Its text encoder, of a CLIP of these sizes."""
    from ldm.modules.encoders import modules

    patch.setattr(modules.CLIPTextModel, "from_pretrained", lambda name: Wrapped(sizes))
    patch.setattr(modules.CLIPTokenizer, "from_pretrained", lambda name: tokenizer)
    return modules.FrozenCLIPEmbedder(device="cpu")


def from_single_file(file: Path, model: Any, folder: Path) -> StableDiffusionPipeline:
    """diffusers' own reading of an SD 1 checkpoint; ``model`` is ours of it, for the configuration."""
    config = folder / "config"
    made = model._pipeline()
    for name in ("unet", "vae"):
        made.components[name].save_config(config / name)
    made.text_encoder.config.save_pretrained(config / "text_encoder")
    made.scheduler.save_config(config / "scheduler")
    made.tokenizer.save_pretrained(config / "tokenizer")
    made.save_config(config)
    found: StableDiffusionPipeline = StableDiffusionPipeline.from_single_file(
        str(file), config=str(config), local_files_only=True, safety_checker=None, torch_dtype=torch.float32
    )
    return found
