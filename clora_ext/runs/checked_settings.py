"""Settings with everything that can be wrong about them told at once, the strategy's own options included."""

from collections.abc import Sequence
from typing import Any

from clora_ext import strategies
from clora_ext.config.settings import Settings
from clora_ext.errors import SettingsError

__all__ = ["checked_settings"]


def checked_settings(settings: Settings, other_problems: Sequence[str] = ()) -> Settings:
    """The same settings, with the strategy's options as plain values of their own types.

    Args:
        settings: as asked for; options may be text.
        other_problems: of the same request, to be told along.

    Raises:
        SettingsError: with every problem at once.
    """
    problems: list[str] = []
    options: dict[str, Any] = {}
    if settings.strategy in strategies.names():
        try:
            options = strategies.typed_options(settings.strategy, settings.strategy_options)
        except SettingsError as error:
            problems += error.problems
    problems += [*settings.problems(), *other_problems]
    if problems:
        raise SettingsError(problems)
    return settings.with_values(strategy_options=options)
