"""Models of published and of tiny shapes, the sites in them, and adapters for those."""

import itertools
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import torch
from diffusers import UNet2DConditionModel
from torch import nn
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

from clora_ext.adapters.factors import Factors
from clora_ext.adapters.sites import Site
from clora_ext.formats.keys import unet_table

GOLDEN = Path(__file__).parent / "formats" / "lora"

CROSS_DOWN, DOWN, UP, CROSS_UP = "CrossAttnDownBlock2D", "DownBlock2D", "UpBlock2D", "CrossAttnUpBlock2D"
SD1_UNET = {
    "block_out_channels": (320, 640, 1280, 1280),
    "down_block_types": (CROSS_DOWN, CROSS_DOWN, CROSS_DOWN, DOWN),
    "up_block_types": (UP, CROSS_UP, CROSS_UP, CROSS_UP),
    "cross_attention_dim": 768,
    "attention_head_dim": 8,
}
SDXL_UNET = {
    "block_out_channels": (320, 640, 1280),
    "down_block_types": (DOWN, CROSS_DOWN, CROSS_DOWN),
    "up_block_types": (CROSS_UP, CROSS_UP, UP),
    "transformer_layers_per_block": (1, 2, 10),
    "cross_attention_dim": 2048,
    "attention_head_dim": (5, 10, 20),
    "use_linear_projection": True,
    "addition_embed_type": "text_time",
    "addition_time_embed_dim": 256,
    "projection_class_embeddings_input_dim": 2816,
}
CLIP_L = {"hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12, "num_attention_heads": 12}
CLIP_G = {
    "hidden_size": 1280,
    "intermediate_size": 5120,
    "num_hidden_layers": 32,
    "num_attention_heads": 20,
    "projection_dim": 1280,
}
_TINY = {"block_out_channels": (8, 8, 8, 8), "attention_head_dim": 2, "norm_num_groups": 4}
_TINY_CLIP = {"hidden_size": 12, "intermediate_size": 20, "num_hidden_layers": 2, "num_attention_heads": 2}
_VOCABULARY = {"vocab_size": 64, "bos_token_id": 62, "eos_token_id": 63, "pad_token_id": 63}


def published(family: str) -> dict[str, nn.Module]:
    """The networks of a family in their published shapes, without weights."""
    with torch.device("meta"):
        if family == "sd1":
            return {
                "unet": UNet2DConditionModel(**SD1_UNET),
                "text_encoder": CLIPTextModel(CLIPTextConfig(**CLIP_L)),
            }
        return {
            "unet": UNet2DConditionModel(**SDXL_UNET),
            "text_encoder": CLIPTextModel(CLIPTextConfig(**CLIP_L)),
            "text_encoder_2": CLIPTextModelWithProjection(CLIPTextConfig(**CLIP_G)),
        }


def tiny(family: str, seed: int = 0) -> dict[str, nn.Module]:
    """The same blocks and depths, but narrow; random weights."""
    torch.manual_seed(seed)
    config = CLIPTextConfig(**_TINY_CLIP, **_VOCABULARY)
    if family == "sd1":
        unet = UNet2DConditionModel(**(SD1_UNET | _TINY | {"cross_attention_dim": 12}))
        return {"unet": unet, "text_encoder": CLIPTextModel(config)}
    narrow = {
        "block_out_channels": (8, 8, 8),
        "attention_head_dim": 2,
        "transformer_layers_per_block": (1, 2, 2),
        "cross_attention_dim": 28,
        "addition_time_embed_dim": 4,
        "projection_class_embeddings_input_dim": 40,
    }
    second = CLIPTextConfig(**(_TINY_CLIP | {"hidden_size": 16}), **_VOCABULARY, projection_dim=16)
    return {
        "unet": UNet2DConditionModel(**(SDXL_UNET | _TINY | narrow)),
        "text_encoder": CLIPTextModel(config),
        "text_encoder_2": CLIPTextModelWithProjection(second),
    }


def sites_of(networks: dict[str, nn.Module], *, everywhere: bool = False) -> list[Site]:
    """The sites that sd-scripts trains: attention blocks; ``everywhere``: the UNet's convolutions too."""
    sites = []
    for component, network in networks.items():
        for path, module in network.named_modules():
            if not isinstance(module, nn.Linear | nn.Conv2d):
                continue
            if component == "unet":
                if "_embedding." in path or not (everywhere or ".attentions." in path):
                    continue
                table = unet_table(network.config)
                original = table.to_original(f"{path}.weight").removeprefix(table.prefix)
                name, original = path, original.removesuffix(".weight")
            elif "encoder.layers" in path:
                name = original = path if path.startswith("text_model.") else f"text_model.{path}"
            else:
                continue
            sites.append(Site(component, name, original, tuple(module.weight.shape)))
    return sites


def module_at(networks: dict[str, nn.Module], site: Site) -> nn.Module:
    """The module of a site, whatever the installed transformers calls it."""
    network = networks[site.component]
    try:
        return network.get_submodule(site.module)
    except AttributeError:
        return network.get_submodule(site.module.removeprefix("text_model."))


def random_factors(
    sites: Sequence[Site], rank: int = 4, alpha: float = 2.0, seed: int = 0
) -> dict[Site, Any]:
    """An adapter for every site."""
    rng = torch.Generator().manual_seed(seed)
    return {
        site: Factors(
            torch.randn(rank, site.matrix[1], generator=rng),
            torch.randn(site.matrix[0], rank, generator=rng),
            alpha,
        )
        for site in sites
    }


def expand(lines: Iterable[str]) -> list[str]:
    """Patterns such as ``attn{1-2}_to_{q,k}`` written out; comments left out."""
    names = []
    for line in lines:
        if line.startswith("#"):
            continue
        parts = re.split(r"\{(.+?)\}", line.strip())
        choices = [[part] if place % 2 == 0 else _alternatives(part) for place, part in enumerate(parts)]
        names += ["".join(chosen) for chosen in itertools.product(*choices)]
    return names


def _alternatives(text: str) -> list[str]:
    """``0-2`` or ``q,k,v``."""
    if re.fullmatch(r"\d+-\d+", text):
        first, last = map(int, text.split("-"))
        return [str(number) for number in range(first, last + 1)]
    return text.split(",")


def golden_names(family: str) -> list[str]:
    """sd-scripts' names of all modules of a family."""
    return expand((GOLDEN / f"kohya_{family}.txt").read_text(encoding="utf-8").splitlines())
