"""The settings that a user asks for: what suits the model, but for what is said."""

from collections.abc import Mapping
from typing import Any

from clora_ext.config.presets import at_preset
from clora_ext.config.settings import Settings

__all__ = ["asked_settings"]


def asked_settings(
    suitable: Settings, preset: str = "balanced", given: Mapping[str, Any] | None = None
) -> Settings:
    """The settings of a preset, but for what is given.

    Args:
        suitable: what suits the model; see :func:`clora_ext.runs.context.suggested_settings`.
        preset: its name.
        given: settings by name, the strategy's among them.

    Raises:
        UsageError: there is no such preset or setting.
    """
    return at_preset(suitable, preset).with_values(**(given or {}))
