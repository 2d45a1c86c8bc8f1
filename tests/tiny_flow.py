"""A Z-Image of random weights, small enough to train on a processor, in the files that ComfyUI keeps."""

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, ZImageTransformer2DModel
from layouts import originals
from torch import Tensor, nn
from transformers import Qwen3Config, Qwen3Model

from clora_ext.formats.checkpoint import Source, write_checkpoint
from clora_ext.formats.flow_keys import (
    FLOW_PREFIX,
    QWEN3_4B_PREFIX,
    flow_vae_table,
    qwen3_table,
    z_image_table,
)
from clora_ext.formats.keys import KeyTable

RESOLUTION = 16
CHANNELS = 4  # fewer than published, so that the narrow transformer can tell all of them
WIDTH, HEAD, TEXT = 32, 16, 24
_TOKENS = 151_680  # as many as the tokenizer has, and some more


@dataclass(frozen=True)
class FlowFiles:
    """Where the parts of a model lie, as in ComfyUI's folder ``models``."""

    transformer: Path
    text_encoder: Path
    vae: Path


def modules(seed: int = 0) -> dict[str, nn.Module]:
    """The modules, with random weights, by component."""
    torch.manual_seed(seed)
    found: dict[str, Any] = {
        "transformer": ZImageTransformer2DModel(
            in_channels=CHANNELS, dim=WIDTH, n_layers=2, n_refiner_layers=1, n_heads=WIDTH // HEAD,
            n_kv_heads=WIDTH // HEAD, cap_feat_dim=TEXT, axes_dims=[4, 6, 6],
        ),
        "vae": AutoencoderKL(
            block_out_channels=(32, 32), layers_per_block=1, latent_channels=CHANNELS,
            down_block_types=("DownEncoderBlock2D",) * 2, up_block_types=("UpDecoderBlock2D",) * 2,
            scaling_factor=0.3611, shift_factor=0.1159, use_quant_conv=False, use_post_quant_conv=False,
        ),
        "text_encoder": Qwen3Model(
            Qwen3Config(
                vocab_size=_TOKENS, hidden_size=TEXT, intermediate_size=2 * TEXT, num_hidden_layers=3,
                num_attention_heads=2, num_key_value_heads=1, head_dim=16, max_position_embeddings=40960,
                rms_norm_eps=1e-6, rope_theta=1e6,
            )
        ),
    }  # fmt: skip
    for name, parameter in found["transformer"].named_parameters():
        if name.endswith("pad_token"):
            nn.init.normal_(parameter)
    return found


def tables(parts: dict[str, nn.Module]) -> dict[str, KeyTable]:
    """Their names in a file of everything."""
    transformer, vae = (dict(parts[name].config) for name in ("transformer", "vae"))  # type: ignore[call-overload]
    return {
        "transformer": z_image_table(transformer),
        "vae": flow_vae_table(vae),
        "text_encoder": qwen3_table(QWEN3_4B_PREFIX),
    }


def tensors(seed: int = 0) -> dict[str, dict[str, Tensor]]:
    """Every component's tensors by their names in a file of everything."""
    return tensors_of(modules(seed))


def tensors_of(parts: dict[str, nn.Module]) -> dict[str, dict[str, Tensor]]:
    """The same of other modules."""
    return {name: dict(originals(table, parts[name].state_dict())) for name, table in tables(parts).items()}


@cache
def _stored(seed: int) -> dict[str, dict[str, Tensor]]:
    return tensors(seed)


def write_tiny_flow(
    models: Path, *, seed: int = 0, dtype: torch.dtype = torch.bfloat16, prefix: str = ""
) -> FlowFiles:
    """Write the model as ComfyUI keeps it; give its files.

    Args:
        models: ComfyUI's folder of that name.
        seed: of the weights.
        dtype: of transformer and text encoder; the VAE is stored in float32.
        prefix: before the names of the transformer's tensors.
    """
    return write_flow(models, _stored(seed), dtype, prefix)


def write_flow(
    models: Path, parts: dict[str, dict[str, Tensor]], dtype: torch.dtype, prefix: str = ""
) -> FlowFiles:
    """Write these tensors in the same way."""
    files = FlowFiles(
        models / "diffusion_models" / "z_image_tiny.safetensors",
        models / "text_encoders" / "qwen_3_4b.safetensors",
        models / "vae" / "ae.safetensors",
    )
    _write(files.transformer, parts["transformer"], FLOW_PREFIX, prefix, dtype)
    _write(files.text_encoder, parts["text_encoder"], QWEN3_4B_PREFIX, "", dtype)
    _write(files.vae, parts["vae"], "vae.", "", torch.float32)
    return files


def write_everything(
    file: Path,
    *,
    seed: int = 0,
    dtype: torch.dtype = torch.bfloat16,
    parts: dict[str, dict[str, Tensor]] | None = None,
) -> Path:
    """Write all of the model as one file, the VAE in float32; give ``file``. ``parts``: other tensors."""
    sources = {
        name: Source.of(tensor.to(torch.float32 if component == "vae" else dtype).contiguous())
        for component, found in (parts or _stored(seed)).items()
        for name, tensor in found.items()
    }
    write_checkpoint(file, sources, {})
    return file


def _write(file: Path, found: dict[str, Tensor], cut: str, prefix: str, dtype: torch.dtype) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    sources = {
        prefix + name.removeprefix(cut): Source.of(tensor.to(dtype).contiguous())
        for name, tensor in found.items()
    }
    write_checkpoint(file, sources, {})
