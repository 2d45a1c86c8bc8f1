"""A model's modules as its configuration describes them, empty, against what a checkpoint's header holds."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, ZImageTransformer2DModel
from torch import nn
from transformers import Qwen3Config, Qwen3Model
from transformers.models.qwen3.modeling_qwen3 import Qwen3RotaryEmbedding

from clora_ext.errors import CheckpointError
from clora_ext.families.latent.modules import empty_module, places_in
from clora_ext.formats.header import Header
from clora_ext.formats.keys import KeyTable

from .text import load_reading

__all__ = ["builders", "check_modules", "check_words"]


def builders(config: Mapping[str, Any]) -> dict[str, Callable[[], nn.Module]]:
    """What makes each component, by its name, in the order in which they are loaded."""
    return {
        "text_encoder": lambda: _language_model(Qwen3Config(**config["text_encoder"], use_cache=False)),
        "vae": lambda: AutoencoderKL.from_config(config["vae"]),
        "transformer": lambda: ZImageTransformer2DModel.from_config(config["transformer"]),
    }


def _language_model(config: Qwen3Config) -> Qwen3Model:
    """With the numbers of its positions, which no file holds: they are computed where there is memory."""
    model = Qwen3Model(config)
    with torch.device("cpu"):
        model.rotary_emb = Qwen3RotaryEmbedding(config)
    return model


def check_modules(
    header: Header, where: Path, config: Mapping[str, Any], tables: Mapping[str, KeyTable]
) -> None:
    """Make sure that a model with this header loads, but for values that are NaN or infinite.

    Args:
        header: of everything.
        where: it lies, for messages.
        config: see :data:`clora_ext.families.flow.layout.Config`.
        tables: the components' names.

    Raises:
        CheckpointError: as loading would raise it.
    """
    check_words(config, where)
    for component, build in builders(config).items():
        places_in(empty_module(build, component, where), tables[component], header, where)


def check_words(config: Mapping[str, Any], where: Path) -> None:
    """The language model must know every token of its tokenizer.

    Raises:
        CheckpointError: it knows fewer.
    """
    known, needed = config["text_encoder"]["vocab_size"], len(load_reading(config["text"]).tokenizer)
    if known < needed:
        message = f"{where}: the text encoder knows {known} tokens, its tokenizer {needed}"
        raise CheckpointError(message, fix="use the text encoder that is published with the model")
