"""Whether a value is one that a knob takes. pydantic decides; it is imported when the first value comes."""

from typing import TYPE_CHECKING, Any

from clora_ext.errors import SettingsError, did_you_mean

from .knob_fields import KnobField

if TYPE_CHECKING:
    from pydantic import ValidationError

__all__ = ["check_knob", "typed_value"]


def check_knob(knob: KnobField, value: object) -> list[str]:
    """What is wrong with a value, in words; nothing: an empty list. No value of another type will do."""
    from pydantic import ValidationError

    try:
        _validated(knob, value, strict=True)
    except ValidationError as error:
        return _in_words(knob, value, error)
    return []


def typed_value(knob: KnobField, value: object) -> Any:  # noqa: ANN401 - a value of the knob's own type
    """The value in the knob's own type: text, as a command line gives it, is read as that type.

    Raises:
        SettingsError: it cannot be read so, or is out of bounds.
    """
    from pydantic import ValidationError

    try:
        return _validated(knob, value, strict=False)
    except ValidationError as error:
        raise SettingsError(_in_words(knob, value, error)) from error


def _validated(knob: KnobField, value: object, *, strict: bool) -> Any:  # noqa: ANN401
    from pydantic import ConfigDict, TypeAdapter

    if value is None and knob.optional:
        return None
    adapter: TypeAdapter[Any] = TypeAdapter(knob.annotation, config=ConfigDict(allow_inf_nan=False))
    if not strict:  # pydantic reads "0.5" as a number, but no "2" as one of Literal[1, 2]
        value = {str(choice): choice for choice in knob.choices}.get(str(value), value)
    return adapter.validate_python(value, strict=strict)


_LIMITS = {
    "greater_than_equal": ("at least", "ge"),
    "greater_than": ("more than", "gt"),
    "less_than_equal": ("at most", "le"),
    "less_than": ("less than", "lt"),
}


def _in_words(knob: KnobField, value: object, error: "ValidationError") -> list[str]:
    """pydantic's complaints; the knob is called what people type."""
    return [_one_in_words(knob, value, one["type"], one["msg"]) for one in error.errors()]


def _one_in_words(knob: KnobField, value: object, kind: str, message: str) -> str:
    shown = f"{value!r:.80}" if isinstance(value, str) else f"{value}"
    if kind == "literal_error":
        choices = tuple(map(str, knob.choices))
        return f"unknown {knob.option} {shown}; {did_you_mean(str(value), choices)}"
    if kind == "finite_number":
        return f"{knob.option} must be a finite number, not {shown}"
    if kind in _LIMITS:
        words, bound = _LIMITS[kind]
        return f"{knob.option} must be {words} {knob.bounds[bound]}, not {shown}"
    return f"{knob.option} cannot be {shown}: {message[:1].lower()}{message[1:]}"
