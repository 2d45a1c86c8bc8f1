"""What a family of flow matching is put together from: a kind of transformer, of language model, and of VAE.

Importing this file imports no torch.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from clora_ext.adapters.sites import Target
from clora_ext.config.settings import TargetSet
from clora_ext.families.model import Conditioning
from clora_ext.families.shapes import Shapes
from clora_ext.formats.flow_keys import (
    QWEN3_06B_PREFIX,
    QWEN3_4B_PREFIX,
    QWEN3_8B_PREFIX,
    QWEN3VL_4B_PREFIX,
)
from clora_ext.formats.header import Header
from clora_ext.formats.keys import KeyTable

if TYPE_CHECKING:
    from diffusers import DiffusionPipeline
    from torch import Tensor, nn

    from .modular_folder import ModularParts

__all__ = [
    "QWEN3VL_4B",
    "QWEN3_06B",
    "QWEN3_4B",
    "QWEN3_8B",
    "ConditionerKind",
    "Config",
    "TextKind",
    "TransformerKind",
]

Config = dict[str, Any]
"""``transformer``, ``text_encoder`` and ``vae``, the latter two where the header has them: diffusers' and
transformers' configurations; ``text_conditioner``, where the family has one; ``width`` of the transformer,
and ``depths`` of its stacks of blocks; and the family's own data."""


@dataclass(frozen=True, slots=True)
class TextKind:
    """A language model that reads for a transformer.

    Attributes:
        title: what people call it.
        prefix: where its tensors stand in a file of everything.
        usual: names of its file, as it is published.
        sees: whether it sees pictures, too.
    """

    title: str
    prefix: str
    usual: tuple[str, ...]
    sees: bool = False


QWEN3_06B = TextKind(
    "Qwen3-0.6B", QWEN3_06B_PREFIX, ("qwen_3_06b_base.safetensors", "qwen_3_06b.safetensors")
)
"""Of Anima."""

QWEN3_4B = TextKind("Qwen3-4B", QWEN3_4B_PREFIX, ("qwen_3_4b.safetensors",))
"""Of Z-Image and the smaller Flux.2 klein."""

QWEN3_8B = TextKind("Qwen3-8B", QWEN3_8B_PREFIX, ("qwen_3_8b.safetensors",))
"""Of the larger Flux.2 klein."""

QWEN3VL_4B = TextKind(
    "Qwen3-VL-4B",
    QWEN3VL_4B_PREFIX,
    ("qwen3vl_4b_bf16.safetensors", "qwen3vl_4b.safetensors"),
    sees=True,
)
"""Of Krea 2; what it sees with is not asked."""


@dataclass(frozen=True, slots=True)
class ConditionerKind:
    """A network between the language model and the transformer, published among the transformer's tensors.

    Attributes:
        prefix: where its tensors stand in a file of everything.
        configure: diffusers' configuration from a header, a prefix, and what shapes do not tell; raises
            CheckpointError.
        table: its key table.
        build: an empty module of a configuration.
        reads: the configuration's name of the width of what it reads.
        gives: the same of what it gives.
    """

    prefix: str
    configure: Callable[[Header, str, Mapping[str, Any]], dict[str, Any]]
    table: Callable[[], KeyTable]
    build: "Callable[[Mapping[str, Any]], nn.Module]"
    reads: str
    gives: str


@dataclass(frozen=True, slots=True)
class TransformerKind:
    """A network that gives the velocity from picture to noise.

    Attributes:
        marks: names of tensors by which it is known, inside.
        fits: whether a header with these names is of this family, and no relative's.
        configure: diffusers' configuration from shapes inside and the family's data; raises CheckpointError.
        width: of its blocks, from its configuration.
        depths: the configuration's names of how many blocks its stacks have.
        reads: the configuration's name of the width of what it reads.
        table: its key table, from its configuration.
        taught: whether a layer is among the chosen.
        read_by: what a layer's input is called where other layers read the same; empty: its own.
        build: an empty module of a configuration.
        velocity: a module's answer to latents (n, c, h, w) at times (n,): noise minus picture, so shaped.
        pipeline: diffusers' own, of all parts by the names that it has for them.
        reads_layers: the configuration's name of how many layers of such a width it reads; empty: one.
        patch: side of the square of latents that its configuration's channels are of.
    """

    marks: tuple[str, ...]
    fits: Callable[[Header], bool]
    configure: Callable[[Shapes, Config], dict[str, Any]]
    width: Callable[[Mapping[str, Any]], int]
    depths: tuple[str, ...]
    reads: str
    table: Callable[[Mapping[str, Any]], KeyTable]
    taught: Callable[[Target, TargetSet], bool]
    read_by: Callable[[str], str]
    build: "Callable[[Mapping[str, Any]], nn.Module]"
    velocity: "Callable[[Any, Tensor, Tensor, Conditioning], Tensor]"
    pipeline: "Callable[..., DiffusionPipeline | ModularParts]"
    reads_layers: str = ""
    patch: int = 1
