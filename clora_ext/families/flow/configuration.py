"""A family's configuration from a header: of the transformer, and of what else is there. Needs no torch."""

from pathlib import Path
from typing import TYPE_CHECKING

from clora_ext.errors import CheckpointError
from clora_ext.families.family_data import family_data
from clora_ext.families.shapes import Shapes
from clora_ext.formats.flow_keys import FLOW_PREFIX, FLOW_VAE_PREFIX
from clora_ext.formats.header import Header

from .kinds import ConditionerKind, Config
from .shapes import qwen3_config

if TYPE_CHECKING:
    from .layout import FlowLayout

__all__ = ["configuration"]


def configuration(family: "FlowLayout", header: Header, where: Path) -> Config:
    """See :data:`clora_ext.families.flow.kinds.Config`.

    Raises:
        CheckpointError: the tensors are not those of such a model, or its parts do not belong together; names
            ``where``.
    """
    data = family_data(family.name)
    try:
        transformer = family.transformer.configure(Shapes(header, FLOW_PREFIX), data)
        depths = [int(transformer[name]) for name in family.transformer.depths]
        width = family.transformer.width(transformer)
        config = {**data, "transformer": transformer, "width": width, "depths": depths}
        for part in ("text_encoder", "vae"):
            del config[part]
        if family.conditioner is not None:
            kind = family.conditioner
            known = data["text_conditioner"]
            config["text_conditioner"] = kind.configure(header, kind.prefix, known)
            _check_conditioner(family, config, kind)
        if any(name.startswith(family.text.prefix) for name in header.tensors):
            config["text_encoder"] = qwen3_config(header, family.text.prefix, data["text_encoder"])
            _check_text(family, config)
        if any(name.startswith(FLOW_VAE_PREFIX) for name in header.tensors):
            config["vae"] = family.vae.configure(header, FLOW_VAE_PREFIX, data["vae"])
            _check_vae(family, config)
    except CheckpointError as error:
        raise CheckpointError(f"{where}: {error.message}", fix=error.fix) from error
    return config


def _check_text(family: "FlowLayout", config: Config) -> None:
    """The transformer must read what the language model gives."""
    layers, text = config["text"]["layers"], config["text_encoder"]
    needed, width = _read_width(family, config), len(layers) * text["hidden_size"]
    fix = f"use {family.text.title}, such as {family.text.usual[0]}"
    if needed != width:
        raise CheckpointError(
            f"its transformer reads text of width {needed}, the text encoder gives {width}", fix=fix
        )
    if max(layers) > text["num_hidden_layers"]:
        message = (
            f"its transformer reads layer {max(layers)}, the text encoder has {text['num_hidden_layers']}"
        )
        raise CheckpointError(message, fix=fix)


def _read_width(family: "FlowLayout", config: Config) -> int:
    """Of what the language model must give."""
    if family.conditioner is not None:
        return int(config["text_conditioner"][family.conditioner.reads])
    kind, transformer = family.transformer, config["transformer"]
    layers = int(transformer[kind.reads_layers]) if kind.reads_layers else 1
    return int(transformer[kind.reads]) * layers


def _check_conditioner(family: "FlowLayout", config: Config, kind: ConditionerKind) -> None:
    """The transformer must read what the network before it gives."""
    needed, given = config["transformer"][family.transformer.reads], config["text_conditioner"][kind.gives]
    if needed != given:
        message = f"its transformer reads text of width {needed}, its text conditioner gives {given}"
        raise CheckpointError(message, fix="use another copy of the model")


def _check_vae(family: "FlowLayout", config: Config) -> None:
    """The transformer must paint what the VAE decodes."""
    needed = config["transformer"]["in_channels"] // family.transformer.patch**2
    channels = family.vae.channels(config["vae"])
    if needed != channels:
        message = f"its transformer paints {needed} channels, the VAE decodes {channels}"
        raise CheckpointError(message, fix=f"use the {family.vae.title}, such as {family.vae.usual[0]}")
