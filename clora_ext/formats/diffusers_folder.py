"""A diffusers folder (model_index.json, unet, vae, text encoders) seen as pieces in the original layout.

Needs no torch.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from math import prod
from pathlib import Path
from typing import Any

from clora_ext.errors import CheckpointError

from .flow_layouts import FLOW_LAYOUTS
from .folder_files import COMPONENTS, INDEX, SAVE_AGAIN, FolderFiles, index_in
from .header import Header, TensorInfo, read_header
from .keys import (
    SD1_TEXT_PREFIX,
    SDXL_TEXT_2_PREFIX,
    SDXL_TEXT_PREFIX,
    KeyTable,
    Place,
    clip_table,
    open_clip_table,
    unet_table,
    vae_table,
)
from .leftovers import is_leftover
from .pieces import Piece, Pieces
from .prediction import PREDICTION_KEY, V_MARKER, ZERO_SNR_MARKER, kind_of
from .quantised import quantised
from .spans import Span
from .statements import scheduler_statement
from .text import quoted

__all__ = ["component_pieces", "files_of", "folder_pieces", "read_table"]

_KINDS = ("StableDiffusionPipeline", "StableDiffusionXLPipeline")
_OLD_VAE_NAMES = {"query": "to_q", "key": "to_k", "value": "to_v", "proj_attn": "to_out.0"}
_LARGEST = 1 << 20
_SCHEDULER = "scheduler_config.json"
_MARKER = Piece("F32", (0,), ())  # an empty tensor whose name says something


def folder_pieces(files: FolderFiles) -> Pieces:
    """The folder's model.

    Raises:
        CheckpointError: not a diffusers folder of Stable Diffusion 1 or SDXL, or one without safetensors.
    """
    folder = files.path
    _check_index(folder)
    pieces: dict[str, Piece] = {}
    for component, table in _tables(folder).items():
        pieces |= dict(component_pieces([files.weights(component)], table))
    said = scheduler_statement(read_table(folder / "scheduler" / _SCHEDULER), _SCHEDULER)
    kind = kind_of(said.word)
    if kind == "v" and (folder / "text_encoder_2").is_dir():
        pieces[V_MARKER] = _MARKER
        if said.zero_snr:
            pieces[ZERO_SNR_MARKER] = _MARKER
    return Pieces(pieces, {PREDICTION_KEY: kind} if kind else {}, (said,))


def files_of(files: FolderFiles) -> tuple[Path, ...]:
    """Every file that the model is read from, in a fixed order.

    Raises:
        CheckpointError: one is missing.
    """
    folder = files.path
    _check_index(folder)
    weights = [files.weights(component) for component in COMPONENTS if (folder / component).is_dir()]
    configs = (folder / name / "config.json" for name in COMPONENTS)
    scheduler = folder / "scheduler" / _SCHEDULER
    return (*weights, *(config for config in configs if config.is_file()), scheduler)


def _check_index(folder: Path) -> None:
    """Known pipelines only."""
    kind = read_table(index_in(folder) or folder / INDEX).get("_class_name")
    if kind not in _KINDS:
        known = (*_KINDS, *(one.pipeline for one in FLOW_LAYOUTS))
        message = f"{folder} is a diffusers folder of the kind {str(kind)[:80]!r}"
        raise CheckpointError(message, fix=f"use one of the kind {', '.join(known)}")


def _tables(folder: Path) -> dict[str, KeyTable]:
    """The components' names in the original layout."""
    found = {
        "unet": unet_table(_configuration(folder, "unet")),
        "vae": vae_table(_configuration(folder, "vae")),
    }
    if not (folder / "text_encoder_2").is_dir():
        return {**found, "text_encoder": clip_table("text_encoder", SD1_TEXT_PREFIX)}
    layers = _configuration(folder, "text_encoder_2").get("num_hidden_layers")
    if not isinstance(layers, int) or not 0 < layers <= 1000:  # noqa: PLR2004 - far beyond any
        raise CheckpointError(f"{folder}: text_encoder_2 has {layers!r:.40} layers", fix=SAVE_AGAIN)
    one = clip_table("text_encoder", SDXL_TEXT_PREFIX)
    two = open_clip_table("text_encoder_2", SDXL_TEXT_2_PREFIX, layers)
    return {**found, "text_encoder": one, "text_encoder_2": two}


