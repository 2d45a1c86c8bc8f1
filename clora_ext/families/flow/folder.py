"""A model of flow matching as the folder that diffusers' from_pretrained reads."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from diffusers import FlowMatchEulerDiscreteScheduler
from torch import nn
from transformers import PreTrainedTokenizerBase

from clora_ext.families.components import Role
from clora_ext.families.family_data import family_data
from clora_ext.families.latent.pipeline_folder import cast_parts, finish_folder, without_bars

from .text import Text

if TYPE_CHECKING:
    from .layout import FlowLayout

__all__ = ["save_folder"]


def save_folder(
    parts: Mapping[str, nn.Module],
    text: Text,
    family: "FlowLayout",
    folder: Path,
    dtypes: Mapping[Role, torch.dtype],
    told: Mapping[str, bool],
) -> None:
    """Write a new folder; the modules are cast in place, and nobody needs them afterwards.

    Args:
        parts: every component by its name.
        text: the language model and its tokenizer.
        family: says which pipeline they make, and at which times sampling asks.
        folder: that does not exist yet.
        dtypes: of the components of each role.
        told: to the pipeline, beside its parts.

    Raises:
        CheckpointError: a value does not fit its dtype.
    """
    scheduler = FlowMatchEulerDiscreteScheduler(**family_data(family.name)["scheduler"])
    tokenizers: dict[str, PreTrainedTokenizerBase] = {"tokenizer": text.reading.tokenizer}
    if text.reading.words is not None:
        tokenizers["t5_tokenizer"] = text.reading.words
    pipeline = family.transformer.pipeline(**parts, scheduler=scheduler, **tokenizers, **told)
    cast_parts(pipeline, dtypes)
    with without_bars():
        pipeline.save_pretrained(folder, safe_serialization=True)
    finish_folder(folder)
