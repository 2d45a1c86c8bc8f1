"""The fields of a dataclass that bear knobs, with what the dataclass says about each."""

from collections.abc import Iterator, Mapping
from dataclasses import MISSING, Field, dataclass, fields, is_dataclass
from functools import cache
from types import NoneType
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints

from .knob import Knob

__all__ = ["KnobField", "all_fields", "knob_fields"]

_SUITABLE = "as suits the model"


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

    @property
    def choices(self) -> tuple[Any, ...]:
        """The only values there are; empty where there is no such list."""
        return get_args(self.kind) if get_origin(self.kind) is Literal else ()

    @property
    def default_words(self) -> str:
        """What stands for the default where the value itself would mislead; empty: nowhere."""
        return self.knob.default_text or (_SUITABLE if self.knob.suits_model else "")


@cache
def knob_fields(owner: type) -> Mapping[str, KnobField]:
    """Every field of a dataclass that bears a :class:`Knob`, by its name; nested groups in their order.

    Raises:
        TypeError: two fields have the same name.
    """
    found: dict[str, KnobField] = {}
    for field in _walk(owner, ""):
        if field.name in found:
            message = f"two knobs are called {field.name}"
            raise TypeError(message)
        found[field.name] = field
    return found


@cache
def all_fields(owner: type) -> Mapping[str, KnobField]:
    """Every field of a flat dataclass by its name; one without a :class:`Knob` has an empty help."""
    hints = get_type_hints(owner, include_extras=True)
    return {field.name: _described(field, "", hints[field.name]) for field in fields(owner)}


def _walk(owner: type, group: str) -> Iterator[KnobField]:
    hints = get_type_hints(owner, include_extras=True)
    for field in fields(owner):
        hint = hints[field.name]
        if is_dataclass(hint) and isinstance(hint, type):
            yield from _walk(hint, field.name)
        elif any(isinstance(extra, Knob) for extra in get_args(hint)):
            yield _described(field, group, hint)


def _described(field: "Field[Any]", group: str, hint: object) -> KnobField:
    """A field by its annotation: ``Annotated[type, constraints and a Knob]``, or a type alone."""
    kind, *extras = get_args(hint) if get_origin(hint) is Annotated else (hint,)
    parts = [part for part in get_args(kind) if part is not NoneType]
    optional = NoneType in get_args(kind)
    kind = parts[0] if optional else kind
    return KnobField(
        name=field.name,
        group=group,
        kind=kind,
        optional=optional,
        default=None if field.default is MISSING else field.default,
        bounds=_bounds(extras),
        annotation=Annotated[(kind, *extras)] if extras else kind,
        knob=next((extra for extra in extras if isinstance(extra, Knob)), Knob("")),
    )


def _bounds(extras: list[Any]) -> dict[str, float]:
    return {
        name: getattr(extra, name)
        for extra in extras
        for name in ("ge", "gt", "le", "lt")
        if hasattr(extra, name)
    }
