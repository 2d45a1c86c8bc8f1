"""A family whose checkpoints are single files in the original layout: a UNet, a VAE, text encoders.

A family of this kind is its components and two functions; everything else follows from the configuration
and the key tables that they give. This file reads headers only; it imports no torch.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from clora_ext.adapters.sites import Target
from clora_ext.config.settings import PromptSettings, TargetSet
from clora_ext.errors import CheckpointError, UsageError
from clora_ext.families.companion import Companion
from clora_ext.families.components import Component, Role, denoiser_of, roles_of
from clora_ext.families.family_data import family_data
from clora_ext.families.model import Model
from clora_ext.families.step_shape import StepShape
from clora_ext.families.variant import Variant
from clora_ext.formats.header import Header
from clora_ext.formats.keys import KeyTable
from clora_ext.formats.prediction import Prediction

from . import activations
from .parameters import parameters_of
from .targets import in_clip, in_residual_block, in_unet, read_by
from .verdicts import Verdict
from .weight_copies import copied_numbers

if TYPE_CHECKING:
    from torch import Tensor

    from clora_ext.config.precision import Precision
    from clora_ext.formats.checkpoint import Checkpoint

__all__ = ["Config", "OriginalLayout"]

Config = dict[str, Any]
"""``unet``, ``vae``, ``text_encoder`` (and ``text_encoder_2``), ``scheduler``: diffusers' and transformers'
configurations; ``prediction``: a :class:`Prediction`, which the scheduler follows; ``tokenizer``: a name;
``resolution``: pixels; ``suggested_settings``: by name."""

_Asked = TypeVar("_Asked")
_HERE = Path("the checkpoint")
_WORDS = {"denoiser": "UNet", "text_encoder": "text encoder", "vae": "VAE"}


@dataclass(frozen=True)
class OriginalLayout:
    """A kind of model; see :class:`clora_ext.families.base.Family`.

    Attributes:
        name: of the family.
        components: by name; all of them are required.
        config: the configuration that a header tells; raises CheckpointError, naming the given file.
        tables: the key table of every component, by its name.
    """

    name: str
    components: Mapping[str, Component]
    config: Callable[[Header, Path], Config]
    tables: Callable[[Config], Mapping[str, KeyTable]]

    @property
    def title(self) -> str:
        """From the family's data."""
        return str(family_data(self.name)["title"])

    @property
    def licence(self) -> str:
        """None that forbids what is usual."""
        return ""

    @property
    def written_prefixes(self) -> Mapping[str, str]:
        """As they stand here."""
        return {}

    @property
    def required(self) -> tuple[str, ...]:
        """All components: such a checkpoint is one file."""
        return tuple(self.components)

    @property
    def companions(self) -> Mapping[str, Companion]:
        """None: such a checkpoint holds everything."""
        return {}

    @property
    def reads_apart(self) -> bool:
        """CLIP is small: it stays."""
        return False

    def lacking(self, header: Header) -> tuple[str, ...]:
        """Nothing that could lie elsewhere."""
        return ()

    def matches(self, header: Header) -> bool:
        """Whether the UNet and every text encoder stand where this family has them."""
        return all(_holds(header, one) for one in self.components.values() if one.role != "vae")

    def check(self, header: Header, where: Path) -> None:
        """Refuse checkpoints without a required component or without a usable configuration."""
        for name in self.required:
            if not _holds(header, self.components[name]):
                what = _WORDS[self.components[name].role]
                message = f"{where} holds no {what}"
                raise CheckpointError(message, fix=f"use a checkpoint with its {what} baked in")
        self.config(header, where)

    def architecture(self, header: Header) -> str | None:
        """The published name, if the UNet's first convolution and the text's width are those published."""
        data = family_data(self.name)
        first = header.tensors.get(f"{denoiser_of(self.components).prefix}input_blocks.0.0.weight")
        widths = {info.shape[1] for key, info in header.tensors.items() if key.endswith(".attn2.to_k.weight")}
        fits = first is not None and first.shape[0] == data["channels"] and widths == {data["text_width"]}
        return str(data["architecture"]) if fits else None

    def prediction(self, header: Header) -> Prediction:
        """From the configuration."""
        found: Prediction = self.config(header, _HERE)["prediction"]
        return found

    @property
    def variants(self) -> tuple[Variant, ...]:
        """None: whatever matters stands in the file or beside it."""
        return ()

    def resolution(self, header: Header) -> int:
        """From the configuration."""
        return int(self.config(header, _HERE)["resolution"])

    def size_multiple(self, header: Header) -> int:
        """The VAE's reduction times the UNet's."""
        config = self.config(header, _HERE)
        reductions = len(config["vae"]["block_out_channels"]) + len(config["unet"]["block_out_channels"]) - 2
        return int(2**reductions)

    def training_bytes(self, header: Header, step: StepShape) -> int | None:
        """See :func:`clora_ext.families.latent.activations.training_bytes`; copies of weights."""
        found = _told(activations.training_bytes, self.config(header, _HERE), step)
        if found is None or not step.copies_weights:
            return found
        prefix = denoiser_of(self.components).prefix
        shapes = {name: info.shape for name, info in header.tensors.items() if name.startswith(prefix)}
        return found + copied_numbers(shapes) * (2 if step.is_half else 4)

    def picture_bytes(self, header: Header, size: tuple[int, int]) -> int | None:
        """See :func:`clora_ext.families.latent.activations.picture_bytes`."""
        return _told(activations.picture_bytes, self.config(header, _HERE), size)

    def readable(self, header: Header, prompts: PromptSettings) -> PromptSettings:
        """Two text encoders are SDXL's, whose layer is fixed; one has only so many layers."""
        config = self.config(header, _HERE)
        if "text_encoder_2" in config:
            return replace(prompts, clip_skip=1)
        layers = config["text_encoder"].get("num_hidden_layers")
        if isinstance(layers, int) and prompts.clip_skip > layers:
            message = f"clip-skip {prompts.clip_skip} leaves nothing of this text encoder"
            raise UsageError(message, fix=f"choose 1 to {layers}, the number of its layers")
        return prompts

    def tokens_cut(self, header: Header, prompt: str, prompts: PromptSettings) -> int:
        """By the first text encoder's tokenizer, which all of them share."""
        config = self.config(header, _HERE)
        longest = config["text_encoder"].get("max_position_embeddings")
        if isinstance(longest, int) and prompt.isascii() and len(prompt) + 2 <= longest:
            return 0  # not even if every letter were a token; two mark beginning and end
        from .modules import make_tokenizer
        from .text import tokens_cut

        return tokens_cut(make_tokenizer(config, _HERE), prompt, prompts.parts)

    def said_bytes(
        self, header: Header, texts: Sequence[str], prompts: PromptSettings, *, is_half: bool
    ) -> int | None:
        """Every text is as long as the text encoders read, or a multiple of it."""
        each = _told(partial(_said_bytes, is_half=is_half), self.config(header, _HERE), prompts.parts)
        return None if each is None else each * len(texts)

    def reader(self, header: Header) -> Callable[[str], Sequence[int]]:
        """By the same tokenizer."""
        from .modules import make_tokenizer
        from .text import tokens

        return partial(tokens, make_tokenizer(self.config(header, _HERE), _HERE))

    def suggested_settings(self, header: Header) -> Mapping[str, Any]:
        """From the configuration."""
        found: Mapping[str, Any] = self.config(header, _HERE)["suggested_settings"]
        return found

    def modules(self, header: Header) -> tuple[Target, ...]:
        """Every linear layer and convolution of the UNet and the text encoders, in order of names."""
        return tuple(target for target in self.parameters(header) if _is_layer(target))

    def parameters(self, header: Header) -> tuple[Target, ...]:
        """The layers' weights and everything else of the UNet and the text encoders, in order of names."""
        tables = self.tables(self.config(header, _HERE))
        found = (
            target
            for name, table in tables.items()
            if self.components[name].role != "vae"
            for target in parameters_of(header, table, self.components[name], read_by)
        )
        return tuple(sorted(found, key=lambda target: target.name))

    def targets(
        self, header: Header, chosen: TargetSet | None, *, text_encoders: bool, convolutions: bool = False
    ) -> tuple[Target, ...]:
        """The chosen layers of the UNet, and attention and MLP of the text encoders."""
        denoiser = denoiser_of(self.components).name
        return tuple(
            target
            for target in self.modules(header)
            if (
                (in_unet(target, chosen) or (convolutions and in_residual_block(target)))
                if target.component == denoiser
                else text_encoders and in_clip(target)
            )
        )

    def token_tables(self, header: Header) -> tuple[Target, ...]:
        """CLIP's embeddings."""
        found = self.parameters(header)
        return tuple(target for target in found if target.module.endswith(".token_embedding"))

    def roles(self, header: Header) -> Mapping[str, Role | None]:
        """See :func:`clora_ext.families.components.roles_of`."""
        return roles_of(self.components, header)

    def check_vae(self, header: Header, file: Path) -> None:
        """By names and shapes."""
        from .vae import check_vae

        check_vae(file, self.config(header, _HERE)["vae"])

    def check_loading(self, header: Header, where: Path) -> None:
        """Build the modules without memory and compare; what was found to fit once is not built again."""
        config = self.config(header, where)
        verdict = Verdict.of(header, config)
        if not verdict.is_known():
            from .modules import check_modules

            check_modules(header, where, config, self.tables(config))
            verdict.remember()

    def load(
        self, checkpoint: "Checkpoint", precision: "Precision", weights: "Mapping[str, Tensor] | None" = None
    ) -> Model:
        """The model in memory."""
        from .load import load_model

        config = self.config(checkpoint.header, checkpoint.path)
        return load_model(checkpoint, config, self.tables(config), precision, weights or {})


def _told(count: Callable[[Config, _Asked], int], config: Config, asked: _Asked) -> int | None:
    """What a configuration says of memory; None: it is a file's own, and says too little."""
    try:
        return count(config, asked)
    except (KeyError, TypeError, ValueError, AttributeError):
        return None


def _said_bytes(config: Config, parts: int, *, is_half: bool) -> int:
    """Of one text, read in so many parts: states of all text encoders side by side, and bigG's ends.

    The last norm of a text encoder that is read alone computes in float32 whatever it is given.
    """
    one, two = config["text_encoder"], config.get("text_encoder_2")
    tokens = parts * (one["max_position_embeddings"] - 2) + 2
    if two is None:
        return int(tokens * one["hidden_size"] * 4)
    numbers = tokens * (one["hidden_size"] + two["hidden_size"]) + parts * two["hidden_size"]
    return int(numbers * (2 if is_half else 4))


def _is_layer(target: Target) -> bool:
    """Whether it is the weight of a linear layer or a convolution, and no table of tokens or positions."""
    return target.layout != "vector" and ".embeddings." not in target.module


def _holds(header: Header, component: Component) -> bool:
    """Whether any tensor stands where the component's do."""
    return any(name.startswith(component.prefix) for name in header.tensors)
