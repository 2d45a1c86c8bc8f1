"""Inputs that come from the settings' knobs: what a node shows of them is a tuple of names."""

from collections.abc import Mapping
from typing import Any

from clora_ext.config.knob_fields import KnobField, knob_fields
from clora_ext.config.settings import Settings

from .host import io

__all__ = ["knob_input", "requested_values"]

_LARGEST = 100_000
_KNOBS = knob_fields(Settings)


def knob_input(name: str, default: object = None, **more: Any) -> Any:
    """The input of a knob.

    A number of 0, an empty text or the first choice leaves a knob alone whose default no value can show.

    Args:
        name: of the knob.
        default: the node's own; None: that of the settings.
        **more: what else ComfyUI's inputs take.
    """
    knob = _KNOBS[name]
    default = knob.default if default is None else default
    if knob.choices:
        first = (knob.default_words,) if _left_alone(knob) else ()
        chosen = first[0] if first else default
        options = [*first, *knob.choices]
        return io.Combo.Input(name, options=options, default=chosen, tooltip=_tooltip(knob, ""), **more)
    if knob.kind is bool:
        return io.Boolean.Input(name, default=default, tooltip=_tooltip(knob, ""), **more)
    if knob.kind is str:
        return io.String.Input(name, default=default or "", tooltip=_tooltip(knob, "Empty"), **more)
    return _number(knob, 0 if _left_alone(knob) else default, more)


def requested_values(inputs: Mapping[str, object]) -> dict[str, Any]:
    """Values of knobs for the settings, without those that a node's user has left alone."""
    values = {name: value.strip() if isinstance(value, str) else value for name, value in inputs.items()}
    return {name: value for name, value in values.items() if not _is_left_alone(_KNOBS[name], value)}


def _left_alone(knob: KnobField) -> bool:
    """Whether the knob has a default that no value can show."""
    return knob.optional or bool(knob.default_words)


def _is_left_alone(knob: KnobField, value: object) -> bool:
    return _left_alone(knob) and (not value or value == knob.default_words)


def _tooltip(knob: KnobField, none: str) -> str:
    """The knob's help, and what stands for the default; ``none``: what means it."""
    said = f" {none}: {knob.default_words}." if none and knob.default_words else ""
    return f"{knob.knob.help}{said}"


def _number(knob: KnobField, default: Any, more: Mapping[str, Any]) -> Any:
    """An Int or a Float input with the knob's limits."""
    least, most = _limits(knob)
    step = knob.kind(knob.knob.step or 1)
    common = {"default": knob.kind(default), "min": least, "max": most, "step": step, **more}
    tooltip = _tooltip(knob, "0")
    if knob.kind is int:  # ComfyUI would put a widget of its own below an input that is called seed
        return io.Int.Input(knob.name, **common, control_after_generate=False, tooltip=tooltip)
    return io.Float.Input(knob.name, **common, round=float(f"{step / 100:g}"), tooltip=tooltip)


def _limits(knob: KnobField) -> tuple[Any, Any]:
    """The least and the largest number that the page lets in; what it cannot say, the engine checks."""
    bounds, apart = knob.bounds, 1 if knob.kind is int else 0
    least = bounds.get("ge", bounds.get("gt", -_LARGEST - apart) + apart)
    most = bounds.get("le", bounds.get("lt", _LARGEST + apart) - apart)
    return knob.kind(min(0, least) if _left_alone(knob) else least), knob.kind(most)
