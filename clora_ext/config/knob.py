"""A knob: one setting with everything that people are told about it, written once, at its field.

The command line's options, the node's inputs, the documentation's table and the validation are made from
the fields of :class:`clora_ext.config.settings.Settings` that bear a :class:`Knob`: adding a knob is adding a
field.
"""

from collections.abc import Iterator, Mapping
from dataclasses import MISSING, Field, dataclass, fields, is_dataclass
from functools import cache
from types import NoneType
from typing import Annotated, Any, get_args, get_origin, get_type_hints

from clora_ext.errors import did_you_mean

__all__ = ["Knob", "KnobField", "check_knob", "knob_fields"]


@dataclass(frozen=True, slots=True)
class Knob:
    """What people are told about a setting.

    Attributes:
        help: one sentence or two.
        default_text: what stands for the default where no value does; empty: the value itself.
        suits_model: whether a model's family may suggest another default.
        step: by how much a person would change the number; None: by 1.
    """

    help: str
    default_text: str = ""
    suits_model: bool = False
    step: float | None = None


@dataclass(frozen=True, slots=True)
class KnobField:
    """A knob and the field that bears it.

    Attributes:
        name: of the field; no two knobs share one.
        group: name of the group that it stands in; empty: at the top.
        kind: the type of its values, without constraints; of a union with None, the other part.
        optional: whether None is a value too.
        default: its value where nobody says anything.
        bounds: constraints on numbers by their names in annotated_types: ``ge``, ``gt``, ``le``, ``lt``.
        annotation: the kind with its constraints, as a type that pydantic reads.
        knob: what people are told.
    """

    name: str
    group: str
    kind: Any
    optional: bool
    default: Any
    bounds: Mapping[str, float]
    annotation: Any
    knob: Knob

    @property
    def option(self) -> str:
        """The name as people type it.

        >>> KnobField("learning_rate", "optimizer", float, False, 1e-3, {}, float, Knob("Of AdamW.")).option
        'learning-rate'
        """
        return self.name.replace("_", "-")


@cache
def knob_fields(settings: type) -> Mapping[str, KnobField]:
    """Every knob of a class of settings by its name, groups in their order.

    Raises:
        TypeError: two fields have the same name.
    """
    found: dict[str, KnobField] = {}
    for field in _walk(settings, ""):
        if field.name in found:
            message = f"two knobs are called {field.name}"
            raise TypeError(message)
        found[field.name] = field
    return found


def _walk(owner: type, group: str) -> Iterator[KnobField]:
    hints = get_type_hints(owner, include_extras=True)
    for field in fields(owner):
        hint = hints[field.name]
        if is_dataclass(hint) and isinstance(hint, type):
            yield from _walk(hint, field.name)
        elif get_origin(hint) is Annotated:
            yield from _of(field, group, hint)


def _of(field: Field[Any], group: str, hint: object) -> Iterator[KnobField]:
    kind, *extras = get_args(hint)
    bounds = {
        name: getattr(extra, name)
        for extra in extras
        for name in ("ge", "gt", "le", "lt")
        if hasattr(extra, name)
    }
    default = field.default if field.default is not MISSING else None
    parts = [part for part in get_args(kind) if part is not NoneType]
    optional = NoneType in get_args(kind)
    kind = parts[0] if optional else kind
    annotation = Annotated[(kind, *extras)]  # type: ignore[valid-type]  # made while running
    yield from (
        KnobField(field.name, group, kind, optional, default, bounds, annotation, extra)
        for extra in extras
        if isinstance(extra, Knob)
    )


def check_knob(knob: KnobField, value: object) -> list[str]:
    """What is wrong with a value of a knob, in words; nothing: an empty list."""
    from pydantic import ConfigDict, TypeAdapter, ValidationError

    if value is None and knob.optional:
        return []
    checker: TypeAdapter[Any] = TypeAdapter(knob.annotation, config=ConfigDict(allow_inf_nan=False))
    try:
        checker.validate_python(value, strict=True)
    except ValidationError as error:
        return [_in_words(knob, value, one["type"], one["msg"]) for one in error.errors()]
    return []


_LIMITS = {
    "greater_than_equal": ("at least", "ge"),
    "greater_than": ("more than", "gt"),
    "less_than_equal": ("at most", "le"),
    "less_than": ("less than", "lt"),
}


def _in_words(knob: KnobField, value: object, kind: str, message: str) -> str:
    """One of pydantic's errors; the knob is called what people type."""
    shown = f"{value!r:.80}" if isinstance(value, str) else f"{value}"
    if kind == "literal_error":
        choices = tuple(map(str, get_args(knob.kind)))
        return f"unknown {knob.option} {shown}; {did_you_mean(str(value), choices)}"
    if kind == "finite_number":
        return f"{knob.option} must be a finite number, not {shown}"
    if kind in _LIMITS:
        words, bound = _LIMITS[kind]
        return f"{knob.option} must be {words} {knob.bounds[bound]}, not {shown}"
    return f"{knob.option} cannot be {shown}: {message[:1].lower()}{message[1:]}"
