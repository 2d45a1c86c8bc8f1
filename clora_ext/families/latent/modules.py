"""A model's modules as its configuration describes them, empty, against what a checkpoint's header holds.

Built on the meta device, which has no memory: nothing is read but the header.
"""

from collections.abc import Callable, Iterator, Mapping
from math import prod
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, DDPMScheduler, UNet2DConditionModel
from torch import nn
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

from clora_ext.errors import CheckpointError, shortened
from clora_ext.formats.header import Header, TensorInfo
from clora_ext.formats.keys import KeyTable, Place
from clora_ext.formats.leftovers import is_leftover
from clora_ext.formats.stored import dtype_of
from clora_ext.formats.text import quoted

from .text import load_tokenizer

__all__ = ["builders", "check_modules", "empty_module", "make_tokenizer", "places_in"]

_TEXT_MODEL = "text_model."
_MISMATCH = "the file and its configuration do not match"


def builders(config: Mapping[str, Any]) -> dict[str, Callable[[], nn.Module]]:
    """What makes each component, by its name, in the order in which they are loaded."""
    found: dict[str, Callable[[], nn.Module]] = {
        "text_encoder": lambda: CLIPTextModel(CLIPTextConfig(**config["text_encoder"]))
    }
    if "text_encoder_2" in config:
        found["text_encoder_2"] = lambda: CLIPTextModelWithProjection(
            CLIPTextConfig(**config["text_encoder_2"])
        )
    found["vae"] = lambda: AutoencoderKL.from_config(config["vae"])
    found["unet"] = lambda: UNet2DConditionModel.from_config(config["unet"])
    return found


def check_modules(
    header: Header, where: Path, config: Mapping[str, Any], tables: Mapping[str, KeyTable]
) -> None:
    """Make sure that a checkpoint with this header loads, but for values that are NaN or infinite.

    Args:
        header: of the checkpoint.
        where: it lies, for messages.
        config: see :data:`clora_ext.families.latent.layout.Config`.
        tables: the components' names in the checkpoint.

    Raises:
        CheckpointError: as loading would raise it.
    """
    make_tokenizer(config, where)
    for component, build in builders(config).items():
        places_in(empty_module(build, component, where), tables[component], header, where)
    _described(lambda: DDPMScheduler.from_config(config["scheduler"]), "scheduler", where)


def make_tokenizer(config: Mapping[str, Any], where: Path) -> CLIPTokenizer:
    """The tokenizer that belongs to the first text encoder, cutting where the encoder ends.

    Raises:
        CheckpointError: it is not known, or counts other tokens.
    """
    encoder = CLIPTextConfig(**config["text_encoder"])
    tokenizer = load_tokenizer(config.get("tokenizer"), where, encoder.max_position_embeddings)
    if len(tokenizer) != encoder.vocab_size:
        message = f"{where}: the text encoder knows {encoder.vocab_size} tokens, its tokenizer "
        fix = "use the version of clora that the file was made with"
        raise CheckpointError(f"{message}{len(tokenizer)}", fix=fix)
    return tokenizer


def empty_module(build: Callable[[], nn.Module], component: str, where: Path) -> nn.Module:
    """The module on the meta device.

    Raises:
        CheckpointError: the configuration describes none.
    """
    with torch.device("meta"):
        module: nn.Module = _described(build, component, where)
    return module


def _described(make: Callable[[], Any], component: str, where: Path) -> Any:  # noqa: ANN401 - a library's object
    """What a configuration describes; whatever the libraries say to one that describes nothing is told."""
    try:
        return make()
    except CheckpointError:
        raise
    except Exception as error:
        reason = shortened(f"{type(error).__name__}: {error}", 300)
        message = f"{where}: its configuration describes no {component} ({reason})"
        raise CheckpointError(message, fix="use another copy of the model") from error


def places_in(module: nn.Module, table: KeyTable, header: Header, where: Path) -> dict[str, Place]:
    """Where each of the module's parameters stands in the checkpoint.

    Raises:
        CheckpointError: tensors are missing, too many, of another shape, or of a dtype without numbers to
            compute with.
    """
    shapes = {name: tuple(tensor.shape) for name, tensor in module.state_dict().items()}
    places = {name: table.place(_canonical(module, name)) for name in shapes}
    for name, place in places.items():
        _check_tensor(header.tensors.get(place.tensor), place, shapes[name], where)
    known = {place.tensor for place in places.values()}
    extra = [name for name in _own(header, table) if name not in known]
    if extra:
        message = f"{where}: {len(extra)} tensors have no place in the model, first {quoted(extra[0])}"
        raise CheckpointError(message, fix=_MISMATCH)
    return places


def _own(header: Header, table: KeyTable) -> Iterator[str]:
    """The component's tensors, left-overs aside."""
    for name in header.tensors:
        inside = name.removeprefix(table.prefix)
        is_own = name.startswith(table.prefix) and not inside.startswith(table.apart)
        if is_own and not is_leftover(table.component, inside):
            yield name


def _canonical(module: nn.Module, name: str) -> str:
    """A parameter's name with the ``text_model.`` that transformers drops from 5.6 on."""
    first = name.split(".", maxsplit=1)[0]
    flat = first in {"embeddings", "encoder", "final_layer_norm"} and hasattr(module, "encoder")
    return f"{_TEXT_MODEL}{name}" if flat and hasattr(module, "final_layer_norm") else name


def _check_tensor(found: TensorInfo | None, place: Place, needed: tuple[int, ...], where: Path) -> None:
    """The tensor must be there and hold the parameter."""
    if found is None:
        message = f"{where} has no tensor {quoted(place.tensor)}"
        raise CheckpointError(message, fix="use a complete checkpoint")
    seen = found.shape[::-1] if place.transposed else found.shape
    if seen:
        seen = (seen[0] // place.part[1], *seen[1:])
    expected = (prod(needed),) if place.flat else needed
    if _squeezed(seen) != _squeezed(expected):
        message = (
            f"{where}: {quoted(place.tensor)} has the shape {list(found.shape)}, expected {list(expected)}"
        )
        raise CheckpointError(message, fix=_MISMATCH)
    dtype = dtype_of(found.dtype)
    if dtype is None or not dtype.is_floating_point:
        message = f"{where}: {quoted(place.tensor)} is stored as {found.dtype}, which cannot be computed with"
        raise CheckpointError(message, fix="use an fp16, bf16 or fp32 version of the model")


def _squeezed(shape: tuple[int, ...]) -> tuple[int, ...]:
    """The shape without the 1 x 1 of a convolution: the original layout stores some matrices that way."""
    return shape[:2] if len(shape) == 4 and prod(shape[2:]) == 1 else shape  # noqa: PLR2004
