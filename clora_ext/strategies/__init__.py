"""Strategies by name: one file each. Looking up names imports no torch."""

from collections.abc import Mapping
from dataclasses import fields
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, get_args, get_type_hints

from clora_ext.errors import UsageError, did_you_mean

if TYPE_CHECKING:
    from .base import Strategy

__all__ = ["check_name", "load", "names", "summary"]

_NOT_A_STRATEGY = {"__init__", "base", "objective"}


def names() -> tuple[str, ...]:
    """Every strategy's name, sorted.

    >>> names()
    ('mask', 'merge', 'naive', 'orthogonal')
    """
    here = Path(__file__).parent
    return tuple(sorted(path.stem for path in here.glob("*.py") if path.stem not in _NOT_A_STRATEGY))


def check_name(name: str) -> None:
    """Raise :class:`UsageError` with the nearest match unless ``name`` is a strategy."""
    if name not in names():
        message = f"unknown strategy {name!r}"
        raise UsageError(message, fix=did_you_mean(name, names()))


def summary(name: str) -> str:
    """The first line of the strategy's file, without importing it."""
    check_name(name)
    source = (Path(__file__).parent / f"{name}.py").read_text(encoding="utf-8")
    return source.split('"""', 2)[1].strip().splitlines()[0]


def load(name: str, options: Mapping[str, str] | None = None) -> "Strategy":
    """The strategy ``name`` with its ``options`` set.

    Raises:
        UsageError: unknown name, unknown option, or a value that the option does not take.
    """
    check_name(name)
    kind = import_module(f"{__name__}.{name}").STRATEGY
    options = dict(options or {})
    known = {field.name for field in fields(kind)}
    for option, value in options.items():
        if option not in known:
            message = f"strategy {name!r} has no option {option!r}"
            raise UsageError(message, fix=did_you_mean(option, sorted(known)) if known else "leave it out")
        choices = get_args(get_type_hints(kind)[option])
        if choices and value not in choices:
            message = f"{name}: {option} cannot be {value!r}"
            raise UsageError(message, fix=did_you_mean(value, choices))
    strategy: Strategy = kind(**options)
    return strategy
