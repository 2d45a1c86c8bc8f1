"""Options that belong together, as one argument of a command."""

import inspect
from collections.abc import Callable
from dataclasses import MISSING, Field, dataclass, fields, is_dataclass
from functools import wraps
from typing import Any, get_type_hints

from .options import (
    DEFAULT_KEEP,
    DEFAULT_STRATEGY,
    BaseOption,
    FilePredictionOption,
    FileZeroSnrOption,
    KeepDeltaOption,
    KeepOption,
    MaxForgettingOption,
    PredictionOption,
    ScorerOption,
    StrategyOption,
    StrategyOptions,
    TextEncoderFileOption,
    VaeFileOption,
    VariantOption,
    ZeroSnrOption,
)

__all__ = ["Base", "Keeping", "ModelFile", "Strategy", "with_groups"]

_Command = Callable[..., None]


@dataclass(frozen=True)
class Base:
    """What a new project starts from; the names are those of :class:`clora_ext.Request`."""

    base: BaseOption = None
    prediction: PredictionOption = None
    zero_snr: ZeroSnrOption = None
    text_encoder_file: TextEncoderFileOption = None
    vae_file: VaeFileOption = None
    variant: VariantOption = None


@dataclass(frozen=True)
class ModelFile:
    """What the files of a model do not say of it, and where those lie that it lacks."""

    prediction: FilePredictionOption = None
    zero_snr: FileZeroSnrOption = None
    text_encoder_file: TextEncoderFileOption = None
    vae_file: VaeFileOption = None
    variant: VariantOption = None


@dataclass(frozen=True)
class Strategy:
    """How new knowledge joins old."""

    strategy: StrategyOption = DEFAULT_STRATEGY
    strategy_option: StrategyOptions = None


@dataclass(frozen=True)
class Keeping:
    """What is kept beside the model, and what it must not lose; the names are the request's, too."""

    keep: KeepOption = DEFAULT_KEEP
    keep_delta: KeepDeltaOption = False
    scorer: ScorerOption = None
    max_forgetting: MaxForgettingOption = None


def with_groups(command: _Command) -> _Command:
    """Let a command take dataclasses of options: on the command line each option is one of its own.

    Their fields take the place of the argument, in their order, with their defaults; see :class:`Base`.
    """
    own = inspect.signature(command, eval_str=True)
    groups: dict[str, type[Any]] = {
        one.name: one.annotation
        for one in own.parameters.values()
        if isinstance(one.annotation, type) and is_dataclass(one.annotation)
    }
    parameters: list[inspect.Parameter] = []
    for one in own.parameters.values():
        parameters += _parameters(groups[one.name]) if one.name in groups else [one]

    @wraps(command)
    def called(*arguments: Any, **values: Any) -> None:  # noqa: ANN401 - whatever the command takes
        whole = {
            name: group(**{field.name: values.pop(field.name) for field in fields(group)})
            for name, group in groups.items()
        }
        command(*arguments, **values, **whole)

    # Typer reads a command's options from its signature.
    called.__signature__ = own.replace(parameters=parameters)  # type: ignore[attr-defined]
    return called


def _parameters(group: type[Any]) -> list[inspect.Parameter]:
    """One for each of its fields, as Typer reads them."""
    hints = get_type_hints(group, include_extras=True)
    return [
        inspect.Parameter(
            field.name, inspect.Parameter.KEYWORD_ONLY, default=_default(field), annotation=hints[field.name]
        )
        for field in fields(group)
    ]


def _default(field: "Field[Any]") -> Any:  # noqa: ANN401 - of any type
    return inspect.Parameter.empty if field.default is MISSING else field.default
