"""A family whose checkpoints are single files in the original layout: a UNet, a VAE, text encoders.

A family of this kind is a name and three functions over a header; everything else follows from the
configuration and the key tables that they give. This file reads headers only; it imports no torch.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clora_ext.adapters.sites import Target
from clora_ext.errors import CheckpointError
from clora_ext.families.base import Model
from clora_ext.formats.header import Header
from clora_ext.formats.keys import KeyTable

if TYPE_CHECKING:
    from torch import Tensor

    from clora_ext.config.precision import Precision
    from clora_ext.formats.checkpoint import Checkpoint

__all__ = ["Config", "OriginalLayout"]

Config = dict[str, Any]
"""``unet``, ``vae``, ``text_encoder`` (and ``text_encoder_2``), ``scheduler``: diffusers' and transformers'
configurations; ``tokenizer``: a name; ``resolution``: pixels; ``teaching``: settings to begin with."""

_NO_LAYER = ("embedding", "text_projection", "norm")
_HERE = Path("the checkpoint")


@dataclass(frozen=True)
class OriginalLayout:
    """A kind of model; see :class:`clora_ext.families.base.Family`.

    Attributes:
        name: of the family.
        matches: whether a header is of this family.
        config: the configuration that a header tells; raises CheckpointError, naming the given file.
        tables: the key table of every component, by its name.
    """

    name: str
    matches: Callable[[Header], bool]
    config: Callable[[Header, Path], Config]
    tables: Callable[[Config], Mapping[str, KeyTable]]

    def check(self, header: Header, where: Path) -> None:
        """Refuse checkpoints without VAE or without a usable configuration."""
        if not any(name.startswith("first_stage_model.") for name in header.tensors):
            raise CheckpointError(f"{where} holds no VAE", fix="use a checkpoint with its VAE baked in")
        self.config(header, where)

    def resolution(self, header: Header) -> int:
        """From the configuration."""
        return int(self.config(header, _HERE)["resolution"])

    def teaching(self, header: Header) -> Mapping[str, Any]:
        """From the configuration."""
        found: Mapping[str, Any] = self.config(header, _HERE)["teaching"]
        return found

    def step(self, header: Header) -> int:
        """The VAE's reduction times the UNet's."""
        config = self.config(header, _HERE)
        reductions = len(config["vae"]["block_out_channels"]) + len(config["unet"]["block_out_channels"]) - 2
        return int(2**reductions)

    def modules(self, header: Header) -> tuple[Target, ...]:
        """Every linear layer and convolution of the UNet and the text encoders, in order of names."""
        tables = self.tables(self.config(header, _HERE))
        found = (
            target
            for component, table in tables.items()
            if component != "vae"
            for target in _modules(header, table)
        )
        return tuple(sorted(found, key=lambda target: target.name))

    def load(
        self, checkpoint: "Checkpoint", precision: "Precision", weights: "Mapping[str, Tensor] | None" = None
    ) -> Model:
        """The model in memory."""
        from .model import load_model

        config = self.config(checkpoint.header, checkpoint.path)
        return load_model(checkpoint, config, self.tables(config), precision, weights or {})


def _modules(header: Header, table: KeyTable) -> Iterator[Target]:
    """The layers of one component: every weight of two or four dimensions but embeddings and projections."""
    for tensor, info in header.tensors.items():
        if not tensor.startswith(table.prefix) or len(info.shape) not in {2, 4} or tensor.endswith("bias"):
            continue
        parameters = table.parameters(tensor)
        height = info.shape[0] // len(parameters)
        matrix = (height, prod(info.shape[1:]))
        kernel = (info.shape[2], info.shape[3]) if len(info.shape) == 4 else None  # noqa: PLR2004
        for place, parameter in enumerate(parameters):
            module = parameter.removesuffix(".weight")
            if not any(word in module for word in _NO_LAYER) or "time_emb" in module:
                rows = (place * height, (place + 1) * height) if len(parameters) > 1 else None
                inside = tensor.removeprefix(table.prefix).removesuffix(".weight")
                original = inside if table.component == "unet" else module
                yield Target(table.component, module, tensor, matrix, kernel, rows, original)
