"""A pipeline as the folder that diffusers' from_pretrained reads."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import torch
from diffusers import DiffusionPipeline
from torch import nn
from transformers.utils import logging

from clora_ext.errors import CheckpointError
from clora_ext.formats.checkpoint import Checkpoint, Source, write_checkpoint

__all__ = ["save_pipeline"]

_TEXT = "text_encoder"
_PREFIX = "text_model."
_FORMAT = {"format": "pt"}  # transformers reads no file that does not say so


def save_pipeline(pipeline: DiffusionPipeline, folder: Path, dtypes: Mapping[str, torch.dtype]) -> None:
    """Write ``pipeline`` to a new ``folder``; its modules are cast in place.

    Args:
        pipeline: with modules that nobody needs afterwards.
        folder: that does not exist yet.
        dtypes: by component; ``text_encoder`` stands for all text encoders.

    Raises:
        CheckpointError: a value does not fit its dtype.
    """
    for name, part in pipeline.components.items():
        if isinstance(part, nn.Module):
            part.to(dtypes[_TEXT if name.startswith(_TEXT) else name])
            _check_finite(name, part)
    with _without_bars():
        pipeline.save_pretrained(folder, safe_serialization=True)
    for encoder in folder.glob(f"{_TEXT}*/model.safetensors"):
        _prefix(encoder)
    _allow_reading(folder)


@contextmanager
def _without_bars() -> Iterator[None]:
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


def _allow_reading(folder: Path) -> None:
    """The safetensors library lets only the owner read its files: give all of them the usual mode."""
    usual = (folder / "model_index.json").stat().st_mode & 0o777
    for file in folder.rglob("*.safetensors"):
        file.chmod(usual)
