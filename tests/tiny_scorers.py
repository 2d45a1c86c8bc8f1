"""Scorers of the published architectures, tiny and random, as folders and files on this machine."""

from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

SMALL: dict[str, Any] = {
    "hidden_size": 128, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2,
}  # fmt: skip


def write_clip(folder: Path, vocabulary: int = 49408) -> Path:
    """A CLIP that reads OpenAI's tokens and sees 32 x 32 pixels."""
    from transformers import CLIPConfig, CLIPModel

    text = {**SMALL, "vocab_size": vocabulary, "bos_token_id": vocabulary - 2, "eos_token_id": vocabulary - 1}
    vision = {**SMALL, "image_size": 32, "patch_size": 8}
    torch.manual_seed(1)
    return _saved(CLIPModel(CLIPConfig(text_config=text, vision_config=vision, projection_dim=12)), folder)


def write_dino(folder: Path) -> Path:
    """DINO's architecture at 32 x 32 pixels; as published, with no pooling layer."""
    from transformers import ViTConfig, ViTModel

    torch.manual_seed(2)
    return _saved(ViTModel(ViTConfig(**SMALL, image_size=32, patch_size=8), add_pooling_layer=False), folder)


def write_dinov2(folder: Path) -> Path:
    """DINOv2's architecture, made for 42 x 42 pixels."""
    from transformers import Dinov2Config, Dinov2Model

    small = {name: value for name, value in SMALL.items() if name != "intermediate_size"}
    torch.manual_seed(3)
    return _saved(Dinov2Model(Dinov2Config(**small, mlp_ratio=1, image_size=42, patch_size=14)), folder)


def csd_tensors(width: int = 128, depth: int = 2, side: int = 32, patch: int = 8) -> dict[str, torch.Tensor]:
    """CSD's tensors under the published names."""
    rng = torch.Generator().manual_seed(4)

    def drawn(*shape: int) -> torch.Tensor:
        return torch.randn(shape, generator=rng) * 0.2

    found = {
        "backbone.class_embedding": drawn(width),
        "backbone.positional_embedding": drawn((side // patch) ** 2 + 1, width),
        "backbone.conv1.weight": drawn(width, 3, patch, patch),
        "last_layer_style": drawn(width, 10),
        "last_layer_content": drawn(width, 10),
    }
    shapes = {
        "attn.in_proj_": (3 * width, width), "attn.out_proj.": (width, width),
        "mlp.c_fc.": (2 * width, width), "mlp.c_proj.": (width, 2 * width),
        "ln_1.": (width,), "ln_2.": (width,),
    }  # fmt: skip
    for block in range(depth):
        for name, shape in shapes.items():
            start = f"backbone.transformer.resblocks.{block}.{name}"
            found[f"{start}weight"], found[f"{start}bias"] = drawn(*shape), drawn(shape[0])
    for name in ("ln_pre", "ln_post"):
        found[f"backbone.{name}.weight"], found[f"backbone.{name}.bias"] = drawn(width), drawn(width)
    return found


def write_csd(file: Path, prefix: str = "module.") -> Path:
    """The same in a file."""
    save_file({prefix + name: tensor for name, tensor in csd_tensors().items()}, file)
    return file


def _saved(model: Any, folder: Path) -> Path:
    from clora_ext.scoring.weights import quiet_loading

    with quiet_loading():
        model.save_pretrained(folder)
    return folder
