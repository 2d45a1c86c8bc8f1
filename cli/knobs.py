"""Options that come from the knobs of a class of settings: adding a knob there adds an option here."""

import inspect
from collections.abc import Callable, Iterator, Mapping
from typing import Annotated, Any

import typer

from clora_ext.config.knob_fields import KnobField, knob_fields

__all__ = ["given_values", "knob_parameters", "with_knobs"]

_PANELS = {
    "network": "LoRA",
    "adapter": "LoRA",
    "algorithm": "Learning rate",
    "rate": "Learning rate",
    "loss": "Loss and noise",
    "noise": "Loss and noise",
    "captions": "Captions",
    "prompts": "Captions",
    "augmentation": "Pictures",
    "masks": "Pictures",
    "validation": "Pictures",
    "sampling": "Samples",
}
_PANEL = "Training"
_LONGEST_CHOICES = 30  # characters: more would be cut off in the help

_Command = Callable[..., None]


def with_knobs(settings: type, *, after: str) -> Callable[[_Command], _Command]:
    """Give a command an option for every knob of ``settings``, behind its own parameter ``after``.

    The command takes them as ``**knobs``; :func:`given_values` says what to do with them.
    """

    def decorate(command: _Command) -> _Command:
        own = inspect.signature(command, eval_str=True)
        parameters = [
            parameter for parameter in own.parameters.values() if parameter.kind is not parameter.VAR_KEYWORD
        ]
        place = [parameter.name for parameter in parameters].index(after) + 1
        parameters[place:place] = knob_parameters(settings)
        # Typer reads a command's options from its signature.
        command.__signature__ = own.replace(parameters=parameters)  # type: ignore[attr-defined]
        return command

    return decorate


def given_values(knobs: Mapping[str, object]) -> dict[str, Any]:
    """What the settings are to be: knobs that the user left alone are left out."""
    return {name: value for name, value in knobs.items() if value is not None}


def knob_parameters(settings: type) -> Iterator[inspect.Parameter]:
    """A parameter, as Typer reads it, for every knob of ``settings``."""
    for knob in knob_fields(settings).values():
        yield inspect.Parameter(
            knob.name,
            inspect.Parameter.KEYWORD_ONLY,
            default=None if knob.optional or knob.default_words else knob.default,
            annotation=Annotated[_type(knob) | None, _option(knob)],
        )


def _type(knob: KnobField) -> Any:  # noqa: ANN401 - a type
    """What Typer reads. Of choices anything of their type: the engine refuses a wrong one."""
    return type(knob.choices[0]) if knob.choices else knob.kind


def _option(knob: KnobField) -> Any:  # noqa: ANN401 - Typer declares its options as Any
    """The option's name, help, panel, and what it says of its default."""
    choices = "|".join(map(str, knob.choices))
    are_many = len(choices) > _LONGEST_CHOICES
    return typer.Option(
        _declaration(knob),
        help=f"{knob.knob.help} One of: {', '.join(knob.choices)}." if are_many else knob.knob.help,
        metavar="NAME" if are_many else choices or None,
        rich_help_panel=_PANELS.get(knob.group, _PANEL),
        show_default=knob.default_words or True,
    )


def _declaration(knob: KnobField) -> str:
    """``--name``; a switch that is on has one that switches it off, too."""
    if knob.kind is bool and knob.default:
        return f"--{knob.option}/--no-{knob.option}"
    return f"--{knob.option}"