def _configuration(folder: Path, component: str) -> Mapping[str, Any]:
    """A component's config.json, as far as key tables need it."""
    config = read_table(folder / component / "config.json")
    blocks = config.get("block_out_channels", [])
    layers = config.get("layers_per_block", 1)
    sane = isinstance(blocks, list) and len(blocks) <= 16 and isinstance(layers, int) and 0 < layers <= 64  # noqa: PLR2004
    kinds = (config.get(key, []) for key in ("down_block_types", "up_block_types"))
    if not sane or not all(isinstance(kind, list) and len(kind) <= 16 for kind in kinds):  # noqa: PLR2004
        raise CheckpointError(
            f"{folder / component / 'config.json'} does not describe such a model", fix=SAVE_AGAIN
        )
    return config


def read_table(file: Path) -> Mapping[str, Any]:
    """A small JSON table.

    Raises:
        CheckpointError: it is missing or not a table.
    """
    try:
        with file.open("rb") as opened:
            content = json.loads(opened.read(_LARGEST))
    except FileNotFoundError as error:
        raise CheckpointError(f"{file} does not exist", fix="name a complete diffusers folder") from error
    except (OSError, ValueError, RecursionError) as error:
        raise CheckpointError(f"{file} cannot be read: {error}", fix="save the pipeline again") from error
    if not isinstance(content, dict):
        raise CheckpointError(f"{file} is not a table", fix="save the pipeline again")
    return content


def component_pieces(files: Sequence[Path], table: KeyTable) -> Iterator[tuple[str, Piece]]:
    """The tensors of a component in the original layout; it lies in one file, or in several (shards)."""
    parts: dict[str, list[_Part]] = {}
    for file in files:
        header = read_header(file)
        how = quantised(header.tensors)
        if how is not None:
            raise CheckpointError(f"{file} is {how}", fix="use an fp16, bf16 or fp32 version of the model")
        for name in header.tensors:
            # Positions are numbered again: what was read without them so far still is.
            if not name.endswith("position_ids"):
                place = _place(table, name)
                parts.setdefault(place.tensor, []).append(_Part(place, name, file, header))
    for tensor, found in parts.items():
        found.sort(key=lambda part: part.place.part)
        yield tensor, _piece(table.component, found)


@dataclass(frozen=True, slots=True)
class _Part:
    """A tensor of a component: all of one of the original layout, or some of its rows."""

    place: Place
    name: str
    file: Path
    header: Header

    @property
    def info(self) -> TensorInfo:
        return self.header.tensors[self.name]

    @property
    def span(self) -> Span:
        return Span(self.file, self.header.data_start + self.info.start, self.info.bytes)


def _place(table: KeyTable, name: str) -> Place:
    """Where the original layout has a tensor of the folder; left-overs keep their name.

    Raises:
        CheckpointError: it has no such tensor.
    """
    try:
        return table.place(_canonical(name, table.component))
    except CheckpointError:
        if is_leftover(table.component, name):
            return Place(table.prefix + name)
        raise


def _piece(component: str, found: Sequence[_Part]) -> Piece:
    """One tensor of the original layout."""
    place, name = found[0].place, found[0].name
    infos = [part.info for part in found]
    if len(found) != place.part[1] or len({(info.dtype, info.shape) for info in infos}) != 1:
        there = ", ".join(quoted(part.name) for part in found[: place.part[1]])
        message = f"{found[0].file}: {quoted(place.tensor)} is not complete: only {there} are there"
        raise CheckpointError(message, fix="use a complete copy of the model")
    shape = infos[0].shape
    if place.transposed:
        shape = shape[::-1]
    if len(found) > 1:
        shape = (shape[0] * len(found), *shape[1:])
    if component == "vae" and ".attentions." in name and len(shape) == 2:  # noqa: PLR2004 - a matrix
        shape = (*shape, 1, 1)
    if place.flat:
        shape = (prod(shape),)
    spans = tuple(part.span for part in found)
    return Piece(infos[0].dtype, shape, _swapped(spans[0]) if place.swapped else spans, place.transposed)


def _swapped(span: Span) -> tuple[Span, Span]:
    """The second half before the first one."""
    half = span.length // 2
    upper, lower = replace(span, length=half), replace(span, start=span.start + half, length=half)
    return lower, upper


def _canonical(name: str, component: str) -> str:
    """The name as today's diffusers says it, text encoders with ``text_model.``."""
    if component == "vae" and ".attentions." in name:
        block, leaf, kind = name.rsplit(".", 2)
        return f"{block}.{_OLD_VAE_NAMES.get(leaf, leaf)}.{kind}"
    flat = name.split(".", maxsplit=1)[0] in {"embeddings", "encoder", "final_layer_norm"}
    return f"text_model.{name}" if flat and component.startswith("text_encoder") else name
