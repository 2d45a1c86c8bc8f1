"""Stable Diffusion 1 and smaller models of its architecture, in the original single-file layout.

The configuration is read from the header's metadata (``clora.config``, JSON), as the built-in demo model
and everything that clora writes from it carry it. This file reads headers only; it imports no torch.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clora_ext.errors import CheckpointError
from clora_ext.formats.header import Header
from clora_ext.formats.keys import PREFIXES, unet_table

from .base import Model, Target

if TYPE_CHECKING:
    from torch import Tensor

    from clora_ext.formats.checkpoint import Checkpoint
    from clora_ext.precision import Precision

__all__ = ["CONFIG_KEY", "FAMILY", "StableDiffusion1"]

CONFIG_KEY = "clora.config"
"""Metadata key of the model's configuration."""

_COMPONENTS = ("unet", "vae", "text_encoder", "scheduler")
_MOST = 1 << 20  # no width, count or vocabulary of such a model comes near
_ATTENTION = (".to_q.weight", ".to_k.weight", ".to_v.weight", ".to_out.0.weight")


class StableDiffusion1:
    """AutoencoderKL, one CLIP text encoder, UNet2DConditionModel."""

    name = "sd1"

    def matches(self, header: Header) -> bool:
        """UNet and one text encoder under Stable Diffusion 1's prefixes."""
        starts = tuple(header.tensors)
        return all(
            any(name.startswith(prefix) for name in starts)
            for prefix in (PREFIXES["unet"], PREFIXES["text_encoder"])
        )

    def check(self, header: Header, where: Path) -> None:
        """Refuse checkpoints without VAE or without a usable configuration."""
        if not any(name.startswith(PREFIXES["vae"]) for name in header.tensors):
            raise CheckpointError(f"{where} holds no VAE", fix="use a checkpoint with its VAE baked in")
        _config(header, where)

    def resolution(self, header: Header) -> int:
        """From the configuration."""
        return int(_config(header)["resolution"])

    def step(self, header: Header) -> int:
        """The VAE's reduction times the UNet's."""
        config = _config(header)
        reductions = len(config["vae"]["block_out_channels"]) + len(config["unet"]["block_out_channels"]) - 2
        return int(2**reductions)

    def targets(self, header: Header) -> tuple[Target, ...]:
        """Queries, keys, values and outputs of all attention in the UNet, as in arXiv 2410.04891."""
        table = unet_table(_config(header)["unet"])
        return tuple(
            Target(name, table.to_diffusers(name).removesuffix(".weight"), (info.shape[0], info.shape[1]))
            for name, info in sorted(header.tensors.items())
            if name.startswith(PREFIXES["unet"]) and name.endswith(_ATTENTION) and ".attn" in name
        )

    def load(
        self, checkpoint: "Checkpoint", precision: "Precision", weights: "Mapping[str, Tensor] | None" = None
    ) -> Model:
        """The model in memory."""
        from .latent_diffusion import load_model

        return load_model(checkpoint, _config(checkpoint.header, checkpoint.path), precision, weights or {})


def _config(header: Header, where: Path = Path("the checkpoint")) -> dict[str, Any]:
    """The checked configuration.

    Raises:
        CheckpointError: there is none, or it is not one that could belong to such a model.
    """
    text = header.metadata.get(CONFIG_KEY)
    if text is None:
        message = f"{where} is a Stable Diffusion 1 checkpoint without clora's configuration in its header"
        raise CheckpointError(
            message, fix="this version of clora teaches its demo model and what was made from it"
        )
    try:
        config = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{where}: {CONFIG_KEY} is not JSON ({error})", fix=_DAMAGED) from error
    if not isinstance(config, dict) or not all(isinstance(config.get(part), dict) for part in _COMPONENTS):
        raise CheckpointError(f"{where}: {CONFIG_KEY} misses a component", fix=_DAMAGED)
    try:
        _check_size(config)
        blocks = [len(config[part]["block_out_channels"]) for part in ("unet", "vae")]
        sane = 0 < config["resolution"] <= _MOST and all(0 < count <= 8 for count in blocks)  # noqa: PLR2004
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"{where}: {CONFIG_KEY} is unusable ({error})", fix=_DAMAGED) from error
    if not sane:
        raise CheckpointError(f"{where}: {CONFIG_KEY} describes no such model", fix=_DAMAGED)
    return config


_DAMAGED = "export the file again; it is damaged or was made to do harm"
_REPEATS = ("layers_per_block", "num_hidden_layers", "transformer_layers_per_block")
_MOST_REPEATS = 64


def _check_size(value: object, key: str = "") -> None:
    """Refuse numbers with which building the model would exhaust the machine."""
    if isinstance(value, Mapping):
        for name, inner in value.items():
            _check_size(inner, str(name))
    elif isinstance(value, list):
        for inner in value:
            _check_size(inner, key)
    elif isinstance(value, int | float) and abs(value) > (_MOST_REPEATS if key in _REPEATS else _MOST):
        message = f"{key} = {value}"
        raise ValueError(message)


FAMILY = StableDiffusion1()
