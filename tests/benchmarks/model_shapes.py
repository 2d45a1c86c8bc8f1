"""Models of the exact shapes of SD 1.5 and SDXL, and a LoRA for their attention, with drawn weights."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

RANK = 64
ALPHA = 32.0
PREFIX = "model.diffusion_model."

UNETS: Mapping[str, Mapping[str, Any]] = {
    "sd15": {"sample_size": 64, "cross_attention_dim": 768, "attention_head_dim": 8},
    "sdxl": {
        "sample_size": 128,
        "block_out_channels": (320, 640, 1280),
        "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        "transformer_layers_per_block": (1, 2, 10),
        "attention_head_dim": (5, 10, 20),
        "cross_attention_dim": 2048,
        "use_linear_projection": True,
        "addition_embed_type": "text_time",
        "addition_time_embed_dim": 256,
        "projection_class_embeddings_input_dim": 2816,
    },
    "tiny": {
        "sample_size": 16,
        "block_out_channels": (16, 32),
        "down_block_types": ("CrossAttnDownBlock2D", "DownBlock2D"),
        "up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D"),
        "layers_per_block": 1,
        "cross_attention_dim": 24,
        "attention_head_dim": 2,
        "norm_num_groups": 8,
    },
}
"""diffusers' configurations, by kind: those of the published models, and one for tests."""

_ATTENTION = (".to_q.weight", ".to_k.weight", ".to_v.weight", ".to_out.0.weight")
_ADDED = {"add_embedding.linear_1": "label_emb.0.0", "add_embedding.linear_2": "label_emb.0.2"}


@dataclass(frozen=True)
class Tensors:
    """Names and shapes of a UNet.

    Attributes:
        shapes: by diffusers' name.
        originals: the single-file name of each.
    """

    shapes: Mapping[str, tuple[int, ...]]
    originals: Mapping[str, str]

    @property
    def taught(self) -> Iterator[str]:
        """diffusers' names of all weights of attention."""
        return (name for name in self.shapes if name.endswith(_ATTENTION))


def unet_tensors(kind: str) -> Tensors:
    """The UNet's tensors, built on the meta device."""
    import torch
    from diffusers import UNet2DConditionModel

    from clora_ext.formats.keys import unet_table

    with torch.device("meta"):
        unet = UNet2DConditionModel(**UNETS[kind])
    table = unet_table(unet.config)
    shapes = {name: tuple(tensor.shape) for name, tensor in unet.state_dict().items()}
    originals = {}
    for name in shapes:
        module, _, end = name.rpartition(".")
        added = _ADDED.get(module)
        originals[name] = f"{PREFIX}{added}.{end}" if added else table.to_original(name)
    return Tensors(shapes, originals)


def write_model(kind: str, file: Path) -> None:
    """A UNet in float16 with drawn weights, in the single-file layout."""
    import torch

    from clora_ext.formats.checkpoint import Source, write_checkpoint

    tensors = unet_tensors(kind)

    def source(number: int, name: str) -> Source:
        shape = tensors.shapes[name]

        def make() -> torch.Tensor:
            rng = torch.Generator().manual_seed(number)
            # Numbers as cheap as these have the spread of a real layer's.
            return (torch.rand(shape, generator=rng) - 0.5) * 0.07

        return Source("F16", shape, make)

    sources = {tensors.originals[name]: source(i, name) for i, name in enumerate(tensors.shapes)}
    write_checkpoint(file, sources, {})


def write_lora(kind: str, file: Path, seed: int) -> None:
    """A LoRA of rank 64 in float16 for all attention, in kohya's format."""
    import torch

    from clora_ext.formats.checkpoint import Source, write_checkpoint

    tensors = unet_tensors(kind)
    sources = {}
    for number, name in enumerate(tensors.taught):
        out_features, in_features = tensors.shapes[name]
        rank = 8 if kind == "tiny" else RANK
        rng = torch.Generator().manual_seed(1000 * seed + number)
        key = lora_key(kind, name, tensors)
        down = torch.randn(rank, in_features, generator=rng) * in_features**-0.5
        up = torch.randn(out_features, rank, generator=rng) * 1e-3
        sources[f"{key}.lora_down.weight"] = Source.of(down.half())
        sources[f"{key}.lora_up.weight"] = Source.of(up.half())
        sources[f"{key}.alpha"] = Source.of(torch.tensor(ALPHA).half())
    write_checkpoint(file, sources, {})


def lora_key(kind: str, name: str, tensors: Tensors) -> str:
    """kohya's name of a layer: SDXL's are made from the single-file names, SD 1.5's from diffusers'."""
    full = tensors.originals[name].removeprefix(PREFIX) if kind == "sdxl" else name
    return "lora_unet_" + full.removesuffix(".weight").replace(".", "_")


def taught_share(kind: str) -> float:
    """Share of the UNet's numbers that such a LoRA changes."""
    tensors = unet_tensors(kind)
    sizes = {name: prod(shape) for name, shape in tensors.shapes.items()}
    return sum(sizes[name] for name in tensors.taught) / sum(sizes.values())
