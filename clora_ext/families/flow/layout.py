"""A family whose models are a transformer of flow matching, a language model and a VAE.

The transformer may lie alone, the others then in files of their own. This file reads headers only; it imports
no torch.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clora_ext.adapters.sites import Target
from clora_ext.config.settings import PromptSettings, TargetSet
from clora_ext.errors import CheckpointError, UsageError
from clora_ext.families.companion import Companion
from clora_ext.families.components import Component, Role, components_by_name, denoiser_of, roles_of
from clora_ext.families.family_data import family_data
from clora_ext.families.latent.parameters import parameters_of
from clora_ext.families.latent.verdicts import Verdict
from clora_ext.families.model import Model
from clora_ext.families.step_shape import StepShape
from clora_ext.families.variant import Variant, variants_in
from clora_ext.formats.flow_keys import FLOW_PREFIX, FLOW_VAE_PREFIX, qwen3_table
from clora_ext.formats.header import Header
from clora_ext.formats.keys import KeyTable
from clora_ext.formats.prediction import Prediction, kind_of

from .activations import copied_numbers, training_bytes
from .companions import companions_of
from .configuration import configuration
from .kinds import ConditionerKind, Config, TextKind, TransformerKind
from .vae_kind import VaeKind

if TYPE_CHECKING:
    from torch import Tensor

    from clora_ext.config.precision import Precision
    from clora_ext.formats.checkpoint import Checkpoint

__all__ = ["FlowLayout"]

_HERE = Path("the checkpoint")
_PARAMETERS = ("weight", "bias", "scale")


@dataclass(frozen=True)
class FlowLayout:
    """A kind of model; see :class:`clora_ext.families.base.Family`.

    Attributes:
        name: of the family.
        transformer: what is taught.
        text: what reads.
        vae: what encodes and decodes.
        conditioner: what stands between text and transformer; None: nothing does.
    """

    name: str
    transformer: TransformerKind
    text: TextKind
    vae: VaeKind
    conditioner: ConditionerKind | None = None

    @cached_property
    def components(self) -> Mapping[str, Component]:
        """All, in the order in which they are loaded; what is part of another's tensors before it."""
        found = [
            Component("text_encoder", self.text.prefix, "text_encoder"),
            Component("vae", FLOW_VAE_PREFIX, "vae"),
            Component("transformer", FLOW_PREFIX, "denoiser"),
        ]
        if self.conditioner is not None:
            found.insert(1, Component("text_conditioner", self.conditioner.prefix, "text_encoder"))
        return components_by_name(found)

    @cached_property
    def companions(self) -> Mapping[str, Companion]:
        """What is not taught."""
        return companions_of(self)

    def config(self, header: Header, where: Path) -> Config:
        """See :func:`clora_ext.families.flow.configuration.configuration`."""
        return configuration(self, header, where)

    def tables(self, config: Config) -> Mapping[str, KeyTable]:
        """The key tables of the components that a configuration has, by name."""
        found = {"transformer": self.transformer.table(config["transformer"])}
        if self.conditioner is not None:
            found["text_conditioner"] = self.conditioner.table()
        if "text_encoder" in config:
            found["text_encoder"] = qwen3_table(self.text.prefix)
        if "vae" in config:
            found["vae"] = self.vae.table(config["vae"])
        return found

    @property
    def title(self) -> str:
        """From the family's data."""
        return str(family_data(self.name)["title"])

    @property
    def licence(self) -> str:
        """From the family's data."""
        return str(family_data(self.name).get("licence", ""))

    @property
    def written_prefixes(self) -> Mapping[str, str]:
        """From the family's data."""
        return dict(family_data(self.name).get("written_prefixes", {}))

    @property
    def required(self) -> tuple[str, ...]:
        """What is published as one; whether all else is found is asked where a model is loaded."""
        return tuple(name for name in self.components if name not in self.companions)

    @property
    def reads_apart(self) -> bool:
        """A language model is as large as what it reads for."""
        return True

    def lacking(self, header: Header) -> tuple[str, ...]:
        """Components of which the header has no tensor."""
        return tuple(
            name
            for name in self.companions
            if not any(tensor.startswith(self.components[name].prefix) for tensor in header.tensors)
        )

    def matches(self, header: Header) -> bool:
        """By the transformer's marks, whatever else there is."""
        marked = all(FLOW_PREFIX + mark in header.tensors for mark in self.transformer.marks)
        return marked and self.transformer.fits(header)

    def check(self, header: Header, where: Path) -> None:
        """Refuse checkpoints without a usable configuration, and a word against what the family predicts."""
        self.config(header, where)
        for one in header.statements:
            if kind_of(one.word) is not None or one.zero_snr:
                said = f"{one.source} says otherwise" if one.word is None else f"{one.source} says {one.word}"
                message = f"{where} is {self.title}, which predicts a flow; {said}"
                raise CheckpointError(message, fix=f"leave {one.source} out")

    def architecture(self, header: Header) -> str | None:
        """The published name, if the transformer is as wide as the published one."""
        data = family_data(self.name)
        width = self.config(header, _HERE)["width"]
        return str(data["architecture"]) if width == data["published_width"] else None

    def prediction(self, header: Header) -> Prediction:
        """A flow, from the picture to the noise."""
        return Prediction("flow", source=f"{self.title}'s kind")

    @property
    def variants(self) -> tuple[Variant, ...]:
        """From the family's data."""
        return variants_in(family_data(self.name))

    def resolution(self, header: Header) -> int:
        """From the family's data."""
        return int(family_data(self.name)["resolution"])

    def size_multiple(self, header: Header) -> int:
        """The VAE's reduction, if it is known, times the transformer's patches."""
        config = self.config(header, _HERE)
        reduction = self.vae.reduction(config["vae"]) if "vae" in config else config["reduction"]
        return int(reduction * config["patch"])

    def training_bytes(self, header: Header, step: StepShape) -> int | None:
        """See :func:`clora_ext.families.flow.activations.training_bytes`; copies of weights."""
        config = self.config(header, _HERE)
        place = self.size_multiple(header)
        found = training_bytes(config, step, place) if "vae" in config else None
        if found is None or not step.copies_weights:
            return found
        shapes = {
            name.removeprefix(FLOW_PREFIX): info.shape
            for name, info in header.tensors.items()
            if name.startswith(FLOW_PREFIX)
        }
        wide = copied_numbers(shapes, config["activations"]["stacks"], recompute=step.recompute)
        return found + wide * (2 if step.is_half else 4)

    def picture_bytes(self, header: Header, size: tuple[int, int]) -> int | None:
        """See :meth:`clora_ext.families.flow.vae_kind.VaeKind.picture_bytes`."""
        config = self.config(header, _HERE)
        return self.vae.picture_bytes(config["vae"], size) if "vae" in config else None

    def readable(self, header: Header, prompts: PromptSettings) -> PromptSettings:
        """A language model's layer and the length of its texts are the family's."""
        return replace(prompts, clip_skip=1, max_token_length=75)

    def tokens_cut(self, header: Header, prompt: str, prompts: PromptSettings) -> int:
        """By the language model's tokenizer."""
        text = family_data(self.name)["text"]
        if prompt.isascii() and len(prompt) + len(text["template"]) <= text["longest"]:
            return 0  # not even if every letter were a token
        from .text import load_reading

        return load_reading(text).cut(prompt)

    def said_bytes(
        self, header: Header, texts: Sequence[str], prompts: PromptSettings, *, is_half: bool
    ) -> int | None:
        """By the width of what the transformer reads, and the tokens of the texts."""
        from .text import load_reading

        config, reading = self.config(header, _HERE), load_reading(family_data(self.name)["text"])
        if "text_encoder" not in config:
            return None
        width = int(config["transformer"][self.transformer.reads])
        return sum(map(reading.states, texts)) * width * (2 if is_half else 4)

    def reader(self, header: Header) -> Callable[[str], Sequence[int]]:
        """By the same tokenizer."""
        from .text import load_reading

        return load_reading(family_data(self.name)["text"]).plain

    def suggested_settings(self, header: Header) -> Mapping[str, Any]:
        """From the family's data."""
        return dict(family_data(self.name)["suggested_settings"])

    def modules(self, header: Header) -> tuple[Target, ...]:
        """Every linear layer of the transformer, in order of names."""
        return tuple(target for target in self.parameters(header) if target.layout == "matrix")

    def parameters(self, header: Header) -> tuple[Target, ...]:
        """Weights, norms and biases of the transformer, in order of names."""
        denoiser = denoiser_of(self.components)
        table = self.tables(self.config(header, _HERE))[denoiser.name]
        found = parameters_of(header, table, denoiser, self.transformer.read_by)
        named = (target for target in found if target.module and _is_parameter(target))
        return tuple(sorted(named, key=lambda target: target.name))

    def targets(
        self, header: Header, chosen: TargetSet | None, *, text_encoders: bool, convolutions: bool = False
    ) -> tuple[Target, ...]:
        """The chosen layers of the transformer.

        Raises:
            UsageError: the language model or convolutions are to be taught.
        """
        if text_encoders:
            message = f"{self.title} reads with a language model, which clora does not teach"
            raise UsageError(message, fix="leave --text-encoder and --text-encoder-only out")
        if convolutions:
            raise UsageError(f"{self.title} has no convolutions to teach", fix="leave --conv-rank out")
        if chosen is None:
            return ()
        return tuple(target for target in self.modules(header) if self.transformer.taught(target, chosen))

    def token_tables(self, header: Header) -> tuple[Target, ...]:
        """None: the language model stays as it is."""
        return ()

    def roles(self, header: Header) -> Mapping[str, Role | None]:
        """See :func:`clora_ext.families.components.roles_of`."""
        return roles_of(self.components, header)

    def check_vae(self, header: Header, file: Path) -> None:
        """By names and shapes."""
        self.companions["vae"].fitting(file, header)

    def check_loading(self, header: Header, where: Path) -> None:
        """Build the modules without memory and compare; what was found to fit once is not built again."""
        config = self._whole(header, where)
        verdict = Verdict.of(header, config)
        if not verdict.is_known():
            from .modules import check_modules

            check_modules(self, header, where, config)
            verdict.remember()

    def load(
        self, checkpoint: "Checkpoint", precision: "Precision", weights: "Mapping[str, Tensor] | None" = None
    ) -> Model:
        """The model in memory."""
        from .load import load_model

        config = self._whole(checkpoint.header, checkpoint.path)
        return load_model(self, checkpoint, config, precision, weights or {})

    def _whole(self, header: Header, where: Path) -> Config:
        """The configuration of a model that lacks nothing.

        Raises:
            CheckpointError: it does; says how to name what it lacks.
        """
        if lacking := [self.companions[name] for name in self.lacking(header)]:
            message = f"{where} is a transformer alone, without {' and '.join(one.title for one in lacking)}"
            options = " ".join(f"{one.option} FILE" for one in lacking)
            raise CheckpointError(message, fix=f"name what it lacks: {options}")
        return self.config(header, where)


def _is_parameter(target: Target) -> bool:
    """Whether it is a module's weight or bias; a token that fills up belongs to no module."""
    return target.tensor.rpartition(".")[2] in _PARAMETERS
