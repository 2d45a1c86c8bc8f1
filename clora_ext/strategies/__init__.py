"""Strategies by name: one file each. Looking up names and what the files say imports no torch."""

from collections.abc import Mapping
from importlib import import_module
from typing import TYPE_CHECKING, Any

from clora_ext.config import strategy_names
from clora_ext.config.knob_fields import KnobField, all_fields
from clora_ext.errors import UsageError

from .options import described_options, is_set, plain_values, read_pairs, typed_values

if TYPE_CHECKING:
    from .base import Strategy

__all__ = [
    "adds",
    "check_name",
    "describe_options",
    "for_comparison",
    "load",
    "names",
    "option_fields",
    "read_pairs",
    "recommended",
    "summary",
    "typed_options",
]


def names() -> tuple[str, ...]:
    """Every strategy's name, sorted."""
    return strategy_names.strategy_names()


def recommended() -> tuple[str, ...]:
    """The names of those that are there to be used, sorted."""
    return tuple(name for name in names() if not is_set(_source(name), "for_comparison"))


def for_comparison() -> tuple[str, ...]:
    """The names of those that are there to be compared with, sorted."""
    return tuple(name for name in names() if is_set(_source(name), "for_comparison"))


def check_name(name: str) -> None:
    """Raise :class:`UsageError` with the nearest match unless ``name`` is a strategy."""
    problem = strategy_names.name_problem(name)
    if problem is not None:
        message, fix = problem
        raise UsageError(message, fix=fix)


def summary(name: str) -> str:
    """The first line of the strategy's file, without importing it."""
    return _source(name).split('"""', 2)[1].strip().splitlines()[0]


def describe_options(name: str) -> dict[str, str]:
    """What the strategy's file says of each of its options, by their names, without importing it."""
    return described_options(_source(name))


def adds(name: str) -> bool:
    """Whether a strategy folds the change itself, see :attr:`Strategy.adds`; one that is gone does not."""
    return name in names() and bool(_class(name).adds)


def option_fields(name: str) -> Mapping[str, KnobField]:
    """The strategy's options by their names: type, bounds, default, help. Imports the strategy, and torch."""
    return all_fields(_class(name))


def typed_options(name: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """The given options of a strategy, each in the type of its field, as JSON's own kinds.

    Args:
        name: of the strategy.
        options: by their names, values or text: "0.5" is 0.5 where the field is a float.

    Raises:
        UsageError: there is no such strategy.
        SettingsError: unknown options and values that do not fit, all of them at once.
    """
    kind = _class(name)
    return plain_values(kind, typed_values(name, kind, options))


def load(name: str, options: Mapping[str, Any] | None = None) -> "Strategy":
    """The strategy ``name`` with its ``options`` set, which may be text; see :func:`typed_options`.

    Raises:
        UsageError: there is no such strategy.
        SettingsError: unknown options and values that do not fit, all of them at once.
    """
    kind = _class(name)
    strategy: Strategy = kind(**typed_values(name, kind, options or {}))
    return strategy


def _source(name: str) -> str:
    check_name(name)
    return (strategy_names.FOLDER / f"{name}.py").read_text(encoding="utf-8")


def _class(name: str) -> "type[Strategy]":
    check_name(name)
    kind: type[Strategy] = import_module(f"{__name__}.{name}").STRATEGY
    return kind
