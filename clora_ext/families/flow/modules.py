"""A model's modules as its configuration describes them, empty, against what a checkpoint's header holds."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from transformers import Qwen3Config, Qwen3Model
from transformers.models.qwen3.modeling_qwen3 import Qwen3RotaryEmbedding

from clora_ext.errors import CheckpointError
from clora_ext.families.latent.modules import empty_module, places_in
from clora_ext.formats.header import Header

from .text import load_reading

if TYPE_CHECKING:
    from .layout import FlowLayout

__all__ = ["builders", "check_modules", "check_words"]


def builders(family: "FlowLayout", config: Mapping[str, Any]) -> dict[str, Callable[[], nn.Module]]:
    """What makes each component, by its name, in the order in which they are loaded."""
    found: dict[str, Callable[[], nn.Module]] = {
        "text_encoder": lambda: _language_model(Qwen3Config(**config["text_encoder"], use_cache=False))
    }
    if family.conditioner is not None:
        build = family.conditioner.build
        found["text_conditioner"] = lambda: build(config["text_conditioner"])
    found["vae"] = lambda: family.vae.build(config["vae"])
    found["transformer"] = lambda: family.transformer.build(config["transformer"])
    return found


def _language_model(config: Qwen3Config) -> Qwen3Model:
    """With the numbers of its positions, which no file holds: they are computed where there is memory."""
    model = Qwen3Model(config)
    with torch.device("cpu"):
        model.rotary_emb = Qwen3RotaryEmbedding(config)
    return model


def check_modules(family: "FlowLayout", header: Header, where: Path, config: Mapping[str, Any]) -> None:
    """Make sure that a model with this header loads, but for values that are NaN or infinite.

    Args:
        family: of the model.
        header: of everything.
        where: it lies, for messages.
        config: see :data:`clora_ext.families.flow.kinds.Config`.

    Raises:
        CheckpointError: as loading would raise it.
    """
    check_words(config, where)
    tables = family.tables(dict(config))
    for component, build in builders(family, config).items():
        places_in(empty_module(build, component, where), tables[component], header, where)


def check_words(config: Mapping[str, Any], where: Path) -> None:
    """The language model must know every token of its tokenizer, and so must what stands behind it.

    Raises:
        CheckpointError: it knows fewer.
    """
    reading = load_reading(config["text"])
    known, needed = config["text_encoder"]["vocab_size"], len(reading.tokenizer)
    if known < needed:
        message = f"{where}: the text encoder knows {known} tokens, its tokenizer {needed}"
        raise CheckpointError(message, fix="use the text encoder that is published with the model")
    if reading.words is not None and config["text_conditioner"]["target_vocab_size"] < len(reading.words):
        known, needed = config["text_conditioner"]["target_vocab_size"], len(reading.words)
        message = f"{where}: the text conditioner knows {known} tokens, its tokenizer {needed}"
        raise CheckpointError(message, fix="use another copy of the model")
