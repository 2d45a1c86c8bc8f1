"""The settings that a user asks for: what suits the model and the strategy, but for what is said."""

from collections.abc import Mapping
from typing import Any

from clora_ext import strategies
from clora_ext.config.presets import at_preset
from clora_ext.config.settings import Settings

__all__ = ["asked_settings"]


def asked_settings(
    suitable: Settings, preset: str = "balanced", given: Mapping[str, Any] | None = None
) -> Settings:
    """The settings of a preset, with a strategy's own number of steps, but for what is given.

    Args:
        suitable: what suits the model; see :func:`clora_ext.runs.context.suggested_settings`.
        preset: its name.
        given: settings by name, the strategy's among them.

    Raises:
        UsageError: there is no such preset or setting.
    """
    given = given or {}
    strategy = given.get("strategy", suitable.strategy)
    return at_preset(suitable, preset, strategies.steps_factor(strategy)).with_values(**given)
