"""Settings as an older clora recorded them, beside those of today: what it did not have is no change."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from .settings import NOT_SHAPING, Settings

__all__ = ["settings_that_differ", "with_defaults"]

_OPTIONS = "strategy_options"  # a table, but no group of settings


def with_defaults(recorded: Mapping[str, Any]) -> dict[str, Any]:
    """Recorded settings, by group as in :meth:`Settings.as_dict`; what is missing has today's default.

    >>> with_defaults({"adapter": {"rank": 4}})["adapter"]["alpha"] is None
    True
    """
    filled = Settings().as_dict()
    for name, value in recorded.items():
        is_group = name != _OPTIONS and isinstance(value, Mapping) and isinstance(filled.get(name), Mapping)
        filled[name] = {**filled[name], **value} if is_group else value
    return filled


def settings_that_differ(recorded: Mapping[str, Any], settings: Mapping[str, Any]) -> list[str]:
    """Names of the settings that make another model of the same pictures than the recorded ones.

    >>> settings_that_differ({"adapter": {"rank": 4}, "seed": 0}, Settings.of(rank=4, steps=50).as_dict())
    ['steps']

    Args:
        recorded: of a concept that was trained, by group; what is missing there had today's default.
        settings: those to compare with, by group; what stands beside the groups counts, too.
    """
    then, now = dict(_flat(with_defaults(recorded))), dict(_flat(_plain(settings)))
    return [
        name for name in {**now, **then} if name not in now or name not in then or now[name] != then[name]
    ]


def _flat(settings: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Every setting that shapes the model by its own name; no two groups share one."""
    for name, value in settings.items():
        if name in NOT_SHAPING:
            continue
        if isinstance(value, Mapping) and name != _OPTIONS:
            yield from value.items()
        else:
            yield name, value


def _plain(settings: Mapping[str, Any]) -> dict[str, Any]:
    """As a manifest gives them back: JSON has no tuples."""
    plain: dict[str, Any] = json.loads(json.dumps(settings))
    return plain
