"""Modules of diffusers and transformers written in the original layout, with random weights."""

from collections.abc import Iterator, Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from clora_ext.formats.checkpoint import Source, write_checkpoint
from clora_ext.formats.header import Header, layout
from clora_ext.formats.keys import KeyTable


def originals(table: KeyTable, state: Mapping[str, Tensor]) -> Iterator[tuple[str, Tensor]]:
    """A module's parameters under their original names: fused, transposed, the VAE's matrices as 1 x 1."""
    parts: dict[str, list[tuple[int, Tensor]]] = {}
    for name, tensor in state.items():
        flat = (
            name.split(".")[0] in {"embeddings", "encoder", "final_layer_norm"} and "text" in table.component
        )
        place = table.place(f"text_model.{name}" if flat else name)
        shaped = tensor.T if place.transposed else tensor
        if place.flat:
            shaped = tensor.reshape(-1)
        if place.swapped:
            shaped = torch.cat(tensor.chunk(2)[::-1])
        if table.component == "vae" and ".attentions." in name and tensor.ndim == 2:
            shaped = tensor[..., None, None]
        parts.setdefault(place.tensor, []).append((place.part[0], shaped))
    for tensor_name, found in parts.items():
        ordered = [tensor for _, tensor in sorted(found, key=lambda item: item[0])]
        yield tensor_name, torch.cat(ordered) if len(ordered) > 1 else ordered[0]


def write_modules(
    file: Path,
    modules: Mapping[str, nn.Module],
    tables: Mapping[str, KeyTable],
    metadata: Mapping[str, str],
    dtype: torch.dtype,
) -> Path:
    """Write the modules as one checkpoint; give ``file``."""
    sources = {
        name: Source.of(tensor.to(dtype).contiguous())
        for component, table in tables.items()
        for name, tensor in originals(table, modules[component].state_dict())
    }
    write_checkpoint(file, sources, metadata)
    return file


def header_of(modules: Mapping[str, nn.Module], tables: Mapping[str, KeyTable]) -> Header:
    """The header that the modules' checkpoint in float16 has; they may lie on the meta device."""
    shapes = {
        name: ("F16", tuple(tensor.shape))
        for component, table in tables.items()
        for name, tensor in originals(table, modules[component].state_dict())
    }
    return Header(layout(shapes))
