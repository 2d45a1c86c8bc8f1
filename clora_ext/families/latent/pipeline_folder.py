"""A pipeline as the folder that diffusers' from_pretrained reads."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import torch
from diffusers import DiffusionPipeline
from torch import nn
from transformers.utils import logging

from clora_ext.errors import CheckpointError
from clora_ext.families.components import Role
from clora_ext.formats.checkpoint import Checkpoint, Source, write_checkpoint

__all__ = ["cast_parts", "finish_folder", "save_pipeline", "without_bars"]

_TEXT = "text_encoder"
_READS = "text_"
_PREFIX = "text_model."
_FORMAT = {"format": "pt"}  # transformers reads no file that does not say so


class _Pipeline(Protocol):
    @property
    def components(self) -> Mapping[str, Any]: ...


def save_pipeline(pipeline: DiffusionPipeline, folder: Path, dtypes: Mapping[Role, torch.dtype]) -> None:
    """Write ``pipeline`` to a new ``folder``; its modules are cast in place.

    Args:
        pipeline: with modules that nobody needs afterwards.
        folder: that does not exist yet.
        dtypes: of the components of each role.

    Raises:
        CheckpointError: a value does not fit its dtype.
    """
    cast_parts(pipeline, dtypes)
    with without_bars():
        pipeline.save_pretrained(folder, safe_serialization=True)
    for encoder in folder.glob(f"{_TEXT}*"):
        _prefix(encoder / "model.safetensors")
    finish_folder(folder)


def cast_parts(pipeline: "_Pipeline", dtypes: Mapping[Role, torch.dtype]) -> None:
    """Cast the modules in place.

    Raises:
        CheckpointError: a value does not fit its dtype.
    """
    for name, part in pipeline.components.items():
        if isinstance(part, nn.Module):
            # Not diffusers' own `to`, which warns of what it does not do.
            nn.Module.to(part, dtypes[_role(name)])
            _check_finite(name, part)


def finish_folder(folder: Path) -> None:
    """What the libraries leave undone in a folder that they have written."""
    for encoder in folder.glob(f"{_TEXT}*"):
        _load_as_float32(encoder / "config.json")
    _allow_reading(folder)


def _role(name: str) -> Role:
    """Of one of the pipeline's modules."""
    if name.startswith(_READS):
        return "text_encoder"
    return "vae" if name == "vae" else "denoiser"


@contextmanager
def without_bars() -> Iterator[None]:
    """Keep transformers from drawing on the terminal."""
    was_enabled = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if was_enabled:
            logging.enable_progress_bar()


def _check_finite(component: str, part: nn.Module) -> None:
    for name, tensor in part.state_dict().items():
        if tensor.is_floating_point() and not torch.isfinite(tensor).all():
            message = f"tensor {name!r} of the {component} has values that {tensor.dtype} cannot hold"
            raise CheckpointError(message, fix="export with --dtype fp32")


def _prefix(file: Path) -> None:
    """Name the text encoder's tensors as every release of transformers reads them.

    Since 5.6, transformers writes them without ``text_model.``; earlier ones then find nothing and go on
    with random weights.
    """
    encoder = Checkpoint(file)
    if any(name.startswith(_PREFIX) for name in encoder.names):
        return
    sources = {f"{_PREFIX}{name}": Source.copy(encoder, name) for name in encoder.names}
    write_checkpoint(file, sources, _FORMAT)


def _load_as_float32(config: Path) -> None:
    """Unless told another dtype, load the text encoder as diffusers loads everything else: in float32.

    transformers 5 would take the dtype that is stored, and the pipeline then fails on mixed ones.
    """
    content = json.loads(config.read_text(encoding="utf-8"))
    for key in {"dtype", "torch_dtype"} & set(content):
        content[key] = "float32"
    config.write_text(json.dumps(content, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def _allow_reading(folder: Path) -> None:
    """The safetensors library lets only the owner read its files: give all of them the usual mode."""
    usual = min(folder.glob("*.json")).stat().st_mode & 0o777
    for file in folder.rglob("*.safetensors"):
        file.chmod(usual)
