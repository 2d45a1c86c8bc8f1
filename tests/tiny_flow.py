"""Small models of flow matching of random weights, in the files that ComfyUI keeps."""

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import torch
from layouts import originals
from seeing import see
from tiny_flow_kinds import KINDS, TEXT
from torch import Tensor, nn
from transformers import Qwen3Config, Qwen3Model

from clora_ext.formats.checkpoint import Source, write_checkpoint
from clora_ext.formats.flow_keys import FLOW_PREFIX, qwen3_table
from clora_ext.formats.keys import KeyTable

RESOLUTION = 16
_TOKENS = 151_680  # as many as the tokenizer has, and some more


@dataclass(frozen=True)
class FlowFiles:
    """Where the parts of a model lie, as in ComfyUI's folder ``models``."""

    transformer: Path
    text_encoder: Path
    vae: Path


def modules(seed: int = 0, kind: str = "z_image") -> dict[str, nn.Module]:
    """The modules, with random weights, by component."""
    torch.manual_seed(seed)
    found: dict[str, Any] = {
        "transformer": KINDS[kind].transformer(),
        **{name: make() for name, (make, _) in KINDS[kind].beside.items()},
        "vae": KINDS[kind].vae(),
        "text_encoder": Qwen3Model(
            Qwen3Config(
                vocab_size=_TOKENS, hidden_size=TEXT, intermediate_size=2 * TEXT,
                num_hidden_layers=KINDS[kind].layers, num_attention_heads=2, num_key_value_heads=1,
                head_dim=16, max_position_embeddings=40960, rms_norm_eps=1e-6, rope_theta=1e6,
            )
        ),
    }  # fmt: skip
    for name, parameter in found["transformer"].named_parameters():
        if name.endswith("pad_token"):
            nn.init.normal_(parameter)
    return found


def tables(parts: dict[str, nn.Module], kind: str = "z_image") -> dict[str, KeyTable]:
    """Their names in a file of everything."""
    transformer, vae = (dict(parts[name].config) for name in ("transformer", "vae"))  # type: ignore[call-overload]
    return {
        "transformer": KINDS[kind].tables[0](transformer),
        "vae": KINDS[kind].tables[1](vae),
        "text_encoder": qwen3_table(KINDS[kind].text[1]),
        **{name: table() for name, (_, table) in KINDS[kind].beside.items()},
    }


def tensors(seed: int = 0, kind: str = "z_image") -> dict[str, dict[str, Tensor]]:
    """Every component's tensors by their names in a file of everything."""
    return tensors_of(modules(seed, kind), kind)


def tensors_of(parts: dict[str, nn.Module], kind: str = "z_image") -> dict[str, dict[str, Tensor]]:
    """The same of other modules."""
    return {
        name: dict(originals(table, parts[name].state_dict())) for name, table in tables(parts, kind).items()
    }


@cache
def _stored(seed: int, kind: str) -> dict[str, dict[str, Tensor]]:
    return tensors(seed, kind)


def write_tiny_flow(
    models: Path,
    *,
    seed: int = 0,
    dtype: torch.dtype = torch.bfloat16,
    prefix: str = "",
    kind: str = "z_image",
) -> FlowFiles:
    """Write the model as ComfyUI keeps it; give its files.

    Args:
        models: ComfyUI's folder of that name.
        seed: of the weights.
        dtype: of transformer and text encoder; the VAE is stored in float32.
        prefix: before the names of the transformer's tensors.
        kind: the family.
    """
    return write_flow(models, _stored(seed, kind), dtype, prefix, kind)


def write_flow(
    models: Path,
    parts: dict[str, dict[str, Tensor]],
    dtype: torch.dtype,
    prefix: str = "",
    kind: str = "z_image",
) -> FlowFiles:
    """Write these tensors in the same way."""
    transformer, vae = KINDS[kind].files
    files = FlowFiles(
        models / "diffusion_models" / f"{transformer}.safetensors",
        models / "text_encoders" / f"{KINDS[kind].text[0]}.safetensors",
        models / "vae" / f"{vae}.safetensors",
    )
    found = {name: one for part in ("transformer", *KINDS[kind].beside) for name, one in parts[part].items()}
    _write(files.transformer, found, FLOW_PREFIX, prefix, dtype)
    _write(files.text_encoder, parts["text_encoder"], KINDS[kind].text[1], "", dtype)
    if KINDS[kind].sight:
        see(files.text_encoder)
    _write(files.vae, parts["vae"], "vae.", "", torch.float32)
    return files


def write_everything(
    file: Path,
    *,
    seed: int = 0,
    dtype: torch.dtype = torch.bfloat16,
    parts: dict[str, dict[str, Tensor]] | None = None,
    kind: str = "z_image",
) -> Path:
    """Write all of the model as one file, the VAE in float32; give ``file``. ``parts``: other tensors."""
    sources = {
        name: Source.of(_cast(tensor, torch.float32 if component == "vae" else dtype))
        for component, found in (parts or _stored(seed, kind)).items()
        for name, tensor in found.items()
    }
    write_checkpoint(file, sources, {})
    return file


def _write(file: Path, found: dict[str, Tensor], cut: str, prefix: str, dtype: torch.dtype) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    sources = {
        prefix + name.removeprefix(cut): Source.of(_cast(tensor, dtype)) for name, tensor in found.items()
    }
    write_checkpoint(file, sources, {})


def _cast(tensor: Tensor, dtype: torch.dtype) -> Tensor:
    """Whole numbers stay what they are."""
    return tensor.to(dtype if tensor.is_floating_point() else tensor.dtype).contiguous()
